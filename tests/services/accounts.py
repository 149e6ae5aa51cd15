"""Accounts kept in PostgreSQL. ACCOUNTS_CHANGE selects a build; with ACCOUNTS_JOB it tidies up before it serves."""

import decimal
import os

import psycopg
from psycopg_pool import ConnectionPool
from web import serve

CHANGE = os.environ.get("ACCOUNTS_CHANGE", "none")
SIZE = 1 if CHANGE == "small-pool" else 3
# After how many executions the driver prepares a statement: at once, or never.
THRESHOLD = {"prepares": 0, "never-prepares": None}.get(CHANGE, 2)

ROWS = "SELECT name, balance, changed, tags, picture FROM accounts"


def set_up(connection):
    connection.prepare_threshold = THRESHOLD
    connection.autocommit = True
    connection.execute("SET application_name TO 'ledger'")
    connection.autocommit = False


store = ConnectionPool(os.environ["STORE"], min_size=SIZE, max_size=SIZE, configure=set_up, open=True)


def shown(row):
    name, balance, changed, tags, picture = row
    return {"name": name, "balance": str(balance), "changed": changed.isoformat(), "tags": tags, "picture": picture.hex() if picture else None}


def put(name, body):
    amount = decimal.Decimal(body) + (CHANGE == "other-value")
    with store.connection() as connection, connection.transaction():
        account = connection.execute(
            "INSERT INTO accounts (name, balance, tags) VALUES (%s, %s, %s) RETURNING id", (name, amount, [name, "new"])
        ).fetchone()[0]
        entry = "INSERT INTO entries (account, amount) VALUES (%s, %s)"
        if CHANGE == "other-sql":
            entry = "INSERT INTO entries (amount, account) VALUES (%s, %s)"
        if CHANGE != "dropped-query":
            connection.execute(entry, (account, amount))
    if CHANGE == "extra-query":
        with store.connection() as connection:
            connection.execute("DELETE FROM entries WHERE amount < %s", (decimal.Decimal(0),))
    return 201, {"account": account}


def get(name):
    if CHANGE == "reconnects":
        with store.connection() as connection:
            connection.close()
    with store.connection() as connection:
        row = connection.execute(f"{ROWS} WHERE name = %s", (name,)).fetchone()
    return (200, shown(row)) if row else (404, {"error": f"no account {name}"})


def every():
    names = []
    with store.connection() as connection:
        with connection.cursor().copy("COPY (SELECT name FROM accounts ORDER BY name) TO STDOUT") as copy:
            names = [row[0] for row in copy.rows()]
        rows = connection.execute(f"{ROWS} ORDER BY name").fetchall()
    return 200, {"names": names, "accounts": [shown(row) for row in rows]}


def load():
    with store.connection() as connection:
        with connection.cursor().copy("COPY entries (account, amount) FROM STDIN") as copy:
            for number in range(3):
                copy.write_row((1, number + (CHANGE == "other-data")))
        return 200, {"entries": connection.execute("SELECT count(*) FROM entries").fetchone()[0]}


def wrong():
    try:
        return put("tea", "7")
    except psycopg.errors.UniqueViolation as error:
        return 409, {"error": error.diag.message_detail, "constraint": error.diag.constraint_name}


def told(work, *given):
    try:
        return work(*given)
    except psycopg.Error as error:
        return 500, {"error": str(error)}


def find(name):
    return told({"all": every, "load": load, "wrong": wrong}.get(name, lambda: get(name)))


store.wait()
if "ACCOUNTS_JOB" in os.environ:
    # A transaction, like those that entries have.
    with store.connection() as connection:
        connection.execute("DELETE FROM entries WHERE amount < 0")
serve("accounts listens", find, lambda name, body: told(put, name, body))
