#!/usr/bin/env python3
"""A real WebSocket client and server with the guard between them.

    tests/websocket/run.py --binary PATH [--tls]
"""

import argparse
import asyncio
import logging
import pathlib
import ssl
import subprocess
import sys
import tempfile
import urllib.request

import websockets
from websockets.asyncio import client
from websockets.asyncio.server import serve

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "clients"))
from certificate import self_signed
from guard import WAIT_TIMEOUT, expect, run
from ports import free_port


class Tls:
    """With `--tls` guards have a certificate, and their clients speak TLS."""

    settings = ""
    context = None

    @classmethod
    def switch_on(cls, folder):
        certificate, key = folder / "certificate.pem", folder / "key.pem"
        self_signed(certificate, key, "localhost", "127.0.0.1")
        cls.settings = f", tls: {{certificates: [{{certificate: {certificate}, key: {key}}}]}}"
        cls.context = ssl.create_default_context(cafile=certificate)


def connect(url, **options):
    if Tls.context is not None:
        options["ssl"] = Tls.context
    return client.connect(url, **options)


async def echo(connection):
    """Echoes messages, or does what a message requests."""
    async for message in connection:
        if message == "path":
            await connection.send(connection.request.path)
        elif message == "close":
            await connection.close(4001, "as asked")
        elif message == "flood":
            for _ in range(100):
                await connection.send(b"x" * 100_000)
        else:
            await connection.send(message)


class Place:
    """client -> guard -> WebSocket server"""

    def __init__(self, binary, more=""):
        self.binary, self.more = binary, more

    async def __aenter__(self):
        self.backend = await serve(echo, "127.0.0.1", 0, max_size=None)
        backend_port = self.backend.sockets[0].getsockname()[1]
        port, self.admin = free_port(), free_port()
        folder = pathlib.Path(tempfile.mkdtemp(prefix="websocket"))
        config = folder / "guard.yaml"
        config.write_text(
            f'listen: [{{address: "127.0.0.1:{port}"{Tls.settings}}}]\n'
            f'admin: {{listen: "127.0.0.1:{self.admin}"}}\n'
            f'upstream: {{servers: ["127.0.0.1:{backend_port}"]}}\n'
            f"other_paths: forward\n{self.more}"
        )
        self.log = (folder / "log").open("w+")
        self.guard = subprocess.Popen([self.binary, "serve", "--config", config], stderr=self.log)
        self.url = f"{'ws' if Tls.context is None else 'wss'}://127.0.0.1:{port}"
        async with asyncio.timeout(WAIT_TIMEOUT):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return self
                except OSError:
                    if self.guard.poll() is not None:
                        self.log.seek(0)
                        raise RuntimeError(self.log.read()) from None
                    await asyncio.sleep(0.02)

    async def __aexit__(self, *_):
        self.guard.terminate()
        self.guard.wait(WAIT_TIMEOUT)
        self.backend.close()
        await self.backend.wait_closed()

    async def metric(self, name):
        def scrape():
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=WAIT_TIMEOUT) as answer:
                return answer.read().decode()

        text = await asyncio.to_thread(scrape)
        return next(float(line.split(" ")[1]) for line in text.splitlines() if line.startswith(name + " "))

    async def until(self, name, value):
        async with asyncio.timeout(WAIT_TIMEOUT):
            while await self.metric(name) != value:
                await asyncio.sleep(0.02)


async def messages(binary):
    async with Place(binary) as place:
        async with connect(f"{place.url}/await?access_token=a&client=1", max_size=None) as socket:
            await socket.send("path")
            expect("path", await socket.recv(), "/await?access_token=a&client=1")
            for message in ["text", b"bytes", "ü" * 10_000, b"\0" * 3_000_000]:
                await socket.send(message)
                expect("an echo", await socket.recv(), message)
            waiter = await socket.ping()
            await asyncio.wait_for(waiter, WAIT_TIMEOUT)
            expect("open", await place.metric("scim_guard_upgrades_open"), 1)
        await place.until("scim_guard_upgrades_open", 0)
        expect("total", await place.metric("scim_guard_upgrades_total"), 1)


