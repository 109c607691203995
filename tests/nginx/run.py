#!/usr/bin/env python3
"""The guard in front of a real nginx with a configuration like Wire's, which is in front of the embedded Wire."""

import argparse
import functools
import json
import sys
import urllib.request

import chain as chains
from chain import user
from guard import WAIT_TIMEOUT, expect, run  # isort: skip


class Chain(chains.Chain):
    """client -> guard -> nginx -> embedded Wire"""

    def __init__(self, binary):
        super().__init__(binary)
        port = self.start_nginx("nginz.conf")
        self.start_guard(f'upstream: {{servers: ["127.0.0.1:{port}"]}}\ntrusted_proxies: ["127.0.0.1/32"]\n')


def provisioning_cycle(binary):
    with Chain(binary) as chain:
        status, created = chain.request("POST", "/scim/Users", user("alice"))
        expect("create", (status, created["userName"]), (201, "alice"))
        path = f"/scim/v2/v2/Users/{created['id']}/"
        expect("update", chain.request("PUT", path, user("alice2"))[0], 200)
        query = "/v8/scim//v2/Users?filter=userName%20eq%20%22alice2%22"
        expect("find", len(chain.request("GET", query)[1]["Resources"]), 1)
        expect("delete", chain.request("DELETE", path)[0], 204)
        expect("gone", chain.request("GET", path)[0], 404)
        chain.seen(5)
        expect("refused", chain.request("POST", "/scim/v2/Users", user("alice@example.com"))[0], 400)
        expect("control", chain.request("GET", "/scim/v2/Groups")[0], 200)
        seen = chain.seen(6)
        expect("requests at nginx, without the refused one", len(seen), 6)
        targets = {line["target"].split("?")[0].rsplit("/", 1)[0] for line in seen}
        expect("targets at nginx", targets, {"/scim/v2", "/scim/v2/Users", "/v8/scim/v2"})


def largest_body(binary):
    with Chain(binary) as chain:
        small = json.dumps(user("bob", x=""))
        filled = user("bob", x="n" * (512 * 1024 - len(small)))
        expect("the size", len(json.dumps(filled)), 512 * 1024)
        expect("512 KiB", chain.request("POST", "/scim/v2/Users", filled)[0], 201)
        expect("the length at nginx", chain.seen(1)[-1]["length"], str(512 * 1024))
        filled["x"] += "n"
        expect("one byte more", chain.request("POST", "/scim/v2/Users", filled)[0], 413)


def true_client(binary):
    """nginx takes the last element of X-Forwarded-For as the client's address, so it has to be correct."""
    with Chain(binary) as chain:
        ask = urllib.request.Request(chain.url + "/scim/v2/ServiceProviderConfig")
        # The proxy is trusted; the addresses that its client claims are not.
        ask.add_header("X-Forwarded-For", "203.0.113.9, 198.51.100.7")
        with urllib.request.urlopen(ask, timeout=WAIT_TIMEOUT) as answer:
            expect("status", answer.status, 200)
        expect("the client at nginx", chain.seen(1)[-1]["client"], "198.51.100.7")


def token_api(binary):
    """Requests to Wire's own token API are forwarded unchanged, with the login header that nginx adds."""
    with Chain(binary) as chain:
        status, tokens = chain.request("GET", "/v8/scim/auth-tokens")
        expect("list", (status, tokens), (200, {"tokens": []}))
        expect("another spelling", chain.request("GET", "/v8/scim/%61uth-tokens")[0], 400)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    binary = parser.parse_args().binary
    scenarios = [provisioning_cycle, largest_body, true_client, token_api]
    return run([(s.__name__.replace("_", " "), functools.partial(s, binary)) for s in scenarios])


if __name__ == "__main__":
    sys.exit(main())
