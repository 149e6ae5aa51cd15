// The shop in Node: one event loop, pooled connections of an http.Agent.
//
// Environment: PORT, INVENTORY_URL, PRICING_URL, SHOP_CHANGE (what the new build does differently; see model.rs).
import http from "node:http";

const change = process.env.SHOP_CHANGE ?? "none";
const inventory = process.env.INVENTORY_URL;
const pricing = process.env.PRICING_URL;
const agent = new http.Agent({ keepAlive: change !== "connection-per-call" });

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

async function call(base, method, path, { payload, order } = {}) {
  const headers = { Accept: "application/json" };
  const body = payload === undefined ? undefined : render(payload);
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    headers["Content-Length"] = body.length;
  }
  if (order !== undefined) headers[change === "header-case" ? "x-order" : "X-Order"] = order;
  const attempt = () =>
    new Promise((resolve, reject) => {
      const request = http.request(base + path, { method, headers, agent }, resolve);
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
  return [200, "application/json", render(answer)];
}

async function postOrder(asked) {
  const total = await quote(asked.id, asked.sku, asked.quantity);
  if (change !== "omitted-call") await callJson(inventory, "POST", "/reserve", { payload: asked, order: asked.id });
  return [change === "status" ? 200 : 201, "application/json", render({ id: asked.id, total })];
}

async function report() {
  if (change === "crash") process.exit(1);
  if (change === "hang") await new Promise(() => {});
  const levels = await call(inventory, "GET", "/levels");
  return [200, "text/plain", Buffer.concat([Buffer.from("stock levels\n"), levels])];
}

async function broken() {
  try {
    await call(pricing, "POST", "/fail", { payload: { reason: "test" } });
  } catch (error) {
    if (change !== "swallowed-error") throw error;
  }
  return [200, "application/json", render({ ok: true })];
}

async function route(request) {
  const operation = `${request.method} ${request.url}`;
  const body = await readAll(request);
  if (operation === "GET /health") return [200, "text/plain", Buffer.from("ok\n")];
  if (operation.startsWith("GET /orders/")) return getOrder(request.url.slice("/orders/".length));
  if (operation === "POST /orders") return postOrder(JSON.parse(body));
  if (operation === "GET /report") return report();
  if (operation === "GET /broken") return broken();
  return [404, "text/plain", Buffer.from("no such path\n")];
}

async function serve(request, response) {
  const [status, kind, body] = await route(request).catch((error) => {
    if (error instanceof DownstreamFailed) return [502, "application/json", render({ error: error.message })];
    console.error(error);
    return [500, "text/plain", Buffer.from("failed\n")];
  });
  if (change === "log-line") console.error("a line that the old build did not write:", request.url);
  const headers = { [change === "header-case" ? "content-TYPE" : "Content-Type"]: kind };
  if (change !== "header-dropped") headers[change === "header-case" ? "cache-control" : "Cache-Control"] = "no-store";
  headers["Content-Length"] = body.length;
  response.writeHead(status, headers);
  response.end(body);
}

if (change === "exits-early") process.exit(3);
const settings = await callJson(inventory, "GET", "/config");
if (change === "never-listens") {
  setInterval(() => {}, 1 << 30);
} else {
  http.createServer(serve).listen(Number(process.env.PORT), "127.0.0.1", 128, () => console.error("shop listens"));
}
