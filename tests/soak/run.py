#!/usr/bin/env python3
"""The guard under mixed load for any length of time: every answer is checked, and its resource usage must not grow."""

import argparse
import asyncio
import base64
import collections
import dataclasses
import json
import multiprocessing
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "clients"))
from guard import WAIT_TIMEOUT
from ports import free_port

import attackers

SLOW = 5  # limits.header_timeout and limits.body_timeout, in seconds
UPSTREAM_TIMEOUT = 3
UPSTREAM_IDLE = 2
# After the clients have disconnected; the pool of backend connections is swept every UPSTREAM_IDLE,
# and a thread that has judged a large body ends 10 seconds later.
SETTLE = max(3 + 2 * UPSTREAM_IDLE, 12)
# How long a connection may stay open after an answer that announces its end: some of the request is
# read first.
LINGER = 5
# A client's connection that has been idle longer is not reused: less than limits.keepalive_timeout.
REST = 30
STOP = 5
# The 99th percentile of legitimate requests, in milliseconds; this program and the backend in it
# account for most of it.
HONEST = 1000
# The size of a backend's answer that the guard does not buffer completely.
LONG = 64 * 1024

CONFIG = """\
listen: ["127.0.0.1:{port}"]
upstream: {{servers: ["127.0.0.1:{backend}"]}}
admin: {{listen: "127.0.0.1:{admin}"}}
threads: 2
rules: {{profile: documented, actions: {{user.display_name.required: report, user.type: report}}}}
log: {{level: info, access: true}}
limits:
  header_timeout: {SLOW}s
  body_timeout: {SLOW}s
  requests_per_connection: 200
  upstream_timeout: {UPSTREAM_TIMEOUT}s
  upstream_idle_timeout: {UPSTREAM_IDLE}s
"""

# The path that attackers request.
LARGE = b"HTTP/1.1 200 OK\r\nContent-Type: application/scim+json\r\nContent-Length: 262144\r\n\r\n" + b" " * 262144
# Concurrent attackers of each kind.
ATTACKERS = 200

ERROR_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:Error"
REPORTED = 'scim_guard_rule_hits_total{action="report",rule="user.display_name.required"}'
AGREEMENT = "scim_guard_agreement_total"
VERDICTS = "scim_guard_verdicts_total"
IN_FLIGHT = "scim_guard_requests_in_flight"
TOKEN = base64.b64encode(os.urandom(32)).decode()
RESET = struct.pack("ii", 1, 0)


class UnexpectedAnswer(Exception):
    """What was received instead of a valid answer, and its bytes."""

    def __init__(self, what, seen=b""):
        super().__init__(what)
        self.what, self.seen = what, seen


# Requests


def head(method, target, request_id, length=None, more=(), token=TOKEN):
    lines = [f"{method} {target} HTTP/1.1", "Host: wire.example", "Accept: application/scim+json"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if request_id:
        lines.append(f"X-Request-Id: {request_id}")
    if length is not None:
        lines += ["Content-Type: application/scim+json", length]
    return "\r\n".join([*lines, *more, "", ""]).encode()


def post(request_id, body, *more, token=TOKEN):
    return head("POST", "/scim/v2/Users", request_id, f"Content-Length: {len(body)}", more, token) + body


def user(size=1024, **other):
    """A valid user of about this many bytes; most of them in an attribute that is never read."""
    name = f"user{random.randrange(10**6)}"
    fields = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": name,
        "externalId": f"{name}@example.com",
        "displayName": name.title(),
        "emails": [{"value": f"{name}@example.com", "type": "work", "primary": True}],
        "nickName": "",
    } | other
    fields = {key: value for key, value in fields.items() if value is not None}
    fields["nickName"] = "n" * max(0, size - len(json.dumps(fields)))
    return json.dumps(fields).encode()


def patch():
    operations = [{"op": "replace", "path": "displayName", "value": f"Alice {random.randrange(1000)}"}]
    schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
    return json.dumps({"schemas": [schema], "Operations": operations}).encode()


def one_user():
    return f"/scim/v2/Users/{uuid.uuid4()}"


