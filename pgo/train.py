#!/usr/bin/env python3
"""The load of the training run: requests of well configured and of badly configured clients, over HTTP/1 and HTTP/2,
with nginx as the backend.

    pgo/train.py BINARY
"""

import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "benches/e2e"))
import run as e2e

ONE = "/scim/v2/Users/5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f"
SEARCH = "Users?filter=userName%20eq%20%22alice.example%22"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
OKTA = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    "userName": "bob.example",
    "name": {"givenName": "Bob", "familyName": "Example"},
    "emails": [{"primary": True, "value": "bob@example.com", "type": "work"}],
    "displayName": "Bob Exämple",
    "externalId": "bob@example.com",
    "groups": [],
    "active": True,
}


def patch(*operations):
    return {"schemas": [PATCH_OP], "Operations": list(operations)}


def workload():
    """Yields method, path, body, and number of requests."""
    active = {"op": "Replace", "path": "active", "value": "False"}
    name = {"op": "Replace", "path": "displayName", "value": "Alice Example"}
    group = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Engineers",
        "members": [{"value": ONE.rsplit("/", 1)[1], "type": "User", "$ref": ONE}] * 10,
    }
    yield "POST", "/scim/v2/Users", e2e.user("alice.example"), 12000
    yield "POST", "/scim/v2/Users", OKTA, 6000
    yield "POST", "/scim/v2/Users", e2e.user("Alice.Example@example.com"), 6000
    yield "POST", "/scim/v2/Users", OKTA | {"roles": [{"value": "member"}]}, 1000
    yield "PUT", ONE, e2e.user("alice.example"), 6000
    yield "PATCH", ONE, patch(active, name), 4000
    yield "PATCH", ONE, patch({"op": "replace", "value": {"active": False}}), 1000
    yield "GET", "/scim/v2/" + SEARCH, None, 10000
    yield "GET", "/scim/" + SEARCH, None, 3000
    yield "GET", ONE, None, 3000
    yield "GET", "/scim/v2/Users", None, 1000
    yield "DELETE", ONE, None, 1000
    yield "POST", "/scim/v2/Groups", group, 1000


def main():
    with tempfile.TemporaryDirectory(prefix="guard-pgo-") as name:
        folder = pathlib.Path(name)
        upstream = e2e.free_port()
        backend = e2e.nginx("upstream", "upstream.conf", folder, upstream, processor=1)
        guard = e2e.guard("guard", sys.argv[1], folder, upstream, log="access: true")
        try:
            for at, (method, path, body, times) in enumerate(workload()):
                command = ["h2load", "-t", "1", "-c", "16", "-H", f"Authorization: {e2e.TOKEN}"]
                if body is not None:
                    file = folder / f"{at}.json"
                    file.write_text(json.dumps(body))
                    command += ["-H", "Content-Type: application/scim+json", "-d", str(file)]
                if method not in ("GET", "POST"):
                    command += ["-H", f":method: {method}"]
                for h1, times in ((["--h1"], times), ([], times // 4)):
                    command_ = [*command, *h1, "-n", str(times), f"http://127.0.0.1:{guard.port}{path}"]
                    run = subprocess.run(command_, capture_output=True, text=True, timeout=600, check=True)
                    if f"{times} done, {times} succeeded" not in run.stdout and "4xx" not in run.stdout:
                        sys.exit(f"{method} {path}: {run.stdout}")
        finally:
            # The counts are written when the guard exits.
            guard.stop()
            backend.stop()


if __name__ == "__main__":
    main()
