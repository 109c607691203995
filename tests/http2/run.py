#!/usr/bin/env python3
"""Hostile HTTP/2 over real sockets: malformed requests, and those that would change their meaning as HTTP/1, never reach
the backend; floods end only their own connection, and the next client is served.

    tests/http2/run.py --binary PATH [--tls]
"""

import argparse
import pathlib
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.request

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hpack

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "clients"))
from certificate import self_signed
from guard import WAIT_TIMEOUT, expect, run
from ports import free_port

TOKEN = "Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
USER = b'{"userName":"alice","externalId":"alice@example.com","displayName":"Alice"}'
USERS = "/scim/v2/Users"
STALLED = USERS + "/00000000-0000-4000-8000-000000000000"
STREAMS = 20
BUFFERED = 'scim_guard_buffered_bytes{kind="'
NOT_FOUND = "404 target.not_found"


class Backend:
    """Records requests and answers them with 200; requests to `STALLED` only once `go_on` is set."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.heads = []
        self.go_on = threading.Event()
        self.body = b"{}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        try:
            self.answer_all(stream)
        except OSError:
            pass  # the guard has closed the connection

    def answer_all(self, stream):
        seen = b""
        while chunk := received(stream):
            seen += chunk
            while b"\r\n\r\n" in seen:
                head, rest = seen.split(b"\r\n\r\n", 1)
                lines = head.lower().split(b"\r\n")
                lengths = [line for line in lines if line.startswith(b"content-length:")]
                length = int(lengths[0].split(b":")[1]) if lengths else 0
                if b"transfer-encoding: chunked" in lines:
                    length = rest.find(b"0\r\n\r\n") + 5
                    if length < 5:
                        break
                if len(rest) < length:
                    break
                # Remaining bytes, such as a second last chunk, would be parsed as the next request.
                seen = rest[length:]
                self.heads.append(head)
                if STALLED.encode() in head:
                    self.go_on.wait()
                body = self.body
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
                stream.sendall(body)


def received(stream):
    """The next bytes; empty at the end of the connection, also if it was reset."""
    try:
        return stream.recv(65536)
    except ConnectionError:
        return b""


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def head(*more, method="GET", path=USERS + "?filter=userName%20eq%20%22a%22", authority="wire.example", scheme="http"):
    pseudo = [(":method", method), (":path", path), (":scheme", scheme), (":authority", authority)]
    fields = [(name, value) for name, value in pseudo if value is not None]
    return [*fields, ("authorization", TOKEN), *more]


def post(*more, path=USERS):
    return head(("content-type", "application/scim+json"), *more, method="POST", path=path)


def without_token():
    return [(name, value) for name, value in post() if name != "authorization"]


class Tls:
    """With `--tls` guards have a certificate, and their clients agree on HTTP/2 by ALPN."""

    settings = ""
    context = None

    @classmethod
    def switch_on(cls, folder):
        certificate, key = folder / "certificate.pem", folder / "key.pem"
        self_signed(certificate, key, "localhost")
        cls.settings = f"tls: {{certificates: [{{certificate: {certificate}, key: {key}}}]}}"
        cls.context = ssl.create_default_context(cafile=certificate)
        cls.context.check_hostname = False
        cls.context.set_alpn_protocols(["h2"])

    @classmethod
    def http1(cls):
        """For a client that speaks HTTP/1.1."""
        if cls.context is None:
            return None
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


def connect(port):
    stream = socket.create_connection(("127.0.0.1", port), WAIT_TIMEOUT)
    if Tls.context is None:
        return stream
    return Tls.context.wrap_socket(stream)


class Client:
    """A client without checks: headers are encoded as they are given."""

    def __init__(self, port):
        self.stream = connect(port)
        config = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.flush()
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.next, self.received = 1, b""
        self.statuses, self.outcomes, self.resets = {}, {}, set()

    def flush(self):
        self.send(self.h2.data_to_send())

    def send(self, data):
        try:
            self.stream.sendall(data)
        except OSError:
            pass

    def request(self, fields, body=None):
        """Sends a request in raw frames, with its body in one or several frames or, for an empty list, without it;
        returns its stream id."""
        number, self.next = self.next, self.next + 2
        block = self.encoder.encode(fields)
        self.send(frame(1, 4 | (body is None), number, block))
        parts = [body] if isinstance(body, bytes) else body or []
        for at, part in enumerate(parts):
            self.send(frame(0, at + 1 == len(parts), number, part))
        return number

    def outcome(self, number):
        """The status with the rule, `reset`, or `closed`."""
        while number not in self.outcomes:
            try:
                chunk = self.stream.recv(65536)
            except (ConnectionError, ssl.SSLError):
                chunk = b""
            if not chunk:
                return self.statuses.get(number, "closed")
            self.received += chunk
            while len(self.received) >= 9 and len(self.received) >= 9 + (size := int.from_bytes(self.received[:3], "big")):
                kind, flags, stream = self.received[3], self.received[4], int.from_bytes(self.received[5:9], "big") & 0x7FFFFFFF
                payload, self.received = self.received[9 : 9 + size], self.received[9 + size :]
                if kind == 4 and not flags & 1:
                    self.send(frame(4, 1, 0, b""))
                if kind == 1:
                    fields = dict(self.decoder.decode(payload))
                    self.statuses[stream] = f"{fields[':status']} {fields.get('scim-guard-rule', '-')}"
                if kind == 3:
                    self.resets.add(stream)
                    self.outcomes.setdefault(stream, self.statuses.get(stream, "reset"))
                if kind in (0, 1) and flags & 1:
                    self.outcomes[stream] = self.statuses[stream]
                # A GOAWAY without an error code lets streams in flight finish.
                if kind == 7 and payload[4:8] != bytes(4):
                    return self.statuses.get(number, "closed")
        return self.outcomes[number]


def cases():
    """Name, fields, body and expected outcome. `malformed`: anything except success."""
    malformed = None
    refused = lambda rule: f"400 {rule}"
    yield "connection header", head(("connection", "close")), None, malformed
    yield "keep-alive header", head(("keep-alive", "5")), None, malformed
    yield "transfer-encoding", post(("transfer-encoding", "chunked")), USER, malformed
    yield "transfer-encoding and content-length", post(("transfer-encoding", "chunked"), ("content-length", "5")), USER, malformed
    yield "upgrade", head(("upgrade", "h2c")), None, malformed
    yield "te other than trailers", head(("te", "gzip")), None, malformed
    yield "upper-case name", head(("X-Upper", "1")), None, malformed
    yield "line break in a value", head(("x-a", "1\r\nx-b: 2")), None, malformed
    yield "NUL in a value", head(("x-a", "1\0")), None, malformed
    yield "colon in a name", head(("x:a", "1")), None, malformed
    yield "space in a name", head(("x a", "1")), None, malformed
    yield "two paths", [(":path", USERS), *head()], None, malformed
    yield "two methods", [(":method", "GET"), *head()], None, malformed
    yield "pseudo header after others", [*head(), (":path", USERS)], None, malformed
    yield "unknown pseudo header", [(":unknown", "1"), *head()], None, malformed
    yield "no path", head(path=None), None, malformed
    yield "empty path", head(path=""), None, malformed
    yield "no method", head(method=None), None, malformed
    yield "no scheme", head(scheme=None), None, malformed
    yield "CONNECT", head(method="CONNECT", path=None, scheme=None), None, malformed
    yield "CONNECT with a protocol", [(":protocol", "websocket"), *head(method="CONNECT")], None, malformed
    yield "space in the path", head(path="/scim/v2/Users HTTP/1.1\r\nx: y"), None, malformed
    yield "path without a slash", head(path="scim/v2/Users"), None, malformed
    yield "asterisk", head(method="OPTIONS", path="*"), None, malformed
    yield "absolute form", head(path="http://other.example/scim/v2/Users"), None, malformed
    yield "user info in the authority", head(authority="a@wire.example"), None, malformed
    yield "no authority", head(authority=None), None, malformed
    yield "another host", head(("host", "other.example")), None, malformed
    yield "foreign authority", head(authority="other.example"), None, refused("framing.host")
    yield "length too short", post(("content-length", "5")), USER, malformed
    yield "length too long", post(("content-length", "5000")), USER, malformed
    yield "two lengths", post(("content-length", str(len(USER))), ("content-length", "5")), USER, malformed
    yield "length with a sign", post(("content-length", f"+{len(USER)}")), USER, malformed
    yield "dot segments", head(path="/scim/v2/../../i/status"), None, refused("target.ambiguous")
    yield "internal path", head(path="/i/status"), None, "404 target.not_found"
    yield "encoded slash", head(path="/scim%2fv2%2fUsers"), None, refused("target.ambiguous")
    yield "lower-case method", head(method="post"), None, "405 method.not_allowed"
    yield "many headers", head(*[(f"x-{n}", "1") for n in range(200)]), None, malformed
    yield "large headers", head(*[(f"x-{n}", "a" * 4000) for n in range(12)]), None, malformed
    yield "repeated token", head(("authorization", TOKEN)), None, refused("token.duplicate")
    yield "bad body", post(), b"{]", refused("json.syntax")


def forwarded():
    """Name, path, and the target that the backend receives."""
    search = USERS + "?filter=userName%20eq%20%22{}%22"
    yield "a non-ASCII letter", search.format("\u00e4"), search.format("\u00e4")
    # The HTTP/2 library drops the fragment before the guard sees it.
    yield "fragment", search.format("a") + "#x", search.format("a")


def abandoned(client, backend):
    """Opens streams that are never answered, and resets each as soon as the backend has received its request."""
    backend.heads.clear()
    for number in range(10 * STREAMS):
        stream = client.request(head(path=STALLED))
        until(lambda: len(backend.heads) > number, "the backend receives a request")
        client.send(frame(3, 0, stream, struct.pack(">I", 8)))


def until(condition, what):
    for _ in range(WAIT_TIMEOUT * 100):
        if condition():
            return
        threading.Event().wait(0.01)
    sys.exit(f"timed out waiting until {what}")


def hostile(client, number):
    """Floods: each is sent on a separate connection, which may be closed because of it."""
    block = client.encoder.encode(head())
    if number == 0:  # streams opened and reset at once
        for stream in range(1, 4001, 2):
            client.send(frame(1, 5, stream, block if stream == 1 else hpack.Encoder().encode(head())))
            client.send(frame(3, 0, stream, struct.pack(">I", 8)))
    elif number == 1:  # endless settings
        client.send(frame(4, 0, 0, struct.pack(">HI", 3, 100)) * 20000)
    elif number == 2:  # endless pings
        client.send(frame(6, 0, 0, b"12345678") * 20000)
    elif number == 3:  # an endless head
        client.send(frame(1, 0, 1, block))
        for _ in range(2000):
            client.send(frame(9, 0, 1, hpack.Encoder().encode([("x-a", "b" * 500)])))
    elif number == 4:  # a frame larger than allowed
        client.send(frame(0, 0, 1, b"a" * 100000))
    elif number == 5:  # empty data frames
        client.send(frame(1, 4, 1, client.encoder.encode(post())))
        client.send(frame(0, 0, 1, b"") * 50000)
    elif number == 6:  # bytes that are not frames
        client.send(b"\xff" * 100000)


class Guard:
    """A running guard with its own backend."""

    def __init__(self, binary, limits="", streams=STREAMS, upstream=None, more=""):
        self.backend = Backend()
        self.port, self.admin = free_port(), free_port()
        self.folder = tempfile.TemporaryDirectory()
        config = pathlib.Path(self.folder.name) / "guard.yaml"
        config.write_text(
            f'listen: [{{address: "127.0.0.1:{self.port}", {Tls.settings}}}]\nadmin: {{listen: "127.0.0.1:{self.admin}"}}\n'
            f'upstream: {{servers: ["127.0.0.1:{upstream or self.backend.port}"]}}\nhosts: [wire.example]\n'
            f"log: {{access: false}}\nlimits: {{streams: {streams}{limits}}}\n{more}"
        )
        self.log = pathlib.Path(self.folder.name) / "log"
        self.process = subprocess.Popen([binary, "serve", "--config", str(config)], stderr=self.log.open("wb"))
        until(lambda: self.listens(), "the guard listens")

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def client(self):
        return Client(self.port)

    def served(self):
        """A well-behaved client is served."""
        client = self.client()
        expect("the next client", client.outcome(client.request(post(), USER)), "200 -")

    def metric(self, name):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=WAIT_TIMEOUT).read().decode()
        return sum(float(value) for value in re.findall(rf"^{re.escape(name)}[^\n]* (\S+)$", text, re.M))

    def in_flight(self):
        return self.metric("scim_guard_requests_in_flight")

    def resident(self, what="VmRSS"):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{what}:\s+(\d+) kB$", status, re.M)[1]) << 10

    def stop(self):
        self.process.terminate()
        return self.process.wait(WAIT_TIMEOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.backend.go_on.set()
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def malformed_and_hostile_requests(binary):
    failures = []
    with Guard(binary) as guard:
        heads = guard.backend.heads
        for name, fields, body, expected in cases():
            client = guard.client()
            outcome = client.outcome(client.request(fields, body))
            fine = outcome == expected if expected else not outcome.startswith("2")
            if not fine:
                failures.append(f"{name}: {outcome}, not {expected or 'a refusal'}")
            if heads:
                failures.append(f"{name}: the backend received {heads!r}")
                heads.clear()
        guard.served()
    if failures:
        raise AssertionError("; ".join(failures))


def targets_are_forwarded_as_sent(binary):
    with Guard(binary) as guard:
        for name, path, target in forwarded():
            client = guard.client()
            expect(name, client.outcome(client.request(head(path=path))), "200 -")
            lines = [line.split(b"\r\n")[0].decode() for line in guard.backend.heads]
            expect(name, lines, [f"GET {target} HTTP/1.1"])
            guard.backend.heads.clear()


def bodies_ending_in_an_empty_frame(binary):
    """A streamed body without a Content-Length gets exactly one last chunk, whatever its last frame contains."""
    with Guard(binary) as guard:
        for parts in ([b""], [b"abc", b""], [b"", b"abc", b""], [b"abc"]):
            client = guard.client()
            number = client.request(head(method="POST", path="/scim/auth-tokens"), parts)
            expect(f"{parts}", client.outcome(number), "200 -")
            client.stream.close()
        expect("requests at the backend", [line.split(b" ")[0] for line in guard.backend.heads], [b"POST"] * 4)


def split_cookie_headers(binary):
    with Guard(binary) as guard:
        client = guard.client()
        fields = head(("cookie", "a=1"), ("cookie", "b=2"), path="/scim/auth-tokens")
        expect("cookies", client.outcome(client.request(fields)), "200 -")
        lines = [line for line in guard.backend.heads[0].split(b"\r\n") if line.lower().startswith(b"cookie")]
        expect("cookies", [line.lower() for line in lines], [b"cookie: a=1; b=2"])


def abandoned_streams(binary):
    """Streams end when they are reset and when their client disconnects."""
    with Guard(binary) as guard:
        client = guard.client()
        abandoned(client, guard.backend)
        until(lambda: guard.in_flight() == 0, "reset streams have ended")
        for _ in range(STREAMS):
            client.request(head(path=STALLED))
        until(lambda: guard.in_flight() == STREAMS, "streams are in flight")
        client.stream.close()
        until(lambda: guard.in_flight() == 0, "streams of a disconnected client have ended")
        # A client that does not wait for a refusal is not counted as a failure of the backend.
        client = guard.client()
        before = guard.metric("scim_guard_requests_total")
        for _ in range(STREAMS):
            number = client.request(head(path="/nowhere"))
            client.send(frame(3, 0, number, struct.pack(">I", 8)))
        client.outcome(client.request(head(path="/nowhere")))
        until(lambda: guard.metric("scim_guard_requests_total") > before, "requests are counted")
        hits = guard.metric('scim_guard_rule_hits_total{action="enforce",rule="upstream')
        expect("backend failures", hits, 0)


def abandoned_backend_connections(binary):
    """Streams are reset while they wait for a connection to a backend that accepts none."""
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(4):
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(full.getsockname())
    with Guard(binary, streams=STREAMS + 1, upstream=full.getsockname()[1]) as guard:
        client = guard.client()
        for _ in range(30):
            numbers = [client.request(head(path="/scim/auth-tokens")) for _ in range(STREAMS)]
            expect("a request that needs no backend", client.outcome(client.request(head(path="/x"))), NOT_FOUND)
            for number in numbers:
                client.send(frame(3, 0, number, struct.pack(">I", 8)))
        open_files = len(list(pathlib.Path(f"/proc/{guard.process.pid}/fd").iterdir()))
        if open_files > 2 * 128 + 100:
            raise AssertionError(f"{open_files} descriptors are open")
    for stream in [*waiting, full]:
        stream.close()


def memory_per_stream(binary):
    """Requests count towards the shared memory before any part of their body has arrived."""
    with Guard(binary, ", body: 64KiB, buffered_bytes: 128KiB") as guard:
        client = guard.client()
        numbers = [client.request(post(), []) for _ in range(STREAMS)]
        until(lambda: guard.metric(BUFFERED) > 100 << 10, "streams are counted")
        # Requests that wait for their client are given up for others.
        guard.served()
        expect("the first of many streams", client.outcome(numbers[0]), "503 limits.buffered_bytes")
        client.stream.close()
        until(lambda: guard.in_flight() == 0, "the streams have ended")
        # Refused requests hold no memory, even while the client does not read the answer.
        client = guard.client()
        client.send(frame(4, 0, 0, struct.pack(">HI", 4, 0)))
        before = guard.metric("scim_guard_requests_total")
        numbers = [client.request(head(path="/nowhere")) for _ in range(STREAMS)]
        expect("refused streams", {client.outcome(number) for number in numbers}, {NOT_FOUND})
        expect("memory of refused streams", guard.metric(BUFFERED), 0)
        guard.served()
        until(lambda: guard.metric("scim_guard_requests_total") == before + STREAMS + 1, "all requests are counted")
        until(lambda: guard.in_flight() == 0, "no request is in flight")
        # The same holds for requests whose body never arrives.
        client = guard.client()
        for number in [client.request(without_token(), []) for _ in range(STREAMS)]:
            expect("a request without a token", client.outcome(number), "401 token.missing")
        guard.served()
        until(lambda: guard.in_flight() == 0, "refused requests have ended")
        guard.served()


def refusals_before_the_end_of_the_body(binary):
    """A refusal is sent before the whole body has arrived, and no reset follows it: some clients take a reset
    for the outcome."""
    with Guard(binary) as guard:
        client = guard.client()
        for fields, refusal in [
            (without_token(), "401 token.missing"),
            (post(("content-length", "600000")), "413 body.too_large"),
        ]:
            number = client.request(fields, [])
            expect("a refusal", client.outcome(number), refusal)
            for _ in range(4):
                client.send(frame(0, 0, number, b"a" * 10_000))
                expect("another request", client.outcome(client.request(head(path="/x"))), NOT_FOUND)
            expect("reset streams", client.resets, set())


def one_malformed_stream_among_others(binary):
    """A malformed head ends its stream if the codec can decode it, and the connection otherwise."""
    decodable = {
        "connection header": head(("connection", "close")),
        "te other than trailers": head(("te", "gzip")),
        "two paths": [(":path", USERS), *head()],
        "pseudo header after others": [*head(), (":path", USERS)],
        "length that does not match": post(("content-length", "5")),
    }
    undecodable = {
        "upper-case name": head(("X-Upper", "1")),
        "line break in a value": head(("x-a", "1\r\nx-b: 2")),
        "NUL in a value": head(("x-a", "1\0")),
        "colon in a name": head(("x:a", "1")),
        "space in a name": head(("x a", "1")),
        "unknown pseudo header": [(":unknown", "1"), *head()],
    }
    for kinds, expected in [(decodable, "200 -"), (undecodable, "closed")]:
        for name, fields in kinds.items():
            with Guard(binary) as guard:
                client = guard.client()
                others = [client.request(head(path=STALLED)) for _ in range(3)]
                until(lambda: len(guard.backend.heads) == 3, "the backend receives the others")
                bad = client.request(fields, USER if name.startswith("length") else None)
                if kinds is decodable:
                    expect(name, client.outcome(bad), "reset")
                    guard.backend.go_on.set()
                expect(f"streams next to {name}", [client.outcome(number) for number in others], [expected] * 3)
                expect("requests at the backend", len(guard.backend.heads), 3)
                guard.backend.go_on.set()
                guard.served()


def many_malformed_streams(binary):
    """The connection ends with the 32nd stream that Pingora rejects, and with the 1,025th that the codec resets."""
    with Guard(binary) as guard:
        for limit, fields in [
            (31, head(("host", "other.example"))),
            (31, head(authority=None)),
            (1024, head(("te", "gzip"))),
        ]:
            client = guard.client()
            outcomes = [client.outcome(client.request(fields)) for _ in range(limit + 2)]
            ended = [outcome == "closed" for outcome in outcomes]
            expect(f"streams of {fields[-1]}", ended, [False] * limit + [True] * 2)
            guard.served()


def unread_answers(binary):
    """Buffered answers count towards the shared memory."""
    with Guard(binary, ", body: 64KiB, buffered_bytes: 512KiB, write_timeout: 2s") as guard:
        guard.backend.body = b"a" * 60_000
        client = guard.client()
        client.send(frame(4, 0, 0, struct.pack(">HI", 4, 0)))
        for _ in range(STREAMS):
            client.request(head())
        until(lambda: guard.metric(BUFFERED) > 200 << 10, "memory is used")
        guard.served()
        if (held := guard.metric(BUFFERED)) > 512 << 10:
            raise AssertionError(f"{held} bytes are buffered")
        until(lambda: guard.in_flight() == 0, "unread answers are given up")
        guard.served()
        client.stream.close()
        until(lambda: guard.metric(BUFFERED) == 0, "memory is released")


def others_are_served(guard, rounds=5):
    """Requests over HTTP/1 and HTTP/2, with and without a body, from the attacker's address are served."""
    for _ in range(rounds):
        guard.served()
        client = guard.client()
        expect("a request without a body", client.outcome(client.request(head())), "200 -")
        client.stream.close()
        for method, body in [("GET", b""), ("POST", USER)]:
            scheme = "https" if Tls.context else "http"
            url = f"{scheme}://127.0.0.1:{guard.port}{USERS}?filter=userName%20eq%20%22a%22"
            fields = {"Host": "wire.example", "Authorization": TOKEN, "Content-Type": "application/scim+json"}
            request = urllib.request.Request(url.split("?")[0] if body else url, body or None, fields, method=method)
            with urllib.request.urlopen(request, timeout=WAIT_TIMEOUT, context=Tls.http1()) as answer:
                expect(f"{method} over HTTP/1", answer.status, 200)
                answer.read()


