#!/usr/bin/env python3
"""Writes the fuzzer's seeds from the rows of tests/corpus, one file each, to fuzz/corpus/TARGET."""

import base64
import hashlib
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def rows(name):
    return [json.loads(line) for line in (ROOT / "tests/corpus" / name).read_text().splitlines()]


def body(row):
    if row.get("body_base64") is not None:
        return base64.b64decode(row["body_base64"])
    return (row.get("body") or "").encode()


def head(row):
    if row.get("raw_base64"):
        return base64.b64decode(row["raw_base64"])
    headers = row.get("headers_list") or list((row.get("headers") or {}).items())
    lines = [f"{row['method']} {row['target']} HTTP/1.1", "Host: wire.example"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def chunked(body, size):
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b'%x;n="v"\r\n%s\r\n' % (len(part), part) for part in parts)
    return chunks + b"0\r\nX-Trailer: 1\r\n\r\nGET / HTTP/1.1\r\n"


def group_patches():
    """PATCHes of groups as clients send them, and every operation on members."""
    member = "aaaaaaaa-0000-4000-8000-000000000000"
    values = [[{"value": member}], {"value": member}, [], None]
    operations = [{"op": op, "path": "members", "value": value} for op in ("add", "Remove", "replace") for value in values]
    operations += [
        {"op": "remove", "path": f'members[value eq "{member.upper()}"]'},
        {"op": "replace", "path": "displayName", "value": "Other"},
        {"op": "replace", "value": {"displayName": "Other", "members": [{"value": member}]}},
    ]
    schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
    for chosen in [[operation] for operation in operations] + [operations]:
        yield json.dumps({"schemas": schemas, "Operations": chosen}).encode()
    yield from (body(row) for row in rows("requests.jsonl") if row["method"] == "PATCH" and "/Groups" in row["target"])


def searches():
    """Queries, each with an answer on the next line."""
    group = {"id": "1", "displayName": "Staff"}
    user = {"externalId": "bob@a.example", "emails": [{"value": "bob@b.example"}]}
    for query, resource in [
        ("filter=displayName+eq+%22Staff%22&startIndex=1&count=100", group),
        ("excludedAttributes=members&filter=displayName%20eq%20%22Staff%22", group),
        ("filter=userName+eq+%22bob%40a.example%22", user),
        ("filter=userName%20eq%20%22Bob@c.example%22&count=1", user),
    ]:
        yield f"{query}\n{json.dumps({'totalResults': 1, 'Resources': [resource]})}".encode()


def directories():
    """Records of the recorded directory, also with other line endings, and records with arbitrary values."""
    records = (ROOT / "tests/corpus/ldap-scim-bridge.ldif").read_bytes().split(b"\n\n")
    for record in records:
        yield record + b"\n"
        yield record.replace(b"\n", b"\r\n")
        yield b"version: 1\n# folded\n" + record.replace(b"e", b"e\n ") + b"\nchangetype: add\n"
    for at, value in enumerate(kinds["user"][:60]):
        yield b"dn: cn=%d\nchangetype: add\ncn:: %s\nphoto: x\n\n" % (at, base64.b64encode(value))


payloads = rows("payloads.jsonl")
kinds = {kind: [body(row) for row in payloads if row["kind"] == kind] for kind in {row["kind"] for row in payloads}}
filters = kinds["filter"] + kinds["group_filter"]
seeds = {
    "target": [row["target"].encode("latin-1", "replace") for row in rows("targets.jsonl") if row.get("target")],
    "head": [head(row) for row in rows("requests.jsonl")],
    "document": kinds["user"] + kinds["patch"] + kinds["group"],
    "repair": kinds["user"] + kinds["patch"] + kinds["group"] + [body(row) for row in rows("requests.jsonl")],
    "group_patch": list(group_patches()),
    "search": list(searches()),
    "user": kinds["user"],
    "patch": kinds["patch"],
    "group": kinds["group"],
    "filter": filters,
    "path": filters,
    "chunks": [chunked(body, at % 90 + 1) for at, body in enumerate(kinds["user"][:300])],
    "ldif": list(directories()),
    "proxy_header": [
        b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r\n",
        b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(range(12)),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" + bytes(range(36)),
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ],
}
for target, inputs in seeds.items():
    folder = ROOT / "fuzz/corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for seed in inputs:
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    print(f"{target}: {len(set(inputs))} seeds")
