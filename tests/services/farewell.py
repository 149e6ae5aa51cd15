"""A service that tells two prices as a stream of events, and ends that in good order when its client has gone.

Environment: PORT, SECOND: the second price.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Farewell(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for price in ("10", os.environ["SECOND"]):
            self.chunk(f"data: {price}\n\n")
        self.close_connection = not self.rfile.read(1)
        self.chunk("")
        print("said farewell", file=sys.stderr, flush=True)

    def chunk(self, text):
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Farewell)
print("farewell listens", file=sys.stderr, flush=True)
server.serve_forever()
