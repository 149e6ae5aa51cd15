"""A service that makes up something new at each request: a booking has an id, a key and times, an order a number, from one on
that is another at each start. LEDGER_CHANGE selects a build."""

import http.client
import itertools
import json
import os
import sys
import time
import uuid
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHANGE = os.environ.get("LEDGER_CHANGE", "none")
TENANT = "0b8f3a52-6c1d-4e7a-9f20-5d3c8e1b7a64" if CHANGE == "other-tenant" else "7d1c2b3a-4e5f-4a6b-8c7d-9e0f1a2b3c4d"

NUMBERS = itertools.count(time.time_ns() // 1000 % 10**9)


def ask(method, path, body=None):
    connection = http.client.HTTPConnection(os.environ["STORE"])
    text = None if body is None else json.dumps(body)
    connection.request(method, path, text, {"Content-Type": "application/json", "X-Tenant": TENANT})
    connection.getresponse().read()
    connection.close()


def order(asked):
    number = next(NUMBERS)
    amount = asked["amount"] + (1 if CHANGE == "amount" else 0)
    ask("POST", "/reserve", {"order": number, "amount": amount})
    ask("POST", "/pay", {"order": number + 1 if CHANGE == "other-paid" else number, "amount": amount})
    return {"number": number + 1 if CHANGE == "other-told" else number, "amount": amount}


def booking(asked):
    number, key = str(uuid.uuid4()), str(uuid.uuid4())
    now = datetime.now(timezone.utc)
    lasts = timedelta(hours=2 if CHANGE == "lasts-longer" else 1)
    amount = asked["amount"] + (1 if CHANGE == "amount" else 0)
    kept = {
        "id": number,
        "key": number if CHANGE == "one-key" else key,
        "amount": amount,
        "at": now.isoformat(),
        "expires": int((now + lasts).timestamp()),
    }
    ask("PUT", "/bookings/" + number, kept)
    audited = str(uuid.uuid4()) if CHANGE == "other-id" else number
    ask("POST", "/audit", {"of": audited, "on": now.date().isoformat()})
    return {
        "booking": key if CHANGE == "wrong-answer" else number,
        "at": now.isoformat(),
        "amount": amount,
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps((order if self.path == "/orders" else booking)(asked)).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
print("ledger listens", file=sys.stderr, flush=True)
server.serve_forever()
