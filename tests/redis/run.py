#!/usr/bin/env python3
"""Shared state with real servers: two guards in front of one backend share a Redis or a Valkey server, which is frozen,
killed, restarted, filled, made read-only and failed over, and Sentinels and clusters. Prints the figures of both guards under each fault."""

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from stores import Proxy, Sentinel, Store, valkey_server, wait_until
from ports import free_port
from world import Backend, Connection, Guard, delete_all, new_token, new_users, read_all

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = "deprovisioning: {at_most: 50, within: 1h}\n"
BY_ADDRESS = "shield: {by_address: true, failures: 20, window: 1m}\n"
# Where the machine is loaded, an answer may take longer than the default.
PATIENT = "timeout: 2s"

failures = []
options = argparse.Namespace()


def check(name, passed, told=""):
    print(f"{'ok    ' if passed else 'FAILED'} {name}{f': {told}' if told != '' else ''}", flush=True)
    if not passed:
        failures.append(name)


def figures(name, *outcomes):
    for outcome in outcomes:
        print(f"       {name}: {outcome.text()}", flush=True)


class Pair:
    """Two guards that share a store, in front of one backend."""

    def __init__(self, folder, store, shared=PATIENT, more=LIMIT, tokens=None, ports=None, url=None, env=(None, None)):
        self.backend = Backend()
        self.folder = folder
        ports = ports or (store.port, store.port)
        urls = [url or f"redis://127.0.0.1:{port}/0" for port in ports]
        self.shared = [f"redis: \"{url}\", key_file: key, {shared}" for url in urls]
        self.guards = [
            Guard(options.binary, folder, f"{name}-{free_port()}", self.backend, text, more, tokens, env)
            for name, text, env in zip("ab", self.shared, env)]

    def __enter__(self):
        for guard in self.guards:
            wait_until(f"guard {guard.name} to reach the store", lambda guard=guard: guard.is_up() and guard.is_listening())
        return self

    def __exit__(self, *_):
        for guard in self.guards:
            guard.stop()


def in_folder(scenario):
    def run(*arguments):
        with tempfile.TemporaryDirectory() as name:
            scenario(Path(name), *arguments)
    run.__name__ = scenario.__name__
    return run


@in_folder
def budgets_are_exact(folder, program):
    token, users = new_token(), new_users(400)
    with Store(folder, program) as store, Pair(folder, store) as pair:
        outcome = delete_all(pair.guards, token, users)
        figures("400 deletions of different users through two guards, at_most 50", outcome)
        check("exactly 50 pass", outcome.passed() == 50 and pair.backend.reached() == 50, outcome.by)
        check("all others are held back", outcome["limits.deprovisioning"] == 350)
        passed = sorted(set(pair.backend.deleted))
        again = delete_all(pair.guards, token, passed)
        check("who is counted costs nothing again at either guard", again.passed() == 50, again.by)
        other = delete_all(pair.guards, new_token(), new_users(10))
        check("another token has its own budget", other.passed() == 10, other.by)
        # 460 were asked about, and what became of those that passed is told afterwards.
        calls = wait_until("the store to be told", lambda: (now := scripts(store)) == scripts_after(store, 0.3) and now)
        reads = read_all(pair.guards, token, 100)
        after = scripts(store)
        check("requests that no budget concerns ask the store nothing", (reads.passed(), after) == (100, calls), after - calls)
        what_is_kept_is_hashed_and_expires(store, token, passed)


def scripts(store):
    return int(store.info("commandstats", "cmdstat_evalsha").split("calls=")[1].split(",")[0])


def scripts_after(store, seconds):
    time.sleep(seconds)
    return scripts(store)


def what_is_kept_is_hashed_and_expires(store, token, users):
    keys = store.keys()
    dump = b"".join(keys)
    for key in keys:
        kind = store.ask("TYPE", key)
        dump += repr(store.ask("HGETALL", key) if kind == b"hash" else
                     store.ask("ZRANGE", key, 0, -1) if kind == b"zset" else store.ask("GET", key)).encode()
    forms = [token.encode()] + [user.encode() for user in users] + [user.replace("-", "").encode() for user in users]
    forms += [bytes.fromhex(user.replace("-", "")) for user in users]
    check("no token and no user can be read in the store", not any(form in dump for form in forms))
    check("every key expires", all(store.ask("PTTL", key) > 0 for key in keys), len(keys))
    used = [key for key in keys if key.endswith((b":users", b":limited"))]
    size = sum(store.ask("MEMORY", "USAGE", key, "SAMPLES", "0") for key in used)
    print(f"       memory: {size} bytes for 60 users of two tokens, {size / 60:.0f} for one", flush=True)
    check("a user takes less than 300 bytes", size < 300 * 60 + 1000)


