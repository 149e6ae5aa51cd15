"""A service that knows its downstreams by name. NAMES_CHANGE selects a build."""

import http.client
import json
import os
import socket
import struct

from web import serve

CHANGE = os.environ.get("NAMES_CHANGE", "none")
CODES = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN"}
TXT, SRV = 16, 33


def cache(host, key):
    """GET, in the protocol of Redis."""
    with socket.create_connection((host, int(os.environ["CACHE_PORT"]))) as connection:
        connection.sendall(f"*2\r\n$3\r\nGET\r\n${len(key)}\r\n{key}\r\n".encode())
        lines = connection.makefile("rb")
        first = lines.readline()
        if first == b"$-1\r\n":
            return None
        if not first.startswith(b"$"):
            raise OSError(first.decode())
        return lines.read(int(first[1:])).decode()


def web():
    connection = http.client.HTTPConnection("web.internal", int(os.environ["WEB_PORT"]))
    connection.request("GET", "/rate")
    return json.load(connection.getresponse())


def resolver():
    with open("/etc/resolv.conf") as settings:
        return next(line.split()[1] for line in settings if line.startswith("nameserver"))


def records(name, kind):
    """The code of the answer and the last 16 bytes of it, over TCP where a datagram cannot hold it."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
        asks.connect((resolver(), 53))
        asks.send(query)
        reply = asks.recv(4096)
    over = "UDP"
    if reply[2] & 2:
        over = "TCP"
        with socket.create_connection((resolver(), 53)) as asks:
            asks.sendall(struct.pack(">H", len(query)) + query)
            stream = asks.makefile("rb")
            reply = stream.read(struct.unpack(">H", stream.read(2))[0])
    count = struct.unpack(">H", reply[6:8])[0]
    return [over, CODES[reply[3] & 15], count, reply[-16:].hex() if count else ""]


def names():
    asked = [("_cache._tcp.internal", SRV), ("short.internal", TXT), ("LONG.internal", TXT), ("short.internal", SRV)]
    asked += [("nobody.internal", TXT), ("broken.internal", TXT)]
    if CHANGE == "asks-more":
        asked.append(("more.internal", TXT))
    return [records(*question) for question in asked]


def first():
    return cache({"other-name": "third.internal", "swapped": "second.internal"}.get(CHANGE, "cache.internal"), "tea")


ROUTES = {"first": first, "second": lambda: cache("second.internal", "tea"), "web": web, "names": names}


def find(name):
    try:
        return 200, ROUTES[name]()
    except OSError as error:
        return 502, str(error)


serve("names listen", find)
