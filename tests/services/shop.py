"""The shop in Python: one thread a client connection, a pool of connections that all threads share.

Environment: PORT, INVENTORY_URL, PRICING_URL, and what the new build does differently (see tests/matrix): SHOP_CHANGE,
the name of a change in this file, or SHOP_EDIT, a change of what is said: {at, operation, part, from, to}.
"""

import gzip
import http.client
import json
import os
import socket
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHANGE = os.environ.get("SHOP_CHANGE", "none")
INVENTORY = urllib.parse.urlsplit(os.environ["INVENTORY_URL"]).netloc
PRICING = urllib.parse.urlsplit(os.environ["PRICING_URL"]).netloc
EDIT = json.loads(os.environ.get("SHOP_EDIT", "null"))
JSON, TEXT, HTML = "application/json", "text/plain", "text/html; charset=utf-8"


def edit(at, operation, part, value):
    """The value as the new build says it: `from` replaced by `to`, all of it where `from` is empty."""
    wanted = EDIT and (EDIT["at"], EDIT["part"]) == (at, part) and operation.startswith(EDIT["operation"])
    if not wanted:
        return value
    if EDIT["from"] not in value:
        print("there is nothing to edit in", value, file=sys.stderr)
        os._exit(4)
    return value.replace(EDIT["from"], EDIT["to"]) if EDIT["from"] else EDIT["to"]


def edit_headers(at, operation, headers):
    """Headers edited to nothing are left out; the part `header` is one more."""
    headers = [(name, edit(at, operation, "header/" + name.lower(), value)) for name, value in headers]
    added = edit(at, operation, "header", "")
    if added:
        headers.append(tuple(added.split(": ", 1)))
    return [(name, value) for name, value in headers if value]


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
    connection.request(method, path, body=body, headers=dict(headers))
    response = connection.getresponse()
    closes = response.getheader("Connection", "").lower() == "close"
    return response.status, response.read(), closes


def call(address, method, path, payload=None, order=None, key=None):
    operation, body, headers = f"{method} {path}", None, [("Accept", JSON)]
    if payload is not None:
        body = edit("call", operation, "body", render(payload).decode()).encode()
        headers.append(("Content-Type", JSON))
    if order is not None:
        headers.append(("x-order" if CHANGE == "header-case" else "X-Order", order))
    if key is not None:
        headers.append(("Idempotency-Key", key))
    headers = edit_headers("call", operation, headers)
    if CHANGE == "headers-reordered":
        headers.reverse()
    method, path = edit("call", operation, "method", method), edit("call", operation, "target", path)
    connection = None
    if CHANGE == "connection-per-call":
        headers.append(("Connection", "close"))
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
    return 200, JSON, render(answer)


def post_order(asked):
    total = quote(asked["id"], asked["sku"], asked["quantity"])
    if CHANGE != "omitted-call":
        call_json(INVENTORY, "POST", "/reserve", asked, order=asked["id"])
    return 200 if CHANGE == "status" else 201, JSON, render({"id": asked["id"], "total": total})


CACHE = {}


def lines(order):
    if order not in CACHE or CHANGE != "stale-cache":
        CACHE[order] = call(INVENTORY, "GET", f"/lines?order={order}&page=1&size=3", order=order)
    return CACHE[order]


def rates(order):
    return call(PRICING, "GET", "/rates?on=2026-03-29", order=order)


def get_receipt(order):
    if CHANGE == "connects-elsewhere":
        socket.create_connection(ELSEWHERE).close()
    if CHANGE in LEFT_OPEN:
        to, once, most = LEFT_OPEN[CHANGE]
        OPEN.extend(socket.create_connection(to) for _ in range(min(once, most - len(OPEN))))
    if CHANGE == "reads-swapped":
        rated = rates(order)
        held = lines(order)
    else:
        held = lines(order)
        rated = b'{"EUR":1,"USD":1.25}' if CHANGE == "read-dropped" else rates(order)
    if CHANGE == "n-plus-one":
        for line in json.loads(held)["lines"]:
            call(INVENTORY, "GET", f"/stock/{line['sku']}", order=order)
    body = b'{"id":"%s","receipt":%s,"rates":%s}' % (order.encode(), held, rated)
    return 200, JSON, body, [("ETag", '"r7"'), ("Vary", "Accept")]


