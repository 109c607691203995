#!/usr/bin/env python3
"""End-to-end cost of a request, compared with nginx, nginx with Lua, haproxy and Pingora alone.

Every proxy runs alone on processor 0, in front of the same backend; backend and load generator run on
processor 1. The rounds are interleaved. The result is the processor time that the kernel accounts to
the proxy, per request, relative to plain nginx in the same run: times drift, ratios less so.

    benches/e2e/run.py [--rounds N] [--requests N] [--connections N] [--seconds N] [--out FOLDER]
                       [NAME=BINARY ...]

NAME=BINARY adds another build of the guard to the run, such as the one before a change.
"""

import argparse
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/clients"))
from ports import free_port

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
LATENCY_ROUNDS = 5
TOKEN = "Bearer MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
ANSWER = json.dumps(
    {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": "5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f",
        "userName": "alice.example",
        "externalId": "alice.example@example.com",
        "displayName": "Alice Example",
        "active": True,
        "meta": {"resourceType": "User", "version": "W/\"0a1b2c3d4e5f60718293a4b5c6d7e8f9\""},
    }
)


def user(handle):
    """A user as Entra ID sends it: 1.2 KB, including attributes that Wire ignores."""
    enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", enterprise],
        "externalId": "alice.example@example.com",
        "userName": handle,
        "active": True,
        "displayName": "Alice Example",
        "title": "Senior Engineer",
        "preferredLanguage": "en-US",
        "emails": [{"primary": True, "type": "work", "value": "alice.example@example.com"}],
        "addresses": [
            {
                "primary": False,
                "type": "work",
                "streetAddress": "1 Example Street",
                "locality": "Berlin",
                "postalCode": "10178",
                "country": "DE",
                "formatted": "1 Example Street, 10178 Berlin, Germany",
            }
        ],
        "phoneNumbers": [{"type": "mobile", "value": "+49 30 1234567"}, {"type": "work", "value": "+49 30 7654321"}],
        "name": {"formatted": "Alice Example", "givenName": "Alice", "familyName": "Example"},
        "roles": ["member"],
        "meta": {"resourceType": "User", "location": "https://example.com/scim/v2/Users/1"},
        enterprise: {
            "department": "Research and Development",
            "employeeNumber": "701984",
            "manager": "26118915-6090-4610-87e4-49d8ca9f808d",
        },
        "urn:ietf:params:scim:schemas:extension:wire:1.0:User": {"Department": "Research and Development"},
    }


def pinned(processor, command):
    return ["taskset", "-c", str(processor), *command]


def tree(pid):
    """The process and its descendants."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            for child in (task / "children").read_text().split():
                found += tree(int(child))
        except FileNotFoundError:
            pass
    return found


def processor_time(pids):
    """Processor time of all threads in nanoseconds, as accounted by the scheduler."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total


def resident(pids):
    total = 0
    for pid in pids:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        total += int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))
    return total / 1024


