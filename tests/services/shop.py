"""The shop in Python: one thread a client connection, a pool of connections that all threads share.

Environment: PORT, INVENTORY_URL, PRICING_URL, SHOP_CHANGE (what the new build does differently; see model.rs).
"""

import http.client
import json
import os
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHANGE = os.environ.get("SHOP_CHANGE", "none")
INVENTORY = urllib.parse.urlsplit(os.environ["INVENTORY_URL"]).netloc
PRICING = urllib.parse.urlsplit(os.environ["PRICING_URL"]).netloc


class DownstreamFailed(Exception):
    """A downstream answered something else than 200."""

    def __init__(self, status):
        super().__init__(f"downstream answered {status}")


class Pool:
    """Idle connections by address."""

    def __init__(self):
        self.lock = threading.Lock()
        self.idle = {}

    def take(self, address):
        with self.lock:
            connections = self.idle.get(address)
            return connections.pop() if connections else None

    def give_back(self, address, connection):
        with self.lock:
            self.idle.setdefault(address, []).append(connection)


POOL = Pool()


def render(value):
    if CHANGE == "key-order" and isinstance(value, dict):
        value = dict(reversed(value.items()))
    if CHANGE == "whitespace":
        return json.dumps(value, indent=2).encode()
    return json.dumps(value, separators=(",", ":")).encode()


def exchange(connection, method, path, body, headers):
    connection.request(method, path, body=body, headers=headers)
    response = connection.getresponse()
    return response.status, response.read(), response.will_close


def call(address, method, path, payload=None, order=None):
    body, headers = None, {"Accept": "application/json"}
    if payload is not None:
        body, headers["Content-Type"] = render(payload), "application/json"
    if order is not None:
        headers["x-order" if CHANGE == "header-case" else "X-Order"] = order
    connection = None
    if CHANGE == "connection-per-call":
        headers["Connection"] = "close"
    else:
        connection = POOL.take(address)
    answer = None
    if connection is not None:
        try:
            answer = exchange(connection, method, path, body, headers)
        except (http.client.RemoteDisconnected, ConnectionError):
            connection.close()  # It went stale in the pool.
    if answer is None:
        connection = http.client.HTTPConnection(address)
        answer = exchange(connection, method, path, body, headers)
    status, content, closes = answer
    if closes:
        connection.close()
    else:
        POOL.give_back(address, connection)
    if status != 200:
        raise DownstreamFailed(status)
    return content


def call_json(*args, **named):
    return json.loads(call(*args, **named))


def stock(order):
    path = "/stocks/" if CHANGE == "wrong-path" else "/stock/"
    if CHANGE == "extra-call":
        call_json(INVENTORY, "GET", f"{path}sku-{order}", order=order)
    return call_json(INVENTORY, "GET", f"{path}sku-{order}", order=order)


def quote(order, sku, quantity):
    address = INVENTORY if CHANGE == "wrong-downstream" else PRICING
    asked = quantity + 1 if CHANGE == "changed-argument" else quantity
    priced = call_json(address, "POST", "/quote", {"order": order, "sku": sku, "quantity": asked}, order=order)
    hundredths = priced["unit_cents"] * quantity * (100 - SETTINGS["discount"])
    return (hundredths + 50) // 100 if CHANGE == "rounding" else hundredths // 100


def get_order(order):
    held = stock(order)
    total = quote(order, held["sku"], 3)
    answer = {"id": order, "sku": held["sku"], "available": held["available"], "total": total}
    if CHANGE == "type":
        answer["available"] = str(answer["available"])
    if CHANGE != "missing-field":
        answer["currency"] = "USD" if CHANGE == "value" else SETTINGS["currency"]
    return 200, "application/json", render(answer)


def post_order(asked):
    total = quote(asked["id"], asked["sku"], asked["quantity"])
    if CHANGE != "omitted-call":
        call_json(INVENTORY, "POST", "/reserve", asked, order=asked["id"])
    return 200 if CHANGE == "status" else 201, "application/json", render({"id": asked["id"], "total": total})


def report():
    if CHANGE == "crash":
        os._exit(1)
    if CHANGE == "hang":
        threading.Event().wait()
    return 200, "text/plain", b"stock levels\n" + call(INVENTORY, "GET", "/levels")


def broken():
    try:
        call(PRICING, "POST", "/fail", {"reason": "test"})
    except DownstreamFailed:
        if CHANGE != "swallowed-error":
            raise
    return 200, "application/json", render({"ok": True})


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        if self.path == "/health":
            self.answer(200, "text/plain", b"ok\n")
        elif self.path.startswith("/orders/"):
            self.attempt(get_order, self.path.removeprefix("/orders/"))
        elif self.path == "/report":
            self.attempt(report)
        elif self.path == "/broken":
            self.attempt(broken)
        else:
            self.answer(404, "text/plain", b"no such path\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/orders":
            self.attempt(post_order, json.loads(body))
        else:
            self.answer(404, "text/plain", b"no such path\n")

    def attempt(self, work, *args):
        try:
            answer = work(*args)
        except DownstreamFailed as failed:
            answer = 502, "application/json", render({"error": str(failed)})
        self.answer(*answer)

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-TYPE" if CHANGE == "header-case" else "Content-Type", kind)
        if CHANGE != "header-dropped":
            self.send_header("cache-control" if CHANGE == "header-case" else "Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *args):
        if CHANGE == "log-line":
            print("a line that the old build did not write:", *args, file=sys.stderr)


if CHANGE == "exits-early":
    sys.exit(3)
SETTINGS = call_json(INVENTORY, "GET", "/config")
if CHANGE == "never-listens":
    threading.Event().wait()


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


server = Server(("127.0.0.1", int(os.environ["PORT"])), Shop)
print("shop listens", file=sys.stderr, flush=True)
server.serve_forever()