ELSEWHERE = ("127.0.0.1", 9)
# Where to, how many with each receipt, and how many in all.
LEFT_OPEN = {
    "leaked-connection": (tuple(PRICING.split(":")), 1, 1000),
    "leaked-elsewhere": (ELSEWHERE, 1, 1000),
    "spare-connections": (tuple(PRICING.split(":")), 8, 8),
    "growing-pool": (tuple(PRICING.split(":")), 1, 10),
}
OPEN = []


def get_page(order):
    text = json.loads(lines(order))
    page = f"<h1>Receipt {order}</h1>\n<p>{text['customer']}: salt &amp; &lt;pepper&gt;</p>\n"
    return 200, HTML, page.encode()


def post_payment(asked):
    order = asked["order"]

    def authorize():
        call(PRICING, "POST", "/authorize", asked, order=order, key=f"pay-{order}")

    def mark_paid():
        call(INVENTORY, "PUT", f"/orders/{order}/state", {"state": "paid"}, order=order)

    writes = [mark_paid, authorize] if CHANGE == "writes-reordered" else [authorize, mark_paid]
    if CHANGE == "double-submit":
        writes.insert(1, authorize)
    for write in writes:
        write()
    if CHANGE != "write-dropped":
        call(INVENTORY, "DELETE", f"/holds/{order}", order=order)
    cookie = f"paid={order}; Path=/; Secure; HttpOnly; SameSite=Lax"
    return 303, TEXT, b"paid\n", [("Location", f"/receipts/{order}"), ("Set-Cookie", cookie)]


def report():
    if CHANGE == "crash":
        os._exit(1)
    if CHANGE == "hang":
        threading.Event().wait()
    return 200, TEXT, b"stock levels\n" + call(INVENTORY, "GET", "/levels")


def broken():
    try:
        call(PRICING, "POST", "/fail", {"reason": "test"})
    except DownstreamFailed:
        if CHANGE == "retry-added":
            call(PRICING, "POST", "/fail", {"reason": "test"})
        if CHANGE != "swallowed-error":
            raise
    return 200, JSON, render({"ok": True})


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        if self.path == "/health":
            self.answer(200, TEXT, b"ok\n")
        elif self.path.startswith("/orders/"):
            self.attempt(get_order, self.path.removeprefix("/orders/"))
        elif self.path.startswith("/receipts/"):
            self.attempt(get_receipt, self.path.removeprefix("/receipts/"))
        elif self.path.startswith("/pages/"):
            self.attempt(get_page, self.path.removeprefix("/pages/"))
        elif self.path == "/report":
            self.attempt(report)
        elif self.path == "/broken":
            self.attempt(broken)
        else:
            self.answer(404, TEXT, b"no such path\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/orders":
            self.attempt(post_order, json.loads(body))
        elif self.path == "/payments":
            self.attempt(post_payment, json.loads(body))
        else:
            self.answer(404, TEXT, b"no such path\n")

    def attempt(self, work, *args):
        try:
            answer = work(*args)
        except DownstreamFailed as failed:
            answer = 502, JSON, render({"error": str(failed)})
        self.answer(*answer)

    def answer(self, status, kind, body, more=()):
        operation = f"{self.command} {self.path}"
        status = int(edit("answer", operation, "status", str(status)))
        body = edit("answer", operation, "body", body.decode()).encode()
        headers = [("content-TYPE" if CHANGE == "header-case" else "Content-Type", kind)]
        if CHANGE != "header-dropped":
            headers.append(("cache-control" if CHANGE == "header-case" else "Cache-Control", "no-store"))
        headers = edit_headers("answer", operation, [*headers, *more])
        if CHANGE == "latin-1":
            body = body.decode().encode("latin-1")
        if CHANGE == "gzip" and body:
            body = gzip.compress(body)
            headers.append(("Content-Encoding", "gzip"))
        if CHANGE == "connection-closed":
            headers.append(("Connection", "close"))
        if CHANGE == "chunked":
            headers.append(("Transfer-Encoding", "chunked"))
            body = b"1\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (body[:1], len(body) - 1, body[1:])
        else:
            headers.append(("Content-Length", str(len(body))))
        if CHANGE == "headers-reordered":
            headers.reverse()
        if CHANGE == "http-1.0":
            self.protocol_version, self.close_connection = "HTTP/1.0", True
        self.send_response(status, "As You Like It" if CHANGE == "reason-phrase" else None)
        for header in headers:
            self.send_header(*header)
        self.end_headers()
        half = len(body) // 2 if CHANGE == "two-writes" else len(body)
        for part in (body[:half], body[half:]):
            self.wfile.write(part)
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
