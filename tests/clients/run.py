#!/usr/bin/env python3
"""Real clients through the guard, in front of the embedded Wire: curl, scim2-client, the recorded traffic of
Wire's ldap-scim-bridge, and a directory in a real OpenLDAP."""

import argparse
import functools
import json
import shlex
import subprocess
import sys
import urllib.parse
from pathlib import Path

import directory
from guard import Demo, expect, raw_request, run

CORPUS = Path(__file__).parent.parent / "corpus"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


def printed_lines(binary):
    """Every curl command that the demo prints has the status that it announces."""
    with Demo(binary) as demo:
        if len(demo.curl_lines) < 10:
            raise AssertionError("the demo prints too few commands")
        for line in demo.curl_lines:
            command, _, status = line.rpartition(" # expect: ")
            done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=20)
            expect(command, done.stdout.split(" ")[1], status)


def curl(demo, *options):
    """Runs curl as in Wire's documentation; returns status and JSON."""
    command = ["curl", "-sS", "-w", "\n%{http_code}", "--max-time", "20"]
    command += ["--header", f"Authorization: Bearer {demo.token}", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body) if body else None


def documented_curl(binary):
    """Create, get, find, update, deactivate, delete."""
    with Demo(binary) as demo:
        json_type = ["--header", "Content-Type: application/json;charset=utf-8"]
        user = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "externalId": "nick@example.com",
            "userName": "nick",
            "displayName": "The Nick",
        }
        users = demo.url + "/scim/v2/Users"
        status, created = curl(demo, "--request", "POST", *json_type, "-d", json.dumps(user), users)
        expect("create", (status, created["userName"]), (201, "nick"))
        url = f"{users}/{created['id']}"
        expect("get", curl(demo, "--request", "GET", url)[0], 200)
        for attribute, value in [("userName", "nick"), ("externalId", "nick@example.com")]:
            query = urllib.parse.quote(f'{attribute} eq "{value}"')
            status, found = curl(demo, "--request", "GET", f"{users}/?filter={query}")
            expect("find", (status, found["Resources"][0]["id"]), (200, created["id"]))
        user["displayName"] = "The Other Nick"
        status, updated = curl(demo, "--request", "PUT", *json_type, "-d", json.dumps(user), url)
        expect("update", (status, updated["displayName"]), (200, "The Other Nick"))
        off = {"schemas": [PATCH_OP], "Operations": [{"op": "Replace", "path": "active", "value": False}]}
        status, patched = curl(demo, "--request", "PATCH", *json_type, "-d", json.dumps(off), url)
        expect("deactivate", (status, patched["active"]), (200, False))
        expect("delete", curl(demo, "--request", "DELETE", url)[0], 204)
        expect("gone", curl(demo, "--request", "GET", url)[0], 404)


def scim2_client(binary):
    """The library from PyPI, which validates the answers itself."""
    import httpx2
    from scim2_client.engines.httpx2 import SyncSCIMClient
    from scim2_models import (
        URN,
        ComplexAttribute,
        Error,
        Extension,
        ResourceType,
        ScimProvider,
        SearchRequest,
        User,
    )

    class RichInfoMap(Extension):
        __schema__ = URN("urn:ietf:params:scim:schemas:extension:wire:1.0:User")

    class RichInfo(ComplexAttribute):
        version: int | None = None
        fields: list[str] | None = None

    class Profile(Extension):
        __schema__ = URN("urn:wire:scim:schemas:profile:1.0")
        rich_info: RichInfo | None = None

    wire_user = User[RichInfoMap | Profile]
    provider = ScimProvider([User, RichInfoMap, Profile], [ResourceType.from_resource(wire_user)])
    with Demo(binary) as demo:
        headers = {"Authorization": f"Bearer {demo.token}"}
        with httpx2.Client(base_url=demo.url + "/scim/v2", headers=headers, timeout=20, trust_env=False) as http:
            client = SyncSCIMClient(http, provider=provider, raise_scim_errors=False)
            client.discover(schemas=False, resource_types=True, service_provider_config=True)

            def named(user_name, address, **more):
                return wire_user(user_name=user_name, external_id=address, display_name="Barbara", **more)

            created = client.create(named("bjensen", "b@example.com"))
            expect("created", created.user_name, "bjensen")
            search = SearchRequest(filter='userName eq "bjensen"')
            expect("found", client.query(wire_user, query_parameters=search).resources[0].id, created.id)
            changed = client.replace(named("barbara", "b@example.com", id=created.id))
            expect("replaced", changed.user_name, "barbara")
            refused = client.create(named("b@example.com", "c@example.com"))
            expect("refused", (type(refused), refused.status, refused.scim_type), (Error, 400, "invalidValue"))
            client.delete(wire_user, created.id)
            expect("gone", client.query(wire_user, created.id).status, 404)


def recorded_bridge(binary, profile, refused):
    """Replays the bridge's requests byte for byte, with the ids that this backend assigns."""
    rows = [json.loads(line) for line in (CORPUS / "ldap-scim-bridge.jsonl").read_text().splitlines()]
    with Demo(binary, profile) as demo:
        ids, differing, last_found = {}, set(), None
        for row in rows:
            target = row["target"]
            if row["method"] in ("PUT", "DELETE"):
                recorded = target.rsplit("/", 1)[1]
                # The preceding search returned the id of the user, which differs here.
                ids.setdefault(recorded, last_found)
                if ids[recorded] is None:
                    differing.add(row["id"])
                    continue
                target = target.replace(recorded, ids[recorded])
            head = f"{row['method']} {target} HTTP/1.1\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in row["headers_list"])
            status, answer = raw_request(demo.url, head.encode() + b"\r\n" + row["body"].encode())
            if row["method"] == "GET":
                last_found = answer["Resources"][0]["id"] if answer["Resources"] else None
            if status != row["wire_status"]:
                differing.add(row["id"])
        expect("requests with another outcome than recorded", sorted(differing), sorted(refused))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    binary = parser.parse_args().binary
    # The documented profile requires a userName without capitals, which one entry does not have: it is never
    # created, so the change in run 2 fails as well.
    capitals = ["bridge-run-13", "bridge-run-27"]
    return run(
        [
            ("every command printed by the demo", functools.partial(printed_lines, binary)),
            ("curl as documented", functools.partial(documented_curl, binary)),
            ("scim2-client", functools.partial(scim2_client, binary)),
            (
                "ldap-scim-bridge as recorded, as-served",
                functools.partial(recorded_bridge, binary, "as-served", []),
            ),
            (
                "ldap-scim-bridge as recorded, documented",
                functools.partial(recorded_bridge, binary, "documented", capitals),
            ),
            ("a directory in OpenLDAP", functools.partial(directory.scenario, binary)),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
