"""A ledger of lines over TCP, in a protocol of its own, and a service that writes to it. First argument: `server` or `service`.

The protocol: `ADD name amount`, answered `OK sum`; `SUM name`, answered `OK sum`; `BYE`, answered `BYE`. With GREET=1 the server says
`LEDGER 1 READY` first, and a client waits for it. LEDGER_CHANGE selects a build of the service."""

import os
import socket
import socketserver
import sys
import threading

from web import serve

CHANGE = os.environ.get("LEDGER_CHANGE", "none")
GREETS = os.environ.get("GREET") == "1"
PORT = int(os.environ["LEDGER_PORT" if sys.argv[1] == "server" else "PORT"])


class Ledger(socketserver.StreamRequestHandler):
    sums = {}
    lock = threading.Lock()

    def handle(self):
        if GREETS:
            self.wfile.write(b"LEDGER 1 READY\n")
        for line in self.rfile:
            words = line.decode().split()
            if words[0] == "BYE":
                self.wfile.write(b"BYE\n")
                return
            with self.lock:
                if words[0] == "ADD":
                    self.sums[words[1]] = self.sums.get(words[1], 0) + int(words[2])
                self.wfile.write(f"OK {self.sums.get(words[1], 0)}\n".encode())


class Connection:
    def __init__(self):
        self.socket = socket.create_connection((os.environ["LEDGER_HOST"], int(os.environ["LEDGER_PORT"])))
        self.lines = self.socket.makefile("rwb", buffering=0)
        if GREETS:
            self.lines.readline()

    def ask(self, line):
        self.lines.write(line.encode() + b"\n")
        answer = self.lines.readline().decode().split()
        if not answer:
            raise OSError("the ledger has gone")
        return answer[-1]

    def close(self):
        self.ask("BYE")
        self.lines.close()
        self.socket.close()


def add(name, amount):
    connection = Connection()
    if CHANGE == "other-byte":
        amount += 1
    connection.ask(f"ADD {name} {amount}")
    total = 0 if CHANGE == "dropped-line" else int(connection.ask(f"SUM {name}"))
    connection.close()
    if CHANGE != "dropped-call":
        audit = Connection()
        audit.ask("ADD audit 1")
        audit.close()
    if CHANGE == "extra-call":
        more = Connection()
        more.ask("SUM audit")
        more.close()
    return {"name": name, "sum": total}


def post(name, body):
    try:
        return 201, add(name, int(body))
    except OSError as error:
        return 502, {"error": str(error)}


class LedgerServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if sys.argv[1] == "server":
    with LedgerServer((os.environ.get("LISTEN", "127.0.0.1"), PORT), Ledger) as server:
        print("ledger listens", file=sys.stderr, flush=True)
        server.serve_forever()
serve("ledger listens", post=post)