# Answers


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes
    raw: bytes

    def closes(self):
        return self.headers.get("connection", "").lower() == "close"


def fields_of(raw):
    """The headers of a head, by their names in lower case."""
    pairs = (line.partition(":") for line in raw.decode("latin-1").split("\r\n")[1:] if line)
    return {name.lower(): value.strip() for name, _, value in pairs}


async def read_answer(reader):
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise UnexpectedAnswer("broken off in its head" if error.partial else "closed", error.partial) from None
    except asyncio.LimitOverrunError:
        raise UnexpectedAnswer("no head", await reader.read(200)) from None
    try:
        status = int(raw.split(b" ", 2)[1])
        headers = fields_of(raw)
        length = int(headers["content-length"])
    except (IndexError, KeyError, ValueError):
        raise UnexpectedAnswer("a malformed head", raw) from None
    try:
        body = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionResetError) as error:
        raise UnexpectedAnswer(f"{status} broken off", raw + getattr(error, "partial", b"")) from None
    return Answer(status, headers, body, raw + body)


def meaning(answer, request_id, length):
    """Status and rule of a valid answer to this request."""
    rule = answer.headers.get("scim-guard-rule")
    what = f"{answer.status} {rule}" if rule else str(answer.status)
    if request_id and answer.headers.get("x-request-id") != request_id:
        raise UnexpectedAnswer(f"{what} with another request id than {request_id}", answer.raw)
    if not answer.headers.get("content-type", "").startswith("application/scim+json"):
        raise UnexpectedAnswer(f"{what} with another type", answer.raw)
    try:
        body = json.loads(answer.body)
    except ValueError:
        raise UnexpectedAnswer(f"{what} without JSON", answer.raw) from None
    if not isinstance(body, dict):
        raise UnexpectedAnswer(f"{what} without an object", answer.raw)
    if rule:
        if (body.get("status"), body.get("schemas")) != (str(answer.status), [ERROR_SCHEMA]):
            raise UnexpectedAnswer(f"{what} without a SCIM error", answer.raw)
    elif (body.get("id"), body.get("length")) != (request_id, length):
        raise UnexpectedAnswer(f"{what} to another request than {request_id} with {length} bytes", answer.raw)
    return what


class Client:
    """A client with one connection, which is opened on demand."""

    def __init__(self, port, ends):
        self.port = port
        self.reader = self.writer = None
        self.used = 0
        # How reusable connections ended.
        self.ways = ends

    async def connect(self):
        if self.writer is not None and self.reader.at_eof():
            self.ways["closed by the guard without an answer"] += 1
            self.close()
        if time.monotonic() > self.used + REST:
            self.close()
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.used = time.monotonic()

    async def send(self, *pieces):
        await self.connect()
        for piece in pieces:
            self.writer.write(piece)
            if len(pieces) > 1:
                await self.writer.drain()

    async def answer(self):
        """The next answer; if it announces the end of the connection, waits for it."""
        try:
            answer = await asyncio.wait_for(read_answer(self.reader), WAIT_TIMEOUT)
            if answer.closes():
                self.ways[f"closed after a {answer.status}"] += 1
                await self.ends(answer)
            return answer
        except asyncio.TimeoutError:
            raise UnexpectedAnswer(f"no answer within {WAIT_TIMEOUT} s") from None
        except ConnectionResetError:
            raise UnexpectedAnswer("reset") from None

    async def ends(self, answer=None):
        before = answer.raw if answer else b""
        try:
            rest = await asyncio.wait_for(self.reader.read(1000), LINGER)
        except asyncio.TimeoutError:
            raise UnexpectedAnswer(f"{answer.status if answer else 'nothing'}, not closed", before) from None
        except ConnectionResetError:
            raise UnexpectedAnswer(f"{answer.status if answer else 'nothing'}, reset", before) from None
        if rest:
            raise UnexpectedAnswer(f"{answer.status if answer else 'no'} and more bytes", before + rest)
        self.close()

    def close(self, reset=False):
        if self.writer is None:
            return
        if reset:
            end_with_reset(self.writer)
        self.writer.close()
        self.reader = self.writer = None

    async def ask(self, request_id, *pieces, length=0):
        await self.send(*pieces)
        return meaning(await self.answer(), request_id, length)


