#!/usr/bin/env python3
"""Traces with a real collector, Rotel: it receives the guard's spans, and its debug log shows them."""

import argparse
import sys
import tempfile
import threading
from pathlib import Path

import rotel

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "clients"))
sys.path.insert(0, str(ROOT / "tests" / "prometheus"))
from guard import Process  # noqa: E402
from guards import Program, ask, check, failures, free_port, guard, hash_of, traffic, wait_until  # noqa: E402


def sent(admin):
    """How many requests had their spans sent."""
    lines = ask(f"{admin}/metrics")[1].decode().splitlines()
    values = [line.split(" ")[1] for line in lines if line.startswith('scim_guard_traced_requests_total{outcome="sent"}')]
    return float(values[0]) if values else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    binary = str(Path(parser.parse_args().binary).resolve())
    agent = Path(rotel.__file__).parent / "rotel-agent"
    with tempfile.TemporaryDirectory() as name, Process([binary, "standin"]) as standin:
        folder, token, port = Path(name), standin.value("token"), free_port()
        log = folder / "collector.log"
        collector = Program(
            [str(agent), "start", f"--otlp-http-endpoint=127.0.0.1:{port}", f"--otlp-grpc-endpoint=127.0.0.1:{free_port()}",
             "--exporter=blackhole", "--debug-log=traces", "--debug-log-verbosity=detailed"], log)
        backend = standin.value("standin").removeprefix("http://")
        tracing = f"tracing: {{otlp: \"http://127.0.0.1:{port}\"}}\n"
        with collector:
            wait_until("the collector", lambda: ask(f"http://127.0.0.1:{port}/")[0] != 0)
            program, url, admin = guard(binary, folder, "one", backend, hash_of(binary, token), tracing)
            with program:
                stop = threading.Event()
                sender = threading.Thread(target=traffic, args=(url, token, stop))
                sender.start()
                try:
                    wait_until("spans", lambda: sent(admin) > 50)
                finally:
                    stop.set()
                    sender.join()
                check("the collector received spans", True, f"of {sent(admin):.0f} requests")
            shown = wait_until("the collector's log", lambda: log.read_text() if "judge" in log.read_text() else None)
        for part in ("wire-scim-guard", "POST /scim/v2/Users", "judge", "http.route", "/scim/v2/Users/:uid",
                     "scim_guard.verdict", "scim_guard.rule", "json.syntax", "okta"):
            check(f"the collector shows {part!r}", part in shown)
        for personal in ("@example.com", "user.1", "king", token[:20], "no good"):
            check(f"the collector does not show {personal!r}", personal not in shown)
    print(f"{len(failures)} failed")
    sys.exit(bool(failures))


main()
