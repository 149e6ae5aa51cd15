"""A name server (RFC 1035) over UDP and TCP, at the address that is the first argument, port 53.

Names of `internal`: what is not listed does not exist, `broken.internal` cannot be found."""

import socket
import socketserver
import struct
import sys
import threading

A, CNAME, TXT, AAAA, SRV = 1, 5, 16, 28, 33
LOOPBACK = socket.inet_aton("127.0.0.1")


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def text(words):
    return bytes([len(words)]) + words.encode()


RECORDS = {
    "cache.internal": [(CNAME, name("cache-1.internal"))],
    "cache-1.internal": [(A, LOOPBACK)],
    "second.internal": [(A, LOOPBACK)],
    "web.internal": [(A, LOOPBACK)],
    "_cache._tcp.internal": [(SRV, struct.pack(">HHH", 1, 2, 6379) + name("cache.internal"))],
    "short.internal": [(TXT, text("as it is"))],
    "long.internal": [(TXT, text("x" * 250)) for _ in range(8)],
}


def read_name(message):
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels).lower(), at + 1


def answer(query, room):
    asked, end = read_name(query)
    (kind,) = struct.unpack(">H", query[end : end + 2])
    code, records = 0, []
    if asked == "broken.internal":
        code = 2
    elif asked not in RECORDS:
        code = 3
    owner = asked
    while owner in RECORDS:
        of = [(owner, found, data) for found, data in RECORDS[owner] if found in (kind, CNAME)]
        records += of
        owner = "cache-1.internal" if of and of[0][1] == CNAME else None
    body = b"".join(
        name(owner) + struct.pack(">HHIH", found, 1, 30, len(data)) + data for owner, found, data in records
    )
    truncated = 12 + end + len(body) > room
    flags = 0x8180 | code | (0x0200 if truncated else 0)
    count, body = (0, b"") if truncated else (len(records), body)
    return query[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0) + query[12 : end + 4] + body


class Datagrams(socketserver.BaseRequestHandler):
    def handle(self):
        query, own = self.request
        own.sendto(answer(query, 512), self.client_address)


class Streams(socketserver.StreamRequestHandler):
    def handle(self):
        while length := self.rfile.read(2):
            reply = answer(self.rfile.read(struct.unpack(">H", length)[0]), 1 << 16)
            self.wfile.write(struct.pack(">H", len(reply)) + reply)


class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


address = (sys.argv[1], 53)
with socketserver.ThreadingUDPServer(address, Datagrams) as datagrams, Tcp(address, Streams) as streams:
    threading.Thread(target=datagrams.serve_forever, daemon=True).start()
    print("resolver listens", file=sys.stderr, flush=True)
    streams.serve_forever()
