#!/usr/bin/env python3
"""How many replicas people and their clients need: simulates the clients' rhythms for two hours and the queue of the busiest
minute, with the costs of measured.json.

    benches/scaling/simulate.py           prints the table of docs/scaling.md
    benches/scaling/simulate.py --check   fails if docs/scaling.md has another one

The load is that of sequential clients: a stream sends its next request when the last one is answered. Teams start their runs
at random times. Requests within a minute arrive independently of each other and wait for a processor in order of arrival.
"""

import argparse
import dataclasses
import heapq
import json
import math
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs/scaling.md"
MEASURED = json.loads((HERE / "measured.json").read_text())

SIZES = {1_000: 1, 100_000: 50, 10_000_000: 5_000}  # people: teams
WIRE = 0.05  # seconds that Wire takes for an answer
HOURS = 2
CORES = 2  # of a replica
BUSY = 0.6  # of a replica's processors at the peak, at most
MINUTE = 60
ARRIVALS = 200_000  # that are simulated in the queue, at most


@dataclasses.dataclass(frozen=True)
class Rhythm:
    """What one team's client does."""

    name: str
    every: float  # seconds from the start of a run to that of the next
    share: float  # of the people that a run is about
    streams: int  # requests at a time
    requests: int  # for each of these people


RHYTHMS = [
    Rhythm("ldap-scim-bridge, everyone every 5 minutes", 300, 1, 1, 2),
    Rhythm("Entra ID, 2 % changed in a cycle of 40 minutes", 2400, 0.02, 4, 2),
    Rhythm("Entra ID, everyone in each cycle", 2400, 1, 4, 2),
    Rhythm("Okta, everyone pushed once an hour", 3600, 1, 4, 2),
]


def team_sizes(people, teams, chance):
    """Sizes of teams: few large ones and many small ones, as of a log-normal distribution."""
    weights = [chance.lognormvariate(0, 1) for _ in range(teams)]
    scale = people / sum(weights)
    return [max(1, round(weight * scale)) for weight in weights]


def load(rhythm, sizes, chance):
    """Requests a second in each minute, and how many streams are active at most."""
    minutes = HOURS * 60
    requests, streams = [0.0] * minutes, [0.0] * minutes
    each = WIRE + cost()
    rate = rhythm.streams / each
    for size in sizes:
        count = max(1, round(size * rhythm.share)) * rhythm.requests
        # A run that takes longer than the interval has the next start skipped.
        every = rhythm.every * math.ceil(count / rate / rhythm.every)
        start = chance.uniform(-every, 0)
        while start < HOURS * 3600:
            spread(requests, streams, rhythm.streams, start, count, rate)
            start += every
    return requests, max(streams)


def spread(requests, streams, width, start, count, rate):
    end = start + count / rate
    minute = max(0, int(start // MINUTE))
    while minute < len(requests) and minute * MINUTE < end:
        within = min(end, (minute + 1) * MINUTE) - max(start, minute * MINUTE)
        requests[minute] += max(0.0, within) * rate / MINUTE
        streams[minute] += width
        minute += 1


def cost():
    """Seconds of a processor that a request over TLS takes."""
    costs = MEASURED["processor_us"]
    return (costs["request"] + costs["TLS"]) / 1e6


def waiting(rate, processors, chance):
    """The time that 99 % of requests wait for a processor at most, in milliseconds."""
    free = [0.0] * processors
    now, waits = 0.0, []
    for _ in range(min(ARRIVALS, max(2_000, int(rate * MINUTE)))):
        now += chance.expovariate(rate)
        began = max(now, heapq.heappop(free))
        heapq.heappush(free, began + cost())
        waits.append(began - now)
    return sorted(waits)[int(len(waits) * 0.99)] * 1000


def row(people, teams, rhythm):
    chance = random.Random(f"{people} {rhythm.name}")
    per_minute, streams = load(rhythm, team_sizes(people, teams, chance), chance)
    peak, mean = max(per_minute), sum(per_minute) / len(per_minute)
    busy = peak * cost()
    needed = max(1, math.ceil(busy / (CORES * BUSY)))
    # One more than needed, as one may be restarting.
    wait = waiting(peak, needed * CORES, chance)
    memory = streams * MEASURED["connection_kib"]["TLS"] / 1024
    store = f"{100 * peak * MEASURED['redis_script_us'] / 1e6:.1f} %"
    return (f"| {people:,} in {teams:,} | {rhythm.name} | {mean:,.1f} | {peak:,.1f} | {busy:.3f} | {needed + 1} | {wait:.2f} "
            f"| {streams:,.0f} ({memory:,.1f} MiB) | {store} |")


def table():
    lines = [
        "| people in teams | clients | requests a second, mean | in the busiest minute | processors at that time | replicas "
        "| p99 of waiting without one of them, ms | connections (memory) | of one Redis, with a rate |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [row(people, teams, rhythm) for people, teams in SIZES.items() for rhythm in RHYTHMS]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    simulated = table()
    if not parser.parse_args().check:
        print(simulated)
    elif simulated not in PAGE.read_text():
        sys.exit(f"{PAGE.name} has another table; benches/scaling/simulate.py prints:\n{simulated}")


if __name__ == "__main__":
    main()
