// Answers every request with 1 KiB.
import { createServer } from "node:http";

const body = "x".repeat(1024);
const server = createServer((request, response) => {
  response.setHeader("Content-Length", body.length);
  response.end(body);
});
server.keepAliveTimeout = 0;
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
