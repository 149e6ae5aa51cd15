"""A service whose answers and calls are never the same twice, in Python.

Environment: PORT, INVENTORY_URL, NOISY_REGION (goes into every answer), NOISY_CHANGE (what a new build
does wrong: `total` and `quantity` beside what varies, `id` and `tags` in it).
"""

import http.client
import json
import os
import random
import secrets
import sys
import urllib.parse
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHANGE = os.environ.get("NOISY_CHANGE", "none")
REGION = os.environ.get("NOISY_REGION", "nowhere")
INVENTORY = urllib.parse.urlsplit(os.environ["INVENTORY_URL"]).netloc


def reserve(sku, quantity):
    asked = {"key": str(uuid.uuid4()), "sku": sku, "quantity": quantity + 1 if CHANGE == "quantity" else quantity}
    headers = {"Content-Type": "application/json", "X-Request-Key": secrets.token_hex(8)}
    connection = http.client.HTTPConnection(INVENTORY)
    connection.request("POST", "/reserve", body=json.dumps(asked), headers=headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer["reserved"]


def tell_all():
    shelves = list(range(1, 7))
    random.shuffle(shelves)
    connection = http.client.HTTPConnection(INVENTORY)
    for shelf in shelves:
        connection.request("POST", f"/shelves/{shelf}")
        connection.getresponse().read()
    connection.close()


def parcels():
    made = [{"id": number, "label": secrets.token_hex(8), "size": "small"} for number in range(1, 7)]
    random.shuffle(made)
    return made


def order(sku, quantity):
    tags = ["cold", "fragile", "gift", "heavy", "insured", "urgent"]
    random.shuffle(tags)
    if CHANGE == "tags":
        tags.remove("urgent")
    return {
        "id": str(uuid.uuid4()) if CHANGE != "id" else "unknown",
        "created_at": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
        "lottery": random.randrange(1, 10**9),
        "tags": tags,
        "region": REGION,
        "reserved": reserve(sku, quantity),
        "total": 12.5 * quantity if CHANGE != "total" else 12.0 * quantity,
    }


class Noisy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/told":
            tell_all()
        self.answer(200, {"parcels": parcels()} if self.path == "/parcels" else {"health": "ok"})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(201, order(asked["sku"], asked["quantity"]))

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status == 201:
            self.send_header("X-Request-Id", secrets.token_hex(8))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Noisy)
print("noisy listens", file=sys.stderr, flush=True)
server.serve_forever()
