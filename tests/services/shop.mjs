// The shop in Node: one event loop, pooled connections of an http.Agent.
//
// Environment: PORT, INVENTORY_URL, PRICING_URL, and what the new build does differently (see tests/matrix): SHOP_CHANGE,
// the name of a change in this file, or SHOP_EDIT, a change of what is said: {at, operation, part, from, to}.
import http from "node:http";
import net from "node:net";
import zlib from "node:zlib";

const change = process.env.SHOP_CHANGE ?? "none";
const inventory = process.env.INVENTORY_URL;
const pricing = process.env.PRICING_URL;
const agent = new http.Agent({ keepAlive: change !== "connection-per-call" });
const edited = JSON.parse(process.env.SHOP_EDIT ?? "null");
const [JSON_TYPE, TEXT, HTML] = ["application/json", "text/plain", "text/html; charset=utf-8"];

// The value as the new build says it: `from` replaced by `to`, all of it where `from` is empty.
function edit(at, operation, part, value) {
  const wanted = edited?.at === at && edited.part === part && operation.startsWith(edited.operation);
  if (!wanted) return value;
  if (!value.includes(edited.from)) {
    console.error("there is nothing to edit in", value);
    process.exit(4);
  }
  return edited.from === "" ? edited.to : value.replaceAll(edited.from, () => edited.to);
}

// Headers edited to nothing are left out; the part `header` is one more.
function editHeaders(at, operation, headers) {
  const said = headers.map(([name, value]) => [name, edit(at, operation, `header/${name.toLowerCase()}`, value)]);
  const added = edit(at, operation, "header", "");
  if (added) said.push(added.split(": "));
  return said.filter(([, value]) => value);
}

class DownstreamFailed extends Error {
  constructor(status) {
    super(`downstream answered ${status}`);
  }
}

function render(value) {
  const ordered = change === "key-order" ? Object.fromEntries(Object.entries(value).reverse()) : value;
  return Buffer.from(JSON.stringify(ordered, null, change === "whitespace" ? 2 : 0));
}

function readAll(stream) {
  return new Promise((resolve, reject) => {
    const parts = [];
    stream.on("data", (part) => parts.push(part));
    stream.on("end", () => resolve(Buffer.concat(parts)));
    stream.on("error", reject);
  });
}

async function call(base, method, path, { payload, order, key } = {}) {
  const operation = `${method} ${path}`;
  const named = [["Accept", JSON_TYPE]];
  const text = payload === undefined ? undefined : edit("call", operation, "body", render(payload).toString());
  const body = text === undefined ? undefined : Buffer.from(text);
  if (body !== undefined) named.push(["Content-Type", JSON_TYPE]);
  if (order !== undefined) named.push([change === "header-case" ? "x-order" : "X-Order", order]);
  if (key !== undefined) named.push(["Idempotency-Key", key]);
  const said = editHeaders("call", operation, named);
  if (change === "headers-reordered") said.reverse();
  const headers = Object.fromEntries(said);
  if (body !== undefined) headers["Content-Length"] = body.length;
  const as = edit("call", operation, "method", method);
  const target = edit("call", operation, "target", path);
  const attempt = () =>
    new Promise((resolve, reject) => {
      const request = http.request(base + target, { method: as, headers, agent }, resolve);
      request.on("error", (error) => {
        error.stale = request.reusedSocket && error.code === "ECONNRESET";
        reject(error);
      });
      request.end(body);
    });
  const response = await attempt().catch((error) => (error.stale ? attempt() : Promise.reject(error)));
  const content = await readAll(response);
  if (response.statusCode !== 200) throw new DownstreamFailed(response.statusCode);
  return content;
}

async function callJson(...args) {
  return JSON.parse(await call(...args));
}

async function stock(order) {
  const path = `/${change === "wrong-path" ? "stocks" : "stock"}/sku-${order}`;
  if (change === "extra-call") await callJson(inventory, "GET", path, { order });
  return callJson(inventory, "GET", path, { order });
}

async function quote(order, sku, quantity) {
  const base = change === "wrong-downstream" ? inventory : pricing;
  const asked = change === "changed-argument" ? quantity + 1 : quantity;
  const priced = await callJson(base, "POST", "/quote", { payload: { order, sku, quantity: asked }, order });
  const cents = (priced.unit_cents * quantity * (100 - settings.discount)) / 100;
  return change === "rounding" ? Math.round(cents) : Math.floor(cents);
}

async function getOrder(order) {
  const held = await stock(order);
  const total = await quote(order, held.sku, 3);
  const answer = { id: order, sku: held.sku, available: held.available, total };
  if (change === "type") answer.available = String(answer.available);
  if (change !== "missing-field") answer.currency = change === "value" ? "USD" : settings.currency;
  return [200, JSON_TYPE, render(answer)];
}

async function postOrder(asked) {
  const total = await quote(asked.id, asked.sku, asked.quantity);
  if (change !== "omitted-call") await callJson(inventory, "POST", "/reserve", { payload: asked, order: asked.id });
  return [change === "status" ? 200 : 201, JSON_TYPE, render({ id: asked.id, total })];
}

const cache = {};

async function lines(order) {
  if (cache[order] === undefined || change !== "stale-cache") {
    cache[order] = await call(inventory, "GET", `/lines?order=${order}&page=1&size=3`, { order });
  }
  return cache[order];
}

const rates = (order) => call(pricing, "GET", "/rates?on=2026-03-29", { order });