def end_with_reset(writer):
    try:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    except OSError:
        pass  # it has ended already
    writer.transport.abort()


# What the clients do: each function sends one request, and returns the outcome.


async def create(client, request_id):
    body = user()
    return await client.ask(request_id, post(request_id, body), length=len(body))


async def find(client, request_id):
    target = "/scim/v2/Users?filter=userName%20eq%20%22alice%22"
    return await client.ask(request_id, head("GET", target, request_id))


async def change(client, request_id):
    body = patch()
    request = head("PATCH", one_user(), request_id, f"Content-Length: {len(body)}") + body
    return await client.ask(request_id, request, length=len(body))


async def delete(client, request_id):
    return await client.ask(request_id, head("DELETE", one_user(), request_id))


async def email_as_name(client, request_id):
    return await client.ask(request_id, post(request_id, user(userName="alice@example.com")))


async def no_token(client, request_id):
    return await client.ask(request_id, post(request_id, user(), token=None))


async def unknown_path(client, request_id):
    return await client.ask(request_id, head("GET", "/scim/v2/Everybody", request_id))


async def bad_json(client, request_id):
    body = user()
    return await client.ask(request_id, post(request_id, body[: random.randrange(2, len(body))]))


async def too_large(client, request_id):
    """The answer arrives before the body, of which everything or hardly anything is sent."""
    request = head("POST", "/scim/v2/Users", request_id, f"Content-Length: {600 * 1024}")
    return await client.ask(request_id, request + b"n" * random.choice([1024, 600 * 1024]))


async def without_display_name(client, request_id):
    body = user(displayName=None)
    return await client.ask(request_id, post(request_id, body), length=len(body))


async def large(client, request_id):
    body = user(200 * 1024)
    return await client.ask(request_id, post(request_id, body), length=len(body))