@in_folder
def many_users_take_bounded_memory(folder, program):
    token = new_token()
    with Store(folder, program) as store, Pair(folder, store, more="deprovisioning: {at_most: 2000, within: 1h}\n") as pair:
        outcome = delete_all(pair.guards, token, new_users(2100), threads=16)
        figures("2,100 deletions, at_most 2,000", outcome)
        check("exactly 2,000 pass", outcome.passed() == 2000, outcome.by)
        size = sum(store.ask("MEMORY", "USAGE", key, "SAMPLES", "0") for key in store.keys())
        print(f"       memory: {size} bytes for 2,000 users, {size / 2000:.0f} for one", flush=True)
        check("a user takes less than 400 bytes", size < 400 * 2000, size)


@in_folder
def rates_hold_for_the_sum(folder, program):
    token = new_token()
    tokens = [("bridge", token, ", rate: 60/h")]
    with Store(folder, program) as store, Pair(folder, store, tokens=tokens) as pair:
        outcome = read_all(pair.guards, token, 200)
        figures("200 reads through two guards with a token of 60 in an hour", outcome)
        # One more in each minute, should the machine be that slow.
        check("60 pass", 60 <= outcome.passed() <= 62, outcome.by)
        check("the others are held back", outcome["token.rate"] == 200 - outcome.passed())
        status, rule, _, answer = Connection(pair.guards[0], token).send("GET", f"/scim/v2/Users/{new_users(1)[0]}")
        check("Retry-After says how long to wait", rule == "token.rate" and 1 <= int(answer.getheader("retry-after")) <= 60,
              answer.getheader("retry-after"))


@in_folder
def an_allowance_is_for_all_replicas_together(folder, program):
    token = new_token()
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    own = f", deprovisioning: {{at_most: 10, within: 1h, allow: {{count: 20, until: {until}}}}}"
    with Store(folder, program) as store, Pair(folder, store, tokens=[("bridge", token, own)]) as pair:
        absent = new_users(40)
        pair.backend.absent.update(absent)
        refused = delete_all(pair.guards, token, absent)
        check("deletions that Wire refuses use up nothing of it", refused[404] == 40, refused.by)
        outcome = delete_all(pair.guards, token, new_users(100))
        check("10 of the limit and 20 of the allowance pass", outcome.passed() == 30, outcome.by)
        ends = [store.ask("PEXPIRETIME", key) for key in store.keys() if b":spent:" in key]
        check("what is spent is kept until the end of the allowance", len(ends) == 1 and abs(ends[0] / 1000 - time.time() - 3660) < 60)


@in_folder
def one_script_serves_rate_and_removals(folder, program):
    token = new_token()
    tokens = [("bridge", token, ", rate: 10000/h")]
    with Store(folder, program) as store, Pair(folder, store, tokens=tokens) as pair:
        def calls():
            return int(store.info("commandstats", "cmdstat_evalsha").split("calls=")[1].split(",")[0])
        before = calls()
        read_all(pair.guards, token, 20)
        check("a request with a rate is one script", wait_until("scripts", lambda: calls() - before >= 20) and calls() - before == 20)
        before = calls()
        delete_all(pair.guards, token, new_users(20))
        # The second says what became of it, and nobody waits for it.
        wait_until("scripts", lambda: calls() - before >= 40)
        check("one that takes a user away as well is still one that is waited for", calls() - before == 40, calls() - before)


@in_folder
def refusals_give_places_back(folder, program):
    token = new_token()
    with Store(folder, program) as store, Pair(folder, store, more="deprovisioning: {at_most: 5, within: 1h}\n") as pair:
        absent = new_users(100)
        pair.backend.absent.update(absent)
        one, two = (Connection(guard, token) for guard in pair.guards)
        statuses = [(one, two)[n % 2].delete(user)[0] for n, user in enumerate(absent)]
        check("deletions that Wire refuses take no places", statuses == [404] * 100, sorted(set(statuses)))
        outcome = delete_all(pair.guards, token, new_users(20), threads=2)
        check("then exactly 5 pass", outcome.passed() == 5, outcome.by)
        user = sorted(set(pair.backend.deleted))[0]
        pair.backend.absent.add(user)
        check("a refused retry does not give back what was done", one.delete(user)[0] == 404)
        check("so there is still no place", two.delete(new_users(1)[0])[1] == "limits.deprovisioning")


