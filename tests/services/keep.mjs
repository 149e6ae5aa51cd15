// Notes kept in Redis. KEEP_CHANGE selects a build.
import { createRequire } from "node:module";
import { serve } from "./web.mjs";

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

serve("keep listens", (name) => ({ all: every, wrong })[name]?.() ?? get(name), put);
