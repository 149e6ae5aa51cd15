"""Orders kept in MySQL, as text. ORDERS_CHANGE selects a build."""

import os
import ssl
from queue import Empty, SimpleQueue

import pymysql
from web import serve

CHANGE = os.environ.get("ORDERS_CHANGE", "none")
KEPT = 1 if CHANGE == "small-pool" else 8
TLS = ssl.create_default_context() if "STORE_TLS" in os.environ else None


def connect():
    host, port = os.environ["STORE"].split(":")
    login = {"host": host, "port": int(port), "user": "app", "password": "secret", "database": "shop"}
    return pymysql.connect(**login, ssl=TLS, charset="utf8mb4", init_command="SET SESSION sql_mode = 'TRADITIONAL'")


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


serve("orders listen", lambda name: wrong() if name == "wrong" else get(name), lambda name, body: put(name, int(body)))
