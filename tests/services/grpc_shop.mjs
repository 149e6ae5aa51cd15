// The same shop on Node.js with grpc-js; entries come by HTTP/1.1. Environment: PORT, STOCK, SHOP_CHANGE, and MODULES, a folder
// with node_modules.
import { createRequire } from "node:module";
import http from "node:http";

const require = createRequire(`${process.env.MODULES}/`);
const grpc = require("@grpc/grpc-js");
const change = process.env.SHOP_CHANGE ?? "none";

const connect = () => new grpc.Client(process.env.STOCK, grpc.credentials.createInsecure());
const shared = connect();
const stock = () => (change === "channel-per-call" ? connect() : shared);
const same = (bytes) => bytes;

function varint(value) {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return Buffer.from([...bytes, value]);
}

const ask = (id) =>
  Buffer.concat([Buffer.from([8]), varint(change === "changed-field" ? id + 1 : id), Buffer.from("\x12\x04shop")]);

function told(message) {
  const item = {};
  let at = 0;
  const read = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const key = read();
    if ((key & 7) === 0) item[key >> 3] = read();
    else {
      const length = read();
      item[key >> 3] = message.subarray(at, (at += length)).toString();
    }
  }
  return item;
}

const result = (settle) => new Promise((ok, failed) => settle((error, answer) => (error ? failed(error) : ok(told(answer)))));

async function all(stream) {
  const items = [];
  for await (const message of stream) items.push(told(message));
  return items;
}

const path = (method) => `/stock.Stock/${method}`;
const one = (id) => {
  const method = change === "other-method" ? "Find" : "Get";
  return result((done) => stock().makeUnaryRequest(path(method), same, same, ask(id), done));
};

function reserve(ids) {
  if (change === "dropped-call") return { 1: ids.length, 2: ids.reduce((sum, id) => sum + id, 0) };
  return result((done) => {
    const call = stock().makeClientStreamRequest(path("Reserve"), same, same, done);
    ids.forEach((id) => call.write(ask(id)));
    call.end();
  });
}

/** Asks one after the other, each when the one before was answered. */
async function watch(ids) {
  const call = stock().makeBidiStreamRequest(path("Watch"), same, same);
  const rest = [...ids];
  const next = () => (rest.length > 0 ? call.write(ask(rest.shift())) : call.end());
  next();
  const items = [];
  for await (const message of call) {
    items.push(told(message));
    next();
  }
  return items;
}

function answer(url) {
  const [name, list] = url.slice(1).split("/");
  const ids = list ? list.split(",").map(Number) : [];
  if (name === "health") return { ok: true };
  if (name === "reserve") return reserve(ids);
  if (name === "watch") return watch(ids);
  return ids.length > 0 ? one(ids[0]) : all(stock().makeServerStreamRequest(path("List"), same, same, ask(0)));
}

http
  .createServer(async (request, response) => {
    let status = 200;
    let said;
    try {
      said = await answer(request.url);
    } catch (error) {
      status = 502;
      said = { code: error.code, details: error.details };
    }
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(said));
  })
  .listen(Number(process.env.PORT), "127.0.0.1", () => console.error("shop listens"));
