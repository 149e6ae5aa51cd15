"""JSON and bytes over HTTP, for services that keep things elsewhere."""

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
            send(self, status, "application/json", json.dumps(said).encode())

        def log_message(self, *_):
            pass

    listen(listens, Handler)


def serve_with(listens, post):
    """The same for bytes: `post(path, content type, body)` gives the status, the content type and the body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            send(self, *post(self.path, self.headers["Content-Type"], body))

        def log_message(self, *_):
            pass

    listen(listens, Handler)


def send(handler, status, kind, body):
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def listen(listens, handler):
    server = Server((os.environ.get("LISTEN", "127.0.0.1"), int(os.environ["PORT"])), handler)
    print(listens, file=sys.stderr, flush=True)
    server.serve_forever()
