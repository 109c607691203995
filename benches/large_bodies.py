#!/usr/bin/env python3
"""How much verdicts on large bodies delay small requests: latencies of a GET at 100 requests a second, alone and while
clients send each kind of large body without a pause; and the guard's peak memory.

    benches/large_bodies.py --binary target/release/wire-scim-guard [--seconds N] [--clients N]
"""

import argparse
import base64
import gzip
import http.server
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/clients"))
from ports import free_port

TOKEN = base64.b64encode(os.urandom(32)).decode()
CONFIG = """\
listen: ["127.0.0.1:{port}"]
upstream: {{servers: ["127.0.0.1:{backend}"]}}
admin: {{listen: "127.0.0.1:{admin}"}}
threads: 2
rules: {{actions: {{user.type: report}}}}
log: {{access: false}}
limits: {{body: {body}}}
"""
USER = {"userName": "alice", "displayName": "Alice", "externalId": "alice@example.com"}
PROFILE = "urn:wire:scim:schemas:profile:1.0"


def with_list(key, item, size):
    """A user with an array of this item that takes this many bytes."""
    text = json.dumps(USER | {key: []})
    return text.replace("[]", "[" + ",".join([item] * (size // (len(item) + 1))) + "]").encode()


def rich_info(size):
    fields = ",".join(f'{{"type":"k{nth}","value":""}}' for nth in range(size // 28))
    return json.dumps(USER | {PROFILE: {"richInfo": []}}).replace("[]", f"[{fields}]").encode()


SHAPES = {
    "faults, 511 KiB": ("512KiB", lambda: with_list("emails", "1", 510 * 1024), False),
    "faults, 31 KiB": ("512KiB", lambda: with_list("emails", "1", 31 * 1024), False),
    "faults, 255 KiB": ("512KiB", lambda: with_list("emails", "1", 254 * 1024), False),
    "faults, 8 MB": ("8MiB", lambda: with_list("emails", "1", 8_000_000), False),
    "rich info, 255 KiB": ("512KiB", lambda: rich_info(250 * 1024), False),
    "rich info, 8 MB": ("8MiB", lambda: rich_info(7_500_000), False),
    "rich info, 8 MB as gzip": ("8MiB", lambda: rich_info(7_500_000), True),
}


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_PUT = answer

    def log_message(self, *_):
        pass


def head(method, target, *lines):
    lines = [f"{method} {target} HTTP/1.1", "Host: wire.example", f"Authorization: Bearer {TOKEN}", *lines, "", ""]
    return "\r\n".join(lines).encode()


def ask(stream, request):
    stream.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = stream.recv(65536)
        if not piece:
            raise ConnectionError("closed")
        answer += piece
    lines = answer.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in lines[0].split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(answer) < len(lines[0]) + 4 + length:
        answer += stream.recv(65536)
    return int(answer.split(b" ", 2)[1])


def large(port, request, ending, answers):
    stream = socket.create_connection(("127.0.0.1", port))
    while not ending.is_set():
        try:
            status = ask(stream, request)
        except OSError:
            status = "connection closed"
            stream = socket.create_connection(("127.0.0.1", port))
        answers[status] = answers.get(status, 0) + 1


def small(port, seconds):
    """Latencies in milliseconds, each measured from the time the request was due; every request has its own connection."""
    request = head("GET", "/scim/v2/Users?filter=userName%20eq%20%22alice%22", "Connection: close")
    took, due = [], time.monotonic()
    end = due + seconds
    while due < end:
        time.sleep(max(0, due - time.monotonic()))
        with socket.create_connection(("127.0.0.1", port)) as stream:
            assert ask(stream, request) == 200
        took.append((time.monotonic() - due) * 1000)
        due = max(due + 0.01, time.monotonic())
    return sorted(took)


def peak(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def measure(binary, name, backend, seconds, clients):
    limit, make, packed = SHAPES[name]
    body = make()
    lines = ["Content-Type: application/scim+json"]
    if packed:
        body = gzip.compress(body, mtime=0)
        lines.append("Content-Encoding: gzip")
    target = "/scim/v2/Users/3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3"
    request = head("PUT", target, *lines, f"Content-Length: {len(body)}") + body
    port, admin = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "guard.yaml"
        config.write_text(CONFIG.format(port=port, admin=admin, backend=backend, body=limit))
        guard = subprocess.Popen([binary, "serve", "--config", config], stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{admin}/i/ready").read()
                    break
                except OSError:
                    time.sleep(0.05)
            small(port, 1)
            alone, before = small(port, seconds), peak(guard.pid)
            ending, answers = threading.Event(), {}
            senders = [threading.Thread(target=large, args=(port, request, ending, answers)) for _ in range(clients)]
            for sender in senders:
                sender.start()
            loaded = small(port, seconds)
            ending.set()
            for sender in senders:
                sender.join()
            p99 = [times[int(len(times) * 0.99)] for times in (alone, loaded)]
            middle = [statistics.median(times) for times in (alone, loaded)]
            print(
                f"{name:26} alone p50 {middle[0]:5.1f} p99 {p99[0]:6.1f} ms; under load p50 {middle[1]:5.1f} p99 {p99[1]:6.1f} ms; "
                f"peak {before:5.1f} -> {peak(guard.pid):6.1f} MiB; answers to large bodies {answers}",
                flush=True,
            )
        finally:
            guard.terminate()
            guard.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("shapes", nargs="*", help=f"one or more of {', '.join(SHAPES)}; default: all")
    arguments = parser.parse_args()
    backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    for name in arguments.shapes or SHAPES:
        measure(arguments.binary, name, backend.server_address[1], arguments.seconds, arguments.clients)


if __name__ == "__main__":
    main()
