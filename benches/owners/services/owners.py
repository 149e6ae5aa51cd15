# Each GET /r/ID calls the downstream twice, GET /a/ID and GET /b/ID, as the first argument says; prints its port.
#
# Environment: IDS, whether it passes on the request id of the entry, which is made of its number.
import asyncio
import http.client
import os
import subprocess
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODE, DOWNSTREAM = sys.argv[1:3]
HOST = urllib.parse.urlsplit(DOWNSTREAM).netloc
if MODE == "two-services":
    second = subprocess.Popen([sys.executable, __file__, "asyncio", DOWNSTREAM], stdout=subprocess.PIPE, text=True)
    HOST = "127.0.0.1:" + second.stdout.readline().strip()
PASSES_ON = "IDS" in os.environ
local = threading.local()
SIZE = 10 if MODE.endswith("pool") else 1000


# A pool of connections to a database, by which one function asks for a path there.
def by_sql():
    if "mysql" in MODE:
        import pymysql
        from sqlalchemy.pool import QueuePool

        host, port = HOST.split(":")
        connect = lambda: pymysql.connect(host=host, port=int(port), user="root", autocommit=True)
        connections = QueuePool(connect, pool_size=SIZE, max_overflow=0, reset_on_return=None)

        def by_mysql(path):
            connection = connections.connect()
            with connection.cursor() as cursor:
                cursor.execute("SELECT %s, SLEEP(0.0005 + RAND() * 0.009)", (path,))
            connection.close()

        return by_mysql
    import psycopg_pool

    url = f"postgresql://postgres@{HOST}/postgres"
    settings = {"min_size": 10, "max_size": SIZE, "kwargs": {"autocommit": True}, "open": False}
    query = "SELECT %s::text FROM pg_sleep(0.0005 + random() * 0.009)"
    if MODE.startswith("asyncio"):
        connections = psycopg_pool.AsyncConnectionPool(url, **settings)

        async def by_postgres(path):
            await connections.open()
            async with connections.connection() as connection:
                await connection.execute(query, (path,))

        return by_postgres
    connections = psycopg_pool.ConnectionPool(url, **settings)
    connections.open()

    # As one transaction each.
    def by_transaction(path, query=query):
        with connections.connection() as connection:
            connection.execute(f"BEGIN /* {path} */")
            connection.execute(query, (path,))
            connection.execute(f"COMMIT /* {path} */")

    def by_postgres(path):
        with connections.connection() as connection:
            connection.execute(query, (path,))

    # What is asked for nobody.
    def work():
        while True:
            time.sleep(0.05)
            by_transaction("/x/0", "SELECT %s::text FROM pg_stat_activity")

    if MODE.endswith("background"):
        threading.Thread(target=work, daemon=True).start()
    return by_transaction if "transactions" in MODE else by_postgres


if "redis" in MODE:
    try:
        import redis
        import redis.asyncio
    except ImportError as missing:
        print("absent", missing, flush=True)
        sys.exit(1)
    kind = redis.asyncio.BlockingConnectionPool if MODE.startswith("asyncio") else redis.BlockingConnectionPool
    host, port = HOST.split(":")
    connections = kind(max_connections=SIZE, host=host, port=int(port))
    store = (redis.asyncio if MODE.startswith("asyncio") else redis).Redis(connection_pool=connections)
if "postgres" in MODE or "mysql" in MODE:
    try:
        by_pool = by_sql()
    except ImportError as missing:
        print("absent", missing, flush=True)
        sys.exit(1)
pool = ThreadPoolExecutor(16)


def headers(path):
    return {"X-Request-Id": "request-" + path.rsplit("/")[-1]} if PASSES_ON else {}


def call(path):
    if MODE.startswith("redis"):
        return store.get(path)
    if MODE.startswith(("postgres", "mysql")):
        return by_pool(path)
    if not hasattr(local, "connection"):
        local.connection = http.client.HTTPConnection(HOST)
    local.connection.request("GET", path, headers=headers(path))
    local.connection.getresponse().read()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        ident = self.path[3:]
        if MODE == "executor":
            pool.submit(call, "/a/" + ident).result()
            pool.submit(call, "/b/" + ident).result()
        elif MODE == "two-services":
            call("/s/" + ident)
        else:
            call("/a/" + ident)
            if MODE == "timer":
                time.sleep(0.003)
            call("/b/" + ident)
        body = ident.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


idle = []


async def call_async(path):
    if MODE.startswith("asyncio-redis"):
        return await store.get(path)
    if MODE.startswith("asyncio-postgres"):
        return await by_pool(path)
    reader, writer = idle.pop() if idle else await asyncio.open_connection(*HOST.split(":"))
    lines = [f"{name}: {value}\r\n" for name, value in {"Host": HOST, **headers(path)}.items()]
    writer.write(f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    await reader.readexactly(length)
    idle.append((reader, writer))


LIMIT = asyncio.Semaphore(10)
jobs = asyncio.Queue()
started = set()


async def limited(path):
    async with LIMIT:
        await call_async(path)


async def work():
    while True:
        path, done = await jobs.get()
        await call_async(path)
        done.set_result(None)


async def hand_over(path):
    # Workers that the first entries start, and that work for all.
    if len(started) < 16:
        started.add(asyncio.create_task(work()))
    done = asyncio.get_running_loop().create_future()
    jobs.put_nowait((path, done))
    await done


async def handle(ident):
    first, second = "/a/" + ident, "/b/" + ident
    match MODE:
        case "asyncio-parallel":
            await asyncio.gather(call_async(first), call_async(second))
        case "asyncio-pool":
            await limited(first)
            await limited(second)
        case "asyncio-workers":
            await hand_over(first)
            await hand_over(second)
        case "asyncio-executor":
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(pool, call, first)
            await loop.run_in_executor(pool, call, second)
        case "asyncio-to-thread":
            await asyncio.to_thread(call, first)
            await asyncio.to_thread(call, second)
        case "asyncio-after-response":
            await call_async(first)
            late = asyncio.create_task(call_later(second))
            started.add(late)
            late.add_done_callback(started.discard)
        case _:
            await call_async(first)
            if MODE == "asyncio-timer":
                await asyncio.sleep(0.003)
            await call_async(second)


async def call_later(path):
    await asyncio.sleep(0.001)
    await call_async(path)


async def serve_one(reader, writer):
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return writer.close()
        ident = head.split(b" ")[1][3:].decode()
        await handle(ident)
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(ident)}\r\n\r\n{ident}".encode())


async def serve_async():
    server = await asyncio.start_server(serve_one, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def serve_aiohttp():
    import aiohttp
    from aiohttp import web

    async def answer(request):
        ident = request.match_info["ident"]
        for path in ("/a/" + ident, "/b/" + ident):
            async with client.get(DOWNSTREAM + path, headers=headers(path)) as response:
                await response.read()
        return web.Response(text=ident)

    connector = aiohttp.TCPConnector(limit=10 if MODE == "aiohttp-pool" else 0)
    client = aiohttp.ClientSession(connector=connector)
    app = web.Application()
    app.router.add_get("/r/{ident}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=256).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


try:
    if MODE.startswith("uvloop"):
        import uvloop

        uvloop.install()
        MODE = MODE.replace("uvloop", "asyncio")
    if MODE.startswith("asyncio"):
        asyncio.run(serve_async())
    if MODE.startswith("aiohttp"):
        asyncio.run(serve_aiohttp())
except ImportError as missing:
    print("absent", missing, flush=True)
    sys.exit(1)
server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
