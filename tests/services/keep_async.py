"""Notes kept in Redis by redis.asyncio, and what things cost, asked by aiohttp's client of PRICES; served by aiohttp, by one event loop.
KEEP_CHANGE selects a build."""

import asyncio
import json
import os
import sys

import aiohttp
import redis.asyncio as redis
from aiohttp import web

CHANGE = os.environ.get("KEEP_CHANGE", "none")
POOL = 1 if CHANGE == "small-pool" else 20


def connect():
    host, port = os.environ["STORE"].split(":")
    protocol = 3 if CHANGE == "resp3" else 2
    return redis.Redis(host=host, port=int(port), db=1, max_connections=POOL, protocol=protocol, client_name=CHANGE)


def open_session():
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=POOL))


async def put(request):
    store, name, body = request.app["store"], request.match_info["name"], await request.text()
    key = f"notes:{name}" if CHANGE == "other-key" else f"note:{name}"
    async with store.pipeline(transaction=True) as keeps:
        keeps.set(key, json.dumps({"text": body, "length": len(body) + (CHANGE == "other-value")}))
        if CHANGE != "dropped-command":
            keeps.incr("count")
        await keeps.execute()
    if CHANGE == "extra-command":
        await store.expire(key, 60)
    if CHANGE != "dropped-call":
        await store.lpush("recent", name)
    return web.json_response({"kept": name, "count": int(await store.get("count"))}, status=201)


async def get(request):
    store, name = request.app["store"], request.match_info["name"]
    if CHANGE == "reconnects":
        await store.connection_pool.disconnect()
    kept = await store.get(f"note:{name}")
    if kept is None:
        return web.json_response({"error": f"no note {name}"}, status=404)
    return web.json_response({"name": name, "note": json.loads(kept)})


async def every(request):
    store = request.app["store"]
    names = [name.decode() for name in await store.lrange("recent", 0, 1 if CHANGE == "other-range" else -1)]
    kept = await store.mget([f"note:{name}" for name in names])
    picture = await store.get("picture")
    return web.json_response({"notes": [json.loads(note) for note in kept if note], "picture": picture.hex()})


async def wrong(request):
    try:
        return web.json_response({"recent": await request.app["store"].incr("recent")})
    except redis.ResponseError as error:
        return web.json_response({"error": str(error)}, status=409)


async def price(request):
    """Two prices at a time, and a third by what they say."""
    if CHANGE == "reconnects":
        await request.app["session"].close()
        request.app["session"] = open_session()
    name = request.match_info["name"]

    async def ask(what, **body):
        address = f"{os.environ['PRICES']}/{what}/{name}"
        async with request.app["session"].request("POST" if body else "GET", address, json=body or None) as answer:
            return await answer.json()

    cost, tax = await asyncio.gather(ask("cost"), ask("levy" if CHANGE == "other-target" else "tax"))
    total = cost["cents"] + tax["cents"] + (CHANGE == "other-value")
    if CHANGE != "dropped-call":
        await ask("totals", cents=total)
    return web.json_response({"name": name, "cents": total})


async def serve():
    app = web.Application()
    app["store"], app["session"] = connect(), open_session()
    app.add_routes([web.get("/all", every), web.get("/wrong", wrong), web.get("/price/{name}", price)])
    app.add_routes([web.get("/{name}", get), web.post("/{name}", put)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"])).start()
    print("keep listens", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


asyncio.run(serve())
