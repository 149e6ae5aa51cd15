// Each GET /r/ID calls the downstream twice, GET /a/ID and GET /b/ID, as the first argument says; prints its port.
import http from "node:http";

const [mode, downstream] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: mode === "pool" ? 10 : Infinity });

const by_http = (path) =>
  new Promise((resolve, reject) => {
    http.get(downstream + path, { agent }, (response) => response.resume().on("end", resolve)).on("error", reject);
  });
const by_fetch = async (path) => await (await fetch(downstream + path)).text();
const call = mode.startsWith("fetch") ? by_fetch : by_http;

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
server.listen(0, "127.0.0.1", 256, () => console.log(server.address().port));