def attack(guard, first, fields, window, connections=20, streams=100):
    """Opens connections with the maximum number of streams, and reads nothing from them."""
    block = hpack.Encoder().encode(fields)
    opened = []
    for _ in range(connections):
        stream = connect(guard.port)
        stream.sendall(PREFACE + frame(4, 0, 0, struct.pack(">HI", 4, window)) + first)
        stream.sendall(b"".join(frame(1, 5, 2 * number + 1, block) for number in range(streams)))
        opened.append(stream)
    return opened


def streams_without_a_window(binary):
    """These requests need no token, and their answers wait for a flow-control window that never opens."""
    with Guard(binary, ", body: 64KiB, buffered_bytes: 8MiB, connections: 1000", streams=100) as guard:
        guard.backend.body = b"a" * 2000
        fields = [(":method", "GET"), (":path", "/scim/v2/ServiceProviderConfig"), (":scheme", "http"), (":authority", "wire.example")]
        opened = attack(guard, b"", fields, 0)
        until(lambda: guard.metric(BUFFERED) > 3 << 20, "memory is used")
        others_are_served(guard)
        if (held := guard.metric(BUFFERED)) > 8 << 20:
            raise AssertionError(f"{held} bytes are buffered")
        for stream in opened:
            stream.close()
        until(lambda: guard.in_flight() == 0, "the streams have ended")
        until(lambda: guard.metric(BUFFERED) == 0, "memory is released")


