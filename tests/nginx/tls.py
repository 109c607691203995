#!/usr/bin/env python3
"""The guard in front of a real nginx that speaks TLS and requires a client certificate, in front of the embedded Wire."""

import argparse
import functools
import json
import subprocess
import sys
import urllib.request

import chain as chains
from chain import user
from guard import WAIT_TIMEOUT, expect, run  # isort: skip

NAME = "wire.example.com"


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])


class Certificates:
    """Authorities for servers and for clients, and the certificates that they have issued, as files in a folder."""

    def __init__(self, folder):
        self.folder = folder
        for authority in ["servers", "clients", "others"]:
            self.new(f"{authority}-ca", f"/CN={authority}", "-addext", "basicConstraints=critical,CA:TRUE")
        self.issue("wire", "servers", NAME)
        self.issue("other", "servers", "other.example.com")
        self.issue("guard", "clients", "guard.example.com")
        self.issue("foreign", "others", "guard.example.com")

    def new(self, name, subject, *more):
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.folder / f"{name}.key"]
        openssl("req", "-x509", *key, "-out", self.folder / f"{name}.pem", "-days", 30, "-subj", subject, *more)

    def issue(self, name, authority, dns):
        request = self.folder / f"{name}.csr"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.folder / f"{name}.key"]
        openssl("req", *key, "-out", request, "-subj", f"/CN={dns}")
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"basicConstraints=CA:FALSE\nsubjectAltName=DNS:{dns}\n")
        ca = self.folder / f"{authority}-ca"
        signing = ["-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-extfile", extensions]
        openssl("x509", "-req", "-in", request, *signing, "-days", 20, "-out", self.folder / f"{name}.pem")


class Chain(chains.Chain):
    """client -> guard -> TLS -> nginx -> embedded Wire"""

    def __init__(self, binary, upstream=None, versions="TLSv1.2 TLSv1.3", requests=1000, more=""):
        super().__init__(binary)
        Certificates(self.folder)
        (self.folder / "large").write_bytes(b"large" * 1_000_000)
        port = self.start_nginx("tls.conf", versions=versions, requests=requests)
        upstream = upstream or "host: wire.example.com, tls: {ca: servers-ca.pem, certificate: guard.pem, key: guard.key}"
        scheme = "http" if upstream == "cleartext" else "https"
        rest = "" if upstream == "cleartext" else f", {upstream}"
        self.start_guard(f'threads: 1\nupstream: {{servers: ["{scheme}://localhost:{port}"]{rest}}}\n{more}')

    def ready(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/i/ready", timeout=WAIT_TIMEOUT) as answer:
            return answer.read().decode()


def provisioning_over(version, binary):
    with Chain(binary, versions=version) as chain:
        status, created = chain.request("POST", "/scim/v2/Users", user("alice"))
        expect("create", (status, created["userName"]), (201, "alice"))
        path = f"/scim/v2/Users/{created['id']}"
        expect("update", chain.request("PUT", path, user("alice2"))[0], 200)
        expect("read", chain.request("GET", path)[1]["userName"], "alice2")
        expect("delete", chain.request("DELETE", path)[0], 204)
        status, tokens = chain.request("GET", "/scim/auth-tokens")
        expect("tokens", (status, tokens), (200, {"tokens": []}))
        seen = chain.seen(5)
        expect("names", {(line["name"], line["host"]) for line in seen}, {(NAME, NAME)})
        expect("the client", {(line["client"], line["version"]) for line in seen}, {("SUCCESS", version)})
        expect("connections", len({line["connection"] for line in seen}), 1)


def sessions_are_resumed(binary):
    # nginx ends each connection after two requests.
    with Chain(binary, requests=2) as chain:
        for _ in range(10):
            expect("status", chain.request("GET", "/scim/v2/ServiceProviderConfig")[0], 200)
        seen = chain.seen(10)
        connections = dict.fromkeys(line["connection"] for line in seen)
        expect("connections", len(connections), 5)
        resumed = {line["connection"] for line in seen if line["reused"] == "r"}
        expect("resumed", resumed, set(list(connections)[1:]))


def what_streams(binary):
    more = "other_paths: forward\n"
    with Chain(binary, more=more) as chain:
        with urllib.request.urlopen(chain.url + "/large", timeout=WAIT_TIMEOUT) as answer:
            expect("a large answer", answer.read() == b"large" * 1_000_000, True)
        ask = urllib.request.Request(chain.url + "/scim/auth-tokens", json.dumps({"description": "a", "password": "secret123"}).encode())
        ask.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(ask, timeout=WAIT_TIMEOUT) as answer:
            expect("a new token", answer.status, 200)
        seen = chain.seen(2)
        expect("names", {(line["name"], line["host"], line["client"]) for line in seen}, {(NAME, NAME, "SUCCESS")})


def refused(upstream, sentence, binary):
    """No part of a request reaches Wire, and `/i/ready` reports the reason."""
    with Chain(binary, upstream) as chain:
        for _ in range(3):
            status, error = chain.request("POST", "/scim/v2/Users", user("alice"))
            expect("status", status, 502)
            expect("rule", "trusted connection" in error["detail"], True)
        if sentence not in chain.ready():
            raise AssertionError(chain.ready())
        expect("at Wire", [line for line in chain.seen(0) if line["status"] < 300], [])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    binary = parser.parse_args().binary
    errors = {
        "another authority": ("host: wire.example.com, tls: {ca: others-ca.pem}", "upstream.tls.ca"),
        "the authorities of the platform": ("host: wire.example.com", "upstream.tls.ca"),
        "another name": ("tls: {ca: servers-ca.pem}", "is for other.example.com and not for localhost"),
        "no client certificate": ("host: wire.example.com, tls: {ca: servers-ca.pem}", "upstream.tls.certificate"),
        "a foreign client certificate": (
            "host: wire.example.com, tls: {ca: servers-ca.pem, certificate: foreign.pem, key: foreign.key}",
            "upstream.tls.certificate",
        ),
        "cleartext": ("cleartext", "write https:// before it"),
    }
    scenarios = [
        ("provisioning over TLS 1.2", functools.partial(provisioning_over, "TLSv1.2")),
        ("provisioning over TLS 1.3", functools.partial(provisioning_over, "TLSv1.3")),
        ("sessions are resumed", sessions_are_resumed),
        ("what streams", what_streams),
        *[(f"refused: {name}", functools.partial(refused, *error)) for name, error in errors.items()],
    ]
    return run([(name, functools.partial(scenario, binary)) for name, scenario in scenarios])


if __name__ == "__main__":
    sys.exit(main())