@in_folder
def repeated_deactivations_are_free_and_activations_end_that(folder, program):
    token, users = new_token(), new_users(3)
    with Store(folder, program) as store, Pair(folder, store, more="deprovisioning: {at_most: 3, within: 2s}\n") as pair:
        one, two = (Connection(guard, token) for guard in pair.guards)
        for user in users:
            one.set_active(user, False)
        check("a fourth is held back", two.set_active(new_users(1)[0], False)[1] == "limits.deprovisioning")
        end = time.monotonic() + 4
        passed = True
        while time.monotonic() < end:
            passed &= all(two.set_active(user, False)[0] == 200 for user in users)
            time.sleep(0.2)
        check("repeated deactivations pass", passed)
        fresh = [one.delete(user)[0] for user in new_users(3)]
        check("and cost nothing after the interval", fresh == [204] * 3, fresh)
        two.set_active(users[0], True)
        check("who was activated again takes a place", wait_until("the activation", lambda: (
            one.set_active(users[0], False)[1] == "limits.deprovisioning" or None)))


@in_folder
def refused_tokens_and_failures_are_told(folder, program):
    good, bad, odd = new_token(), new_token(), new_token()
    with Store(folder, program) as store, Pair(folder, store, more=BY_ADDRESS) as pair:
        backend, (a, b) = pair.backend, pair.guards
        path = f"/scim/v2/Users/{new_users(1)[0]}"
        backend.refused.add(bad)
        began = time.monotonic()
        Connection(a, bad).send("GET", path)
        wait_until("the other guard to know", lambda: Connection(b, bad).send("GET", path)[1] == "token.refused")
        took = time.monotonic() - began
        check("a token that Wire refused at one guard is known at the other within a second", took < 1, f"{took * 1000:.0f} ms")
        Connection(b, odd).send("GET", path)
        backend.refused.add(odd)
        Connection(a, odd).send("GET", path)
        time.sleep(0.5)
        check("a token accepted within the hour stays immune", Connection(b, odd).send("GET", path)[0] == 401
              and Connection(a, odd).send("GET", path)[1] is None)
        Connection(b, good).send("GET", path)
        failing = [new_token() for _ in range(40)]
        backend.refused.update(failing)
        for token in failing[:20]:
            Connection(a, token).send("GET", path)
        wait_until("failures at the other guard", lambda: Connection(b, new_token()).send("GET", path)[1] == "limits.failures")
        check("failures by address count at the other guard", True)
        check("a good token from there still passes", Connection(b, good).send("GET", path)[0] == 200)
        published = store.ask("PUBSUB", "CHANNELS")
        check("one channel is used", len(published) == 1, published)


def given_up(pair):
    """How many requests waited for the store and got no answer in time."""
    return sum(guard.metric('scim_guard_shared_lookups_total{outcome="timeout"}') for guard in pair.guards)


