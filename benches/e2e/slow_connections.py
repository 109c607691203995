#!/usr/bin/env python3
"""Latencies of regular requests while thousands of connections are idle and hundreds send a byte per second: at 300
requests a second, without and with these connections, in one run.

    benches/e2e/slow_connections.py [--idle N] [--dripping N] [--seconds N] [--rounds N]
"""

import argparse
import asyncio
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import run

HEAD = b"POST /scim/v2/Users HTTP/1.1\r\nHost: wire.example\r\nX-Drip: " + 100 * b"a"


async def idle(port, settled):
    """Connects, and sends nothing for as long as the guard allows."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        settled.release()
        await reader.read()
        writer.close()


async def dripping(port, settled, answers):
    """Sends one byte of a head per second until it is cut off, and connects again."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        settled.release()
        answer = asyncio.ensure_future(reader.read(12))
        try:
            for byte in HEAD:
                writer.write(bytes([byte]))
                await asyncio.wait([answer], timeout=1)
                if answer.done():
                    break
            answers[(await answer)[9:12].decode() or "none"] = answers.get((await answer)[9:12].decode() or "none", 0) + 1
        except OSError:
            answers["reset"] = answers.get("reset", 0) + 1
        writer.close()


async def open_slow_connections(arguments):
    """The process of the slow connections: prints `ready`, and runs until its standard input ends."""
    settled, answers = asyncio.Semaphore(0), {}
    tasks = [asyncio.ensure_future(idle(arguments.port, settled)) for _ in range(arguments.idle)]
    tasks += [asyncio.ensure_future(dripping(arguments.port, settled, answers)) for _ in range(arguments.dripping)]
    for _ in tasks:
        await settled.acquire()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps(answers), flush=True)
    for task in tasks:
        task.cancel()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--idle", type=int, default=5000)
    parser.add_argument("--dripping", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if arguments.port:
        asyncio.run(open_slow_connections(arguments))
        return
    with tempfile.TemporaryDirectory(prefix="guard-slow-") as name:
        folder = pathlib.Path(name)
        (folder / "accepted.json").write_text(json.dumps(run.user("alice.example")))
        work = run.Work("POST", "/scim/v2/Users", 2, folder / "accepted.json")
        upstream = run.free_port()
        started = [run.nginx("upstream", "upstream.conf", folder, upstream, processor=1)]
        try:
            guard = run.guard("guard", run.TARGET / "dist/wire-scim-guard", folder, upstream)
            started.append(guard)
            pids = run.tree(guard.process.pid)
            print(f"resident before any request: {run.resident(pids):.1f} MiB")
            run.latencies(guard, work, 3)
            rows = {"alone": [], "with slow connections": []}
            for _ in range(arguments.rounds):
                rows["alone"].append(run.latencies(guard, work, arguments.seconds))
                command = [sys.executable, __file__, "--port", str(guard.port), "--idle", str(arguments.idle)]
                command += ["--dripping", str(arguments.dripping)]
                slow = subprocess.Popen(run.pinned(1, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                assert slow.stdout.readline() == "ready\n"
                rows["with slow connections"].append(run.latencies(guard, work, arguments.seconds))
                resident = run.resident(pids)
                answers, _ = slow.communicate("")
                print(f"answers to dripping clients by status: {answers.strip()}; resident with slow connections: {resident:.1f} MiB")
            for kind, rounds in rows.items():
                cut = lambda part: statistics.median(times[int(len(times) * part)] for times in rounds)
                print(f"{kind}: p50 {cut(0.5):.2f} ms, p99 {cut(0.99):.2f} ms (medians of {len(rounds)} rounds)")
        finally:
            for proxy in started:
                proxy.stop()


if __name__ == "__main__":
    main()
