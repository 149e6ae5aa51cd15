"""Members who log in: passwords in PostgreSQL, who is logged in in Redis, what they may see with another service. MEMBERS_CHANGE selects a build."""

import json
import os
import sys
import urllib.request
import uuid
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, quote, urlsplit

import psycopg
import redis
from web import Server

CHANGE = os.environ.get("MEMBERS_CHANGE", "none")
HOST, PORT = os.environ["SESSIONS"].split(":")

members = psycopg.connect(os.environ["MEMBERS"], autocommit=True)
sessions = redis.Redis(host=HOST, port=int(PORT))


def rights(authorization, key):
    """Asks the other service, with what the client brought and with the token of this one."""
    url = f"{os.environ['RIGHTS']}/rights?api_key={quote(key)}"
    token = os.environ["SERVICE_TOKEN"] + ("-other" if CHANGE == "tells-another" and not key else "")
    headers = {"Authorization": authorization, "X-Service-Token": token}
    if CHANGE == "forgets-authorization":
        headers["Authorization"] = "Bearer another-one-0123456789"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as response:
        return json.load(response)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        login = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if CHANGE == "changes-password":
            login["password"] += "!"
        found = members.execute(
            "SELECT id FROM members WHERE name = %s AND password = %s", (login["user"], login["password"])
        ).fetchone()
        if not found:
            print(f"no such login: password={login['password']}", file=sys.stderr, flush=True)
            return self.answer(401, {"error": f"wrong password: {login['password']}"})
        session = str(uuid.uuid4())
        sessions.set(f"session:{session}", login["user"])
        key = parse_qs(urlsplit(self.path).query)["api_key"][0]
        may = rights(self.headers["Authorization"], key)
        self.answer(200, {"user": login["user"], "may": may}, f"session={session}; HttpOnly; Path=/")

    def do_GET(self):
        cookie = SimpleCookie(self.headers.get("Cookie", ""))
        user = sessions.get(f"session:{cookie['session'].value}") if "session" in cookie else None
        if user is None:
            return self.answer(401, {"error": "log in first"})
        self.answer(200, {"user": user.decode(), "token": os.environ["SERVICE_TOKEN"]})

    def answer(self, status, said, cookie=None):
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
print("members listens", file=sys.stderr, flush=True)
server.serve_forever()