def answers_larger_than_socket_buffers(binary):
    """The flow-control window has room for all answers, but the client does not read from its socket."""
    for path, more in [(USERS + "?filter=userName%20eq%20%22a%22", ""), ("/assets", "other_paths: forward\n")]:
        limits = ", body: 64KiB, buffered_bytes: 16MiB, connections: 1000"
        with Guard(binary, limits, streams=100, more=more) as guard:
            before = guard.resident()
            body, guard.backend.body = guard.backend.body, b"a" * (8 << 20)
            wide = 2**31 - 1
            opened = attack(guard, frame(8, 0, 0, struct.pack(">I", wide - 65535)), head(path=path), wide)
            until(lambda: guard.metric(BUFFERED) > 4 << 20, "memory is used")
            guard.backend.body = body
            others_are_served(guard)
            if (held := guard.metric(BUFFERED)) > 16 << 20:
                raise AssertionError(f"{held} bytes are buffered")
            # Includes the memory of the codec and of the tasks of 2,000 streams.
            if (taken := guard.resident("VmHWM") - before) > 64 << 20:
                raise AssertionError(f"{taken >> 20} MiB are resident for a budget of 16")
            for stream in opened:
                stream.close()
            until(lambda: guard.in_flight() == 0, "the streams have ended")
            until(lambda: guard.metric(BUFFERED) == 0, "memory is released")


