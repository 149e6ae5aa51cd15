"""An HTTP service that moves bodies by the system calls that its path names, and says both bodies' SHA-256.

POST /RECEIVE/SEND/LENGTH/ANY: reads the body by the one, and answers by the other with LENGTH random bytes. Heads are read and written by
recv and send. Several ways are made of raw system calls, x86-64.
"""

import ctypes
import hashlib
import os
import random
import socket
import sys
import tempfile
import threading

PIECE = 1 << 18
LIBC = ctypes.CDLL(None, use_errno=True)
SO_ZEROCOPY, MSG_ZEROCOPY = 60, 0x4000000
PREADV2, PWRITEV2, RECVMMSG, SENDMMSG = 327, 328, 299, 307


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Header(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vector", ctypes.POINTER(Vector)),
        ("vector_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class Message(ctypes.Structure):
    _fields_ = [("header", Header), ("length", ctypes.c_uint32)]


def call(number, *arguments):
    moved = LIBC.syscall(ctypes.c_long(number), *arguments)
    if moved < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return moved


def address_of(view):
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def halves(view):
    """Two vectors over a writable view, the second one longer."""
    middle = len(view) // 3
    start = address_of(view)
    return (Vector * 2)(Vector(start, middle), Vector(start + middle, len(view) - middle))


def by_vectors(number):
    def move(connection, view):
        nowhere = ctypes.c_long(-1)
        return call(number, connection.fileno(), halves(view), ctypes.c_long(2), nowhere, nowhere, ctypes.c_long(0))

    return move


def by_messages(number):
    """Two messages in one call. What a partial one leaves is for the next call."""

    def move(connection, view):
        vectors = halves(view)
        messages = (Message * 2)()
        used = [i for i in range(2) if vectors[i].length]
        for place, i in enumerate(used):
            messages[place].header.vector = ctypes.pointer(vectors[i])
            messages[place].header.vector_length = 1
        # MSG_WAITALL where it receives: a message that is not full may not be followed by another.
        flags = socket.MSG_WAITALL if number == RECVMMSG else 0
        count = call(number, connection.fileno(), messages, ctypes.c_long(len(used)), ctypes.c_long(flags), None)
        return sum(messages[place].length for place in range(count))

    return move


def by_read(connection, view):
    piece = os.read(connection.fileno(), len(view))
    view[: len(piece)] = piece
    return len(piece)


def peek_first(connection, view):
    peeked = connection.recv(min(len(view), 1000), socket.MSG_PEEK)
    moved = connection.recv_into(view)
    assert view[: min(moved, len(peeked))] == peeked[:moved]
    return moved


def in_part(connection, view):
    """Without waiting, so that many of the writes move less than they were asked to."""
    connection.setblocking(False)
    try:
        return connection.send(view)
    except BlockingIOError:
        return 0
    finally:
        connection.setblocking(True)


def by_sendfile(connection, view):
    with tempfile.TemporaryFile() as file:
        file.write(view)
        file.flush()
        return os.sendfile(connection.fileno(), file.fileno(), 0, len(view))


def by_splice(connection, view):
    out, into = os.pipe()
    try:
        some = os.write(into, view[: 1 << 16])
        left = some
        while left:
            left -= os.splice(out, connection.fileno(), left)
        return some
    finally:
        os.close(out)
        os.close(into)


RECEIVE = {
    "read": by_read,
    "recv": lambda connection, view: connection.recv_into(view),
    "readv": lambda connection, view: os.readv(connection.fileno(), [view[:7], view[7:]]),
    "preadv2": by_vectors(PREADV2),
    "recvmsg": lambda connection, view: connection.recvmsg_into([view[:100], view[100:]])[0],
    "recvmmsg": by_messages(RECVMMSG),
    "peek": peek_first,
    "waitall": lambda connection, view: connection.recv_into(view, 0, socket.MSG_WAITALL),
}
SEND = {
    "write": lambda connection, view: os.write(connection.fileno(), view),
    "send": lambda connection, view: connection.send(view),
    "writev": lambda connection, view: os.writev(connection.fileno(), [view[:7], view[7:]]),
    "pwritev2": by_vectors(PWRITEV2),
    "sendmsg": lambda connection, view: connection.sendmsg([view[:100], view[100:]]),
    "sendmmsg": by_messages(SENDMMSG),
    "partial": in_part,
    "zerocopy": lambda connection, view: connection.send(view, MSG_ZEROCOPY),
    "sendfile": by_sendfile,
    "splice": by_splice,
}


def read_head(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        some = connection.recv(1)
        if not some:
            return None
        head += some
    return head.decode("latin-1")


def receive_body(connection, way, length):
    body = bytearray(length)
    view, filled = memoryview(body), 0
    while filled < length:
        moved = RECEIVE[way](connection, view[filled : filled + PIECE])
        if not moved:
            raise ConnectionError("the client ended too early")
        filled += moved
    return body


def send_body(connection, way, body):
    view, sent = memoryview(body), 0
    while sent < len(body):
        sent += SEND[way](connection, view[sent : sent + PIECE])


def serve(connection):
    connection.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
    while head := read_head(connection):
        _, receive, send, length, _ = head.split(" ", 2)[1].split("/")
        lines = (line.partition(":") for line in head.split("\r\n")[1:])
        headers = {name.lower(): value.strip() for name, _, value in lines}
        received = receive_body(connection, receive, int(headers["content-length"]))
        body = bytearray(random.Random(head).randbytes(int(length)))
        answer = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n"
            f"X-Received: {hashlib.sha256(received).hexdigest()}\r\nX-Sent: {hashlib.sha256(body).hexdigest()}\r\n\r\n"
        )
        connection.sendall(answer.encode())
        send_body(connection, send, body)
    connection.close()


listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=128)
print("paths listens", file=sys.stderr, flush=True)
while True:
    threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
