#!/usr/bin/env python3
"""The effect of attacks on legitimate clients, and the memory that the guard takes: one row for each kind of attack.

    tests/soak/beside.py --binary PATH [--only NAME] [--seconds 20] [--other-paths] [--after 6]
"""

import argparse
import asyncio
import multiprocessing
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import attackers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "clients"))
from ports import free_port

CONFIG = """\
listen: ["127.0.0.1:{port}"]
upstream: {{servers: ["127.0.0.1:{backend}"]}}
admin: {{listen: "127.0.0.1:{admin}"}}
threads: 2
log: {{access: false}}
{more}
"""
USER = b'{"userName":"alice","externalId":"alice@example.com","displayName":"Alice","x":"' + b"n" * 900 + b'"}'
LARGE = 8 << 20
RATE = 40


def backend(port):
    """Answers a kilobyte to everything, 24 KB to requests for schemas, and 8 MB to requests for a large resource."""
    piece = b" " * 65536

    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        await reader.readexactly(int(line.split(b":")[1]))
                large = b"large" in head
                size = LARGE if large else 24_000 if b"/Schemas" in head else 1_000
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/scim+json\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(LARGE // len(piece) if large else 0):
                    writer.write(piece)
                    await writer.drain()
                if not large:
                    writer.write(piece[:size])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096)
        await server.serve_forever()

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(run())


def resident(pid, what="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise AssertionError(what)


class Honest:
    """Users are created and looked for, one request after another, each timed."""

    def __init__(self, port):
        self.port, self.statuses, self.times = port, {}, []
        self.token = attackers.random_token()

    async def ask(self, request):
        began = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(request)
            line = await asyncio.wait_for(reader.readline(), 30)
            status = line.split()[1].decode() if line else "closed"
            writer.close()
        except (OSError, asyncio.TimeoutError) as error:
            status = type(error).__name__
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.times.append(time.monotonic() - began)

    async def run(self, until):
        common = f"Host: wire.example\r\nAuthorization: Bearer {self.token}\r\n"
        get = f"GET /scim/v2/Users?filter=userName%20eq%20%22a%22 HTTP/1.1\r\n{common}\r\n".encode()
        post = (
            f"POST /scim/v2/Users HTTP/1.1\r\n{common}Content-Type: application/scim+json\r\n"
            f"Content-Length: {len(USER)}\r\n\r\n"
        ).encode() + USER
        tasks, number = [], 0
        while time.monotonic() < until:
            tasks.append(asyncio.create_task(self.ask(post if number % 2 else get)))
            number += 1
            await asyncio.sleep(1 / RATE)
        await asyncio.gather(*tasks)

    def row(self):
        p99 = statistics.quantiles(self.times, n=100)[98] * 1000
        refused = sum(count for status, count in self.statuses.items() if status != "200")
        return f"{len(self.times):5} sent {refused:5} not served {self.statuses} p99 {p99:7.1f} ms"


def attackers_process(port, name, other, seconds):
    kind, count = attackers.KINDS[name]
    options = {"path": "/assets/large"} if other else {}

    async def again():
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await kind(port, left, **options)
            await asyncio.sleep(0.1)

    async def run():
        await asyncio.gather(*(again() for _ in range(count)))

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(run())


async def beside(binary, name, seconds, other, after):
    port, admin, behind = free_port(), free_port(), free_port()
    more = "other_paths: forward" if other else ""
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "guard.yaml"
        config.write_text(CONFIG.format(port=port, admin=admin, backend=behind, more=more))
        server = multiprocessing.Process(target=backend, args=(behind,), daemon=True)
        server.start()
        guard = subprocess.Popen([binary, "serve", "--config", str(config)], stderr=subprocess.DEVNULL)
        try:
            await asyncio.sleep(1)
            calm = Honest(port)
            await calm.run(time.monotonic() + 3)
            before = resident(guard.pid)
            attack = multiprocessing.Process(target=attackers_process, args=(port, name, other, seconds), daemon=True)
            attack.start()
            honest = Honest(port)
            honest.token = calm.token
            await honest.run(time.monotonic() + seconds)
            peak = resident(guard.pid, "VmHWM")
            attack.join()
            left = []
            for _ in range(after):
                await asyncio.sleep(10)
                left.append(f"{resident(guard.pid):.0f}")
            title = name + (", other paths" if other else "")
            print(f"{title}: resident {before:.0f} MiB before, {peak:.0f} at the peak, each 10 s after {left}")
            print(f"    alone  {calm.row()}\n    under attack {honest.row()}", flush=True)
        finally:
            guard.kill()
            guard.wait()
            server.kill()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", choices=attackers.KINDS)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--other-paths", action="store_true")
    parser.add_argument("--after", type=int, default=6, help="how often memory is read afterwards, every 10 s")
    options = parser.parse_args()
    for name in [options.only] if options.only else attackers.KINDS:
        asyncio.run(beside(options.binary, name, options.seconds, options.other_paths, options.after))


if __name__ == "__main__":
    main()
