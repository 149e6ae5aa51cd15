"""A service that numbers its orders, from a number on that is another one at each start. COUNTER_CHANGE selects a build."""

import http.client
import itertools
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHANGE = os.environ.get("COUNTER_CHANGE", "none")
NUMBERS = itertools.count(time.time_ns() // 1000 % 10**9)


def ask(path, body):
    connection = http.client.HTTPConnection(os.environ["STORE"])
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    connection.getresponse().read()
    connection.close()


def order(asked):
    number = next(NUMBERS)
    amount = asked["amount"] + (1 if CHANGE == "amount" else 0)
    ask("/reserve", {"order": number, "amount": amount})
    ask("/pay", {"order": number + 1 if CHANGE == "other-paid" else number, "amount": amount})
    return {"number": number + 1 if CHANGE == "other-told" else number, "amount": amount}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(order(asked)).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
print("counter listens", file=sys.stderr, flush=True)
server.serve_forever()
