"""The shop with one event loop, as far as its load needs it: reads through a pool of connections that all tasks share,
reservations in a thread of a pool, reports in a thread that takes its context along.

Environment: PORT, INVENTORY_URL, PRICING_URL.
"""

import asyncio
import http.client
import json
import os
import sys
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

INVENTORY = urllib.parse.urlsplit(os.environ["INVENTORY_URL"]).netloc
PRICING = urllib.parse.urlsplit(os.environ["PRICING_URL"]).netloc
IDLE = {INVENTORY: [], PRICING: []}


def message(start, body, headers):
    lines = [start, f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def read_message(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lengths = [line[15:] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
    return head.split("\r\n")[0].split(" "), await reader.readexactly(int(lengths[0]) if lengths else 0)


async def call(address, method, path, payload=None, order=None):
    body = b"" if payload is None else json.dumps(payload).encode()
    headers = {"Host": address} | ({"X-Order": order} if order else {})
    reader, writer = IDLE[address].pop() if IDLE[address] else await asyncio.open_connection(*address.split(":"))
    writer.write(message(f"{method} {path} HTTP/1.1", body, headers))
    _, content = await read_message(reader)
    IDLE[address].append((reader, writer))
    return content


def call_in_thread(address, method, path, payload=None, order=None):
    connection = http.client.HTTPConnection(address)
    body = None if payload is None else json.dumps(payload)
    connection.request(method, path, body=body, headers={"X-Order": order} if order else {})
    content = connection.getresponse().read()
    connection.close()
    return content


async def quote(order, sku, quantity):
    priced = await call(PRICING, "POST", "/quote", {"order": order, "sku": sku, "quantity": quantity}, order)
    return json.loads(priced)["unit_cents"] * quantity


async def get_order(order):
    held = json.loads(await call(INVENTORY, "GET", f"/stock/sku-{order}", order=order))
    # In a task of its own, which the handler waits for.
    total = await asyncio.create_task(quote(order, held["sku"], 3))
    return {"id": order, "sku": held["sku"], "total": total}


async def post_order(asked):
    total = await quote(asked["id"], asked["sku"], asked["quantity"])
    with ThreadPoolExecutor(1) as pool:
        reserve = (call_in_thread, INVENTORY, "POST", "/reserve", asked, asked["id"])
        await asyncio.get_running_loop().run_in_executor(pool, *reserve)
    return {"id": asked["id"], "total": total}


async def answer(method, path, body):
    if path == "/health":
        return 200, b"ok\n"
    if path == "/report":
        return 200, await asyncio.to_thread(call_in_thread, INVENTORY, "GET", "/levels")
    if method == "POST":
        return 201, json.dumps(await post_order(json.loads(body))).encode()
    return 200, json.dumps(await get_order(path.removeprefix("/orders/"))).encode()


async def serve(reader, writer):
    while True:
        try:
            (method, path, _), body = await read_message(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            return writer.close()
        status, content = await answer(method, path, body)
        writer.write(message(f"HTTP/1.1 {status} Fine", content, {}))


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]), backlog=128)
    print("shop listens", file=sys.stderr, flush=True)
    await server.serve_forever()


asyncio.run(main())
