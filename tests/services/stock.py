"""The stock that the gRPC shops ask: one call of each kind. PORT is where it listens.

Messages are written by hand, so that no generated code is needed: stock.proto beside this file says what they are.
"""

import os
import sys
import threading
from concurrent import futures

import grpc

NAMES = {7: "pepper", 8: "salt", 9: "sugar"}


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    coded = value.encode()
    return varint(field << 3 | 2) + varint(len(coded)) + coded


def fields(message):
    """The fields of a message: numbers as int, everything else as bytes. The last of a repeated field."""
    found, at = {}, 0

    def read():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(message):
        key = read()
        if key & 7 == 0:
            found[key >> 3] = read()
        else:
            length = read()
            found[key >> 3] = message[at : at + length]
            at += length
    return found


def item(id):
    return number(1, id) + text(2, NAMES[id]) + number(3, id * 10)


def get(request, context):
    id = fields(request).get(1, 0)
    if id not in NAMES:
        context.set_trailing_metadata((("stock-known", str(len(NAMES))),))
        context.abort(grpc.StatusCode.NOT_FOUND, f"no item {id}: 100 % sure")
    return item(id)


def find(request, context):
    return get(request, context)


def list_all(request, context):
    for id in sorted(NAMES):
        yield item(id)


def reserve(requests, context):
    ids = [fields(request).get(1, 0) for request in requests]
    return number(1, len(ids)) + number(2, sum(ids))


def watch(requests, context):
    for request in requests:
        yield item(fields(request).get(1, 0))


METHODS = {
    "Get": grpc.unary_unary_rpc_method_handler(get),
    "Find": grpc.unary_unary_rpc_method_handler(find),
    "List": grpc.unary_stream_rpc_method_handler(list_all),
    "Reserve": grpc.stream_unary_rpc_method_handler(reserve),
    "Watch": grpc.stream_stream_rpc_method_handler(watch),
}


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("stock.Stock", METHODS),))
    address = f"127.0.0.1:{os.environ['PORT']}"
    certificate = os.environ.get("STOCK_CERTIFICATE")
    if certificate:
        key, chain = (open(os.environ["STOCK_KEY"], "rb").read(), open(certificate, "rb").read())
        server.add_secure_port(address, grpc.ssl_server_credentials([(key, chain)]))
    else:
        server.add_insecure_port(address)
    server.start()
    print("stock listens", file=sys.stderr, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
