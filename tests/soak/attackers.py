"""Clients that hold memory without using it, each kind as a coroutine that holds as much as possible for a while.

None of them may prevent legitimate clients from being served, or make the guard exceed its memory budget.
"""

import asyncio
import base64
import os
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STREAMS = 100
REQUEST_ID = "attack-of-the-soak"
INITIAL_WINDOW_SIZE = 4
LARGEST_WINDOW = 2**31 - 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field without indexing (RFC 7541, 6.2.2); values of up to 126 bytes."""
    return bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def random_token():
    return base64.b64encode(os.urandom(32)).decode()


def h2_head(path, token=None, *more, method="GET"):
    fields = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "wire.example"), *more]
    fields.append(("x-request-id", REQUEST_ID))
    if token:
        fields.append(("authorization", f"Bearer {token}"))
    return b"".join(literal(name, value) for name, value in fields)


def settings(window):
    return PREFACE + frame(4, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, window))


async def hold(port, data, seconds, source=None):
    """Sends and reads nothing; ends early if the guard ends the connection."""
    options = {"local_addr": (source, 0)} if source else {}
    loop = asyncio.get_running_loop()
    closed = loop.create_future()

    class Deaf(asyncio.Protocol):
        def connection_made(self, transport):
            transport.pause_reading()
            transport.write(data)
            self.transport = transport

        def connection_lost(self, _):
            if not closed.done():
                closed.set_result(None)

    try:
        _, protocol = await loop.create_connection(Deaf, "127.0.0.1", port, **options)
    except OSError:
        await asyncio.sleep(0.2)
        return
    try:
        await asyncio.wait([closed], timeout=seconds)
    finally:
        protocol.transport.abort()


async def without_a_window(port, seconds, path="/scim/v2/Schemas", source=None):
    """HTTP/2 streams whose answers cannot be written, as their window is 0. They require no token."""
    block = h2_head(path)
    streams = [frame(1, 5, 2 * number + 1, block) for number in range(STREAMS)]
    await hold(port, settings(0) + b"".join(streams), seconds, source)


async def with_large_windows(port, seconds, path="/scim/v2/Users?filter=userName%20eq%20%22large%22", source=None):
    """HTTP/2 streams of large answers with a large window, of which nothing is read."""
    block = h2_head(path, random_token())
    streams = [frame(1, 5, 2 * number + 1, block) for number in range(STREAMS)]
    window = frame(8, 0, 0, struct.pack(">I", LARGEST_WINDOW - 65535))
    await hold(port, settings(LARGEST_WINDOW) + window + b"".join(streams), seconds, source)


async def half_a_head(port, seconds, size=30_000, source=None):
    """An HTTP/1 head that is never finished."""
    lines = b"".join(b"X-%04d: %s\r\n" % (number, b"a" * 990) for number in range(size // 1000))
    start = b"GET /scim/v2/Users HTTP/1.1\r\nHost: wire.example\r\n"
    await hold(port, start + lines, seconds, source)


async def half_a_head_of_http2(port, seconds, size=30_000, source=None):
    block = h2_head("/scim/v2/Users", random_token())
    more = b"".join(literal(f"x-{number:04}", "a" * 100) for number in range(size // 110))
    frames = frame(1, 1, 1, block) + frame(9, 0, 1, more[:16_000]) + frame(9, 0, 1, more[16_000:])
    await hold(port, settings(65535) + frames, seconds, source)


async def half_a_body(port, seconds, size=250_000, source=None):
    """A body with an unknown token that is never finished."""
    head = (
        "POST /scim/v2/Users HTTP/1.1\r\nHost: wire.example\r\nContent-Type: application/scim+json\r\n"
        f"Authorization: Bearer {random_token()}\r\nContent-Length: {size + 1}\r\n\r\n"
    )
    await hold(port, head.encode() + b"{" + b" " * (size - 1), seconds, source)


# Name, coroutine, and how many of them an attack consists of.
KINDS = {
    "without a window": (without_a_window, 20),
    "with large windows": (with_large_windows, 20),
    "half a head": (half_a_head, 3000),
    "half a head of HTTP/2": (half_a_head_of_http2, 2000),
    "half a body": (half_a_body, 300),
}
