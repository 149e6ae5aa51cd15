"""A service that passes every request on to one downstream connection a client connection, piece by piece as it comes.

`relay.py PLACE DOWNSTREAM` is the service; `relay.py PLACE` the downstream: it answers with the body it got. Both
keep connections open, one thread each. A place is a port, or the path of a socket file.
"""

import socket
import sys
import threading

PIECE = 1 << 16


class Ended(Exception):
    """The other side closed the connection between two messages."""


def receive(connection):
    piece = connection.recv(PIECE)
    if not piece:
        raise Ended
    return piece


def message(connection, to=None):
    """Reads one message, passing on every piece at once; gives its body."""
    said = b""
    while b"\r\n\r\n" not in said:
        piece = receive(connection)
        said += piece
        if to:
            to.sendall(piece)
    head, _, body = said.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        piece = receive(connection)
        body += piece
        if to:
            to.sendall(piece)
    return body


def listen(place):
    if place.isdigit():
        return socket.create_server(("127.0.0.1", int(place)))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen()
    return listener


def connect(place):
    if place.isdigit():
        return socket.create_connection(("127.0.0.1", int(place)))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(place)
    return connection


def relay(client, place):
    with client, connect(place) as downstream:
        try:
            while True:
                message(client, downstream)
                message(downstream, client)
        except Ended:
            pass


def echo(client):
    with client:
        try:
            while True:
                body = message(client) or b"nothing"
                head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n"
                client.sendall(head.encode() + body)
        except Ended:
            pass


def main(place, *downstream):
    with listen(place) as listener:
        print(f"relay listens on {place}", file=sys.stderr, flush=True)
        while True:
            client, _ = listener.accept()
            serve = relay if downstream else echo
            threading.Thread(target=serve, args=(client, *downstream), daemon=True).start()


main(*sys.argv[1:])