def fault(folder, program, name, hit, mend, on_failure, is_steady=True):
    """Hits the store while both guards serve, with the figures of each phase."""
    token = new_token()
    shared = f"timeout: 100ms, on_failure: {on_failure}"
    with Store(folder, program, options=["--enable-debug-command", "yes"]) as store, Pair(folder, store, shared) as pair:
        check(f"{name}: before, 20 of 20 pass", delete_all(pair.guards, token, new_users(20), threads=2).passed() == 20)
        hit(store)
        during = delete_all(pair.guards, token, new_users(200), threads=4)
        figures(f"{name}, {on_failure}: 200 deletions during the fault", during)
        # Three requests in a row at each guard that got no answer in time, and those that waited beside them.
        check(f"{name}: a few requests wait for the store at most", given_up(pair) <= 16, given_up(pair))
        wait_until("both guards to notice", lambda: not any(guard.is_up() for guard in pair.guards))
        before = given_up(pair)
        later = delete_all(pair.guards, token, new_users(100), threads=4)
        figures(f"{name}, {on_failure}: 100 later", later)
        check(f"{name}: then none waits", given_up(pair) - before <= (0 if is_steady else 8), given_up(pair) - before)
        reads = read_all(pair.guards, token, 50, threads=2)
        check(f"{name}: what no budget concerns is served", reads.passed() == 50, reads.by)
        if on_failure == "refuse":
            check(f"{name}: what a budget concerns is refused", later["shared.unavailable"] >= (100 if is_steady else 80), later.by)
            check(f"{name}: and no more reach the backend than the budget has", pair.backend.reached() <= 50)
        else:
            check(f"{name}: each guard decides by its own budget", pair.backend.reached() <= 100
                  and during["limits.deprovisioning"] + later["limits.deprovisioning"] >= 200, pair.backend.reached())
        for guard in pair.guards:
            text = guard.ready_text()
            check(f"{name}: /i/ready says so", not is_steady or "since" in text.split("shared ", 1)[1].split("\n")[0],
                  next((line for line in text.splitlines() if line.startswith("shared")), text))
            check(f"{name}: the log says so", "shared: the store" in guard.log_text())
        mend(store)
        began = time.monotonic()
        for guard in pair.guards:
            wait_until("recovery", guard.is_up)
        print(f"       {name}: both ask again {time.monotonic() - began:.1f} s after the end of the fault", flush=True)
        fresh = new_token()
        after = delete_all(pair.guards, fresh, new_users(200), threads=4)
        figures(f"{name}, {on_failure}: 200 deletions with another token afterwards", after)
        exact = after.passed() == 50 or any(guard.metric('scim_guard_shared_lookups_total{outcome="timeout"}') > 8 for guard in pair.guards)
        check(f"{name}: budgets are exact again", exact, after.by)
        check(f"{name}: the log says so", all("answers again" in guard.log_text() for guard in pair.guards))


@in_folder
def frozen(folder, program, on_failure):
    fault(folder, program, "frozen", lambda store: store.freeze(), lambda store: store.thaw(), on_failure)


@in_folder
def killed(folder, program, on_failure):
    fault(folder, program, "killed and restarted", lambda store: store.kill(), lambda store: store.start(), on_failure)


@in_folder
def full(folder, program, on_failure):
    def fill(store):
        store.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        store.ask("CONFIG", "SET", "maxmemory", "1")

    fault(folder, program, "full", fill, lambda store: store.ask("CONFIG", "SET", "maxmemory", "0"), on_failure)


@in_folder
def read_only(folder, program, on_failure):
    fault(folder, program, "read-only", lambda store: store.ask("REPLICAOF", "127.0.0.1", "1"),
          lambda store: store.ask("REPLICAOF", "NO", "ONE"), on_failure)


@in_folder
def slow(folder, program, on_failure):
    """The store works on something else for most of the time, longer than a request waits."""
    stop = threading.Event()
    threads = []

    def busy(store):
        def work():
            client = store.client()
            while not stop.is_set():
                client("DEBUG", "SLEEP", "0.3")
                time.sleep(0.05)
            client.close()

        threads.append(threading.Thread(target=work))
        threads[0].start()

    def rest(_):
        stop.set()
        threads[0].join()

    fault(folder, program, "slow", busy, rest, on_failure, is_steady=False)


@in_folder
def scripts_are_flushed(folder, program):
    token = new_token()
    with Store(folder, program) as store, Pair(folder, store) as pair:
        delete_all(pair.guards, token, new_users(20), threads=2)
        store.ask("SCRIPT", "FLUSH")
        outcome = delete_all(pair.guards, token, new_users(200))
        check("flushed scripts are loaded again, and nothing is lost", pair.backend.reached() == 50, outcome.by)


@in_folder
def given_up_lookups_cost_nothing(folder, program):
    """A frozen store executes what it has received when it goes on: these requests were decided without it."""
    token, users = new_token(), new_users(30)
    with Store(folder, program) as store, Pair(folder, store, "timeout: 50ms, on_failure: refuse") as pair:
        check("before, 1 of 1 passes", delete_all(pair.guards, token, users[:1], threads=1).passed() == 1)
        store.freeze()
        during = delete_all(pair.guards, token, users[1:], threads=8)
        figures("29 deletions while the store is frozen", during)
        check("all are refused", during["shared.unavailable"] == 29, during.by)
        time.sleep(0.5)
        store.thaw()
        for guard in pair.guards:
            wait_until("recovery", guard.is_up)
        limited = [key for key in store.keys() if key.endswith(b":limited")]
        counted = store.ask("ZCARD", limited[0])
        check("the requests that were given up have taken no place", counted == 1, counted)


