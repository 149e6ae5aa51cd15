"""A service that opens a connection for each request, says nothing on it and leaves it open.

Environment: PORT, HOLD: where the connection goes to, host:port.
"""

import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST, PORT = os.environ["HOLD"].split(":")
HELD = []


class Holder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        HELD.append(socket.create_connection((HOST, int(PORT))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Holder)
print("holder listens", file=sys.stderr, flush=True)
server.serve_forever()
