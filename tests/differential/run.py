#!/usr/bin/env python3
"""Compares `wire-scim-guard check` with the slow reference on generated payloads.

    run.py --binary PATH --cases 20000 --seed 7

Verdict, status, scimType and parsed values have to agree for every release of Wire and every identity mode,
except for the rules by which the guard may be stricter. Prints a table and the first differences; exits with 1 if there
is any.
"""

import argparse
import base64
import collections
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import generate
import judge

BATCH = 5_000
RELEASES = ("5.34", "5.35", "any")
IDENTITIES = ("email", "saml", "any")
SHOWN = 20
STRICTER = {"json.duplicate_key", "json.depth", "json.number", "user.user_name.reserved", "body.too_large"}
COLUMNS = [
    "cases",
    "accepted",
    "refused",
    "false refusals",
    "false passes",
    "status",
    "scimType",
    "other values",
]


def stored_users():
    """Stored users that a PATCH may be applied to: with and without emails, of both kinds of teams."""

    def make(emails, external_id, name, rich):
        def stored():
            user = judge.sample()
            user.externalId, user.emails, user.displayName, user.rich = external_id, list(emails), name, list(rich)
            return user

        return stored

    full, address = [("sample@example.com", None, True)], "sample@example.com"
    return [
        judge.sample,
        make(full, "name-id", "Sample", []),
        make([], address, None, [("Dept", "Ops"), ("a", "b")]),
        make([], "name-id", None, []),
        make([(address, "work", None)], "name-id", "Sample", []),
    ]


STORED = stored_users()


def judged_by_mode(kind, raw, release):
    """The answers of a Wire release, by identity mode: a list, one entry for each stored user of a PATCH."""
    if kind == "patch":
        verdicts = [judge.judge_patch(raw, release, stored) for stored in STORED]
    else:
        verdict = judge.JUDGE[kind](raw, release)
        verdicts = [verdict if kind == "user" else {"email": verdict, "saml": verdict}]
    return {mode: [verdict[mode] for verdict in verdicts] for mode in ("email", "saml")}


def judged(kind, raw):
    """Wire's possible answers, by release and identity mode; `any` is served if one of both serves it."""
    older = judged_by_mode(kind, raw, "5.34")
    newer = judged_by_mode(kind, raw, "5.35") if kind in ("user", "patch") else older
    either = {
        mode: [new if new["ok"] or not old["ok"] else old for new, old in zip(newer[mode], older[mode])]
        for mode in newer
    }
    for modes in {id(modes): modes for modes in (older, newer, either)}.values():
        served = any(verdict["ok"] for verdict in modes["email"])
        later = any(verdict["ok"] for verdict in modes["saml"])
        modes["any"] = modes["saml"] if later and not served else modes["email"]
    return {"5.34": older, "5.35": newer, "any": either}


def is_served(kind, raw, release, identity, verdicts):
    """Whether Wire serves the payload for some stored user."""
    if any(verdict["ok"] for verdict in verdicts):
        return True
    if kind != "patch":
        return False
    # The few users above are not exhaustive; the slower judge tries every kind of user.
    mode = None if identity == "any" else identity
    return judge.determined(kind, raw, release, mode) != "refuse"


def readings(raw, release, identity):
    """The values that the guard should report for a user: those of the newest release that serves it, email mode first."""
    for one in ("5.35", "5.34") if release == "any" else (release,):
        verdict = judge.judge_user(raw, one)
        modes = ("email", "saml") if identity == "any" else (identity,)
        served = [verdict[mode]["reading"] for mode in modes if verdict[mode]["ok"]]
        if served:
            return served[:1]
    return []


def has_value_path(raw):
    return b"[" in raw and b"mails" in raw.lower()


def is_rfc8259(raw):
    """Whether the standard library's strict parser, which rejects control characters, accepts a document."""
    try:
        json.loads(raw.decode("utf-8"), parse_constant=lambda _: 1 / 0)
        return True
    except (ValueError, ZeroDivisionError, RecursionError):
        return False


