#!/usr/bin/env python3
"""What a rate in Redis costs: the latency of requests with a token that has a rate, kept by the guard itself and kept in a
Redis server on the same machine. Rounds are interleaved; takes less than a minute.

    benches/shared/run.py [--binary FILE] [--rate N] [--seconds N] [--rounds N]
"""

import argparse
import hashlib
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
spec = importlib.util.spec_from_file_location("e2e", ROOT / "benches/e2e/run.py")
e2e = importlib.util.module_from_spec(spec)
spec.loader.exec_module(e2e)

CONNECTIONS = 10


def start(name, binary, folder, upstream, more):
    contender = e2e.Contender(name, folder, upstream)
    admin = e2e.free_port()
    config = contender.template("guard.yaml", admin=admin, log="access: false", more=f"tokens: tokens.yaml\n{more}")
    contender.admin = f"http://127.0.0.1:{admin}/metrics"
    return contender.start([str(binary), "serve", "--config", str(config)])


def metric(contender, series):
    text = urllib.request.urlopen(contender.admin, timeout=5).read().decode()
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(series + " ")), 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=pathlib.Path, default=e2e.TARGET / "dist" / "wire-scim-guard")
    parser.add_argument("--rate", type=int, default=1000, help="requests a second")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    token = e2e.TOKEN.split()[1].encode()
    with tempfile.TemporaryDirectory(prefix="guard-shared-") as name:
        folder, port, upstream = pathlib.Path(name), e2e.free_port(), e2e.free_port()
        (folder / "tokens.yaml").write_text(
            f"tokens:\n- {{label: bench, hash: \"sha256:{hashlib.sha256(token).hexdigest()}\", rate: 1000000/s}}\n")
        (folder / "key").write_text("0123456789abcdef0123456789abcdef")
        redis = subprocess.Popen(
            e2e.pinned(1, ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", name]),
            stdout=subprocess.DEVNULL)
        shared = f"shared: {{redis: \"redis://127.0.0.1:{port}\", key_file: key}}\n"
        started = []
        try:
            started.append(e2e.nginx("upstream", "upstream.conf", folder, upstream, processor=1))
            plain = start("plain", arguments.binary, folder, upstream, "")
            started.append(plain)
            in_redis = start("rate in Redis", arguments.binary, folder, upstream, shared)
            started.append(in_redis)
            end = time.monotonic() + 10
            while metric(in_redis, "scim_guard_shared_up") != 1:
                if time.monotonic() > end:
                    sys.exit("the guard does not reach Redis")
                time.sleep(0.1)
            work = e2e.Work("GET", "/scim/v2/Users/5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f", 2)
            took = {contender.name: [] for contender in (plain, in_redis)}
            for _ in range(arguments.rounds):
                for contender in (plain, in_redis):
                    took[contender.name] += e2e.latencies(contender, work, arguments.seconds, arguments.rate, CONNECTIONS)
            lookups = metric(in_redis, 'scim_guard_shared_lookups_total{outcome="answered"}')
            missed = metric(in_redis, 'scim_guard_shared_lookups_total{outcome="timeout"}')
            stats = subprocess.run(["redis-cli", "-p", str(port), "info", "commandstats"], capture_output=True, text=True, check=True)
            of_scripts = re.search(r"cmdstat_evalsha:.*usec_per_call=([\d.]+)", stats.stdout).group(1)
        finally:
            for contender in started:
                contender.stop()
            redis.terminate()
            redis.wait(10)
    print(f"{arguments.rate} requests a second over {CONNECTIONS} connections, {len(took['plain'])} of each")
    for name, values in took.items():
        values.sort()
        at = lambda share: values[min(int(len(values) * share), len(values) - 1)]
        print(f"{name:14} median {at(0.5):.3f} ms, p99 {at(0.99):.3f} ms, p99.9 {at(0.999):.3f} ms, most {values[-1]:.3f} ms")
    print(f"{lookups:.0f} look-ups were answered, {missed:.0f} were given up; Redis took {of_scripts} us for each script")


main()
