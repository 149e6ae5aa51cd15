"""A service that says, byte for byte, what a script tells it to.

Environment: PORT, DOWNSTREAM_PORT, SCRIPT (a JSON file: case name to {"entry": turns, "call": turns or null}). A turn
is [who, text, fill]: `client` or `server` says `text` (one character a byte) followed by `fill` times `x`; or
["close"]: the server of that connection closes it. A connection's first bytes name their case: `edge-NAME.`.
"""

import json
import os
import re
import socket
import sys

NAMED = re.compile(rb"edge-([a-z0-9-]+)\.")
PIECE = 1 << 16


def send(connection, text, fill):
    connection.sendall(text.encode("latin-1"))
    piece = b"x" * PIECE
    while fill:
        some = min(fill, PIECE)
        connection.sendall(piece[:some])
        fill -= some


def receive(connection, text, fill):
    left = len(text) + fill
    while left:
        some = connection.recv(min(left, PIECE))
        if not some:
            raise ConnectionError("the other side ended too early")
        left -= len(some)


def until_end(connection):
    while connection.recv(PIECE):
        pass


def call(turns):
    with socket.create_connection(("127.0.0.1", int(os.environ["DOWNSTREAM_PORT"]))) as connection:
        for who, *said in turns:
            if who == "close":
                until_end(connection)
            elif who == "client":
                send(connection, *said)
            else:
                receive(connection, *said)


def serve(connection, script):
    # Looking ahead twice must not count the bytes twice.
    connection.recv(PIECE, socket.MSG_PEEK)
    name = NAMED.search(connection.recv(PIECE, socket.MSG_PEEK))
    if name is None:
        return
    case = script[name.group(1).decode()]
    owed = case["call"]
    for who, *said in case["entry"]:
        if who == "client":
            receive(connection, *said)
            continue
        if who == "close":
            return
        if owed:
            call(owed)
            owed = None
        send(connection, *said)
    until_end(connection)


with open(os.environ["SCRIPT"], encoding="utf-8") as file:
    script = json.load(file)
listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
print("edges listens", file=sys.stderr, flush=True)
while True:
    accepted, _ = listener.accept()
    with accepted:
        try:
            serve(accepted, script)
        except ConnectionError as error:
            print(error, file=sys.stderr, flush=True)