async def large_chunked(client, request_id):
    body = user(200 * 1024)
    pieces = [head("POST", "/scim/v2/Users", request_id, "Transfer-Encoding: chunked")]
    at = 0
    while at < len(body):
        chunk = body[at : at + random.randrange(1, 32 * 1024)]
        pieces.append(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        at += len(chunk)
    return await client.ask(request_id, *pieces, b"0\r\n\r\n", length=len(body))


async def many_faults(client, request_id):
    """About 511 KiB in which every two bytes are a fault that is only reported, in addition to enforced rules."""
    body = user(500, emails=None)
    faults = (511 * 1024 - len(body)) // 2
    body = b'{"emails":[' + b"1," * faults + b'{"value":"alice@example.com"}],' + body[1:]
    return await client.ask(request_id, post(request_id, body), length=len(body))


async def enforced_behind_faults(client, request_id):
    """The same, with a fault at the end that is not only reported."""
    body = user(500, emails=None)
    body = b'{"emails":[' + b"1," * 200_000 + b'{"value":"no address"}],' + body[1:]
    return await client.ask(request_id, post(request_id, body))


async def drip(client, start, rest, request_id=None):
    """Sends a byte every half a second until an answer arrives, after which the connection ends."""
    await client.send(start)
    started = time.monotonic()
    answering = asyncio.create_task(client.answer())
    try:
        for byte in rest:
            if (await asyncio.wait([answering], timeout=0.5))[0]:
                break
            client.writer.write(bytes([byte]))
        answer = await answering
    finally:
        answering.cancel()
    # The client has waited for the end of the connection, too.
    took = time.monotonic() - started
    # Requests that make the guard wait give way to others when memory is short.
    gave_way = answer.headers.get("scim-guard-rule") == "limits.buffered_bytes"
    if not gave_way and not SLOW - 0.5 <= took <= SLOW + 5:
        raise UnexpectedAnswer(f"{answer.status} after {took:.1f} s", answer.raw)
    if client.writer is not None:
        raise UnexpectedAnswer(f"{answer.status} that does not close", answer.raw)
    return meaning(answer, request_id, 0)


async def slow_head(client, request_id):
    whole = head("GET", "/scim/v2/Users", request_id)
    at = random.randrange(1, len(whole) - 100)
    return await drip(client, whole[:at], whole[at:])


async def slow_body(client, request_id):
    body = user()
    framing = random.choice([f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"])
    start = head("POST", "/scim/v2/Users", request_id, framing)
    if "chunked" in framing:
        start += b"%x\r\n" % len(body)
    at = random.randrange(len(body) - 100)
    return await drip(client, start + body[:at], body[at:], request_id)


async def leave(client, half_close=True):
    """Disconnects in one of several ways: the guard has to end the connection without an answer."""
    way = random.choice(["close", "reset", "half"] if half_close else ["close", "reset"])
    await asyncio.sleep(random.choice([0, 0, 0.02]))
    if way != "half":
        client.close(reset=way == "reset")
        return "left"
    client.writer.write_eof()
    await client.ends()
    return "closed"


async def connect_only(client, _):
    await client.connect()
    return await leave(client)


async def half_head(client, request_id):
    whole = head("GET", "/scim/v2/Users", request_id)
    await client.send(whole[: random.randrange(1, len(whole) - 4)])
    return await leave(client)


async def half_body(client, request_id):
    body = user()
    part = body[: random.randrange(len(body))]
    framing = random.choice([f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"])
    chunk = b"%x\r\n" % len(body) if "chunked" in framing else b""
    await client.send(head("POST", "/scim/v2/Users", request_id, framing) + chunk + part)
    return await leave(client)


async def garbage(client, _):
    """None of these can become a valid request."""
    noise = os.urandom(random.randrange(1, 2000))
    kinds = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise,
        b"\x00\x00\x00\x00",
        b"\xff" + noise,
        b"GET /scim/v2/Users\r\n",
        b"{}\r\n\r\n" + noise,
        b"GET  /scim/v2/Users HTTP/1.1\r\nHost: wire.example\r\n\r\n",
    ]
    await client.send(random.choice(kinds))
    answer = await client.answer()
    if client.writer is not None:
        raise UnexpectedAnswer(f"{answer.status} that does not close", answer.raw)
    return meaning(answer, None, 0)


async def not_waiting(client, request_id):
    """Sends everything and does not wait; for some of these requests, the backend misbehaves too."""
    odd = [f"X-Soak: {random.choice(MISBEHAVIOUR)}"] if random.random() < 0.3 else []
    body = user(random.choice([1024, 1024, 1024, 100 * 1024]))
    await client.send(post(request_id, body, *odd))
    return await leave(client, half_close=False)


def misbehaving(how):
    async def ask(client, request_id):
        # The client's connection stays open after an answer for the backend, and the next request
        # uses it.
        body = user()
        return await client.ask(request_id, post(request_id, body, f"X-Soak: {how}"), length=len(body))

    return ask


MISBEHAVIOUR = ["reset", "close", "half", "long-half", "garbage", "stall"]
GAVE_WAY = "503 limits.buffered_bytes"
FAILED = {"502 upstream.answer"}


@dataclasses.dataclass
class Kind:
    """A kind of request: how many of 1000 requests are of this kind, how many clients send it, and the expected outcomes."""

    name: str
    share: float
    clients: int
    attempt: collections.abc.Callable
    expected: set
    # How often each reaches the backend; None if that is not known.
    arrives: int | None
    sent: int = 0
    # How long each took, in seconds.
    took: list = dataclasses.field(default_factory=list)
    came: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    # The first of each kind that was not expected.
    samples: list = dataclasses.field(default_factory=list)

    def count(self, what, seen=b""):
        self.came[what] += 1
        if what not in self.expected and self.came[what] == 1 and len(self.samples) < 3:
            self.samples.append(f"{self.name}: {what}: {bytes(seen[:1000])!r}")

    def unexpected(self):
        return sum(count for what, count in self.came.items() if what not in self.expected)


def kinds():
    return [
        Kind("forwarded.create", 180, 6, create, {"201"}, 1),
        Kind("forwarded.find", 120, 4, find, {"200"}, 1),
        Kind("forwarded.patch", 100, 4, change, {"200"}, 1),
        Kind("forwarded.delete", 100, 4, delete, {"200"}, 1),
        Kind("refused.user_name", 60, 3, email_as_name, {"400 user.user_name"}, 0),
        Kind("refused.no_token", 50, 3, no_token, {"401 token.missing"}, 0),
        Kind("refused.path", 50, 3, unknown_path, {"404 target.not_found"}, 0),
        Kind("refused.json", 50, 3, bad_json, {"400 json.syntax"}, 0),
        Kind("refused.too_large", 15, 8, too_large, {"413 body.too_large"}, 0),
        Kind("reported", 80, 4, without_display_name, {"201"}, 1),
        Kind("slow.head", 5, 10, slow_head, {"408 limits.header_timeout", GAVE_WAY}, 0),
        Kind("slow.body", 5, 16, slow_body, {"408 body.timeout", GAVE_WAY}, 0),
        Kind("broken.connect", 30, 4, connect_only, {"left", "closed"}, 0),
        Kind("broken.head", 25, 4, half_head, {"left", "closed"}, 0),
        Kind("broken.body", 25, 4, half_body, {"left", "closed"}, 0),
        Kind("broken.garbage", 30, 4, garbage, {"400 framing.message"}, 0),
        Kind("broken.not_waiting", 30, 4, not_waiting, {"left"}, None),
        Kind("large.length", 12, 4, large, {"201"}, 1),
        Kind("large.chunked", 12, 4, large_chunked, {"201"}, 1),
        Kind("faults.reported", 6, 3, many_faults, {"201"}, 1),
        Kind("faults.enforced", 4, 2, enforced_behind_faults, {"400 user.emails"}, 0),
        Kind("backend.reset", 8, 3, misbehaving("reset"), FAILED, 1),
        Kind("backend.close", 8, 3, misbehaving("close"), FAILED, 1),
        Kind("backend.half", 8, 3, misbehaving("half"), FAILED, 1),
        Kind("backend.long_half", 8, 3, misbehaving("long-half"), {"201 broken off"}, 1),
        Kind("backend.garbage", 8, 3, misbehaving("garbage"), FAILED, 1),
        Kind("backend.stall", 6, 8, misbehaving("stall"), {"504 upstream.timeout"}, 1),
    ]


class Backend:
    """Answers 201 to a POST and 200 to everything else, and misbehaves as `X-Soak` says."""

    def __init__(self):
        self.arrived = collections.Counter()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1000)
        return self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        try:
            while await self.answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the guard may close connections at any time
        finally:
            writer.close()

    async def answer(self, reader, writer):
        """Answers one request; returns whether the connection stays open."""
        raw = await reader.readuntil(b"\r\n\r\n")
        fields = fields_of(raw)
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        request_id = fields.get("x-request-id", "-")
        if request_id == attackers.REQUEST_ID:
            writer.write(LARGE)
            await writer.drain()
            return True
        self.arrived[request_id.rpartition("-")[0]] += 1
        status = "201 Created" if raw.startswith(b"POST ") else "200 OK"
        how = fields.get("x-soak")
        padding = "n" * (2 * LONG if how == "long-half" else 0)
        text = json.dumps({"id": request_id, "length": len(body), "nickName": padding}).encode()
        lines = [f"HTTP/1.1 {status}", "Content-Type: application/scim+json", f"Content-Length: {len(text)}", "", ""]
        whole = "\r\n".join(lines).encode() + text
        match how:
            case "reset":
                end_with_reset(writer)
            case "close":
                pass
            case "half" | "long-half":
                writer.write(whole[: -len(text) // 2])
            case "garbage":
                writer.write(random.choice([b"garbage\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"\0\xff" * 50 + b"\r\n\r\n"]))
            case "stall":
                await asyncio.sleep(UPSTREAM_TIMEOUT + 2)
                writer.write(whole)
                return True
            case _:
                writer.write(whole)
                return True
        return False


class Guard:
    """The process, and its log: too large to be kept, so only unexpected lines are."""

    def __init__(self, binary, backend):
        self.port, self.admin = free_port(), free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="soak")
        config = Path(self.folder.name) / "guard.yaml"
        settings = {"SLOW": SLOW, "UPSTREAM_TIMEOUT": UPSTREAM_TIMEOUT, "UPSTREAM_IDLE": UPSTREAM_IDLE}
        config.write_text(CONFIG.format(port=self.port, backend=backend, admin=self.admin, **settings))
        command = [binary, "serve", "--config", config]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.lines = 0
        # Errors, and lines that are not JSON, such as those of a panic; and the first of these
        # lines.
        self.errors, self.warnings = 0, 0
        self.first_errors, self.first_warnings = [], []
        self.ready = threading.Event()
        self.reading = threading.Thread(target=self.read, daemon=True)
        self.reading.start()
        if not self.ready.wait(WAIT_TIMEOUT) or not self.runs():
            self.end()
            raise RuntimeError(f"the guard did not start: {self.first_errors}")

    def read(self):
        for line in self.process.stderr:
            self.lines += 1
            if b'"ready"' in line:
                self.ready.set()
            if not line.startswith(b"{") or b'"level":"Error"' in line:
                self.errors += 1
                self.first_errors.append(line.decode(errors="replace").rstrip())
                del self.first_errors[20:]
            elif b'"level":"Warn"' in line:
                self.warnings += 1
                self.first_warnings.append(line.decode(errors="replace").rstrip())
                del self.first_warnings[5:]
        self.ready.set()

    def runs(self):
        return self.process.poll() is None

    def usage(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        resident = int(fields["VmRSS"].split()[0]) / 1024
        return Usage(resident, len(os.listdir(f"/proc/{self.process.pid}/fd")), int(fields["Threads"]))

    async def look(self, path):
        """Status and text of a page of the admin listener."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n".encode())
            answer = await asyncio.wait_for(read_answer(reader), WAIT_TIMEOUT)
        finally:
            writer.close()
        return answer.status, answer.body.decode()

    async def metric(self, series):
        _, text = await self.look("/metrics")
        values = [line.rpartition(" ") for line in text.splitlines()]
        return next((float(value) for name, _, value in values if name == series), None)

    async def total(self, family, *labels):
        """The sum of all series of a family that have these labels."""
        _, text = await self.look("/metrics")
        values = [line.rpartition(" ") for line in text.splitlines() if line.startswith(family + "{")]
        return sum(float(value) for name, _, value in values if all(label in name for label in labels))

    def stop(self):
        """The exit code after SIGTERM and how long that took; the code is None if it did not end."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            code = None
        return code, time.monotonic() - started

    def end(self):
        if self.runs():
            self.process.kill()
        self.process.wait()
        self.reading.join(WAIT_TIMEOUT)
        self.folder.cleanup()


@dataclasses.dataclass
class Usage:
    resident: float
    descriptors: int
    threads: int

    def __str__(self):
        return f"resident {self.resident:.1f} MiB, descriptors {self.descriptors}, threads {self.threads}"


class Soak:
    def __init__(self, guard, rate):
        self.guard, self.rate = guard, rate
        self.kinds = kinds()
        self.started = time.monotonic()
        self.ends = collections.Counter()

    def sent(self):
        return sum(kind.sent for kind in self.kinds)

    def unexpected(self):
        return sum(kind.unexpected() for kind in self.kinds)

    async def load(self, seconds):
        """All clients at once; they finish their requests, and close."""
        end = time.monotonic() + seconds
        attack = multiprocessing.Process(target=attack_all, args=(self.guard.port, seconds), daemon=True)
        attack.start()
        workers = [self.work(kind, end) for kind in self.kinds for _ in range(kind.clients)]
        watching = asyncio.create_task(self.watch())
        try:
            await asyncio.gather(*workers)
        finally:
            watching.cancel()
            attack.kill()
            attack.join()

    async def work(self, kind, end):
        """One client, at its share of the rate, with jitter and without catching up."""
        client = Client(self.guard.port, self.ends)
        interval = kind.clients * 1000 / (kind.share * self.rate)
        due = time.monotonic() + random.random() * interval
        while due < end:
            await asyncio.sleep(max(0, due - time.monotonic()))
            if not self.guard.runs():
                break
            await self.attempt(kind, client)
            due = max(due + interval * random.uniform(0.5, 1.5), time.monotonic())
        client.close()

    async def attempt(self, kind, client):
        kind.sent += 1
        started = time.monotonic()
        try:
            kind.count(await kind.attempt(client, f"{kind.name}-{kind.sent}"))
            kind.took.append(time.monotonic() - started)
        except UnexpectedAnswer as odd:
            kind.count(odd.what, odd.seen)
            client.close()
        except OSError as error:
            kind.count(f"{type(error).__name__}: {error}")
            client.close()

    async def watch(self):
        """A scrape every five seconds, as Prometheus does, and a progress line every minute."""
        for tick in range(1, sys.maxsize):
            await asyncio.sleep(5)
            try:
                await self.guard.look("/metrics")
                usage = self.guard.usage()
            except (OSError, UnexpectedAnswer, asyncio.TimeoutError, KeyError) as error:
                print(f"soak: cannot inspect the guard: {error!r}", file=sys.stderr)
                continue
            if tick % 12 == 0:
                minutes = (time.monotonic() - self.started) / 60
                said = f"{self.sent()} requests, {self.unexpected()} unexpected; {usage}"
                print(f"soak: {minutes:.0f} minutes: {said}", file=sys.stderr, flush=True)

    def table(self):
        rows = [("kind", "sent", "expected", "unexpected", "received")]
        for kind in self.kinds:
            came = ", ".join(f"{what}: {count}" for what, count in kind.came.most_common(6))
            unexpected = kind.unexpected()
            rows.append((kind.name, kind.sent, kind.sent - unexpected, unexpected, came))
        sums = [sum(row[at] for row in rows[1:]) for at in (1, 2, 3)]
        rows.append(("all", *sums, ""))
        return "\n".join(f"{row[0]:20}{row[1]:>9}{row[2]:>10}{row[3]:>12}  {row[4]}".rstrip() for row in rows)


def suffering(kinds):
    """Legitimate clients that had to wait for the verdicts on others' requests."""
    for kind in kinds:
        if kind.name.startswith("forwarded.") and kind.took:
            took = sorted(kind.took)
            p99 = took[int(len(took) * 0.99)] * 1000
            if p99 > HONEST:
                yield f"{kind.name}: the 99th percentile is {p99:.0f} ms, more than {HONEST}"


def attack_all(port, seconds):
    """One kind of attack after another. Legitimate clients must not notice."""

    async def again(kind, until):
        while (left := until - time.monotonic()) > 0:
            await kind(port, left)
            await asyncio.sleep(0.1)

    async def attack():
        rounds = max(1, round(seconds / 60))
        for _ in range(rounds):
            for kind, count in attackers.KINDS.values():
                until = time.monotonic() + seconds / rounds / len(attackers.KINDS)
                await asyncio.gather(*(again(kind, until) for _ in range(min(count, ATTACKERS))))

    asyncio.run(attack())


def growth(before, after):
    """Resources that have grown more than allowed."""
    if after.resident > before.resident * 1.1 + 4:
        yield f"resident memory has grown from {before.resident:.1f} to {after.resident:.1f} MiB"
    if after.descriptors > before.descriptors + 10:
        yield f"descriptors have grown from {before.descriptors} to {after.descriptors}"
    if after.threads > before.threads:
        yield f"threads have grown from {before.threads} to {after.threads}"


async def check_at_the_end(guard, backend, soak):
    """Checks after all clients have disconnected."""
    in_flight = await guard.metric(IN_FLIGHT)
    if in_flight != 0:
        yield f"{IN_FLIGHT} is {in_flight}"
    status, _ = await guard.look("/i/status")
    if status != 200:
        yield f"/i/status is {status}"
    # An error could have been among them.
    _, ready = await guard.look("/i/ready")
    if "log lines dropped: 0\n" not in ready:
        yield f"/i/ready says {ready!r}"
    sent = next(kind.sent for kind in soak.kinds if kind.name == "reported")
    reported = await guard.metric(REPORTED)
    if reported != sent:
        yield f"{sent} users without a displayName were sent, {REPORTED} is {reported}"
    counted = await guard.total(AGREEMENT)
    forwarded = 0
    for verdict in ("forwarded", "reported"):
        forwarded += await guard.total(VERDICTS, f'verdict="{verdict}"', 'handler="/scim/v2/')
    if counted != forwarded:
        yield f"{forwarded:.0f} judged requests were forwarded, {counted:.0f} are in {AGREEMENT}"
    overruled = await guard.total(AGREEMENT, 'outcome="overruled"')
    served = sum(kind.came["201"] for kind in soak.kinds if kind.name in ("reported", "faults.reported"))
    if overruled != served:
        yield f"the backend served {served} reported requests, {overruled} are overruled"
    for kind in soak.kinds:
        arrived = backend.arrived.pop(kind.name, 0)
        wanted = kind.sent * (kind.arrives or 0)
        if kind.arrives is not None and arrived != wanted or arrived > kind.sent:
            yield f"{kind.name}: {arrived} requests arrived at the backend, not {wanted}"
    if backend.arrived:
        yield f"unexpected requests at the backend: {dict(backend.arrived)}"


async def run(binary, minutes, rate):
    backend = Backend()
    guard = Guard(binary, await backend.start())
    failures = []
    try:
        soak = Soak(guard, rate)
        warm_up = min(60, minutes * 60 / 10)
        await soak.load(warm_up)
        await asyncio.sleep(SETTLE)
        before = after = guard.usage() if guard.runs() else Usage(0, 0, 0)
        print(f"after a warm-up of {warm_up:.0f} s: {before}", flush=True)
        await soak.load(minutes * 60 - warm_up)
        await asyncio.sleep(SETTLE)
        if guard.runs():
            after = guard.usage()
            print(f"at the end: {after}", flush=True)
            failures += growth(before, after)
            failures += suffering(soak.kinds)
            try:
                failures += [failure async for failure in check_at_the_end(guard, backend, soak)]
            except (OSError, UnexpectedAnswer, asyncio.TimeoutError) as error:
                failures.append(f"cannot inspect the guard: {error!r}")
            code, took = guard.stop()
            print(f"exit code {code} {took:.2f} s after SIGTERM", flush=True)
            if code != 0:
                failures.append(f"exit code {code} within {STOP} s after SIGTERM")
        else:
            failures.append(f"the guard has ended with exit code {guard.process.returncode}")
    finally:
        guard.end()
    if guard.errors:
        failures.append(f"{guard.errors} lines in the log are errors or not JSON")
    unexpected = soak.unexpected()
    print(f"{guard.lines} lines logged, {guard.warnings} warnings, {guard.errors} errors")
    print("; ".join(f"{how}: {count}" for how, count in sorted(soak.ends.items())))
    samples = [sample for kind in soak.kinds for sample in kind.samples]
    print("\n".join([soak.table(), *guard.first_errors, *guard.first_warnings, *samples]))
    for failure in failures:
        print(f"FAILED: {failure}")
    failed = bool(failures or unexpected)
    print(
        f"soak: {minutes:g} minutes, {soak.sent()} requests, {unexpected} unexpected; "
        f"resident {before.resident:.1f} -> {after.resident:.1f} MiB, "
        f"descriptors {before.descriptors} -> {after.descriptors}, "
        f"threads {before.threads} -> {after.threads}: {'FAILED' if failed else 'ok'}"
    )
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--rate", type=float, default=300, help="requests per second of all clients, roughly")
    arguments = parser.parse_args()
    return asyncio.run(run(arguments.binary, arguments.minutes, arguments.rate))


if __name__ == "__main__":
    sys.exit(main())
