// Each GET /r/ID calls the downstream twice, GET /a/ID and GET /b/ID, as the first argument says; prints its port.
//
// Environment: NODE_MODULES, the folder with the npm packages of `benches/install.sh`, for those who use one; IDS, whether it
// passes on the request id of the entry, which is made of its number.
import http from "node:http";
import { createRequire } from "node:module";
import { Worker, isMainThread, parentPort } from "node:worker_threads";

const [mode, downstream] = process.argv.slice(2);
const npm = createRequire((process.env.NODE_MODULES ?? process.cwd()) + "/");
const agent = new http.Agent({ keepAlive: true, maxSockets: mode === "pool" ? 10 : Infinity });

const passed_on = (path) =>
  process.env.IDS ? { "X-Request-Id": "request-" + path.split("/").pop() } : {};
const by_http = (path) =>
  new Promise((resolve, reject) => {
    const options = { agent, headers: passed_on(path) };
    http.get(downstream + path, options, (response) => response.resume().on("end", resolve)).on("error", reject);
  });
const by_fetch = async (path) => await (await fetch(downstream + path, { headers: passed_on(path) })).text();

// One call at a time each, as they come.
function by_workers(size) {
  const asked = new Map();
  const workers = Array.from({ length: size }, () => {
    const worker = new Worker(new URL(import.meta.url), { argv: [mode, downstream] });
    worker.on("message", (path) => asked.get(path)());
    return worker;
  });
  let turn = 0;
  return (path) =>
    new Promise((resolve) => {
      asked.set(path, resolve);
      workers[turn++ % size].postMessage(path);
    });
}

const clients = {
  http: () => by_http,
  fetch: () => by_fetch,
  axios: () => {
    const client = npm("axios").create({ httpAgent: agent });
    return (path) => client.get(downstream + path, { headers: passed_on(path) });
  },
  undici: () => {
    const pool = new (npm("undici").Pool)(downstream, { connections: 10 });
    return async (path) => (await pool.request({ path, method: "GET", headers: passed_on(path) })).body.text();
  },
  // One connection for everybody.
  ioredis: () => {
    const store = new (npm("ioredis").Redis)({ host: "127.0.0.1", port: Number(new URL(downstream).port) });
    return (path) => store.get(path);
  },
  postgres: () => {
    const { hostname, port } = new URL(downstream);
    const pool = new (npm("pg").Pool)({ host: hostname, port, user: "postgres", database: "postgres", max: 10 });
    return (path) => pool.query("SELECT $1::text FROM pg_sleep(0.0005 + random() * 0.009)", [path]);
  },
  mysql: () => {
    const { hostname, port } = new URL(downstream);
    const pool = npm("mysql2/promise").createPool({ host: hostname, port, user: "root", connectionLimit: 10 });
    return (path) => pool.query("SELECT ?, SLEEP(0.0005 + RAND() * 0.009)", [path]);
  },
  workers: () => (isMainThread ? by_workers(4) : by_http),
};

let call;
try {
  call = (clients[mode.split("-")[0]] ?? clients.http)();
} catch (error) {
  console.log(`absent ${error.message.split("\n")[0]}`);
  process.exit(1);
}

// Ten at a time; who waits is started by whoever is done, and in its context.
const waiting = [];
let running = 0;
function next() {
  if (running >= 10 || waiting.length === 0) return;
  running += 1;
  waiting.shift()();
}
const in_queue = (path) =>
  new Promise((resolve) => {
    waiting.push(async () => {
      await call(path);
      running -= 1;
      resolve();
      next();
    });
    next();
  });

const handlers = {
  parallel: (id) => Promise.all([call("/a/" + id), call("/b/" + id)]),
  queue: async (id) => {
    await in_queue("/a/" + id);
    await in_queue("/b/" + id);
  },
  sequential: async (id) => {
    await call("/a/" + id);
    if (mode.endsWith("timer")) await new Promise((resolve) => setTimeout(resolve, 3));
    await call("/b/" + id);
  },
};
const handle = handlers[mode.replace("fetch-", "")] ?? handlers.sequential;

const server = http.createServer(async (request, response) => {
  const id = request.url.slice(3);
  if (mode === "after") {
    await call("/a/" + id);
    response.end(id);
    await call("/b/" + id);
    return;
  }
  await handle(id);
  response.end(id);
});
// Longer than it takes a recording to begin on a busy machine.
server.keepAliveTimeout = 60_000;
if (mode === "background") setInterval(() => call("/x/0"), 300);

if (isMainThread) {
  server.listen(0, "127.0.0.1", 256, () => console.log(server.address().port));
} else {
  parentPort.on("message", async (path) => {
    await call(path);
    parentPort.postMessage(path);
  });
}