def unfinished_heads(binary):
    """Unfinished heads are counted, are given up for others, and end at the header timeout."""
    with Guard(binary, ", body: 64KiB, buffered_bytes: 4MiB, header_timeout: 3s") as guard:
        block = hpack.Encoder().encode(head(*[(f"x-{number}", "a" * 100) for number in range(200)]))
        opened = []
        for _ in range(200):
            stream = connect(guard.port)
            frames = frame(1, 1, 1, block[:8000]) + frame(9, 0, 1, block[8000:])
            stream.sendall(PREFACE + frame(4, 0, 0, b"") + frames)
            opened.append(stream)
        until(lambda: guard.metric(BUFFERED) > 1 << 20, "heads are counted")
        others_are_served(guard)
        for stream in opened:
            try:
                while stream.recv(65536):
                    pass
            except (ConnectionError, ssl.SSLError):
                pass
        until(lambda: guard.metric(BUFFERED) == 0, "memory is released")


def floods(binary):
    with Guard(binary, ", header_timeout: 2s, body_timeout: 2s, keepalive_timeout: 5s") as guard:
        for number in range(7):
            client = guard.client()
            hostile(client, number)
            guard.served()
            client.stream.close()
        # Some of the streams may have been served before they were reset.
        wrong = [line for line in guard.backend.heads if b" /scim/v2/Users" not in line.split(b"\r\n")[0]]
        expect("other requests at the backend", wrong, [])
        expect("exit code of the guard", guard.process.poll(), None)


