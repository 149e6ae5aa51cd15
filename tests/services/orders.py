"""Orders kept in MySQL, as text. ORDERS_CHANGE selects a build."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue

import pymysql

CHANGE = os.environ.get("ORDERS_CHANGE", "none")
KEPT = 1 if CHANGE == "small-pool" else 8


def connect():
    host, port = os.environ["STORE"].split(":")
    login = {"host": host, "port": int(port), "user": "app", "password": "secret", "database": "shop"}
    return pymysql.connect(**login, charset="utf8mb4", init_command="SET SESSION sql_mode = 'TRADITIONAL'")


pool = SimpleQueue()


def with_connection(work):
    try:
        connection = pool.get_nowait()
        if CHANGE == "reconnects":
            connection.close()
            connection = connect()
    except Empty:
        connection = connect()
    try:
        return work(connection, connection.cursor())
    finally:
        connection.rollback()
        if pool.qsize() < KEPT:
            pool.put(connection)


def put(name, quantity):
    def work(connection, cursor):
        wanted = quantity + 1 if CHANGE == "other-parameter" else quantity
        cursor.execute("INSERT INTO orders (name, quantity) VALUES (%s, %s)", (name, wanted))
        number = cursor.lastrowid
        if CHANGE != "dropped-query":
            cursor.execute("UPDATE stock SET left_over = left_over - %s WHERE name = %s", (quantity, name))
        connection.commit()
        cursor.execute("SELECT COUNT(*), SUM(quantity) FROM orders")
        count, total = cursor.fetchone()
        return 201, {"order": number, "count": count, "total": int(total)}

    return with_connection(work)


def get(name):
    order = "number DESC" if CHANGE == "other-sql" else "number"

    def work(_, cursor):
        cursor.execute(f"SELECT number, name, quantity, price, ordered FROM orders WHERE name = %s ORDER BY {order}", name)
        rows = cursor.fetchall()
        return 200 if rows else 404, [[str(value) for value in row] for row in rows]

    return with_connection(work)


def wrong():
    def work(_, cursor):
        try:
            cursor.execute("SELECT nothing FROM nowhere")
        except pymysql.Error as error:
            return 409, list(error.args)

    return with_connection(work)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        name = self.path.strip("/")
        self.answer(*(wrong() if name == "wrong" else get(name)))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer(*put(self.path.strip("/"), int(body)))

    def answer(self, status, said):
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


print("orders listen", file=sys.stderr, flush=True)
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
