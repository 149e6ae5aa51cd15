"""A service that, when asked to, tries everything to get out, and writes down what it saw.

Environment: PORT; PROBE: a JSON file {"tcp": [[host, port]...], "udp": [[host, port]...], "abstract": name}, or nothing
to try; FOUND: where to write what happened, a JSON object attempt -> outcome.
"""

import json
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


def outcome(attempt):
    try:
        return attempt() or "done"
    except OSError as error:
        return type(error).__name__


def tcp(host, port):
    with socket.create_connection((host, port), timeout=20) as connection:
        connection.sendall(b"GET /leak HTTP/1.1\r\nHost: leak.example\r\n\r\n")
        return connection.recv(64).split(b"\r\n")[0].decode("latin-1")


def udp(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"leak", (host, port))


def opens(*kind):
    with socket.socket(*kind):
        return "opened"


def abstract(name):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + name)


def vsock():
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as connection:
        connection.settimeout(20)
        connection.connect((socket.VMADDR_CID_HOST, 9))


def resolve(name):
    return socket.getaddrinfo(name, 80)[0][4][0]


def try_everything(targets):
    found = {"interfaces": [name for _, name in socket.if_nameindex()]}
    for host, port in targets["tcp"]:
        found[f"tcp {host}"] = outcome(lambda: tcp(host, port))
    for host, port in targets["udp"]:
        found[f"udp {host}"] = outcome(lambda: udp(host, port))
    found["dns"] = outcome(lambda: resolve("leak.example.com"))
    found["raw"] = outcome(lambda: opens(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    found["packet"] = outcome(lambda: opens(socket.AF_PACKET, socket.SOCK_RAW, 0))
    found["vsock"] = outcome(vsock)
    found["abstract"] = outcome(lambda: abstract(targets["abstract"]))
    with open(os.environ["FOUND"], "w", encoding="utf-8") as file:
        json.dump(found, file)


class Probe(BaseHTTPRequestHandler):
    def do_GET(self):
        if "PROBE" in os.environ:
            with open(os.environ["PROBE"], encoding="utf-8") as file:
                try_everything(json.load(file))
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")


server = HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Probe)
print("probe listens", file=sys.stderr, flush=True)
server.serve_forever()