def unsolicited_ping_acknowledgements(binary):
    with Guard(binary) as guard:
        client = guard.client()
        client.send(frame(6, 1, 0, b"\xff" * 8) * 100000)
        expect("a request after them", client.outcome(client.request(post(), USER)), "200 -")
        if (size := guard.log.stat().st_size) > 10_000:
            raise AssertionError(f"{size} bytes of log")


def graceful_shutdown(binary):
    with Guard(binary) as guard:
        # A silent client; one that sends its first bytes during the shutdown (`late`); and one with a request in
        # flight.
        silent, busy = guard.client(), guard.client()
        silent.send(frame(6, 0, 0, b"12345678"))
        number = busy.request(head(path=STALLED))
        until(lambda: guard.backend.heads, "a request is in flight")
        late = connect(guard.port)
        guard.process.terminate()
        late.sendall(PREFACE + frame(4, 0, 0, b""))
        until(lambda: not guard.listens(), "the listener is closed")
        # Longer than an idle client is allowed to delay the shutdown.
        threading.Event().wait(1.5)
        guard.backend.go_on.set()
        expect("the request in flight", busy.outcome(number), "200 -")
        busy.stream.close()
        expect("exit code of the guard", guard.process.wait(WAIT_TIMEOUT), 0)
        if "cut off" in guard.log.read_text():
            raise AssertionError("an idle client delayed the shutdown")
        silent.stream.close()
        late.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--tls", action="store_true", help="clients speak TLS")
    arguments = parser.parse_args()
    binary = arguments.binary
    folder = tempfile.TemporaryDirectory()
    if arguments.tls:
        Tls.switch_on(pathlib.Path(folder.name))
    scenarios = [
        ("malformed and hostile requests", malformed_and_hostile_requests),
        ("targets are forwarded as sent", targets_are_forwarded_as_sent),
        ("bodies ending in an empty frame", bodies_ending_in_an_empty_frame),
        ("split cookie headers", split_cookie_headers),
        ("abandoned streams", abandoned_streams),
        ("abandoned backend connections", abandoned_backend_connections),
        ("memory per stream", memory_per_stream),
        ("refusals before the end of the body", refusals_before_the_end_of_the_body),
        ("one malformed stream among others", one_malformed_stream_among_others),
        ("many malformed streams", many_malformed_streams),
        ("unread answers", unread_answers),
        ("streams without a window", streams_without_a_window),
        ("answers larger than socket buffers", answers_larger_than_socket_buffers),
        ("unfinished heads", unfinished_heads),
        ("floods", floods),
        ("unsolicited ping acknowledgements", unsolicited_ping_acknowledgements),
        ("graceful shutdown", graceful_shutdown),
    ]
    sys.exit(run([(name, lambda scenario=scenario: scenario(binary)) for name, scenario in scenarios]))


if __name__ == "__main__":
    main()
