#!/usr/bin/env python3
"""Generates a directory as LDIF, with the config of ldap-scim-bridge for it: mostly people without a fault, and at
least one of every fault if there are enough of them.

    people.py COUNT [--photos BYTES] [--clean] > people.ldif
    people.py --config > bridge.yaml
"""

import argparse
import base64
import hashlib
import sys

BASE = "dc=example,dc=org"
TOKEN = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
CONFIG = f"""logLevel: "Info"
ldapSource:
  tls: false
  host: "127.0.0.1"
  port: 389
  dn: "cn=admin,{BASE}"
  password: "secret"
  search: {{base: "ou=People,{BASE}", objectClass: "inetOrgPerson"}}
  codec: "utf8"
  deleteOnAttribute: {{key: "employeeNumber", value: "gone"}}
  deleteFromDirectory: {{base: "ou=Leavers,{BASE}", objectClass: "inetOrgPerson"}}
scimTarget: {{tls: true, host: "wire.example.com", port: 443, path: "/scim/v2", token: "Bearer {TOKEN}"}}
mapping: {{displayName: "displayName", userName: "uid", externalId: "mail", email: "mail", roles: "employeeType"}}
"""
FIRST = ["Jörg", "Anna", "Mehmet", "Zoë", "Łukasz", "Øyvind", "Sofía", "Nguyễn", "Наталья", "Jean-Luc", "Aoife", "Ute"]
LAST = ["Müller", "Schmidt", "Yılmaz", "O'Neill", "Groß", "Ångström", "García", "Kowalski", "Çelik", "Weiß", "Smith"]

# Name of the fault, and the attributes that differ: None removes one, a list sets its values.
FAULTS = [
    ("upn", {"uid": ["{uid}@example.com"]}),
    ("capitals", {"uid": ["{Uid}"]}),
    ("umlaut", {"uid": ["jörg.müller{n}"]}),
    ("blank", {"uid": ["two words{n}"]}),
    ("short", {"uid": ["x"]}),
    ("long handle", {"uid": ["a" * 257]}),
    ("reserved", {"uid": ["support"]}),
    ("long name", {"displayName": ["N" * 129]}),
    ("empty name", {"displayName": [""]}),
    ("no name", {"displayName": None}),
    ("role", {"employeeType": ["Employee"]}),
    ("role in capitals", {"employeeType": ["Member"]}),
    ("same handle 1", {"uid": ["twin{n}"]}),
    ("same handle 2", {"uid": ["twin{before}"]}),
    ("same address 1", {"mail": ["double{n}@example.com"]}),
    ("same address 2", {"mail": ["DOUBLE{before}@example.com"]}),
    ("same externalId 1", {"mail": ["one{n}@example.com"]}),
    ("same externalId 2", {"mail": ["one{before}@example.com"]}),
    ("no address", {"mail": None}),
    ("invalid UTF-8 in a name", {"displayName": [b"J\xf6rg"]}),
    ("marked as leaver", {"employeeNumber": ["gone"]}),
    ("moved to leavers", {"ou": "Leavers"}),
    ("a service", {"ou": "Services"}),
    ("another class", {"objectClass": ["account"]}),
    ("canonical address", {"mail": ["(work) canonical{n} @ example.com"]}),
    ("name with controls", {"displayName": ["tab\there"]}),
]
# These stop the bridge's run.
STOPS = [
    ("no handle", {"uid": None}),
    ("two handles", {"uid": ["one{n}", "two{n}"]}),
    ("two names", {"displayName": ["One", "Two"]}),
    ("two roles", {"employeeType": ["member", "admin"]}),
    ("two addresses", {"mail": ["a{n}@example.com", "b{n}@example.com"]}),
    ("no address in mail", {"mail": ["nobody"]}),
    ("invalid UTF-8 in mail", {"mail": [b"j\xf6rg@example.com"]}),
    ("leaver without an address", {"mail": None, "employeeNumber": ["gone"]}),
]


def person(n, fault=None, photo=0):
    """The entry with this number: its DN and its attributes."""
    first, last = FIRST[n % len(FIRST)], LAST[n // len(FIRST) % len(LAST)]
    uid = f"user.{n}"
    entry = {
        "objectClass": ["top", "person", "organizationalPerson", "inetOrgPerson"],
        "cn": [f"{first} {last} {n}"],
        "sn": [last],
        "givenName": [first],
        "uid": [uid],
        "mail": [f"{uid}@example.com"],
        "displayName": [f"{first} {last}"],
        "employeeType": ["member"],
        "telephoneNumber": [f"+49 30 {n:07}"],
        "description": [f"Number {n} of a directory that was made up for a test, with a line long enough to fold"],
    }
    unit = "People"
    for name, values in (fault or {}).items():
        if name == "ou":
            unit = values
        elif values is None:
            entry.pop(name, None)
        else:
            fill = {"n": n, "before": n - 1, "uid": uid, "Uid": f"User.{n}"}
            entry[name] = [value if isinstance(value, bytes) else value.format(**fill) for value in values]
    if photo:
        block = hashlib.sha256(str(n).encode()).digest()
        entry["jpegPhoto"] = [(block * (photo // len(block) + 1))[:photo]]
    return f"cn=user {n},ou={unit},{BASE}", entry


def line(name, value):
    """A line of LDIF, folded after 76 bytes."""
    value = value if isinstance(value, bytes) else value.encode()
    safe = all(0x20 <= byte < 0x7F for byte in value) and not value.startswith((b" ", b":", b"<"))
    text = name.encode() + (b": " + value if safe else b":: " + base64.b64encode(value))
    folded = [text[:76]] + [text[at : at + 75] for at in range(76, len(text), 75)]
    return b"\n ".join(folded) + b"\n"


def record(dn, entry):
    return line("dn", dn) + b"".join(line(name, value) for name, values in entry.items() for value in values) + b"\n"


def tree():
    """The records above the people in the tree."""
    yield record(BASE, {"objectClass": ["dcObject", "organization"], "dc": ["example"], "o": ["Example"]})
    for unit in ("People", "Leavers", "Services"):
        yield record(f"ou={unit},{BASE}", {"objectClass": ["organizationalUnit"], "ou": [unit]})


def directory(count, photo=0, faults=FAULTS + STOPS):
    """All records; the faults are assigned one after the other from the tenth person on."""
    yield b"version: 1\n\n"
    yield from tree()
    for n in range(count):
        at = n - 10
        fault = faults[at][1] if 0 <= at < len(faults) else None
        yield record(*person(n, fault, photo))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--photos", type=int, default=0, metavar="BYTES")
    parser.add_argument("--clean", action="store_true", help="no faults")
    parser.add_argument("--config", action="store_true", help="write the bridge's config")
    options = parser.parse_args()
    if options.config:
        sys.stdout.write(CONFIG)
    else:
        for part in directory(options.count, options.photos, [] if options.clean else FAULTS + STOPS):
            sys.stdout.buffer.write(part)