@in_folder
def the_script_holds_in_every_interval(folder, program):
    """Random requests of one token straight to the script: by the server's own time, no interval has more users than allowed,
    and nobody is held back who had a place."""
    at_most, within, hold = 4, 150_000, 40_000
    with Store(folder, program) as store:
        client = store.client()
        sha = client("SCRIPT", "LOAD", (ROOT / "src" / "shared" / "budgets.lua").read_bytes())
        names = [f"{{t}}:{end}" for end in ("rate", "users", "limited", "allowed", "inactive", "spent")]

        def call(*arguments):
            return client("EVALSHA", sha, len(names), *names, *arguments)

        taken, under_way, held, wrong, last_seen = [], [], 0, [], {}
        random.seed(7)
        end = time.monotonic() + 8
        while time.monotonic() < end:
            if under_way and random.random() < 0.6:
                user, record, entry = under_way.pop(random.randrange(len(under_way)))
                fate = random.choice([0, 1, 2, 2])
                if fate and entry:
                    entry["kept"] = True
                call("settle", user, record, 2, fate, within, hold, "-")
                continue
            user = f"user-{random.randrange(40)}"
            _, now, _, what, detail = call("take", 2**52, 0, 0, 0, user, 2, at_most, within, hold, "-", 0, 0)
            if what == 4:
                held += 1
                around = sum(now - seen <= within + hold for seen in last_seen.values())
                if around < at_most:
                    wrong.append(f"held back with {around} users around")
                if not 0 < detail <= within + hold:
                    wrong.append(f"told to wait for {detail}")
                continue
            last_seen[user] = now
            entry = {"at": now, "kept": False} if what == 1 else None
            if entry:
                taken.append(entry)
            under_way.append((user, detail, entry))
            time.sleep(random.choice([0, 0, 0.002, 0.01]))
        times = sorted(entry["at"] for entry in taken if entry["kept"])
        most = max(sum(first <= at <= first + within for at in times[n:n + 2 * at_most]) for n, first in enumerate(times))
        check("no interval has more users than allowed", most <= at_most, f"{len(times)} users, {most} at most, {held} held back")
        check("it was used up", most == at_most and held > 100)
        check("nobody is held back who had a place", not wrong, wrong[:3])
        check("a late request takes nothing", call("take", 1, 0, 0, 0, "late", 2, 99, within, hold, "-", 0, 0)[0] == 1
              and client("HGET", names[1], "late") is None)


@in_folder
def the_clock_of_the_store_is_set(folder, program):
    """Forth and back by hours: budgets go on, and no rate is blocked for hours. (Debian's Redis does not start with libfaketime.)"""
    token, shift = new_token(), folder / "shift"
    tokens = [("bridge", token, ", rate: 200/s")]
    library = next(Path("/usr/lib").rglob("libfaketime.so.1"))
    shift.write_text("+0\n")
    env = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(shift), "FAKETIME_NO_CACHE": "1",
           "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with Store(folder, program, env=env) as store, Pair(folder, store, "timeout: 2s, on_failure: refuse", tokens=tokens) as pair:
        check("before, 20 of 20 pass", delete_all(pair.guards, token, new_users(20), threads=2).passed() == 20)
        for hours in ("+5h", "-5h"):
            shift.write_text(hours + "\n")
            outcome = read_all(pair.guards, token, 100, threads=2)
            figures(f"the clock is set by {hours}", outcome)
            # The first answer says so, and is given up; what was used of the rate in the future is used now.
            check(f"{hours}: requests are served on", outcome.passed() > 0, outcome.by)
            # Asking uses it too, so a full rate may never be seen.
            served = itertools.accumulate(read_all(pair.guards, token, 20, threads=1).passed() for _ in itertools.count())
            wait_until("half a second of the rate", lambda: next(served) >= 100)


@in_folder
def what_became_of_requests_is_told_before_the_end(folder, program):
    token = new_token()
    with Store(folder, program) as store, Pair(folder, store, more="deprovisioning: {at_most: 5, within: 1h}\n") as pair:
        absent = new_users(5)
        pair.backend.absent.update(absent)
        outcome = delete_all(pair.guards[:1], token, absent, threads=1)
        pair.guards[0].stop()
        check("5 are refused by Wire", outcome[404] == 5, outcome.by)
        after = delete_all(pair.guards[1:], token, new_users(9), threads=2)
        check("their places are free at the other guard", after.passed() == 5, after.by)


