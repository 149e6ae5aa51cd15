"""JSON over HTTP, for services that keep things elsewhere."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    daemon_threads = True


def serve(listens, get=None, post=None):
    """Says `listens` and serves on PORT. `get(path)` and `post(path, body)`, the path without slashes at its ends, give the status
    and what is said."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.answer(*get(self.path.strip("/")))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.answer(*post(self.path.strip("/"), body))

        def answer(self, status, said):
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = Server((os.environ.get("LISTEN", "127.0.0.1"), int(os.environ["PORT"])), Handler)
    print(listens, file=sys.stderr, flush=True)
    server.serve_forever()
