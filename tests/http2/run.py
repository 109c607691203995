#!/usr/bin/env python3
"""Hostile HTTP/2 over real sockets: what is malformed, or becomes something else as HTTP/1, never reaches the
backend, floods end their own connection only, and the next client is served.

    tests/http2/run.py --binary PATH
"""

import argparse
import pathlib
import re
import socket
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
from guard import PATIENCE, free_port  # noqa: E402

TOKEN = "Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
USER = b'{"userName":"alice","externalId":"alice@example.com","displayName":"Alice"}'
USERS = "/scim/v2/Users"
STALLED = USERS + "/00000000-0000-4000-8000-000000000000"
STREAMS = 20


class Backend:
    """Counts what comes, and answers 200 to all of it but to `STALLED`."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.heads = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        seen = b""
        while chunk := stream.recv(65536):
            seen += chunk
            while b"\r\n\r\n" in seen:
                head, rest = seen.split(b"\r\n\r\n", 1)
                lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
                length = int(lengths[0].split(b":")[1]) if lengths else 0
                if len(rest) < length:
                    break
                seen = rest[length:]
                self.heads.append(head)
                if STALLED.encode() not in head:
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def head(*more, method="GET", path=USERS + "?filter=userName%20eq%20%22a%22", authority="wire.example", scheme="http"):
    pseudo = [(":method", method), (":path", path), (":scheme", scheme), (":authority", authority)]
    fields = [(name, value) for name, value in pseudo if value is not None]
    return [*fields, ("authorization", TOKEN), *more]


def post(*more, path=USERS):
    return head(("content-type", "application/scim+json"), *more, method="POST", path=path)


class Client:
    """Sends whatever it is told: headers are encoded, and not looked at."""

    def __init__(self, port):
        self.stream = socket.create_connection(("127.0.0.1", port), PATIENCE)
        config = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.flush()
        self.encoder = hpack.Encoder()
        self.next = 1

    def flush(self):
        self.send(self.h2.data_to_send())

    def send(self, data):
        try:
            self.stream.sendall(data)
        except OSError:
            pass

    def request(self, fields, body=None):
        """One request in raw frames; returns the number of its stream."""
        number, self.next = self.next, self.next + 2
        block = self.encoder.encode(fields)
        self.send(frame(1, 4 | (body is None), number, block))
        if body is not None:
            self.send(frame(0, 1, number, body))
        return number

    def outcome(self, number):
        """A status with its rule, `reset`, or `closed`."""
        buffer, decoder, seen = b"", hpack.Decoder(), None
        while True:
            while len(buffer) >= 9 and len(buffer) >= 9 + (size := int.from_bytes(buffer[:3], "big")):
                kind, flags, stream = buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big") & 0x7FFFFFFF
                payload, buffer = buffer[9 : 9 + size], buffer[9 + size :]
                if kind == 4 and not flags & 1:
                    self.send(frame(4, 1, 0, b""))
                if kind == 1:
                    fields = dict(decoder.decode(payload))
                    if stream == number:
                        seen = f"{fields[':status']} {fields.get('scim-guard-rule', '-')}"
                if kind == 3 and stream == number:
                    return seen or "reset"
                if kind in (0, 1) and flags & 1 and stream == number:
                    return seen
                if kind == 7:
                    return seen or "closed"
            try:
                chunk = self.stream.recv(65536)
            except ConnectionError:
                return seen or "closed"
            if not chunk:
                return seen or "closed"
            buffer += chunk


def cases():
    """Name, fields, body, and what may come of it. `malformed`: whatever is no success."""
    malformed = None
    refused = lambda rule: f"400 {rule}"
    yield "connection header", head(("connection", "close")), None, malformed
    yield "keep-alive header", head(("keep-alive", "5")), None, malformed
    yield "transfer-encoding", post(("transfer-encoding", "chunked")), USER, malformed
    yield "transfer-encoding beside a length", post(("transfer-encoding", "chunked"), ("content-length", "5")), USER, malformed
    yield "upgrade", head(("upgrade", "h2c")), None, malformed
    yield "te beyond trailers", head(("te", "gzip")), None, malformed
    yield "upper-case name", head(("X-Upper", "1")), None, malformed
    yield "line break in a value", head(("x-a", "1\r\nx-b: 2")), None, malformed
    yield "NUL in a value", head(("x-a", "1\0")), None, malformed
    yield "colon in a name", head(("x:a", "1")), None, malformed
    yield "space in a name", head(("x a", "1")), None, malformed
    yield "two paths", [(":path", USERS), *head()], None, malformed
    yield "two methods", [(":method", "GET"), *head()], None, malformed
    yield "pseudo header behind others", [*head(), (":path", USERS)], None, malformed
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
    yield "doubled token", head(("authorization", TOKEN)), None, refused("token.duplicate")
    yield "bad body", post(), b"{]", refused("json.syntax")


def forwarded():
    """Name, path, and the target that the backend gets."""
    search = USERS + "?filter=userName%20eq%20%22{}%22"
    yield "a letter beyond ASCII", search.format("\u00e4"), search.format("%C3%A4")
    # The library below drops it before anything of the guard's runs: it goes nowhere.
    yield "fragment", search.format("a") + "#x", search.format("a")


def abandoned(client, backend):
    """Opens streams whose answers never come, and resets each as soon as the backend has it."""
    backend.heads.clear()
    for number in range(10 * STREAMS):
        stream = client.request(head(path=STALLED))
        until(lambda: len(backend.heads) > number, "the backend gets a request")
        client.send(frame(3, 0, stream, struct.pack(">I", 8)))


def until(condition, what):
    for _ in range(PATIENCE * 100):
        if condition():
            return
        threading.Event().wait(0.01)
    sys.exit(f"never: {what}")


def in_flight(admin):
    text = urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=PATIENCE).read().decode()
    return float(re.search(r"^scim_guard_requests_in_flight (\S+)", text, re.M).group(1))


def hostile(client, number):
    """Floods: each is sent on a connection of its own, which may end for it."""
    block = client.encoder.encode(head())
    if number == 0:  # streams opened and reset at once
        for stream in range(1, 4001, 2):
            client.send(frame(1, 5, stream, block if stream == 1 else hpack.Encoder().encode(head())))
            client.send(frame(3, 0, stream, struct.pack(">I", 8)))
    elif number == 1:  # settings without end
        client.send(frame(4, 0, 0, struct.pack(">HI", 3, 100)) * 20000)
    elif number == 2:  # pings without end
        client.send(frame(6, 0, 0, b"12345678") * 20000)
    elif number == 3:  # a head that goes on and on
        client.send(frame(1, 0, 1, block))
        for _ in range(2000):
            client.send(frame(9, 0, 1, hpack.Encoder().encode([("x-a", "b" * 500)])))
    elif number == 4:  # a frame larger than allowed
        client.send(frame(0, 0, 1, b"a" * 100000))
    elif number == 5:  # empty frames of a body
        client.send(frame(1, 4, 1, client.encoder.encode(post())))
        client.send(frame(0, 0, 1, b"") * 50000)
    elif number == 6:  # no frames at all
        client.send(b"\xff" * 100000)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    binary = parser.parse_args().binary
    backend = Backend()
    port, admin = free_port(), free_port()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "guard.yaml"
        config.write_text(
            f'listen: ["127.0.0.1:{port}"]\nadmin: {{listen: "127.0.0.1:{admin}"}}\n'
            f'upstream: {{servers: ["127.0.0.1:{backend.port}"]}}\nhosts: [wire.example]\nlog: {{access: false}}\n'
            "limits: {header_timeout: 2s, body_timeout: 2s, keepalive_timeout: 5s, streams: %d}\n" % STREAMS
        )
        log = pathlib.Path(folder) / "log"
        guard = subprocess.Popen([binary, "serve", "--config", str(config)], stderr=log.open("wb"))
        try:
            wait_for(port)

            def served():
                client = Client(port)
                return client.outcome(client.request(post(), USER))

            sent = 0
            for name, fields, body, expected in cases():
                client = Client(port)
                outcome = client.outcome(client.request(fields, body))
                sent += 1
                fine = outcome == expected if expected else not outcome.startswith("2")
                if not fine:
                    failures.append(f"{name}: {outcome}, not {expected or 'a refusal'}")
                if backend.heads:
                    failures.append(f"{name}: the backend got {backend.heads!r}")
                    backend.heads.clear()
            for name, path, target in forwarded():
                client = Client(port)
                outcome = client.outcome(client.request(head(path=path)))
                sent += 1
                lines = [line.split(b"\r\n")[0].decode() for line in backend.heads]
                if (outcome, lines) != ("200 -", [f"GET {target} HTTP/1.1"]):
                    failures.append(f"{name}: {outcome}, the backend got {lines!r}")
                backend.heads.clear()
            # What was reset is over, and so is what a client left behind.
            client = Client(port)
            abandoned(client, backend)
            sent += 10 * STREAMS
            until(lambda: in_flight(admin) == 0, "streams that were reset are over")
            for _ in range(STREAMS):
                client.request(head(path=STALLED))
            until(lambda: in_flight(admin) == STREAMS, "streams are in flight")
            client.stream.close()
            until(lambda: in_flight(admin) == 0, "streams of a client that has gone are over")
            backend.heads.clear()
            for number in range(7):
                client = Client(port)
                hostile(client, number)
                sent += 1
                if (outcome := served()) != "200 -":
                    failures.append(f"behind flood {number}: {outcome}")
                client.stream.close()
            # Of the streams that were opened and reset some may have been served before the reset.
            wrong = [line for line in backend.heads if b" /scim/v2/Users" not in line.split(b"\r\n")[0]]
            failures += [f"the backend got {line!r}" for line in wrong]
            if guard.poll() is not None:
                failures.append(f"the guard ended with {guard.returncode}")
        finally:
            # One that is there, and never says a word again.
            silent = Client(port)
            guard.terminate()
            guard.wait(PATIENCE)
            silent.stream.close()
        if "cut off" in log.read_text():
            failures.append("a silent client kept the guard from stopping")
    for failure in failures:
        print(failure)
    print(f"{sent} cases, {len(failures)} failed")
    sys.exit(1 if failures else 0)


def wait_for(port):
    for _ in range(PATIENCE * 20):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.05)
    sys.exit("the guard does not listen")


if __name__ == "__main__":
    main()