def difference(kind, raw, release, identity, answer, verdicts):
    """The column in which the guard's answer to a case is counted if it differs."""
    served = [verdict for verdict in verdicts if verdict["ok"]]
    if answer["ok"]:
        if not is_served(kind, raw, release, identity, verdicts):
            return "false passes"
        if kind == "user" and answer["reading"] not in readings(raw, release, identity):
            return "other values"
        return None
    own = answer["rule"] in STRICTER or (answer["rule"] == "json.syntax" and not is_rfc8259(raw))
    if own:
        return None
    if served or (has_value_path(raw) and is_served(kind, raw, release, identity, verdicts)):
        return "false refusals"
    statuses = {400 if verdict["status"] == 500 else verdict["status"] for verdict in verdicts}
    if answer["status"] not in statuses:
        return "status"
    kinds = {verdict.get("scimType") for verdict in verdicts}
    if None not in kinds and answer["scimType"] not in kinds:
        return "scimType"
    return None


def run_batch(job):
    number, size, seed, binary = job
    rng = random.Random(f"{seed}/{number}")
    cases = [generate.case(rng) for _ in range(size)]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as rows:
        for at, (kind, raw) in enumerate(cases):
            body = base64.b64encode(raw).decode()
            rows.write(json.dumps({"id": str(at), "kind": kind, "body_base64": body}) + "\n")
        rows.flush()
        answers = {}
        for release in RELEASES:
            for identity in IDENTITIES:
                command = [binary, "check", "--rows", rows.name, "--profile", "as-served", "--json"]
                command += ["--identity", identity, "--release", release]
                done = subprocess.run(command, capture_output=True, text=True, timeout=600)
                answers[release, identity] = [json.loads(line) for line in done.stdout.strip().split("\n")]
                if len(answers[release, identity]) != len(cases):
                    given = len(answers[release, identity])
                    raise SystemExit(f"the guard answered {given} of {len(cases)} rows: {done.stderr[:500]}")
    counts, stricter, differences = collections.Counter(), collections.Counter(), []
    for at, (kind, raw) in enumerate(cases):
        for release, modes in judged(kind, raw).items():
            for identity, verdicts in modes.items():
                answer = answers[release, identity][at]
                counts[kind, release, identity, "cases"] += 1
                counts[kind, release, identity, "accepted" if answer["ok"] else "refused"] += 1
                column = difference(kind, raw, release, identity, answer, verdicts)
                if column:
                    counts[kind, release, identity, column] += 1
                    text = raw.decode("utf-8", "replace")
                    differences.append((column, kind, release, identity, text, answer, verdicts[0]))
                elif not answer["ok"] and any(verdict["ok"] for verdict in verdicts):
                    stricter[answer["rule"]] += 1
    return counts, stricter, differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    sizes = [BATCH] * (options.cases // BATCH) + ([options.cases % BATCH] if options.cases % BATCH else [])
    jobs = [(number, size, options.seed, options.binary) for number, size in enumerate(sizes)]
    counts, stricter, differences = collections.Counter(), collections.Counter(), []
    with multiprocessing.Pool(options.jobs) as pool:
        for batch_counts, batch_stricter, batch_differences in pool.imap_unordered(run_batch, jobs):
            counts += batch_counts
            stricter += batch_stricter
            differences += batch_differences
    print("%-13s%-8s%-7s" % ("kind", "release", "mode") + "".join("%16s" % column for column in COLUMNS))
    for kind in generate.GENERATORS:
        for release in RELEASES:
            for identity in IDENTITIES:
                row = "".join("%16d" % counts[kind, release, identity, column] for column in COLUMNS)
                print("%-13s%-8s%-7s" % (kind, release, identity) + row)
    print("refused though Wire serves it:", dict(stricter))
    for column, kind, release, identity, text, answer, verdict in differences[:SHOWN]:
        shown = {key: answer.get(key) for key in ("ok", "status", "rule", "scimType", "reading")}
        print(f"\n{column}: {kind}, {release}, {identity}\n  payload {text[:600]!r}\n  guard   {shown}\n  wire    {verdict}")
    print(f"\n{options.cases} cases, seed {options.seed}: {len(differences)} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
