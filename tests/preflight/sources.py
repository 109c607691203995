"""Sources other than the bridge, difficult inputs, and output formats."""

import csv
import io
import os
import subprocess

from people import CONFIG, directory, person, record
from program import BINARY, contains, expect, preflight, run

HEAD = "Login,Mail,First,Last,Role,Active\n"
MAP = ["--map", "userName=Login", "--map", "externalId=Mail", "--map", "email=Mail"]
MAP += ["--map", "displayName={First} {Last}", "--map", "role=Role", "--map", "active=Active"]


def table(folder):
    rows = "jane,jane@example.com,Jane,Doe,member,true\nJOE,joe@example.com,Joe,,,maybe\n,x@example.com,X,,,\njane,j@example.com,J,D,,FALSE\n"
    for text in [HEAD + rows, "\ufeff" + HEAD.replace(",", ";") + rows.replace(",", ";"), (HEAD + rows).replace(",", "\t")]:
        code, lines, err = preflight("--csv", folder.file("people.csv", text), *MAP)
        expect("exit code and errors", (code, err), (1, ""))
        expect("rows", [line["entry"] for line in lines[:-1]], [1, 2, 3, 4])
        expect("rules", [line["rule"] for line in lines[:-1]], [None, "user.type", "user.user_name", None])
        expect("active", [line["user"].get("active") for line in lines[:-1]], [True, "maybe", None, False])
        expect("name", lines[0]["user"]["displayName"], "Jane Doe")
        expect("conflict", lines[0]["conflicts"], [{"on": "handle", "entry": 4}])
    code, lines, err = preflight("--csv", folder.file("p.csv", HEAD + "a\n" + rows), *MAP)
    expect("a short row", (code, len(lines), err.count("\n")), (2, 5, 1))
    contains("a short row", err, "row 1 has 1 fields")
    latin = (HEAD + "a,a@example.com,J\u00f6rg,D,,\n" + rows).encode("latin-1")
    code, lines, err = preflight("--csv", folder.file("p.csv", latin), *MAP)
    expect("latin-1", (code, len(lines)), (2, 5))
    contains("latin-1", err, "is not UTF-8")


def table_errors(folder):
    path = folder.file("people.csv", HEAD)
    for rules, part in [
        (["userName=Logim"], "did you mean `Login`"),
        (["usrname=Login"], "did you mean `userName`"),
        (["userName"], "ATTRIBUTE=COLUMN"),
        (["userName=Login", "userName=Mail"], "mapped twice"),
        (["displayName={First"], "has no `}`"),
    ]:
        code, out, err = run("--csv", path, *[word for rule in rules for word in ("--map", rule)])
        expect(str(rules), (code, out), (2, ""))
        contains(str(rules), err, part)
    code, _, err = run("--csv", path, *MAP, "--propose", "--changes", folder.path / "x.ldif")
    expect("changes of rows", (code, "end in .csv" in err), (2, True))
    expect("no file", run("--csv", "/nowhere/x", "--map", "userName=a")[0], 2)
    expect("no source", run()[0], 2)
    expect("two sources", run("--csv", path, *MAP, "--scim", path)[0], 2)


def scim(folder):
    users = [
        '{"userName": "jane", "displayName": "Jane", "externalId": "jane@example.com"}',
        '{"userName": "Jane@x", "displayName": "J", "externalId": "jane2@example.com", "emails": [{"value": "jane@example.com"}]}',
        "{",
        '{"userName": "joe", "displayName": "Joe", "externalId": "joe@example.com", "roles": [{"value": "member"}]}',
    ]
    path = folder.file("users.jsonl", "\n".join(users) + "\n")
    for options in (["--scim", path], ["--scim", "-"]):
        code, lines, err = preflight(*options, stdin=path.read_bytes())
        expect("exit code", (code, err), (1, ""))
        expect("rules", [line["rule"] for line in lines[:-1]], [None, "user.user_name", "json.syntax", "user.type"])
        expect("rows", [line["entry"] for line in lines[:-1]], [1, 2, 3, 4])
        expect("no JSON", lines[2]["user"], None)
        expect("the address", lines[0]["conflicts"], [{"on": "email", "entry": 2}])


def broken_ldif(folder):
    """Valid records are judged, and those that cannot be parsed are reported."""
    bridge = folder.file("bridge.yaml", CONFIG)
    good = [record(*person(n)) for n in range(3)]
    change = b"dn: cn=x\nchangetype: delete\n\n"
    for broken, part in [
        (b"dn: cn=x\nmail:< file:///etc/passwd\n\n", "another file"),
        (b"dn: cn=x\nmail:: !!\n\n", "not base64"),
        (b"mail: x\n\n", "begin with `dn:`"),
    ]:
        ldif = folder.file("people.ldif", good[0] + broken + change + good[1] + good[2])
        code, lines, err = preflight("--bridge-config", bridge, "--ldif", ldif)
        summary = lines[-1]["summary"]
        expect(part, (code, summary["entries"], summary["change_records"], err.count("\n")), (2, 3, 1, 1))
        contains(part, err, f"{ldif}:", part)
    utf16 = folder.file("people.ldif", "dn: cn=x\n".encode("utf-16"))
    code, _, err = preflight("--bridge-config", bridge, "--ldif", utf16)
    expect("UTF-16", code, 2)
    contains("UTF-16", err, "iconv")


