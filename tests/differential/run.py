#!/usr/bin/env python3
"""Holds `wire-scim-guard check` against the slow reference on generated payloads.

    run.py --binary PATH --cases 20000 --seed 7

Verdict, status, scimType and reading have to agree under every identity mode, but for the rules by which
the guard may be stricter. Prints a table and the first differences; exits with 1 if there is any.
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
import generate  # noqa: E402
import judge  # noqa: E402

BATCH = 10_000
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
    "second readings",
]


def stored_users():
    """Users whom a PATCH may meet: with and without emails, of both kinds of teams."""

    def make(emails, external_id, name, rich):
        def stored():
            user = judge.sample()
            user.externalId, user.emails, user.displayName, user.rich = external_id, list(emails), name, list(rich)
            return user

        return stored

    full, address = [("sample@example.com", True)], "sample@example.com"
    return [
        judge.sample,
        make(full, "name-id", "Sample", []),
        make([], address, None, [("Dept", "Ops"), ("a", "b")]),
        make([], "name-id", None, []),
    ]


STORED = stored_users()


def judged(kind, raw):
    """What Wire may answer, by identity mode: a list, one entry for each stored user of a PATCH."""
    if kind == "patch":
        verdicts = [judge.judge_patch(raw, stored) for stored in STORED]
    else:
        verdict = judge.JUDGE[kind](raw)
        verdicts = [verdict if kind == "user" else {"email": verdict, "saml": verdict}]
    modes = {mode: [verdict[mode] for verdict in verdicts] for mode in ("email", "saml")}
    served = any(verdict["ok"] for verdict in modes["email"])
    later = any(verdict["ok"] for verdict in modes["saml"])
    modes["any"] = modes["saml"] if later and not served else modes["email"]
    return modes


def is_rfc8259(raw):
    """Whether the strict reader of the standard library takes a document, control characters refused."""
    try:
        json.loads(raw.decode("utf-8"), parse_constant=lambda _: 1 / 0)
        return True
    except (ValueError, ZeroDivisionError, RecursionError):
        return False


def difference(kind, raw, answer, verdicts):
    """Which column a guard's answer to a case counts in, if it differs."""
    served = [verdict for verdict in verdicts if verdict["ok"]]
    if answer["ok"]:
        if not served:
            return "false passes"
        if kind == "user" and answer["reading"] != served[0]["reading"]:
            return "second readings"
        return None
    own = answer["rule"] in STRICTER or (answer["rule"] == "json.syntax" and not is_rfc8259(raw))
    if own:
        return None
    if served:
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
        for identity in ("email", "saml", "any"):
            command = [
                binary,
                "check",
                "--rows",
                rows.name,
                "--profile",
                "as-served",
                "--identity",
                identity,
                "--json",
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
            answers[identity] = [json.loads(line) for line in done.stdout.splitlines()]
            if len(answers[identity]) != len(cases):
                raise SystemExit(
                    f"the guard answered {len(answers[identity])} of {len(cases)} rows: {done.stderr[:500]}"
                )
    counts, stricter, differences = collections.Counter(), collections.Counter(), []
    for at, (kind, raw) in enumerate(cases):
        modes = judged(kind, raw)
        for identity, verdicts in modes.items():
            answer = answers[identity][at]
            counts[kind, identity, "cases"] += 1
            counts[kind, identity, "accepted" if answer["ok"] else "refused"] += 1
            column = difference(kind, raw, answer, verdicts)
            if column:
                counts[kind, identity, column] += 1
                differences.append((column, kind, identity, raw.decode("utf-8", "replace"), answer, verdicts[0]))
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
    print("%-13s%-7s" % ("kind", "mode") + "".join("%16s" % column for column in COLUMNS))
    for kind in generate.GENERATORS:
        for identity in ("email", "saml", "any"):
            row = "".join("%16d" % counts[kind, identity, column] for column in COLUMNS)
            print("%-13s%-7s" % (kind, identity) + row)
    print("refused though Wire serves it:", dict(stricter))
    for column, kind, identity, text, answer, verdict in differences[:SHOWN]:
        shown = {key: answer[key] for key in ("ok", "status", "rule", "scimType", "reading")}
        print(f"\n{column}: {kind}, {identity}\n  payload {text[:600]!r}\n  guard   {shown}\n  wire    {verdict}")
    print(f"\n{options.cases} cases, seed {options.seed}: {len(differences)} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
