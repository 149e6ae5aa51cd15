"""The gRPC shop for browsers: entries by gRPC-Web, in HTTP/1.1, in bytes or in base64. Environment as in grpc_shop.py."""

import base64

import grpc
from grpc_shop import price, prices
from web import serve_with


def frame(flags, content):
    return bytes([flags]) + len(content).to_bytes(4, "big") + content


METHODS = {"/shop.Shop/Price": lambda asked: [price(asked, None)], "/shop.Shop/Prices": lambda asked: prices(asked, None)}


def answer(path, kind, body):
    is_text = kind.startswith("application/grpc-web-text")
    asked = base64.b64decode(body) if is_text else body
    frames, status, details = b"", 0, ""
    try:
        for message in METHODS[path](asked[5:]):
            frames += frame(0, message)
    except grpc.RpcError as error:
        status, details = error.code().value[0], error.details()
    frames += frame(0x80, f"grpc-status:{status}\r\ngrpc-message:{details}\r\n".encode())
    return 200, kind, base64.b64encode(frames) if is_text else frames


serve_with("shop listens", answer)
