
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const PAGE = 100, SHORT = 60, AROUND = 3, GROUPS = 12;

  // Characters that would hide or reorder what stands beside them are written out.
  const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

  function text(value) {
    const out = document.createDocumentFragment();
    let from = 0;
    for (const found of String(value).matchAll(ODD)) {
      out.append(String(value).slice(from, found.index));
      const code = "\\u{" + found[0].codePointAt(0).toString(16) + "}";
      out.append(make("span", { class: "odd" }, document.createTextNode(code)));
      from = found.index + found[0].length;
    }
    out.append(String(value).slice(from));
    return out;
  }

  function make(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key === "click") element.addEventListener("click", value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
    }
    for (const child of children.flat()) {
      if (child !== null && child !== undefined) element.append(child instanceof Node ? child : text(child));
    }
    return element;
  }

  const tag = (word, kind) => make("span", { class: "tag " + (kind || word) }, word);
  const many = (count, one, more) => count + " " + (count === 1 ? one : more);

  function time(micros) {
    if (micros === null || micros === undefined) return "unknown";
    if (micros < 1000) return micros + " µs";
    if (micros < 1e6) return (micros / 1000).toFixed(micros < 1e4 ? 2 : 1) + " ms";
    return (micros / 1e6).toFixed(2) + " s";
  }

  // The lines of a JSON text, each with the JSON Pointer of what it holds; null where the text is no JSON. Numbers and
  // strings stay as they are written.
  function jsonLines(source) {
    const token = /\s*(?:([{}\[\],:])|("(?:[^"\\]|\\.)*")|([^\s{}\[\],:"]+))/gy;
    const tokens = [];
    while (token.lastIndex < source.trimEnd().length) {
      const found = token.exec(source);
      if (!found) return null;
      tokens.push(found[1] || found[2] || found[3]);
    }
    if (!tokens.length || !"{[".includes(tokens[0])) return null;
    const lines = [];
    let at = 0;
    const escaped = (name) => name.replaceAll("~", "~0").replaceAll("/", "~1");
    function value(pointer, before, depth) {
      const first = tokens[at++];
      if (first === undefined || depth > 200) throw new Error("no value");
      if (first !== "{" && first !== "[") {
        if (/^[}\],:]$/.test(first)) throw new Error("no value");
        lines.push({ pointer, text: before + first });
        return;
      }
      const last = first === "{" ? "}" : "]";
      const indent = "  ".repeat(depth);
      lines.push({ pointer, text: before + first });
      if (tokens[at] === last) {
        at++;
        lines.at(-1).text += last;
        return;
      }
      for (let index = 0; ; index++) {
        let label = "", name = String(index);
        if (first === "{") {
          label = tokens[at++];
          name = JSON.parse(label);
          if (tokens[at++] !== ":") throw new Error("no colon");
          label += ": ";
        }
        value(pointer + "/" + escaped(name), indent + "  " + label, depth + 1);
        if (tokens[at] !== ",") break;
        lines.at(-1).text += ",";
        at++;
      }
      if (tokens[at++] !== last) throw new Error("no end");
      lines.push({ pointer, text: indent + last, end: true });
    }
    try {
      value("", "", 0);
      return at === tokens.length ? lines : null;
    } catch {
      return null;
    }
  }

  // The lines of one body, those that differ marked: by path where both sides are JSON, else by what the other side lacks.
  function bodyLines(side, other, paths) {
    if (!side) return [];
    const mine = side.left_out ? null : jsonLines(side.body);
    const theirs = !other ? mine : other.left_out ? null : jsonLines(other.body);
    if (mine && theirs) {
      for (const line of mine) {
        line.marked = paths.some((path) => line.pointer === path || line.pointer.startsWith(path + "/"));
      }
      return mine;
    }
    const known = new Set(other ? other.body.split("\n") : []);
    const lines = side.body === "" ? [] : side.body.split("\n");
    return lines.map((line) => ({ text: line, marked: !known.has(line) }));
  }

  function headLines(side, other, paths) {
    if (!side) return [];
    return side.head.split("\n").map((line, number) => {
      const name = line.split(":")[0].toLowerCase();
      const fields = number === 0 ? ["status", "method", "target"] : ["header/" + name];
      return { text: line, marked: fields.some((field) => paths.includes(field)) };
    });
  }

  // Long stretches without a mark are folded.
  function rows(lines) {
    const near = new Array(lines.length).fill(lines.length <= SHORT);
    lines.forEach((line, number) => {
      if (line.marked) near.fill(true, Math.max(0, number - AROUND), number + AROUND + 1);
    });
    const out = [];
    const row = (line) => make("span", { class: line.marked ? "row marked" : "row" }, line.text);
    for (let number = 0; number < lines.length; ) {
      if (near[number]) {
        out.push(row(lines[number++]));
        continue;
      }
      const from = number;
      while (number < lines.length && !near[number]) number++;
      const hidden = lines.slice(from, number);
      const label = "… " + many(hidden.length, "line", "lines") + (hidden.some((line) => line.marked) ? "" : " without a difference");
      const fold = make("button", { type: "button", class: "fold", click: () => fold.replaceWith(...hidden.map(row)) }, label);
      out.push(fold);
    }
    return out;
  }

  function sideBySide(pair, differences) {
    const above = pair.path + "/";
    const paths = differences.filter((one) => one.path.startsWith(above)).map((one) => one.path.slice(above.length));
    const bodies = paths.filter((path) => path === "body" || path.startsWith("body/")).map((path) => path.slice(4));
    const half = (name, title, side, other) => {
      const lines = side ? [...headLines(side, other, paths), { text: "" }, ...bodyLines(side, other, bodies)] : [];
      const shown = side ? rows(lines) : [make("span", { class: "message" }, "nothing")];
      const more = side && side.left_out ? [make("span", { class: "message" }, "… " + many(side.left_out, "byte", "bytes") + " left out")] : [];
      return make("section", { class: "side", "aria-label": title + ": " + pair.path }, make("h4", {}, title), make("pre", { class: name }, shown, more));
    };
    return [
      make("h3", { class: "mono" }, pair.path),
      make("div", { class: "sides" }, half("expected", "Expected", pair.expected, pair.actual), half("actual", "Actual", pair.actual, pair.expected)),
    ];
  }

  const groups = new Map(data.groups.map((group) => [group.id, group]));

  function values(one) {
    const value = (value) => (value === null ? make("dd", { class: "muted" }, "nothing") : make("dd", { class: "mono" }, value));
    return make("dl", { class: "values" }, make("dt", {}, "expected"), value(one.expected), make("dt", {}, "actual"), value(one.actual));
  }

  function difference(one) {
    const group = groups.get(one.group);
    const follows = group && group.follows;
    const call = one.call ? make("p", { class: "muted" }, one.call.downstream + "  " + one.call.request) : null;
    const near = one.nearest ? [make("p", { class: "muted" }, "nearest recorded call: downstream/" + one.nearest.exchange + " of " + one.nearest.cassette), one.nearest.differences.map((field) => [make("code", {}, field.path), values(field)])] : [];
    const title = make("p", {}, make("code", {}, one.path), " ", tag(one.kind, "plain"), " ", follows ? tag("follows from a missed call", "plain") : null, one.noise ? tag("does not count", "plain") : null);
    return make("div", { class: follows || one.noise ? "difference follows" : "difference" },
      make("div", {}, title, call, one.reason ? make("p", {}, one.reason) : null), make("div", {}, values(one), near.flat(2)));
  }

  function calls(matches) {
    const rows = matches.map((one) => make("tr", {},
      make("td", {}, tag(one.match, one.match === "hit" ? "same" : "different")),
      make("td", {}, one.downstream), make("td", { class: "mono" }, one.request),
      make("td", { class: "number" }, one.recorded_microseconds === null ? "" : time(one.recorded_microseconds))));
    const head = make("tr", {}, ["answer", "downstream", "request", "recorded time"].map((word) => make("th", { scope: "col" }, word)));
    return [make("h3", {}, "Calls"), make("div", { class: "scroll", role: "region", "aria-label": "Calls", tabindex: "0" }, make("table", {}, make("thead", {}, head), make("tbody", {}, rows)))];
  }

  function details(one) {
    if (one.reduced) return [make("p", { class: "note" }, "The details of this entry are left out of this report; the json report has its differences.")];
    const out = [make("p", { class: "muted mono" }, one.file)];
    one.doubts.forEach((doubt) => out.push(make("p", { class: "note" }, "could not tell: " + doubt)));
    one.notes.forEach((note) => out.push(make("p", { class: "muted" }, "note: " + note)));
    if (one.recorded) {
      out.push(make("p", { class: "muted" }, "time: replayed " + time(one.microseconds) + ", recorded " + time(one.recorded.microseconds) + ", of that " + time(one.recorded.own_microseconds) + " without waiting for calls" + (one.recorded.ratio === null ? "" : " (ratio " + one.recorded.ratio + ")")));
    }
    out.push(...one.differences.map(difference));
    if (one.if_answered) {
      out.push(make("p", {}, "With the missed calls answered as the recorded calls most like them, what differs: " + (one.if_answered.map((left) => left.path).join(", ") || "nothing")));
    }
    (one.sides || []).forEach((pair) => out.push(...sideBySide(pair, one.differences)));
    if (one.matches.length) out.push(...calls(one.matches));
    if (one.last_output !== null) out.push(make("h3", {}, "Last output of the service"), make("pre", { class: "output", tabindex: "0" }, one.last_output));
    if (one.pending) out.push(make("p", { class: "muted" }, "proposed: ", make("code", {}, one.pending)));
    return out;
  }

  // Entries: filtered, then shown a page at a time; an entry is drawn when it is opened.
  const words = data.outcomes.map(() => null);
  function haystack(number) {
    const one = data.outcomes[number];
    if (words[number] === null) {
      const parts = [one.cassette, one.entry, one.file, one.verdict, ...(one.doubts || [])];
      for (const spot of one.differences || []) {
        parts.push(spot.path, spot.kind, spot.expected || "", spot.actual || "", spot.call ? spot.call.downstream + " " + spot.call.request : "");
      }
      words[number] = parts.join("\n").toLowerCase();
    }
    return words[number];
  }

  let found = [], drawn = 0;

  function apply() {
    const wanted = by("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [verdict, group, route] = ["verdict", "group", "route"].map((id) => by(id).value);
    found = [];
    data.outcomes.forEach((one, number) => {
      if (verdict === "not same" ? one.verdict === "same" : verdict && one.verdict !== verdict) return;
      if (group && !one.groups.includes(group)) return;
      if (route && one.route !== route) return;
      if (wanted.every((word) => haystack(number).includes(word))) found.push(number);
    });
    by("list").replaceChildren();
    drawn = 0;
    more();
    by("count").textContent = many(found.length, "entry", "entries") + " of " + data.outcomes.length;
    for (const button of by("groups").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.group === group));
  }

  function more() {
    const next = found.slice(drawn, drawn + PAGE);
    by("list").append(...next.map(entry));
    drawn += next.length;
    by("more").hidden = drawn >= found.length;
    by("more").textContent = "Show more (" + (found.length - drawn) + ")";
  }

  function entry(number) {
    const one = data.outcomes[number];
    const body = make("div", { class: "body", id: "body-" + number, hidden: true });
    const took = one.microseconds === null ? "" : time(one.microseconds);
    const head = make("button", { type: "button", class: "head", "aria-expanded": "false", "aria-controls": "body-" + number, click: () => toggle(head, body, one) },
      tag(one.verdict), make("span", { class: "title" }, one.entry), make("span", { class: "took" }, took), make("span", { class: "id mono" }, one.cassette));
    return make("li", { class: "entry", id: one.cassette }, make("h3", {}, head), body);
  }

  function toggle(head, body, one) {
    const open = head.getAttribute("aria-expanded") !== "true";
    head.setAttribute("aria-expanded", String(open));
    body.hidden = !open;
    if (open && !body.firstChild) body.append(...details(one).filter(Boolean));
  }

  function options(select, all, choices) {
    select.replaceChildren(make("option", { value: "" }, all), ...choices.map(([value, label]) => make("option", { value }, label)));
  }

  function cause(group) {
    const click = () => {
      by("group").value = by("group").value === group.id ? "" : group.id;
      apply();
      by("entries").scrollIntoView();
    };
    return make("li", {}, make("button", { type: "button", class: "cause", "aria-pressed": "false", "data-group": group.id, click },
      make("span", { class: "many" }, many(group.entries, "entry", "entries")),
      make("span", { class: "words" }, make("code", {}, group.subject), " ", group.what, group.follows ? make("span", { class: "muted" }, " (follows from a call that missed)") : null),
      tag(group.severity, "plain")));
  }

  function latency(times) {
    const row = (name, spread, show) => make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "number" }, show(spread.median)), make("td", { class: "number" }, show(spread.p95)));
    const head = make("tr", {}, ["", "median", "p95"].map((word) => make("th", { scope: "col" }, word)));
    const body = [row("replayed", times.replayed_microseconds, time), row("recorded", times.recorded_microseconds, time), row("recorded, without calls", times.recorded_own_microseconds, time)];
    if (times.ratio) body.push(row("ratio, of own times", times.ratio, (ratio) => "× " + ratio.toFixed(2)));
    return make("table", {}, make("thead", {}, head), make("tbody", {}, body));
  }

  function rules(all) {
    const row = (rule) => make("tr", {}, make("td", { class: "mono" }, rule.path), make("td", {}, rule.as), make("td", { class: "number" }, rule.fired), make("td", {}, rule.stale ? tag("stale", "inconclusive") : null, " ", rule.why || ""));
    const head = make("tr", {}, ["path", "as", "let pass", "why"].map((word) => make("th", { scope: "col" }, word)));
    return make("table", {}, make("thead", {}, head), make("tbody", {}, all.map(row)));
  }

  // Which part of the corpus this is, and what of it was not driven.
  function part() {
    const out = [];
    if (data.selection) {
      const { of, entries, by } = data.selection;
      const words = entries ? "selected " + entries + " of " + of : "nothing to replay: none of the " + of + " is selected";
      out.push(make("p", { class: "note" }, words + " (" + by.join(", ") + ")"));
    }
    const count = data.summary.not_driven;
    if (count) {
      const named = data.not_driven.map((one) => make("li", {}, make("code", {}, one.cassette), " " + one.route));
      const beyond = count - named.length;
      out.push(make("details", { class: "note" },
        make("summary", {}, "not driven, since the replay stopped at the first difference: " + many(count, "entry", "entries")),
        make("ul", {}, named), beyond ? make("p", {}, "and " + beyond + " more, which the json report names") : null));
    }
    return out;
  }

  const THEMES = [["", "Auto", "as the system"], ["light", "Light", "light"], ["dark", "Dark", "dark"]];
  function theme(change) {
    const root = document.documentElement;
    const now = THEMES.findIndex(([name]) => name === (root.dataset.theme || ""));
    const [name, label, words] = THEMES[(now + (change ? 1 : 0)) % THEMES.length];
    if (name) root.dataset.theme = name;
    else delete root.dataset.theme;
    by("theme").textContent = label;
    by("theme").setAttribute("aria-label", "Colours: " + words);
  }

  function step(count) {
    const heads = [...document.querySelectorAll("#list .head")];
    const now = heads.findIndex((head) => head.closest("li").contains(document.activeElement));
    const next = now + count;
    if (next >= heads.length && !by("more").hidden) return more(), step(count);
    const head = heads[Math.max(0, Math.min(heads.length - 1, next))];
    if (head) head.focus();
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || by("keys").open) return;
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "Escape") {
      for (const id of ["search", "verdict", "group", "route"]) by(id).value = "";
      document.activeElement.blur();
      return apply();
    }
    if (typing) return;
    const open = () => {
      const item = document.activeElement.closest("#list li");
      if (item) item.querySelector(".head").click();
    };
    const act = { j: () => step(1), k: () => step(-1), o: open, "/": () => by("search").focus(), "?": () => by("keys").showModal(), t: () => theme(true) }[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  }

  const count = (verdict) => data.outcomes.filter((one) => one.verdict === verdict).length;
  options(by("verdict"), "all", [["not same", "not same"], ...["different", "inconclusive", "same"].map((word) => [word, word + " (" + count(word) + ")"])]);
  options(by("group"), "all", data.groups.map((group) => [group.id, group.entries + " × " + group.subject + " " + group.what]));
  const routes = new Map();
  data.outcomes.forEach((one) => routes.set(one.route, (routes.get(one.route) || 0) + 1));
  options(by("route"), "all", [...routes].sort().map(([route, count]) => [route, route + " (" + count + ")"]));
  by("groups").append(...data.groups.slice(0, GROUPS).map(cause));
  by("causes").hidden = !data.groups.length;
  if (data.groups.length > GROUPS) {
    by("more-groups").hidden = false;
    by("more-groups").textContent = "Show " + (data.groups.length - GROUPS) + " more";
    by("more-groups").addEventListener("click", () => {
      by("groups").append(...data.groups.slice(GROUPS).map(cause));
      by("more-groups").hidden = true;
    });
  }
  if (data.latency) {
    by("latency").hidden = false;
    by("times").append(latency(data.latency));
  }
  by("rules").hidden = !data.rules.length;
  by("rule-list").append(rules(data.rules));
  by("problem-list").append(
    ...data.startup.map((one) => make("div", {}, make("p", {}, tag("inconclusive"), " a call at start-up that nobody recorded"), difference(one))),
    ...data.unreadable.map((one) => make("p", { class: "note" }, one.file + ": " + one.why + (one.hint ? " (" + one.hint + ")" : ""))));
  by("problems").hidden = !by("problem-list").firstChild;
  by("part").append(...part());
  by("part").hidden = !by("part").firstChild;
  by("left-out").append(...data.left_out.map((words) => make("p", { class: "note" }, words)));
  by("left-out").hidden = !data.left_out.length;
  if (data.outcomes.some((one) => one.verdict !== "same")) by("verdict").value = "not same";

  by("filters").addEventListener("submit", (event) => event.preventDefault());
  by("filters").addEventListener("input", apply);
  by("more").addEventListener("click", more);
  by("theme").addEventListener("click", () => theme(true));
  by("help").addEventListener("click", () => by("keys").showModal());
  document.addEventListener("keydown", key);
  apply();
  const linked = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (linked && linked.matches(".entry")) linked.querySelector(".head").click();
})();
