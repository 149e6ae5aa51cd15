"""A service whose one downstream is behind TLS: GET /price/N asks RATES_URL for a rate. RATES_FACTOR=2 is a new build."""

import http.server
import json
import os
import sys
import urllib.request


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            with urllib.request.urlopen(os.environ["RATES_URL"] + self.path) as answer:
                rate = json.load(answer)["rate"]
            status, document = 200, {"price": rate * int(os.environ.get("RATES_FACTOR", "1"))}
        except OSError as error:
            status, document = 502, {"error": str(error)}
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
print("rates listen", file=sys.stderr, flush=True)
server.serve_forever()
