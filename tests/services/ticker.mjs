// A service that tells prices as a stream of events, and its log as a value a line.
//
// Arguments: the port, and the name of what the new build does differently (see tests/matrix/streams.rs).
import http from "node:http";

const [port, change] = process.argv.slice(2);

function said(value) {
  const text = JSON.stringify(value);
  return change === "json-spaces" ? text.replaceAll(",", ", ").replaceAll(":", ": ") : text;
}

function events() {
  const orders = { "events-swapped": [1, 3, 2], "event-lost": [1, 3], "event-added": [1, 2, 2, 3] };
  const end = change === "line-ends" ? "\r\n" : "\n";
  const colon = change === "no-space" ? ":" : ": ";
  return (orders[change] ?? [1, 2, 3]).map((number) => {
    const price = change === "event-value" && number === 3 ? 101 : number * 10;
    const name = change === "event-name" && number === 3 ? "cost" : "price";
    const at = change === "event-id" && number === 3 ? 4 : number;
    const data = said({ sku: `tea-${number}`, price });
    const lines = [`event${colon}${name}`, `id${colon}${at}`, `data${colon}${data}`, ""];
    if (change === "comments") lines.unshift(": ping");
    if (change === "retry" && number === 1) lines.unshift("retry: 500");
    return lines.map((line) => line + end).join("");
  });
}

function records() {
  const empty = change === "empty-lines" ? "\n" : "";
  return (change === "record-lost" ? [1, 3] : [1, 2, 3]).map((number) => {
    const level = change === "record-value" && number === 2 ? 9 : number;
    return `${said({ line: number, level })}\n${empty}`;
  });
}

// Events until the client leaves.
function endless(response) {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  let number = 0;
  const tick = setInterval(() => {
    number += 1;
    response.write(`data: ${change === "tick-value" && number === 2 ? 9 : number}\n\n`);
  }, 20);
  response.on("close", () => clearInterval(tick));
}

async function serve(request, response) {
  if (request.url === "/endless") return endless(response);
  const streams = request.url === "/prices";
  const [kind, pieces, wait] = streams ? ["text/event-stream", events(), 200] : ["application/x-ndjson", records(), 0];
  const whole = pieces.join("");
  const length = change === "length-said" ? { "Content-Length": whole.length } : {};
  response.writeHead(200, { "Content-Type": kind, ...length });
  for (const [number, piece] of pieces.entries()) {
    if (number === 1) await new Promise((done) => setTimeout(done, wait));
    if (change === "held-back" || change === "length-said") continue;
    if (change === "in-two-chunks") response.write(piece.slice(0, 7));
    response.write(change === "in-two-chunks" ? piece.slice(7) : piece);
  }
  response.end(change === "held-back" || change === "length-said" ? whole : undefined);
}

http.createServer(serve).listen(Number(port), "127.0.0.1", 128, () => console.error("ticker listens"));
