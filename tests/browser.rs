use std::{fs, path::PathBuf, time::Duration};

use regress_cassettes::{
    CassetteId,
    diff::{Difference, Kind},
};
use regress_replayer::{Finding, NotDriven, Outcome, Recorded, Report, Selected, Side, Sides, Verdict, report};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    harness::{Browser, Need, require},
    services::{Language, PATIENT, RecordedShop, Source},
};

/// What would end the data, run, or turn the text beside it round, if it could.
const HOSTILE: &str =
    "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">\u{202e}\u{0}";

/// How many entries the large report has.
const ENTRIES: usize = 3_000;

#[test]
fn the_report_of_a_real_replay() {
    if !require("browser::real", &[Need::Browser, Need::Go, Need::Sandbox]) {
        return;
    }
    let recorded = RecordedShop::record(Language::Go, Source::Proxy);
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let file = folder.path().join("report.html");
    let destination = format!("html={}", file.display());
    recorded.replay("changed-argument", PATIENT, &["--no-pending", "--report", &destination]).0.expect_code(1);

    let mut browser = Browser::start();
    browser.open(&file);
    assert_eq!(browser.value("document.querySelector('h1').textContent.trim()"), "regress replay: different");
    assert!(browser.value("document.querySelectorAll('#groups button').length").as_u64() > Some(0));
    // Both sides of the call whose argument changed, the argument marked in each.
    browser.value("document.querySelectorAll('#list .head').forEach((head) => head.click())");
    for side in ["expected", "actual"] {
        let marked = format!("document.querySelectorAll('pre.{side} .marked').length");
        assert!(browser.value(&marked).as_u64() > Some(0), "{side}");
    }
    fits(&mut browser);
    is_alone(&mut browser, &file);
}

#[test]
fn search_filters_and_keys_in_a_large_report() {
    let Some((_folder, file)) = large("browser::large") else { return };
    let mut browser = Browser::start();
    browser.open(&file);
    let listed = "document.querySelectorAll('#list > li').length";
    let count = "document.querySelector('#count').textContent";

    // What is the same is not listed at first; a page of the rest is.
    assert_eq!(browser.value(count), json!(format!("{} entries of {ENTRIES}", ENTRIES / 2)));
    assert_eq!(browser.value(listed), 100);
    assert_eq!(
        browser.value("document.querySelectorAll('#list .body > *').length"),
        0,
        "entries are drawn when opened"
    );

    browser.press("/");
    assert_eq!(browser.value("document.activeElement.id"), "search");
    "orders/17".chars().for_each(|key| browser.press(&key.to_string()));
    let titles = "[...document.querySelectorAll('#list .title')].every((t) => t.textContent.includes('orders/17'))";
    assert_eq!(browser.value(titles), true);
    assert_eq!(browser.value(count), json!(format!("56 entries of {ENTRIES}")));
    browser.press("Escape");
    assert_eq!(browser.value(count), json!(format!("{ENTRIES} entries of {ENTRIES}")));

    let choose = |id: &str, value: &str| {
        format!(
            "(() => {{ const one = document.getElementById('{id}'); one.value = {value}; \
             one.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
        )
    };
    browser.value(&choose("verdict", "'same'"));
    assert_eq!(browser.value(count), json!(format!("{} entries of {ENTRIES}", ENTRIES / 2)));
    browser.value(&choose("verdict", "''"));
    browser.value(&choose("route", "'get-carts'"));
    assert_eq!(browser.value(count), json!(format!("{} entries of {ENTRIES}", ENTRIES / 3)));
    browser.press("Escape");
    browser.value("document.querySelector('#groups button').click()");
    assert_eq!(browser.value("document.querySelector('#groups button').getAttribute('aria-pressed')"), "true");
    assert_eq!(browser.value(count), json!(format!("{} entries of {ENTRIES}", ENTRIES / 2)));

    // j, j, k is the first entry; o opens and closes it.
    ["j", "j", "k", "o"].iter().for_each(|key| browser.press(key));
    let opened =
        "[...document.querySelectorAll('#list .head')].map((head) => head.getAttribute('aria-expanded') === 'true')";
    assert_eq!(browser.value(&format!("{opened}.indexOf(true)")), 0);
    assert_eq!(browser.value("document.querySelector('#list .body').hidden"), false);
    browser.press("o");
    assert_eq!(browser.value(&format!("{opened}.includes(true)")), false);
    browser.press("?");
    assert_eq!(browser.value("document.querySelector('#keys').open"), true);
    browser.press("Escape");
    assert_eq!(browser.value("document.querySelector('#keys').open"), false);
    is_alone(&mut browser, &file);
}

#[test]
fn what_services_say_is_shown_and_does_nothing() {
    let Some((_folder, file)) = large("browser::hostile") else { return };
    let mut browser = Browser::start();
    browser.open(&file);
    browser.value("document.querySelector('#list .head').click()");
    assert_eq!(browser.value("document.title.startsWith('different')"), true);
    assert_eq!(browser.value("document.querySelectorAll('main img, main script').length"), 0);
    let text = browser.value("document.querySelector('#list li').textContent");
    let text = text.as_str().expect("text");
    assert!(text.contains("</script><script>") && text.contains("\\u{202e}\\u{0}"), "{text}");
    // Numbers as they were written, and the path that differs marked.
    let marked = browser.value("document.querySelector('pre.actual .marked').textContent");
    assert_eq!(marked, "  \"price\": 1.50");
    is_alone(&mut browser, &file);
}

