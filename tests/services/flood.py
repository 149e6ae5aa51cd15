"""GET /N answers with a mebibyte that only N has, in one write."""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Flood(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        line = f"{self.path[1:]:>15}\n".encode()
        body = line * (1 << 16)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Flood)
print("flood listens", file=sys.stderr, flush=True)
server.serve_forever()