class Contender:
    def __init__(self, name, folder, upstream):
        self.name, self.folder, self.upstream = name, folder, upstream
        self.port = free_port()
        self.process = None

    def template(self, source, **more):
        text = (HERE / source).read_text()
        values = {"dir": self.folder, "here": HERE, "port": self.port, "upstream": self.upstream, "answer": ANSWER}
        for key, value in (values | more).items():
            text = text.replace("{" + key + "}", str(value))
        path = self.folder / f"{self.name.replace(' ', '-')}-{source}"
        path.write_text(text)
        return path

    def start(self, command, processor=0):
        log = open(self.folder / f"{self.name.replace(' ', '-')}.out", "wb")
        self.process = subprocess.Popen(pinned(processor, command), stdout=log, stderr=log)
        self.log = log.name
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        sys.exit(f"{self.name} does not listen: {pathlib.Path(log.name).read_text()[-2000:]}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()


def nginx(name, source, folder, upstream, processor=0):
    contender = Contender(name, folder, upstream)
    if source == "upstream.conf":
        contender.port = upstream
    config = contender.template(source)
    return contender.start(["nginx", "-e", str(folder / "nginx-start.log"), "-c", str(config), "-g", "daemon off;"], processor)


def haproxy(folder, upstream):
    contender = Contender("haproxy", folder, upstream)
    return contender.start(["haproxy", "-f", str(contender.template("haproxy.cfg"))])


def bare(name, binary, folder, upstream):
    contender = Contender(name, folder, upstream)
    return contender.start([str(binary), f"127.0.0.1:{contender.port}", f"127.0.0.1:{upstream}"])


def guard(name, binary, folder, upstream, log="access: false", more=""):
    contender = Contender(name, folder, upstream)
    config = contender.template("guard.yaml", admin=free_port(), log=log, more=more)
    return contender.start([str(binary), "serve", "--config", str(config)])


def collector():
    """The port of a server that accepts traces and drops them."""

    class Accepts(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Accepts)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


class Work:
    """A request that is sent repeatedly."""

    def __init__(self, name, path, expected, body=None, only=None, token=TOKEN):
        self.name, self.path, self.expected, self.body, self.only, self.token = name, path, expected, body, only, token

    def command(self, port, connections):
        command = ["h2load", "--h1", "-t", "1", "-c", str(connections), "-H", f"Authorization: {self.token}"]
        if self.body is not None:
            command += ["-H", "Content-Type: application/scim+json", "-d", str(self.body)]
        return [*command, f"http://127.0.0.1:{port}{self.path}"]


def counted(output, requests, expected, who):
    """Checks that all answers arrived with the expected status class."""
    line = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    if line is None or int(line.group({2: 1, 4: 3}[expected])) != requests:
        sys.exit(f"{who}: not the expected answers:\n{output}")


def load(contender, work, requests, connections):
    """Processor time per request, in microseconds."""
    pids = tree(contender.process.pid)
    before = processor_time(pids)
    command = work.command(contender.port, connections)
    run = subprocess.run(
        pinned(1, command[:-1] + ["-n", str(requests), command[-1]]), capture_output=True, text=True, timeout=600
    )
    spent = processor_time(pids) - before
    counted(run.stdout, requests, work.expected, f"{contender.name}, {work.name}")
    return spent / requests / 1000


def latencies(contender, work, seconds, rate=300, connections=15):
    """Latencies in milliseconds at a fixed rate."""
    with tempfile.NamedTemporaryFile(suffix=".tsv") as log:
        command = work.command(contender.port, connections)
        requests = rate * seconds
        more = ["-n", str(requests), "--rps", str(rate // connections), "--log-file", log.name]
        subprocess.run(pinned(1, command[:-1] + more + [command[-1]]), check=True, capture_output=True, timeout=600)
        lines = [line.split("\t") for line in pathlib.Path(log.name).read_text().splitlines()]
        if len(lines) != requests or any(line[1][0] != str(work.expected) for line in lines):
            sys.exit(f"{contender.name}: not the expected answers at {rate} requests a second")
        return sorted(int(line[2]) / 1000 for line in lines)


def bars(title, rows, path):
    """A plot: one bar for each row of (name, ratio)."""
    height, width, left = 26, 760, 210
    most = max(ratio for _, ratio in rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height * len(rows) + 50}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="10" y="22" font-weight="bold">{title}</text>',
    ]
    for at, (name, ratio) in enumerate(rows):
        y = 38 + at * height
        length = (width - left - 70) * ratio / most
        colour = "#2b6cb0" if name.startswith("guard") else "#a0aec0"
        lines.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{name}</text>')
        lines.append(f'<rect x="{left}" y="{y}" width="{length:.0f}" height="18" fill="{colour}"/>')
        lines.append(f'<text x="{left + length + 6:.0f}" y="{y + 14}">{ratio:.2f}</text>')
    path.write_text("\n".join([*lines, "</svg>"]) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=10, help="length of each run at 300 requests a second; 0: none")
    parser.add_argument("--out", type=pathlib.Path, help="folder for table and plot")
    parser.add_argument("--only", help="proxies to measure, separated by semicolons; plain nginx is always included")
    parser.add_argument("builds", nargs="*", metavar="NAME=BINARY")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="guard-e2e-") as name:
        measure(arguments, pathlib.Path(name))


def measure(arguments, folder):
    accepted, refused = folder / "accepted.json", folder / "refused.json"
    accepted.write_text(json.dumps(user("alice.example")))
    refused.write_text(json.dumps(user("Alice.Example@example.com")))
    print(f"body: {accepted.stat().st_size} bytes; {arguments.connections} connections; "
          f"{arguments.rounds} rounds of {arguments.requests} requests")
    checking = ("guard", "nginx + Lua", "haproxy")
    works = [
        Work("POST", "/scim/v2/Users", 2, accepted),
        Work("GET, filter", "/scim/v2/Users?filter=userName%20eq%20%22alice.example%22", 2),
        Work("POST, refused", "/scim/v2/Users", 4, refused, only=checking),
        Work("POST, no Wire token", "/scim/v2/Users", 4, accepted, only=checking, token="Bearer of.another.kind"),
    ]
    upstream = free_port()
    started = [nginx("upstream", "upstream.conf", folder, upstream, processor=1)]
    try:
        contenders = [nginx("nginx", "nginx.conf", folder, upstream)]
        started += contenders

        def add(name, start):
            if arguments.only and name not in arguments.only.split(";"):
                return
            contenders.append(start())
            started.append(contenders[-1])

        dist, release = TARGET / "dist", TARGET / "release"
        add("haproxy", lambda: haproxy(folder, upstream))
        add("nginx + Lua", lambda: nginx("nginx + Lua", "nginx-lua.conf", folder, upstream))
        add("bare, release", lambda: bare("bare, release", release / "examples/bare_proxy", folder, upstream))
        add("bare, dist", lambda: bare("bare, dist", dist / "examples/bare_proxy", folder, upstream))
        add("guard", lambda: guard("guard", dist / "wire-scim-guard", folder, upstream))
        program = dist / "wire-scim-guard"
        add("guard, access log", lambda: guard("guard, access log", program, folder, upstream, "access: true"))
        add("guard, audit", lambda: guard("guard, audit", program, folder, upstream, "access: false, audit: true"))
        traces = f'tracing: {{otlp: "http://127.0.0.1:{collector()}", sample: 0.1}}'
        add("guard, traces", lambda: guard("guard, traces", program, folder, upstream, more=traces))
        for build in arguments.builds:
            label, binary = build.split("=", 1)
            contenders.append(guard(f"guard, {label}", binary, folder, upstream))
            started.append(contenders[-1])

        spent = {}
        for number in range(arguments.rounds + 1):
            for work in works:
                for contender in contenders:
                    if work.only and not contender.name.startswith(work.only):
                        continue
                    # The first round is a warm-up and is discarded.
                    requests = arguments.requests if number else arguments.requests // 4
                    cost = load(contender, work, requests, arguments.connections)
                    if number:
                        spent.setdefault((contender.name, work.name), []).append(cost)
        report(contenders, works, spent, arguments)
        if arguments.seconds:
            print(f"\nlatency at 300 requests a second, POST, ms; medians of {LATENCY_ROUNDS} rounds of {arguments.seconds} s\n")
            print("| | p50 | p99 | max |\n|---|---|---|---|")
            rounds = [[latencies(one, works[0], arguments.seconds) for one in contenders] for _ in range(LATENCY_ROUNDS)]
            for contender, runs in zip(contenders, zip(*rounds)):
                cut = lambda part: statistics.median(times[int((len(times) - 1) * part)] for times in runs)
                print(f"| {contender.name} | {cut(0.5):.2f} | {cut(0.99):.2f} | {cut(1):.2f} |")
        print("\nresident after the load, MiB\n")
        for contender in contenders:
            print(f"- {contender.name}: {resident(tree(contender.process.pid)):.1f}")
    finally:
        for contender in started:
            contender.stop()


def report(contenders, works, spent, arguments):
    base = {work.name: spent[("nginx", "POST" if work.only else work.name)] for work in works}
    names = [work.name for work in works]
    print("\nprocessor time per request relative to plain nginx (for refused ones: to its forwarded POST); "
          "the median of the rounds, and the quartiles\n")
    print("| | " + " | ".join(names) + " |\n|---" * 1 + "|---" * len(names) + "|")
    plot = []
    for contender in contenders:
        cells = []
        for work in works:
            costs = spent.get((contender.name, work.name))
            if not costs:
                cells.append("")
                continue
            ratios = sorted(cost / against for cost, against in zip(costs, base[work.name]))
            middle = statistics.median(ratios)
            quarter = len(ratios) // 4
            cells.append(f"{middle:.2f} ({ratios[quarter]:.2f}–{ratios[-1 - quarter]:.2f})")
            if work.name == "POST":
                plot.append((contender.name, middle))
        print(f"| {contender.name} | " + " | ".join(cells) + " |")
    print("\nthe same in microseconds, medians\n")
    print("| | " + " | ".join(names) + " |\n|---" * 1 + "|---" * len(names) + "|")
    for contender in contenders:
        costs = [spent.get((contender.name, name)) for name in names]
        cells = [f"{statistics.median(cost):.1f}" if cost else "" for cost in costs]
        print(f"| {contender.name} | " + " | ".join(cells) + " |")
    print(f"\nplain nginx, POST: {statistics.median(spent[('nginx', 'POST')]):.1f} µs a request in this run")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        bars("Processor time of a forwarded POST, plain nginx = 1", sorted(plot, key=lambda row: row[1]),
             arguments.out / "performance.svg")


if __name__ == "__main__":
    main()