#[test]
fn which_part_was_replayed_and_what_was_not_driven() {
    if !require("browser::part", &[Need::Browser]) {
        return;
    }
    let one = |number: usize| NotDriven {
        cassette: CassetteId(format!("20261122T101502.123456Z-{number:04}")),
        file: format!("cassettes/get-orders/{number}.cassette.json").into(),
    };
    let by = vec![format!("filter \"{HOSTILE}\""), "shard 2/4".to_owned()];
    let report = Report {
        outcomes: vec![outcome(1)],
        selected: Some(Selected { of: 40, entries: 26, by }),
        not_driven: (2..27).map(one).collect(),
        ..Report::default()
    };
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let file = folder.path().join("report.html");
    let mut browser = Browser::start();
    let mut open = |report: &Report| {
        fs::write(&file, report::html(report)).expect("the temporary folder can be written");
        browser.open(&file);
        let shown = browser.value("[...document.querySelectorAll('#part > *')].map((part) => part.textContent)");
        fits(&mut browser);
        is_alone(&mut browser, &file);
        shown.as_array().expect("a list").iter().map(|text| text.as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    let shown = open(&report);
    assert!(
        shown[0].starts_with("selected 26 of 40 (filter \"</script>") && shown[0].ends_with(", shard 2/4)"),
        "{shown:?}"
    );
    assert!(
        shown[1].starts_with("not driven, since the replay stopped at the first difference: 25 entries"),
        "{shown:?}"
    );
    assert!(shown[1].contains("-0021 get-orders") && !shown[1].contains("-0022 "), "{shown:?}");
    assert!(shown[1].ends_with("and 5 more, which the json report names"), "{shown:?}");
    let empty = Selected { of: 40, entries: 0, by: vec!["shard 3/4".to_owned()] };
    let shown = open(&Report { selected: Some(empty), ..Report::default() });
    assert_eq!(shown, ["nothing to replay: none of the 40 is selected (shard 3/4)"]);
    assert_eq!(open(&Report { outcomes: vec![outcome(1)], ..Report::default() }), [""; 0]);
}

#[test]
fn light_and_dark_at_every_width() {
    let Some((_folder, file)) = large("browser::looks") else { return };
    let mut browser = Browser::start();
    browser.open(&file);
    browser.value("document.querySelectorAll('#list .head')[0].click()");
    fits(&mut browser);
    let background = "getComputedStyle(document.body).backgroundColor";
    browser.look(1440, 900, false);
    let light = browser.value(background);
    browser.look(1440, 900, true);
    let dark = browser.value(background);
    assert_ne!(light, dark, "as the system prefers");
    // The toggle goes on to light, dark, and back to the system's.
    for expected in [&light, &dark, &dark] {
        browser.press("t");
        assert_eq!(browser.value(background), *expected);
    }
    is_alone(&mut browser, &file);
}

/// No width at which one would have to scroll sideways; text stands out from what is behind it.
fn fits(browser: &mut Browser) {
    for (width, dark) in [(360, false), (360, true), (768, false), (1440, false), (1440, true)] {
        browser.look(width, 900, dark);
        let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.value(overflow), 0, "{width} px");
        let faint = browser.value(CONTRAST);
        assert_eq!(faint, json!([]), "{width} px, dark: {dark}");
    }
}

/// Text of which the contrast is below 4.5 (WCAG 2.2, success criterion 1.4.3), at most five.
const CONTRAST: &str = r#"(() => {
  const parse = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((part) => { const c = part / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("main *, header *")) {
    const has = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!has || !element.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5 && faint.length < 5) faint.push(element.outerHTML.slice(0, 120) + " " + contrast.toFixed(2));
  }
  return faint;
})()"#;

/// The page asked for nothing but itself, and nothing in it failed.
fn is_alone(browser: &mut Browser, file: &std::path::Path) {
    let (requests, errors) = browser.requests_and_errors();
    assert_eq!(requests, [format!("file://{}", file.display())]);
    assert_eq!(errors, Vec::<serde_json::Value>::new());
}

/// A report of thousands of entries, of which every second differs.
fn large(test: &str) -> Option<(TempDir, PathBuf)> {
    if !require(test, &[Need::Browser]) {
        return None;
    }
    let report = Report { outcomes: (0..ENTRIES).map(outcome).collect(), ..Report::default() };
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let file = folder.path().join("report.html");
    fs::write(&file, report::html(&report)).expect("the temporary folder can be written");
    Some((folder, file))
}

fn outcome(number: usize) -> Outcome {
    let id = format!("20261122T101502.123456Z-{number:04}");
    let route = if number.is_multiple_of(3) { "get-carts" } else { "get-orders" };
    let differs = number % 2 == 1;
    let price = Difference {
        path: "body/price".to_owned(),
        kind: Kind::Type,
        expected: Some(format!("\"{HOSTILE}\"")),
        actual: Some("1.50".to_owned()),
        noise: None,
    };
    let side = |body: String| Some(Side { head: "HTTP/1.1 200 OK".to_owned(), body, left_out: 0 });
    let sides = Sides {
        path: "response".to_owned(),
        expected: side(json!({"price": HOSTILE}).to_string()),
        actual: side("{\"price\": 1.50}".to_owned()),
    };
    Outcome {
        file: format!("cassettes/{route}/{id}.cassette.json").into(),
        cassette: CassetteId(id),
        entry: format!("GET /orders/{number}"),
        verdict: if differs { Verdict::Different } else { Verdict::Same },
        findings: if differs { vec![Finding::Response(price)] } else { Vec::new() },
        if_answered: None,
        excused: Vec::new(),
        doubts: Vec::new(),
        notes: Vec::new(),
        calls: Vec::new(),
        last_output: None,
        took: Some(Duration::from_micros(1_200)),
        recorded: Some(Recorded { took: Duration::from_micros(2_000), waited: Duration::from_micros(900) }),
        sides: differs.then(|| vec![sides]),
        pending: None,
    }
}