@in_folder
def clocks_of_replicas_differ(folder, program):
    token = new_token()
    library = next(Path("/usr/lib").rglob("libfaketime.so.1"))
    shifted = {"LD_PRELOAD": str(library), "FAKETIME": "+3d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with Store(folder, program) as store, Pair(folder, store, env=(None, shifted)) as pair:
        outcome = delete_all(pair.guards, token, new_users(400))
        figures("400 deletions, the clock of one guard is three days ahead", outcome)
        check("exactly 50 pass", outcome.passed() == 50, outcome.by)
        tried = delete_all(pair.guards[1:], token, new_users(20), threads=2)
        check("the one that is ahead forgets nobody early", tried.passed() == 0, tried.by)


@in_folder
def key_versions_live_side_by_side(folder, program):
    """A guard behind a proxy that renames the version in keys is one of another version."""
    token = new_token()
    with Store(folder, program) as store:
        proxy = Proxy(store.port, b":v1:", b":v0:")
        with Pair(folder, store, ports=(proxy.port, proxy.port)) as old:
            outcome = delete_all(old.guards, token, new_users(100))
            check("the old version: exactly 50 pass", outcome.passed() == 50, outcome.by)
            left = {key: store.ask("PTTL", key) for key in store.keys()}
            with Pair(folder, store, ports=(proxy.port, store.port)) as mixed:
                outcome = delete_all(mixed.guards, token, new_users(200))
                figures("while versions are mixed, 200 deletions with a token that has used its budget", outcome)
                check("each version has its own budget, and no more", outcome.passed() == 50, outcome.by)
                quiet = all("shared: the store" not in guard.log_text() for guard in mixed.guards)
                check("neither disturbs the other", quiet)
        with Pair(folder, store) as new:
            outcome = delete_all(new.guards, token, new_users(100))
            check("the new version goes on counting from its first replica", outcome.passed() == 0, outcome.by)
        old_keys = [key for key in store.keys() if b":v0:" in key]
        check("the keys of the old version expire", old_keys and all(0 < store.ask("PTTL", key) <= left.get(key, 10**8)
                                                                    for key in old_keys), len(old_keys))


@in_folder
def a_sentinel_fails_over(folder, program):
    token = new_token()
    (folder / "password").write_text("correct-horse")
    with_password = ["--requirepass", "correct-horse", "--masterauth", "correct-horse"]
    copies = lambda port: [*with_password, "--replicaof", "127.0.0.1", str(port)]
    with (Store(folder, program, options=with_password, password="correct-horse") as master,
          Store(folder, program, options=copies(master.port), password="correct-horse") as replica):
        wait_until("replication", lambda: replica.info("replication", "master_link_status") == "up")
        with Sentinel(folder, master.port, "correct-horse") as sentinel:
            wait_until("the Sentinel to know the replica", lambda: len(sentinel.ask("SENTINEL", "replicas", "main") or []) == 1)
            url = f"redis-sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/0#main"
            with Pair(folder, master, f"{PATIENT}, password_file: password", url=url) as pair:
                outcome = delete_all(pair.guards, token, new_users(30), threads=2)
                check("through a Sentinel, 30 pass", outcome.passed() == 30, outcome.by)
                wait_until("replication of all", lambda: replica.info("replication", "master_repl_offset")
                           >= master.info("replication", "master_repl_offset"))
                master.kill()
                began = time.monotonic()
                during = delete_all(pair.guards, new_token(), new_users(40), threads=2)
                figures("40 deletions with another token right after the master was killed", during)
                wait_until("the failover", lambda: sentinel.master() == replica.port)
                for guard in pair.guards:
                    wait_until("the new master to be used", guard.is_up)
                print(f"       failed over after {time.monotonic() - began:.1f} s", flush=True)
                after = delete_all(pair.guards, token, new_users(200))
                figures("200 deletions at the new master", after)
                check("the budget goes on there: 20 more pass", after.passed() == 20, after.by)
                for guard in pair.guards:
                    wait_until("events at the new master", guard.is_listening)


@in_folder
def a_cluster_keeps_each_token_at_one_server(folder, program):
    def options(nth):
        return ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-config-file", f"{folder}/nodes-{nth}.conf",
                "--cluster-node-timeout", "1000"]

    with Store(folder, program, options=options(1)) as one, Store(folder, program, options=options(2)) as two, \
            Store(folder, program, options=options(3)) as three:
        stores = [one, two, three]
        members = [f"127.0.0.1:{store.port}" for store in stores]
        subprocess.run(["redis-cli", "--cluster", "create", *members, "--cluster-yes"], check=True, capture_output=True)
        wait_until("the cluster", lambda: all(b"cluster_state:ok" in store.ask("CLUSTER", "INFO") for store in stores))
        url = f"redis-cluster://127.0.0.1:{free_port()},{members[1]},{members[2]}"
        more = "deprovisioning: {at_most: 5, within: 1h}\n" + BY_ADDRESS
        with Pair(folder, one, "timeout: 2s, on_failure: refuse", more, url=url) as pair:
            passed = []
            for _ in range(12):
                passed.append(delete_all(pair.guards, new_token(), new_users(20)).passed())
            check("12 tokens, 20 deletions of each: exactly 5 pass", passed == [5] * 12, passed)
            used = [len([key for key in store.keys() if key.endswith(b":users")]) for store in stores]
            check("the tokens are at all servers", all(used) and sum(used) == 12, used)
            bad, path = new_token(), f"/scim/v2/Users/{new_users(1)[0]}"
            pair.backend.refused.add(bad)
            Connection(pair.guards[0], bad).send("GET", path)
            wait_until("the event", lambda: Connection(pair.guards[1], bad).send("GET", path)[1] == "token.refused")
            check("events are heard", True)
            moved = subprocess.run(["redis-cli", "--cluster", "reshard", members[0], "--cluster-from", "all", "--cluster-to",
                                    one.ask("CLUSTER", "MYID").decode(), "--cluster-slots", "4000", "--cluster-yes"],
                                   capture_output=True, text=True)
            check("slots are moved", moved.returncode == 0, moved.stdout[-200:] if moved.returncode else "")
            # A request that meets a slot elsewhere is refused, and has the slots read anew.
            wait_until("the new places of the slots", lambda: [
                delete_all(pair.guards, new_token(), new_users(20)).passed() for _ in range(12)] == [5] * 12)
            check("then 5 of each token pass again", True)
            one.kill()
            outcome = delete_all(pair.guards, new_token(), new_users(20))
            check("a server that is gone: no more than 5 pass", outcome.passed() <= 5, outcome.by)
            one.start()
            wait_until("the cluster to be whole", lambda: [
                delete_all(pair.guards, new_token(), new_users(20)).passed() for _ in range(12)] == [5] * 12)
            check("it is used again", True)


