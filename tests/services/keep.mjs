// Notes kept in Redis. KEEP_CHANGE selects a build.
import http from "node:http";
import { createRequire } from "node:module";

const require = createRequire(process.env.MODULES + "/");
const { Redis } = require("ioredis");

const change = process.env.KEEP_CHANGE ?? "none";
const [host, port] = process.env.STORE.split(":");
const connect = () => new Redis({ host, port: Number(port), db: 1, connectionName: change });
const pool = Array.from({ length: change === "small-pool" ? 1 : 4 }, connect);
let turn = 0;
const store = () => pool[turn++ % pool.length];

async function put(name, body) {
  const key = change === "other-key" ? `notes:${name}` : `note:${name}`;
  const length = body.length + (change === "other-value" ? 1 : 0);
  let keeps = store().multi().set(key, JSON.stringify({ text: body, length }));
  if (change !== "dropped-command") keeps = keeps.incrby("count", 1);
  await keeps.exec();
  if (change === "extra-command") await store().expire(key, 60);
  if (change !== "dropped-call") await store().lpush("recent", name);
  return [201, { kept: name, count: Number(await store().get("count")) }];
}

async function get(name) {
  if (change === "reconnects") {
    const number = turn % pool.length;
    pool[number].disconnect();
    pool[number] = connect();
  }
  const kept = await store().get(`note:${name}`);
  return kept === null ? [404, { error: `no note ${name}` }] : [200, { name, note: JSON.parse(kept) }];
}

async function every() {
  const names = await store().lrange("recent", 0, change === "other-range" ? 1 : -1);
  const kept = await store().mget(names.map((name) => `note:${name}`));
  const picture = await store().getBuffer("picture");
  return [200, { notes: kept.filter(Boolean).map((note) => JSON.parse(note)), picture: picture?.toString("hex") ?? null }];
}

async function wrong() {
  try {
    await store().incrby("recent", 1);
    return [200, {}];
  } catch (error) {
    return [409, { error: error.message }];
  }
}

async function answer(request) {
  const name = request.url.slice(1);
  if (request.method === "POST") {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    return put(name, Buffer.concat(pieces).toString());
  }
  return { all: every, wrong }[name]?.() ?? get(name);
}

const server = http.createServer(async (request, response) => {
  const [status, said] = await answer(request).catch((error) => [500, { error: String(error) }]);
  const body = JSON.stringify(said);
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
  response.end(body);
});
server.listen(Number(process.env.PORT), "127.0.0.1", () => console.error("keep listens"));
