"""Asks the gRPC shop on PORT for one call of each kind, inside TLS where AUTHORITY is a certificate that it is trusted by."""

import os

import grpc
from stock import fields, number

port = os.environ["PORT"]
if "AUTHORITY" in os.environ:
    trusted = grpc.ssl_channel_credentials(open(os.environ["AUTHORITY"], "rb").read())
    options = [("grpc.ssl_target_name_override", "localhost")]
    channel = grpc.secure_channel(f"127.0.0.1:{port}", trusted, options)
else:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
asks = [number(1, id) for id in (7, 8)]
print(fields(channel.unary_unary("/shop.Shop/Price")(asks[0], timeout=20)))
print([fields(price) for price in channel.unary_stream("/shop.Shop/Prices")(b"", timeout=20)])
print(fields(channel.stream_unary("/shop.Shop/Total")(iter(asks), timeout=20)))
print([fields(price) for price in channel.stream_stream("/shop.Shop/Chat")(iter(asks), timeout=20)])
try:
    channel.unary_unary("/shop.Shop/Price")(number(1, 99), timeout=20)
except grpc.RpcError as error:
    print(error.code())
