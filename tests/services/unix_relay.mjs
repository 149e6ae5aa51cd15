// `unix_relay.mjs PATH DOWNSTREAM`: a service on a socket file that passes every request on to another one, by Node's own
// HTTP on both sides.
import http from "node:http";

const [path, downstream] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true });

const server = http.createServer((request, response) => {
    const { method, url, headers } = request;
    const call = http.request({ agent, socketPath: downstream, method, path: url, headers }, (answer) => {
        response.writeHead(answer.statusCode, { "content-type": "text/plain" });
        answer.pipe(response);
    });
    request.pipe(call);
});
server.listen(path, () => console.error(`relay listens on ${path}`));
