"""Notes kept in Redis. KEEP_CHANGE selects a build."""

import json
import os

import redis
from web import serve

CHANGE = os.environ.get("KEEP_CHANGE", "none")
POOL = 1 if CHANGE == "small-pool" else 20


def connect():
    host, port = os.environ["STORE"].split(":")
    protocol = 3 if CHANGE == "resp3" else 2
    return redis.Redis(host=host, port=int(port), db=1, max_connections=POOL, protocol=protocol, client_name=CHANGE)


store = connect()


def put(name, body):
    keeps = store.pipeline(transaction=True)
    key = f"notes:{name}" if CHANGE == "other-key" else f"note:{name}"
    keeps.set(key, json.dumps({"text": body, "length": len(body) + (CHANGE == "other-value")}))
    if CHANGE != "dropped-command":
        keeps.incr("count")
    keeps.execute()
    if CHANGE == "extra-command":
        store.expire(key, 60)
    if CHANGE != "dropped-call":
        store.lpush("recent", name)
    return 201, {"kept": name, "count": int(store.get("count"))}


def get(name):
    if CHANGE == "reconnects":
        store.connection_pool.disconnect()
    kept = store.get(f"note:{name}")
    if kept is None:
        return 404, {"error": f"no note {name}"}
    return 200, {"name": name, "note": json.loads(kept)}


def every():
    names = [name.decode() for name in store.lrange("recent", 0, 1 if CHANGE == "other-range" else -1)]
    kept = store.mget([f"note:{name}" for name in names])
    picture = store.get("picture")
    return 200, {"notes": [json.loads(note) for note in kept if note], "picture": picture.hex() if picture else None}


def wrong():
    try:
        store.incr("recent")
        return 200, {}
    except redis.ResponseError as error:
        return 409, {"error": str(error)}


def find(name):
    return {"all": every, "wrong": wrong}.get(name, lambda: get(name))()


serve("keep listens", find, put)