async def compressed_and_fragmented(binary):
    async with Place(binary) as place, connect(f"{place.url}/v8/await", compression="deflate") as socket:
        await socket.send(["in ", "three ", "pieces"])
        expect("an echo", await socket.recv(), "in three pieces")


async def closed_by_the_server(binary):
    async with Place(binary) as place, connect(f"{place.url}/await") as socket:
        await socket.send("close")
        try:
            await asyncio.wait_for(socket.recv(), WAIT_TIMEOUT)
            raise AssertionError("still open")
        except websockets.ConnectionClosed as closed:
            expect("the close", (closed.rcvd.code, closed.rcvd.reason), (4001, "as asked"))


async def many_at_once(binary):
    async def one(url, number):
        async with connect(url) as socket:
            for turn in range(20):
                message = f"{number} {turn}"
                await socket.send(message)
                expect("an echo", await socket.recv(), message)

    async with Place(binary) as place:
        await asyncio.gather(*[one(f"{place.url}/await", number) for number in range(100)])
        await place.until("scim_guard_upgrades_open", 0)
        expect("total", await place.metric("scim_guard_upgrades_total"), 100)


async def a_slow_reader(binary):
    async with Place(binary) as place, connect(f"{place.url}/await", max_size=None, max_queue=1) as socket:
        await socket.send("flood")
        received = 0
        for _ in range(100):
            received += len(await asyncio.wait_for(socket.recv(), WAIT_TIMEOUT))
        expect("bytes", received, 10_000_000)


async def scim_does_not_switch(binary):
    async with Place(binary) as place:
        for path in ["/scim/v2/Users", "/scim/auth-tokens", "/v8/scim/v2/Users", "/i/status"]:
            try:
                async with connect(place.url + path):
                    raise AssertionError(f"{path} has switched")
            except websockets.InvalidStatus as refused:
                rule = refused.response.headers["Scim-Guard-Rule"]
                expect(path, (refused.response.status_code, rule), (400, "framing.upgrade"))
        expect("total", await place.metric("scim_guard_upgrades_total"), 0)


async def limited(binary):
    async with Place(binary, "limits: {upgrades: 1}\n") as place, connect(f"{place.url}/await"):
        try:
            async with connect(f"{place.url}/await"):
                raise AssertionError("a second one has switched")
        except websockets.InvalidStatus as refused:
            rule = refused.response.headers["Scim-Guard-Rule"]
            expect("the second", (refused.response.status_code, rule), (503, "limits.upgrades"))


async def stopped(binary):
    async with Place(binary, "limits: {shutdown_timeout: 2s}\n") as place, connect(f"{place.url}/await") as socket:
        place.guard.terminate()
        await socket.send("still there")
        expect("an echo", await socket.recv(), "still there")
        async with asyncio.timeout(WAIT_TIMEOUT):
            await socket.wait_closed()
        expect("exit code", await asyncio.to_thread(place.guard.wait, WAIT_TIMEOUT), 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--tls", action="store_true", help="clients speak TLS")
    arguments = parser.parse_args()
    binary = arguments.binary
    folder = tempfile.TemporaryDirectory()
    if arguments.tls:
        Tls.switch_on(pathlib.Path(folder.name))
    # The server logs a traceback for each connection that ends without a close frame.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    scenarios = [
        messages,
        compressed_and_fragmented,
        closed_by_the_server,
        many_at_once,
        a_slow_reader,
        scim_does_not_switch,
        limited,
        stopped,
    ]

    def scenario(function):
        return function.__name__.replace("_", " "), lambda: asyncio.run(function(binary))

    return run([scenario(function) for function in scenarios])


if __name__ == "__main__":
    sys.exit(main())
