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

const server = http.createServer(async (request, response) => {
  const id = request.url.slice(3);
  await call("/a/" + id);
  if (mode === "fetch-timer") await new Promise((resolve) => setTimeout(resolve, 3));
  await call("/b/" + id);
  response.end(id);
});
server.listen(0, "127.0.0.1", 256, () => console.log(server.address().port));