def certificates(folder):
    run = lambda *command: subprocess.run(command, cwd=folder, check=True, capture_output=True)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
        "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=store",
        "-keyout", "store.key", "-out", "store.csr")
    run("openssl", "x509", "-req", "-in", "store.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "9",
        "-extfile", "names", "-out", "store.crt")


# What docs/scaling.md gives a user of the guard.
ACL = ("on >correct-horse resetkeys ~scim-guard:* resetchannels &scim-guard:* nocommands +evalsha +script|load +select +role +cluster|slots "
       "+time +get +set +del +pttl +pexpire +pexpireat +incr +decr +hget +hset +hdel +zadd +zrem +zcard +zcount +zscore "
       "+zrangebyscore +zremrangebyscore +publish +subscribe")


@in_folder
def over_tls_with_a_user(folder, program):
    token, secure = new_token(), free_port()
    certificates(folder)
    (folder / "user").write_text("guard\n")
    (folder / "password").write_text("correct-horse\n")
    tls = ["--tls-port", str(secure), "--tls-cert-file", "store.crt", "--tls-key-file", "store.key", "--tls-ca-cert-file",
           "ca.crt", "--tls-auth-clients", "no"]
    with Store(folder, program, options=tls) as store:
        store.ask("ACL", "SETUSER", "guard", *ACL.split())
        shared = f"{PATIENT}, ca: ca.crt, username_file: user, password_file: password"
        url = f"rediss://localhost:{secure}/0"
        with Pair(folder, store, shared, url=url) as pair:
            outcome = delete_all(pair.guards, token, new_users(200))
            figures("200 deletions over TLS, as a user with the least rights", outcome)
            check("exactly 50 pass", outcome.passed() == 50, outcome.by)
            store.ask("ACL", "SETUSER", "guard", ">other", "<correct-horse")
            store.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            guard = pair.guards[0]
            wait_until("the wrong password", lambda: "does not accept the user and the password" in guard.ready_text())
            check("a wrong password is named, and not shown", "correct-horse" not in guard.ready_text() + guard.log_text())
            (folder / "password").write_text("other\n")
            guard.process.send_signal(1)
            wait_until("the new password", guard.is_up)
            check("a changed password is used after a reload", True)
        broken = Guard(options.binary, folder, "untrusting", Backend(),
                       f"redis: \"{url}\", key_file: key, username_file: user, password_file: password", LIMIT)
        with broken:
            text = wait_until("the refusal", lambda: next(
                (line for line in broken.ready_text().splitlines() if "TLS" in line), None))
            check("a certificate of an unknown authority is refused", not broken.is_up(), text)


