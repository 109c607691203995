#!/usr/bin/env python3
"""The effect of reloads on clients: latencies of a POST at 300 requests a second, with and without a changed config each second.

    benches/e2e/reload.py [--rounds N] [--seconds N] [BINARY]
"""

import argparse
import json
import pathlib
import re
import signal
import statistics
import tempfile
import threading
import urllib.request

import run

EVERY = 1.0


class Reloading:
    """Changes the config once a second, and makes the guard reload it."""

    def __init__(self, contender, config):
        self.contender, self.config, self.applied = contender, config, 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        original = self.config.read_text()
        while not self.stopped.wait(EVERY):
            self.applied += 1
            self.config.write_text(f"{original}wire: {{rich_info_limit: {5000 + self.applied % 2}}}\n")
            self.contender.process.send_signal(signal.SIGHUP)
        self.config.write_text(original)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


def applied(admin):
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=5) as answer:
        found = re.search(r'scim_guard_reloads_total\{outcome="applied"\} (\d+)', answer.read().decode())
    return int(found.group(1)) if found else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("binary", nargs="?", default=run.TARGET / "dist/wire-scim-guard", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="guard-reload-") as name:
        folder = pathlib.Path(name)
        body = folder / "user.json"
        body.write_text(json.dumps(run.user("alice.example")))
        work = run.Work("POST", "/scim/v2/Users", 2, body)
        upstream = run.free_port()
        started = [run.nginx("upstream", "upstream.conf", folder, upstream, processor=1)]
        try:
            contender = run.guard("guard", arguments.binary, folder, upstream)
            started.append(contender)
            config = folder / "guard-guard.yaml"
            admin = re.search(r"admin: .*:(\d+)", config.read_text()).group(1)
            rounds = {"without": [], "with": []}
            for _ in range(arguments.rounds):
                rounds["without"].append(run.latencies(contender, work, arguments.seconds))
                with Reloading(contender, config):
                    rounds["with"].append(run.latencies(contender, work, arguments.seconds))
            print(f"{applied(admin)} reloads were applied, one each second; latency in ms; medians of {arguments.rounds} rounds\n")
            print("| reloads | p50 | p99 | max |\n|---|---|---|---|")
            for label, runs in rounds.items():
                cut = lambda part: statistics.median(times[int((len(times) - 1) * part)] for times in runs)
                print(f"| {label} | {cut(0.5):.2f} | {cut(0.99):.2f} | {cut(1):.2f} |")
        finally:
            for one in started:
                one.stop()


if __name__ == "__main__":
    main()
