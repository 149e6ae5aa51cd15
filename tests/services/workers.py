"""A service whose calls are made by workers that take jobs over a queue: two requests at a time wait for each other, call,
and are answered when both calls are over. A header that is named on the command line is passed on.

Environment: PORT, DOWNSTREAM (address).
"""

import asyncio
import os
import sys

HEADER = sys.argv[1].lower()
HOST, PORT = os.environ["DOWNSTREAM"].split(":")


async def read_message(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    return head[0], fields, body


async def work(jobs):
    reader, writer = await asyncio.open_connection(HOST, int(PORT))
    while True:
        path, passed_on, done = await jobs.get()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{PORT}\r\n{passed_on}\r\n".encode())
        _, _, body = await read_message(reader)
        done.set_result(body)


async def main():
    jobs, pair = asyncio.Queue(), asyncio.Barrier(2)

    async def serve(reader, writer):
        while True:
            try:
                start, fields, _ = await read_message(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                return writer.close()
            await pair.wait()
            passed_on = f"{HEADER}: {fields[HEADER]}\r\n" if HEADER in fields else ""
            done = asyncio.get_running_loop().create_future()
            jobs.put_nowait((start.split(" ")[1], passed_on, done))
            body = await done
            await pair.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    workers = [asyncio.create_task(work(jobs)) for _ in range(2)]
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]))
    print("workers listen", file=sys.stderr, flush=True)
    await asyncio.gather(server.serve_forever(), *workers)


asyncio.run(main())