async function getReceipt(order) {
  if (leftOpen[change]) {
    const { to, once, most } = leftOpen[change];
    for (let more = Math.min(once, most - open); more > 0; more--, open++) await connected(to);
  }
  if (change === "connects-elsewhere") {
    const connection = await connected(elsewhere);
    await new Promise((done) => connection.resume().once("close", done).end());
  }
  const early = change === "reads-swapped" ? await rates(order) : undefined;
  const held = await lines(order);
  const rated = early ?? (change === "read-dropped" ? '{"EUR":1,"USD":1.25}' : await rates(order));
  if (change === "n-plus-one") {
    for (const line of JSON.parse(held).lines) await call(inventory, "GET", `/stock/${line.sku}`, { order });
  }
  const body = `{"id":"${order}","receipt":${held},"rates":${rated}}`;
  return [200, JSON_TYPE, Buffer.from(body), [["ETag", '"r7"'], ["Vary", "Accept"]]];
}

async function connected(to) {
  const connection = net.connect(to);
  await new Promise((done) => connection.once("connect", done).once("error", done));
  return connection;
}

const elsewhere = { host: "127.0.0.1", port: 9 };
const toPricing = { host: "127.0.0.1", port: new URL(pricing).port };
// Where to, how many with each receipt, and how many in all.
const leftOpen = {
  "leaked-connection": { to: toPricing, once: 1, most: 1000 },
  "leaked-elsewhere": { to: elsewhere, once: 1, most: 1000 },
  "spare-connections": { to: toPricing, once: 8, most: 8 },
  "growing-pool": { to: toPricing, once: 1, most: 10 },
};
let open = 0;

async function getPage(order) {
  const { customer } = JSON.parse(await lines(order));
  const page = `<h1>Receipt ${order}</h1>\n<p>${customer}: salt &amp; &lt;pepper&gt;</p>\n`;
  return [200, HTML, Buffer.from(page)];
}

async function postPayment(asked) {
  const { order } = asked;
  const authorize = () => call(pricing, "POST", "/authorize", { payload: asked, order, key: `pay-${order}` });
  const markPaid = () => call(inventory, "PUT", `/orders/${order}/state`, { payload: { state: "paid" }, order });
  const writes = change === "writes-reordered" ? [markPaid, authorize] : [authorize, markPaid];
  if (change === "double-submit") writes.unshift(authorize);
  for (const write of writes) await write();
  if (change !== "write-dropped") await call(inventory, "DELETE", `/holds/${order}`, { order });
  const cookie = `paid=${order}; Path=/; Secure; HttpOnly; SameSite=Lax`;
  return [303, TEXT, Buffer.from("paid\n"), [["Location", `/receipts/${order}`], ["Set-Cookie", cookie]]];
}

async function report() {
  if (change === "crash") process.exit(1);
  if (change === "hang") await new Promise(() => {});
  const levels = await call(inventory, "GET", "/levels");
  return [200, TEXT, Buffer.concat([Buffer.from("stock levels\n"), levels])];
}

async function broken() {
  try {
    await call(pricing, "POST", "/fail", { payload: { reason: "test" } });
  } catch (error) {
    if (change === "retry-added") await call(pricing, "POST", "/fail", { payload: { reason: "test" } });
    if (change !== "swallowed-error") throw error;
  }
  return [200, JSON_TYPE, render({ ok: true })];
}

async function route(request) {
  const operation = `${request.method} ${request.url}`;
  const body = await readAll(request);
  if (operation === "GET /health") return [200, TEXT, Buffer.from("ok\n")];
  if (operation.startsWith("GET /orders/")) return getOrder(request.url.slice("/orders/".length));
  if (operation.startsWith("GET /receipts/")) return getReceipt(request.url.slice("/receipts/".length));
  if (operation.startsWith("GET /pages/")) return getPage(request.url.slice("/pages/".length));
  if (operation === "POST /payments") return postPayment(JSON.parse(body));
  if (operation === "POST /orders") return postOrder(JSON.parse(body));
  if (operation === "GET /report") return report();
  if (operation === "GET /broken") return broken();
  return [404, TEXT, Buffer.from("no such path\n")];
}

async function serve(request, response) {
  const [status, kind, content, more = []] = await route(request).catch((error) => {
    if (error instanceof DownstreamFailed) return [502, JSON_TYPE, render({ error: error.message })];
    console.error(error);
    return [500, TEXT, Buffer.from("failed\n")];
  });
  if (change === "log-line") console.error("a line that the old build did not write:", request.url);
  const operation = `${request.method} ${request.url}`;
  const text = edit("answer", operation, "body", content.toString());
  let body = Buffer.from(text, change === "latin-1" ? "latin1" : "utf8");
  const named = [[change === "header-case" ? "content-TYPE" : "Content-Type", kind]];
  const cache = change === "header-case" ? "cache-control" : "Cache-Control";
  if (change !== "header-dropped") named.push([cache, "no-store"]);
  const headers = editHeaders("answer", operation, [...named, ...more]);
  if (change === "gzip" && body.length > 0) {
    body = zlib.gzipSync(body);
    headers.push(["Content-Encoding", "gzip"]);
  }
  if (change === "connection-closed") headers.push(["Connection", "close"]);
  headers.push(change === "chunked" ? ["Transfer-Encoding", "chunked"] : ["Content-Length", String(body.length)]);
  if (change === "headers-reordered") headers.reverse();
  const reason = change === "reason-phrase" ? "As You Like It" : undefined;
  response.writeHead(Number(edit("answer", operation, "status", String(status))), reason, headers.flat());
  if (change === "two-writes" || change === "chunked") response.write(body.subarray(0, body.length / 2));
  response.end(change === "two-writes" || change === "chunked" ? body.subarray(body.length / 2) : body);
}

if (change === "exits-early") process.exit(3);
const settings = await callJson(inventory, "GET", "/config");
if (change === "never-listens") {
  setInterval(() => {}, 1 << 30);
} else {
  http.createServer(serve).listen(Number(process.env.PORT), "127.0.0.1", 128, () => console.error("shop listens"));
}
