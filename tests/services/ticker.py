"""A service that tells prices as a stream of events, and its log as a value a line.

Arguments: the port, and the name of what the new build does differently (see tests/matrix/streams.rs).
"""

import itertools
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHANGE = sys.argv[2]
SPACES = (", ", ": ") if CHANGE == "json-spaces" else (",", ":")


def said(value):
    return json.dumps(value, separators=SPACES)


def events():
    numbers = [1, 2, 3]
    if CHANGE == "events-swapped":
        numbers = [1, 3, 2]
    if CHANGE == "event-lost":
        numbers = [1, 3]
    if CHANGE == "event-added":
        numbers = [1, 2, 2, 3]
    end = "\r\n" if CHANGE == "line-ends" else "\n"
    colon = ":" if CHANGE == "no-space" else ": "
    for number in numbers:
        price = 101 if CHANGE == "event-value" and number == 3 else number * 10
        name = "cost" if CHANGE == "event-name" and number == 3 else "price"
        at = 4 if CHANGE == "event-id" and number == 3 else number
        data = said({"sku": f"tea-{number}", "price": price})
        lines = [f"event{colon}{name}", f"id{colon}{at}", f"data{colon}{data}", ""]
        if CHANGE == "comments":
            lines.insert(0, ": ping")
        if CHANGE == "retry" and number == 1:
            lines.insert(0, "retry: 500")
        yield "".join(line + end for line in lines).encode()


def wait_for_next(seconds):
    """The next price is not known at once: what is judged is that those that are known are sent by then."""
    time.sleep(seconds)


def records():
    numbers = [1, 2, 3]
    if CHANGE == "record-lost":
        numbers = [1, 3]
    empty = "\n" if CHANGE == "empty-lines" else ""
    for number in numbers:
        level = 9 if CHANGE == "record-value" and number == 2 else number
        yield (said({"line": number, "level": level}) + "\n" + empty).encode()


class Ticker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/endless":
            self.endless()
            return
        streams = self.path == "/prices"
        kind, pieces = ("text/event-stream", events()) if streams else ("application/x-ndjson", records())
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if CHANGE == "length-said":
            whole = b"".join(pieces)
            if streams:
                wait_for_next(0.2)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        held = []
        for number, piece in enumerate(pieces):
            if streams and number == 1:
                wait_for_next(0.2)
            if CHANGE == "held-back":
                held.append(piece)
            elif CHANGE == "in-two-chunks":
                self.chunk(piece[:7])
                self.chunk(piece[7:])
            else:
                self.chunk(piece)
        if held:
            self.chunk(b"".join(held))
        self.chunk(b"")

    def endless(self):
        """Events until the client leaves."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        try:
            for number in itertools.count(1):
                tick = 9 if CHANGE == "tick-value" and number == 2 else number
                self.chunk(b"data: %d\n\n" % tick)
                wait_for_next(0.02)
        except OSError:
            pass

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


server = Server(("127.0.0.1", int(sys.argv[1])), Ticker)
print("ticker listens", file=sys.stderr, flush=True)
server.serve_forever()
