#!/usr/bin/env python3
"""The cost of TLS with clients, compared with nginx with TLS.

As in run.py: every proxy runs alone on processor 0, load generator and backend on processor 1, the rounds are interleaved,
and the proxy's processor time is measured. Certificates are ECDSA P-256.

    benches/e2e/tls.py [--rounds N] [--requests N] [--connections N] [--seconds N] [BINARY]
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import run

# Arguments of `openssl s_time`. Over TLS 1.3 it reads no ticket, and so resumes nothing.
HANDSHAKES = {
    "full, TLS 1.3": ["-new", "-tls1_3"],
    "full, TLS 1.2": ["-new", "-tls1_2"],
    "resumed, TLS 1.2": ["-reuse", "-tls1_2"],
}


class Secured(run.Work):
    """A request over persistent TLS connections."""

    def command(self, port, connections):
        command = super().command(port, connections)
        return [*command[:-1], command[-1].replace("http://", "https://")]


def handshakes(contender, arguments, seconds):
    """Processor time of a handshake, in microseconds."""
    pids = run.tree(contender.process.pid)
    before = run.processor_time(pids)
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{contender.port}", "-time", str(seconds), *arguments]
    done = subprocess.run(run.pinned(1, command), capture_output=True, text=True, timeout=60 + seconds)
    spent = run.processor_time(pids) - before
    count = re.search(r"^(\d+) connections in \d+ real seconds", done.stdout, re.M)
    if count is None or int(count.group(1)) == 0:
        sys.exit(f"{contender.name}: no handshakes:\n{done.stdout}{done.stderr}")
    # s_time marks resumed handshakes with `r`, others with `*`.
    marks = {"-reuse": "r", "-new": "*"}[arguments[0]]
    if not re.search(rf"^[{re.escape(marks)}]{{3,}}", done.stdout, re.M) and marks == "r":
        sys.exit(f"{contender.name}: nothing was resumed:\n{done.stdout[:500]}")
    return spent / int(count.group(1)) / 1000


def certificate(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
        check=True, capture_output=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=3, help="length of each round of handshakes")
    parser.add_argument("binary", nargs="?", default=run.TARGET / "dist/wire-scim-guard", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="guard-tls-") as name:
        measure(arguments, pathlib.Path(name))


def measure(arguments, folder):
    certificate(folder)
    accepted = folder / "accepted.json"
    accepted.write_text(json.dumps(run.user("alice.example")))
    upstream = run.free_port()
    started = [run.nginx("upstream", "upstream.conf", folder, upstream, processor=1)]
    try:
        def guard(name, source):
            contender = run.Contender(name, folder, upstream)
            config = contender.template(source, admin=run.free_port(), log="access: false", more="")
            started.append(contender.start([str(arguments.binary), "serve", "--config", str(config)]))
            return contender

        def nginx(name, source):
            started.append(run.nginx(name, source, folder, upstream))
            return started[-1]

        plain = [nginx("nginx", "nginx.conf"), guard("guard", "guard.yaml")]
        secured = [nginx("nginx, TLS", "nginx-tls.conf"), guard("guard, TLS", "guard-tls.yaml")]
        spent = {}
        for number in range(arguments.rounds + 1):
            costs = {}
            requests = arguments.requests if number else max(arguments.requests // 4, arguments.connections)
            for pair, work in ((plain, run.Work), (secured, Secured)):
                for contender in pair:
                    post = work("POST", "/scim/v2/Users", 2, accepted)
                    costs[contender.name, "POST"] = run.load(contender, post, requests, arguments.connections)
            for contender in secured:
                for kind, options in HANDSHAKES.items():
                    costs[contender.name, kind] = handshakes(contender, options, arguments.seconds)
            # The first round is a warm-up and is discarded.
            if number:
                for key, cost in costs.items():
                    spent.setdefault(key, []).append(cost)
        report(spent)
    finally:
        for contender in started:
            contender.stop()


def report(spent):
    print("processor time; medians of the rounds\n\n| | nginx | guard | guard / nginx |\n|---|---|---|---|")
    lines = [("POST, cleartext", "", "POST"), ("POST over a persistent TLS connection", ", TLS", "POST")]
    lines += [(f"handshake, {kind}", ", TLS", kind) for kind in HANDSHAKES]
    for title, suffix, kind in lines:
        against, own = spent["nginx" + suffix, kind], spent["guard" + suffix, kind]
        ratio = statistics.median(one / other for one, other in zip(own, against))
        of_nginx, of_guard = statistics.median(against), statistics.median(own)
        rate = ""
        if kind != "POST":
            rate = f" ({1e6 / of_nginx:.0f} and {1e6 / of_guard:.0f} a second of processor time)"
        print(f"| {title}{rate} | {of_nginx:.1f} µs | {of_guard:.1f} µs | {ratio:.2f} |")


if __name__ == "__main__":
    main()
