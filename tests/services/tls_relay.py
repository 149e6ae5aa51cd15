"""Passes every request on to DOWN and its answer back. HTTPS where CERT names a certificate, with its key in KEY; AUTHORITY
is trusted. A thread a connection; the calls are made with requests."""

import http.server
import os
import ssl
import sys

import requests


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(self.command, os.environ["DOWN"] + self.path, data=body or None,
                                     verify=os.environ["AUTHORITY"])
        self.send_response(answer.status_code)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_POST = do_GET

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
if os.environ.get("CERT"):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(os.environ["CERT"], os.environ["KEY"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print("relay listens", file=sys.stderr, flush=True)
server.serve_forever()
