// A service whose answers and calls are never the same twice, in Node.
//
// Environment: PORT, INVENTORY_URL, NOISY_REGION (goes into every answer), NOISY_CHANGE (what a new build
// does wrong: `total` and `quantity` beside what varies, `id` and `tags` in it).
import { randomBytes, randomInt, randomUUID } from "node:crypto";
import http from "node:http";

const change = process.env.NOISY_CHANGE ?? "none";
const region = process.env.NOISY_REGION ?? "nowhere";

async function readAll(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

async function reserve(sku, quantity) {
  const body = JSON.stringify({ key: randomUUID(), sku, quantity: change === "quantity" ? quantity + 1 : quantity });
  const headers = {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(body),
    "X-Request-Key": randomBytes(8).toString("hex"),
  };
  const response = await new Promise((resolve, reject) => {
    const request = http.request(process.env.INVENTORY_URL + "/reserve", { method: "POST", headers }, resolve);
    request.on("error", reject);
    request.end(body);
  });
  return JSON.parse(await readAll(response)).reserved;
}

function shuffled(items) {
  for (let last = items.length - 1; last > 0; last--) {
    const other = randomInt(last + 1);
    [items[last], items[other]] = [items[other], items[last]];
  }
  return items;
}

const tags = ["cold", "fragile", "gift", "heavy", "insured", "urgent"];

async function order(sku, quantity) {
  return {
    id: change === "id" ? "unknown" : randomUUID(),
    created_at: new Date().toISOString(),
    lottery: randomInt(1, 10 ** 9),
    tags: shuffled(tags).filter((tag) => change !== "tags" || tag !== "urgent"),
    region,
    reserved: await reserve(sku, quantity),
    total: change === "total" ? 12 * quantity : 12.5 * quantity,
  };
}

async function serve(request, response) {
  const asked = await readAll(request);
  const made = request.method === "POST" ? JSON.parse(asked) : undefined;
  const value = made ? await order(made.sku, made.quantity) : { health: "ok" };
  const body = JSON.stringify(value);
  response.writeHead(made ? 201 : 200, {
    "Content-Type": "application/json",
    ...(made && { "X-Request-Id": randomBytes(8).toString("hex") }),
    "Content-Length": Buffer.byteLength(body),
  });
  response.end(body);
}

http.createServer(serve).listen(Number(process.env.PORT), "127.0.0.1", () => console.error("noisy listens"));
