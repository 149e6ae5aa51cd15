// JSON over HTTP, for services that keep things elsewhere.
import http from "node:http";

// Serves on PORT and says `listens`: `get(path)` and `post(path, body)`, the path without its first slash, give the status and what is said.
export function serve(listens, get, post) {
  const answer = async (request) => {
    const path = request.url.slice(1);
    if (request.method !== "POST") return get(path);
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    return post(path, Buffer.concat(pieces).toString());
  };
  const server = http.createServer(async (request, response) => {
    const [status, said] = await answer(request).catch((error) => [500, { error: error.message }]);
    const body = JSON.stringify(said);
    response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
    response.end(body);
  });
  server.listen(Number(process.env.PORT), "127.0.0.1", () => console.error(listens));
}
