"""What a command line client, which the arguments are, prints for the commands in a request's body. It is run for each request."""

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        commands = self.rfile.read(int(self.headers["Content-Length"]))
        printed = subprocess.run(sys.argv[1:], input=commands, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(printed.stdout)))
        self.end_headers()
        self.wfile.write(printed.stdout)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
print("terminal listens", file=sys.stderr, flush=True)
server.serve_forever()
