"""A shop whose stock is a gRPC service.

Environment: PORT, SHOP_ENTRY (`grpc` for entries by gRPC, else they come by HTTP/1.1), STOCK (host:port), STOCK_TLS
(where the stock is behind TLS), and SHOP_CHANGE, the name of what the new build does differently.
"""

import json
import os
import queue
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from stock import fields, number, text

CHANGE = os.environ.get("SHOP_CHANGE", "none")
STOCK = os.environ["STOCK"]


def connect():
    # A channel of its own, not one of those that are shared by address.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    if "STOCK_TLS" in os.environ:
        return grpc.secure_channel(STOCK, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(STOCK, options)


CHANNEL = connect()


def stock(kind, method):
    channel = connect() if CHANGE == "channel-per-call" else CHANNEL
    return getattr(channel, kind)(f"/stock.Stock/{method}")


def ask(id):
    return number(1, id + 1 if CHANGE == "changed-field" else id) + text(2, "shop")


def told(message):
    item = fields(message)
    return {"id": item[1], "name": item[2].decode(), "quantity": item[3]}


def one(id):
    method = "Find" if CHANGE == "other-method" else "Get"
    return told(stock("unary_unary", method)(ask(id), timeout=20))


def all_items():
    return [told(message) for message in stock("unary_stream", "List")(ask(0), timeout=20)]


def reserve(ids):
    if CHANGE == "dropped-call":
        return {"items": len(ids), "sum": sum(ids)}
    answer = fields(stock("stream_unary", "Reserve")(iter([ask(id) for id in ids]), timeout=20))
    return {"items": answer[1], "sum": answer[2]}


def watch(ids):
    """Asks one after the other, each when the one before was answered."""
    asked = queue.Queue()
    answers = stock("stream_stream", "Watch")(iter(asked.get, None), timeout=20)
    items = []
    for id in ids:
        asked.put(ask(id))
        items.append(told(next(answers)))
    asked.put(None)
    return items + [told(message) for message in answers]


class Entry(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def answer(self):
        path = self.path.strip("/").split("/")
        ids = [int(id) for id in path[1].split(",")] if len(path) > 1 else []
        try:
            if path[0] == "health":
                said = {"ok": True}
            elif path[0] == "items":
                said = one(ids[0]) if ids else all_items()
            elif path[0] == "reserve":
                said = reserve(ids)
            else:
                said = watch(ids)
            status = 200
        except grpc.RpcError as error:
            status, said = 502, {"code": error.code().name, "details": error.details()}
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def price(request, context):
    item = one(fields(request)[1])
    return number(1, item["id"]) + number(2, item["quantity"] * (4 if CHANGE == "other-price" else 3))


def prices(request, context):
    for item in all_items():
        yield number(1, item["id"]) + number(2, item["quantity"] * 3)


def total(requests, context):
    return number(1, sum(one(fields(request)[1])["quantity"] for request in requests))


def chat(requests, context):
    for request in requests:
        yield price(request, context)


METHODS = {
    "Price": grpc.unary_unary_rpc_method_handler(price),
    "Prices": grpc.unary_stream_rpc_method_handler(prices),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}


def main():
    address = ("127.0.0.1", int(os.environ["PORT"]))
    if os.environ.get("SHOP_ENTRY") == "grpc":
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Shop", METHODS),))
        server.add_insecure_port("%s:%d" % address)
        server.start()
        print("shop listens", file=sys.stderr, flush=True)
        threading.Event().wait()
    entries = ThreadingHTTPServer(address, Entry)
    print("shop listens", file=sys.stderr, flush=True)
    entries.serve_forever()


if __name__ == "__main__":
    main()