def several_files_and_standard_input(folder):
    bridge = folder.file("bridge.yaml", CONFIG)
    paths = [folder.file(f"{n}.ldif", record(*person(n, {"uid": ["same"]}))) for n in range(2)]
    code, lines, _ = preflight("--bridge-config", bridge, "--ldif", paths[0], "--ldif", "-", stdin=paths[1].read_bytes())
    expect("conflict between files", (code, lines[-1]["summary"]["conflict"]["handle"]), (1, 2))
    for line in paths:
        line.unlink()
    left = [name for name in os.listdir("/tmp") if name.startswith(".tmp")]
    expect("temporary files", left, [])


def forms(folder):
    bridge = folder.file("bridge.yaml", CONFIG)
    people = [{}, {"displayName": ["=1+2"]}, {"uid": ["Caps"]}, {"displayName": ["\x1b[31mred\u202e"]}]
    ldif = folder.file("people.ldif", b"".join(record(*person(n, fault)) for n, fault in enumerate(people)))
    options = ["--bridge-config", bridge, "--ldif", ldif]
    code, out, _ = run(*options, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    expect("CSV", (code, len(rows), rows[1]["displayName"], rows[2]["rule"]), (1, 4, "'=1+2", "user.user_name.case"))
    code, out, _ = run(*options, "--format", "json", "--limit", "1")
    expect("limit", (code, len(out.splitlines())), (1, 2))
    code, out, _ = run(*options)
    expect("control characters for the terminal", ("\x1b" in out, "\u202e" in out), (False, False))
    contains("looks", out, "@user.0", "user.0@example.com")
    code, out, _ = run(*options, "--limit", "0")
    expect("limit of a table", "Caps" in out, False)
    # The reader of the output may close the pipe.
    with subprocess.Popen([BINARY[0], "preflight", *map(str, options), "--format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        child.stdout.close()
        expect("a closed pipe", child.stderr.read(), b"")


def verdict_of_the_config(folder):
    bridge = folder.file("bridge.yaml", CONFIG)
    ldif = folder.file("people.ldif", record(*person(1, {"uid": ["Caps"]})))
    base = 'listen: ["127.0.0.1:1"]\nupstream: {servers: ["127.0.0.1:2"]}\n'
    for more, rule in [("", "user.user_name.case"), ("rules: {profile: as-served}\n", None), ("rules: {mode: report}\n", None)]:
        config = folder.file("guard.yaml", base + more)
        code, lines, _ = preflight("--bridge-config", bridge, "--ldif", ldif, "--config", config)
        expect(more, (lines[0]["rule"], code), (rule, 1 if rule else 0))
    expect("an invalid config", run("--bridge-config", bridge, "--ldif", ldif, "--config", bridge)[0], 2)


def proposals(folder):
    """Proposed handles do not depend on the order of entries, and a directory that uses them has no faults."""
    bridge = folder.file("bridge.yaml", CONFIG)
    people = [{"uid": ["Jörg.Müller"]}, {"uid": ["joerg.mueller@x"]}, {"uid": ["joerg.mueller2"]}, {"uid": ["twin"]}, {"uid": ["twin"]}]
    records = [record(*person(n, fault)) for n, fault in enumerate(people)]

    def proposed(parts, *more):
        ldif = folder.file("people.ldif", b"".join(parts))
        code, lines, _ = preflight("--bridge-config", bridge, "--ldif", ldif, "--propose", *more)
        expect("exit code", code, 1)
        return {line["entry"]: line["proposal"] for line in lines[:-1]}

    changes = folder.path / "handles.ldif"
    first = proposed(records, "--changes", changes)
    expect("proposals", list(first.values()), ["joerg.mueller", "joerg.mueller3", None, None, "twin2"])
    expect("another order", proposed(records[::-1]), first)
    text = changes.read_text()
    contains("LDIF", text, "version: 1\n", "changetype: modify\nreplace: uid\nuid: joerg.mueller3\n-\n")
    expect("a change for each", text.count("changetype"), 3)
    table = folder.path / "handles.csv"
    proposed(records, "--changes", table, "--attribute", "wireHandle")
    rows = list(csv.DictReader(table.open()))
    # A new attribute is written for all users.
    values = [value or people[n]["uid"][0] for n, value in enumerate(first.values())]
    expect("CSV", [(row["attribute"], row["value"]) for row in rows], [("wireHandle", value) for value in values])
    applied = [record(*person(n, {"uid": [list(first.values())[n] or people[n]["uid"][0]]})) for n in range(5)]
    ldif = folder.file("people.ldif", b"".join(applied))
    code, lines, _ = preflight("--bridge-config", bridge, "--ldif", ldif, "--propose")
    expect("clean", (code, [line["proposal"] for line in lines[:-1]]), (0, [None] * 5))


def megabytes(folder):
    """Entries with large photos are accepted; the benchmark measures that they cost no memory."""
    bridge = folder.file("bridge.yaml", CONFIG)
    parts = list(directory(3, photo=3 << 20, faults=[]))
    code, lines, err = preflight("--bridge-config", bridge, "--ldif", folder.file("people.ldif", b"".join(parts)))
    expect("photos", (code, err, lines[-1]["summary"]["entries"]), (0, "", 3))
