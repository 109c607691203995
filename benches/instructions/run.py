#!/usr/bin/env python3
"""Counts the instructions of one verdict of each kind, and of one whole request through the running guard, with
callgrind, and compares them with the baseline in this folder.

    benches/instructions/run.py [--write] [--tolerance PERCENT]

Counts are reproducible where times are not, but they depend on the build and the toolchain: update the baseline with
--write, and give the reason, when either has changed. The fixed cost of a run is eliminated by running twice.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import run as e2e  # noqa: E402

BASELINE = HERE / "baseline.json"
RELEASE = e2e.TARGET / "release"
TIMES = 8
KINDS = ["user", "refused", "patch", "group", "find"]


def total(out):
    return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M).group(1))


def callgrind(out, *more):
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *more]


def verdict(kind, folder):
    counts = []
    for times in (200, 1200):
        out = folder / f"{kind}-{times}"
        command = callgrind(out) + [str(RELEASE / "examples/verdicts"), kind, str(times)]
        subprocess.run(command, check=True, capture_output=True)
        counts.append(total(out))
    return (counts[1] - counts[0]) // 1000


def growth(folder):
    """The factor by which the instructions of a verdict grow with its body, for each shape."""
    example = str(RELEASE / "examples/verdicts")
    shapes = subprocess.run([example, "shapes"], check=True, capture_output=True, text=True).stdout.splitlines()
    ways = [(number, line, more) for number, line in enumerate(shapes) for more in ([], ["all"])]
    for number, line, more in ways:
        small, name = line.split(" ", 1)
        counts = []
        for size in (1, int(small), TIMES * int(small)):
            out = folder / f"shape-{number}-{size}"
            command = [example, "shape", str(number), str(size), *more]
            subprocess.run(callgrind(out) + command, check=True, capture_output=True)
            counts.append(total(out))
        start, one, many = counts
        yield name + (", all repairs" if more else ""), (many - start) / (one - start)


def requests(work, folder):
    """One connection, so that the order of events is deterministic."""
    upstream = e2e.free_port()
    backend = e2e.nginx("upstream", "upstream.conf", folder, upstream, processor=1)
    counts = []
    try:
        for times in (200, 1200):
            out = folder / f"{work.name}-{times}"
            contender = e2e.Contender("guard", folder, upstream)
            config = contender.template("guard.yaml", admin=e2e.free_port(), log="access: false", more="")
            contender.start(callgrind(out) + [str(RELEASE / "wire-scim-guard"), "serve", "--config", str(config)])
            e2e.load(contender, work, times, 1)
            contender.stop()
            counts.append(total(out))
    finally:
        backend.stop()
    return (counts[1] - counts[0]) // 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--tolerance", type=float, default=3.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="guard-instructions-") as name:
        folder = pathlib.Path(name)
        accepted, refused = folder / "accepted.json", folder / "refused.json"
        accepted.write_text(json.dumps(e2e.user("alice.example")))
        refused.write_text(json.dumps(e2e.user("Alice.Example@example.com")))
        counts = {f"verdict, {kind}": verdict(kind, folder) for kind in KINDS}
        counts["request, POST"] = requests(e2e.Work("POST", "/scim/v2/Users", 2, accepted), folder)
        counts["request, refused"] = requests(e2e.Work("refused", "/scim/v2/Users", 4, refused), folder)
        find = e2e.Work("find", "/scim/v2/Users?filter=userName%20eq%20%22alice.example%22", 2)
        counts["request, GET with a filter"] = requests(find, folder)
        grown = dict(growth(folder))
    if arguments.write:
        BASELINE.write_text(json.dumps(counts, indent=2) + "\n")
    baseline = json.loads(BASELINE.read_text())
    worse = 0
    for name, count in counts.items():
        before = baseline[name]
        change = 100 * (count - before) / before
        verdict_ = "more than the tolerance" if change > arguments.tolerance else ""
        worse += bool(verdict_)
        print(f"{name:<28}{before:>9}{count:>9}  {change:+.1f} %  {verdict_}".rstrip())
    print(f"\ngrowth of instructions for a body {TIMES} times the size")
    for name, times in grown.items():
        verdict_ = "more than in proportion" if times > 1.3 * TIMES else ""
        worse += bool(verdict_)
        print(f"{name:<28}{times:>9.1f}  {verdict_}".rstrip())
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