@in_folder
def settings_change_while_it_runs(folder, program):
    token = new_token()
    with Store(folder, program) as one, Store(folder, program) as two, Pair(folder, one) as pair:
        check("before, 50 of 100 pass", delete_all(pair.guards, token, new_users(100)).passed() == 50)
        for guard in pair.guards:
            guard.write(f"redis: \"redis://127.0.0.1:{two.port}/0\", key_file: key, {PATIENT}, prefix: \"other:\"", LIMIT)
            before = guard.metric('scim_guard_reloads_total{outcome="applied"}') or 0
            guard.process.send_signal(1)
            wait_until("the reload", lambda guard=guard: guard.metric('scim_guard_reloads_total{outcome="applied"}') > before)
            wait_until("the other store", guard.is_up)
        delete_all(pair.guards, new_token(), new_users(5))
        check("another store and prefix are used after a reload",
              all(key.startswith(b"other:") for key in two.keys()) and len(two.keys()) > 1, len(two.keys()))
        for guard in pair.guards:
            guard.config.write_text(guard.config.read_text().replace("shared:", "#shared:"))
            guard.process.send_signal(1)
            wait_until("sharing to end", lambda guard=guard: guard.metric("scim_guard_shared_up") is None)
        wait_until("connections to close", lambda: int(one.info("clients", "connected_clients")) == 1
                   and int(two.info("clients", "connected_clients")) == 1)
        check("without `shared` nothing connects to a store", True)


@in_folder
def nothing_listens_at_the_start(folder, program):
    token, port = new_token(), free_port()
    backend = Backend()
    guard = Guard(options.binary, folder, "alone", backend, f"redis: \"redis://127.0.0.1:{port}\", key_file: key", LIMIT)
    with guard:
        outcome = delete_all([guard], token, new_users(100), threads=2)
        figures("100 deletions, and no store at the start", outcome)
        check("the guard decides alone", outcome.passed() == 50, outcome.by)
        with Store(folder, program, port=port):
            wait_until("the store that is there now", guard.is_up)
            check("and finds the store when it is there", True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", default="", help="scenarios whose names contain this")
    parser.parse_args(namespace=options)
    options.binary = str(Path(options.binary).resolve())
    valkey = valkey_server()
    print(subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout.strip())
    print(subprocess.run([valkey, "--version"], capture_output=True, text=True).stdout.strip(), flush=True)
    both, redis = ("redis-server", valkey), ("redis-server",)
    scenarios = [
        (budgets_are_exact, both), (rates_hold_for_the_sum, both), (one_script_serves_rate_and_removals, both),
        (refusals_give_places_back, both), (an_allowance_is_for_all_replicas_together, both), (repeated_deactivations_are_free_and_activations_end_that, both),
        (refused_tokens_and_failures_are_told, both), (scripts_are_flushed, both), (given_up_lookups_cost_nothing, both),
        (the_script_holds_in_every_interval, both), (the_clock_of_the_store_is_set, (valkey,)),
        (what_became_of_requests_is_told_before_the_end, redis), (clocks_of_replicas_differ, both), (key_versions_live_side_by_side, redis), (many_users_take_bounded_memory, both),
        (nothing_listens_at_the_start, redis), (over_tls_with_a_user, redis), (settings_change_while_it_runs, redis),
        (a_sentinel_fails_over, redis), (a_cluster_keeps_each_token_at_one_server, both),
    ]
    runs = [(scenario, (program,)) for scenario, programs in scenarios for program in programs]
    for scenario in (frozen, killed, full, read_only, slow):
        runs += [(scenario, ("redis-server", "local")), (scenario, (valkey, "refuse"))]
    for scenario, arguments in runs:
        if options.only not in scenario.__name__:
            continue
        kind = "Valkey" if arguments[0] == valkey else "Redis"
        print(f"--- {scenario.__name__.replace('_', ' ')} ({', '.join([kind, *arguments[1:]])})", flush=True)
        try:
            scenario(*arguments)
        except Exception as error:  # any exception fails the scenario, and the next one runs
            check(scenario.__name__, False, f"{type(error).__name__}: {error}")
    print(f"{len(failures)} failed")
    sys.exit(bool(failures))


main()
