#!/usr/bin/env python3
"""The cost of preflight for a large directory: time, processor time, entries per second, and peak memory."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tests/preflight"))
from people import CONFIG, FAULTS, STOPS, directory


def measured(command, output):
    """Seconds, processor seconds, and peak memory in MiB."""
    begin = time.monotonic()
    with open(output, "wb") as out:
        child = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - begin
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1):
        raise SystemExit(f"exit code {code}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--counts", default="25000,50000,100000")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    counts = [int(count) for count in options.counts.split(",")]
    largest = counts[-1]
    cases = [(f"{count:,} people", count, 0, []) for count in counts]
    cases += [
        (f"{largest:,} people, --propose", largest, 0, ["--propose"]),
        (f"{largest:,} people with photos", largest, 1800, []),
        (f"{largest:,} people, half of them in conflict", largest, -1, []),
    ]
    print(f"{'case':<45} {'MB':>6} {'seconds':>8} {'CPU s':>6} {'entries/s':>10} {'peak MiB':>9}")
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        folder = Path(folder)
        bridge = folder / "bridge.yaml"
        bridge.write_text(CONFIG)
        for name, count, photo, more in cases:
            ldif = folder / "people.ldif"
            with ldif.open("wb") as out:
                if photo < 0:
                    twin = [("twin", {"uid": ["twin{n}"]}), ("other", {"uid": ["twin{before}"]})]
                    out.writelines(directory(count, faults=twin * (count // 4)))
                else:
                    out.writelines(directory(count, photo, FAULTS + STOPS))
            command = [options.binary, "preflight", "--bridge-config", bridge, "--ldif", ldif, "--format", "json", *more]
            runs = [measured(command, folder / "out") for _ in range(options.runs)]
            seconds, busy = (min(run[at] for run in runs) for at in (0, 1))
            peak = max(peak for *_, peak in runs)
            size = ldif.stat().st_size / 1e6
            print(f"{name:<45} {size:>6.0f} {seconds:>8.2f} {busy:>6.2f} {count / seconds:>10,.0f} {peak:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
