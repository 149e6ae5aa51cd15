// Passes every request on to DOWN and its answer back. HTTPS where CERT names a certificate, with its key in KEY;
// AUTHORITY is trusted.

import fs from "node:fs";
import http from "node:http";
import https from "node:https";

const { PORT, DOWN, CERT, KEY, AUTHORITY } = process.env;
const calls = DOWN.startsWith("https") ? https : http;
const agent = new calls.Agent({ keepAlive: true, ca: fs.readFileSync(AUTHORITY) });

async function whole(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

async function serve(request, response) {
  const body = await whole(request);
  const headers = body.length > 0 ? { "content-length": body.length } : {};
  const call = calls.request(DOWN + request.url, { agent, method: request.method, headers }, async (answer) => {
    const content = await whole(answer);
    response.writeHead(answer.statusCode, { "content-length": content.length });
    response.end(content);
  });
  call.end(body);
}

const server = CERT
  ? https.createServer({ cert: fs.readFileSync(CERT), key: fs.readFileSync(KEY) }, serve)
  : http.createServer(serve);
server.listen(Number(PORT), "127.0.0.1", () => console.error("relay listens"));
