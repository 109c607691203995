"""preflight's predictions, compared with the recorded requests of ldap-scim-bridge and Wire's answers."""

import json
import urllib.parse
from pathlib import Path

from program import expect, preflight

CORPUS = Path(__file__).parent.parent / "corpus"
BRIDGE = CORPUS / "ldap-scim-bridge.yaml"
LDIF = (CORPUS / "ldap-scim-bridge.ldif").read_text()


def recorded(run):
    """By externalId: the method, the body byte for byte, and whether Wire served it."""
    sent, address = {}, None
    for line in (CORPUS / "ldap-scim-bridge.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["run"] != run:
            continue
        if row["method"] == "GET":
            address = urllib.parse.unquote(row["target"]).split('"')[1]
        else:
            sent[address] = (row["method"], row["body"], row["wire_status"] < 300)
    return sent


def body(line):
    """The value of `user`, exactly as in the line."""
    begin = line.index('"user":') + len('"user":')
    _, end = json.JSONDecoder().raw_decode(line[begin:])
    return line[begin : begin + end]


def compare(run, ldif, folder):
    config = folder.file("as-served.yaml", 'listen: ["127.0.0.1:1"]\nupstream: {servers: ["127.0.0.1:2"]}\nrules: {profile: as-served}\n')
    options = ["--bridge-config", BRIDGE, "--ldif", folder.file("people.ldif", ldif), "--config", config]
    code, lines, _ = preflight(*options, text=True)
    expect(f"exit code of run {run}", code, 1)
    wanted = recorded(run)
    predicted = {}
    for line in lines[:-1]:
        row = json.loads(line)
        if row["class"] == "leave":
            predicted[row["entry"]] = "DELETE"
        else:
            predicted[row["user"]["externalId"]] = (body(line), row["ok"])
    sent = {address: (text, ok) for address, (method, text, ok) in wanted.items() if method != "DELETE"}
    deleted = [address for address, (method, *_) in wanted.items() if method == "DELETE"]
    expect(f"leavers of run {run}", list(predicted.values()).count("DELETE"), len(deleted))
    written = {address: value for address, value in predicted.items() if value != "DELETE"}
    expect(f"bodies and verdicts of run {run}", written, sent)
    return len(sent)


def both_runs(folder):
    first = compare(1, LDIF, folder)
    changed = LDIF.replace("displayName: Jane Doe\nemployeeType: member", "displayName: Jane Doe-Smith\nemployeeType: admin")
    changed = changed.replace("uid: max@example.com", "uid: max.example")
    changed = changed.replace("cn=emoji,ou=People", "cn=emoji,ou=DeletedPeople")
    second = compare(2, changed, folder)
    expect("bodies compared", (first, second), (8, 7))
