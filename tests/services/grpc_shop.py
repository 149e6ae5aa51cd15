"""A shop whose stock is a gRPC service.

Environment: PORT, SHOP_ENTRY (`grpc` for entries by gRPC, else they come by HTTP/1.1), STOCK (host:port), STOCK_TLS
(where the stock is behind TLS), and SHOP_CHANGE, the name of what the new build does differently.
"""

import os
import queue
import sys
import threading
from concurrent import futures

import grpc
from stock import fields, number, text
from web import serve

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


def entry(path, _body=None):
    kind, *numbers = path.split("/")
    ids = [int(id) for id in numbers[0].split(",")] if numbers else []
    try:
        if kind == "health":
            return 200, {"ok": True}
        if kind == "items":
            return 200, one(ids[0]) if ids else all_items()
        return 200, reserve(ids) if kind == "reserve" else watch(ids)
    except grpc.RpcError as error:
        return 502, {"code": error.code().name, "details": error.details()}


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
    if os.environ.get("SHOP_ENTRY") != "grpc":
        serve("shop listens", entry, entry)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Shop", METHODS),))
    server.add_insecure_port("127.0.0.1:" + os.environ["PORT"])
    server.start()
    print("shop listens", file=sys.stderr, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
