#!/usr/bin/env python3
"""The guard in front of a real nginx with a configuration like Wire's, which is in front of the embedded Wire."""

import argparse
import functools
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "clients"))
from guard import WAIT_TIMEOUT, Process, expect, free_port, request, run  # noqa: E402


def wait_for(port, process, log):
    """Waits until the port accepts connections."""
    end = time.monotonic() + WAIT_TIMEOUT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} exited during its start: {log.read_text()[-500:]}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            pass
    raise RuntimeError(f"nothing listens on port {port}")


class Chain:
    """client -> guard -> nginx -> embedded Wire"""

    def __init__(self, binary):
        self.folder = Path(tempfile.mkdtemp(prefix="nginz"))
        self.standin = Process([binary, "standin"])
        self.token = self.standin.value("token")
        nginx_port, guard_port, admin_port = free_port(), free_port(), free_port()
        backend = self.standin.value("standin").removeprefix("http://")
        template = (HERE / "nginz.conf").read_text()
        config = self.folder / "nginx.conf"
        config.write_text(template.format(folder=self.folder, port=nginx_port, backend=backend))
        self.processes = []
        self.start(
            [shutil.which("nginx", path="/usr/sbin:/usr/bin"), "-c", config, "-e", self.folder / "error.log"],
            nginx_port,
        )
        guard = self.folder / "guard.yaml"
        guard.write_text(
            f'listen: ["127.0.0.1:{guard_port}"]\n'
            f'admin: {{listen: "127.0.0.1:{admin_port}"}}\n'
            f'upstream: {{servers: ["127.0.0.1:{nginx_port}"]}}\n'
            'trusted_proxies: ["127.0.0.1/32"]\n'
        )
        self.start([binary, "serve", "--config", guard], guard_port)
        self.url = f"http://127.0.0.1:{guard_port}"

    def start(self, command, port):
        log = (self.folder / "log").open("a")
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        wait_for(port, self.processes[-1], self.folder / "log")

    def request(self, *arguments):
        return request(self.url, self.token, *arguments)

    def seen(self, requests):
        """The access log of nginx, once it has this many lines: nginx writes them after its answers."""
        end = time.monotonic() + WAIT_TIMEOUT
        while time.monotonic() < end:
            lines = (self.folder / "access.log").read_text().splitlines()
            if len(lines) >= requests:
                return [json.loads(line) for line in lines]
            time.sleep(0.01)
        raise RuntimeError(f"nginx received {len(lines)} requests, not {requests}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(WAIT_TIMEOUT)
        self.standin.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def user(name, **more):
    return {"userName": name, "externalId": f"{name}@example.com", "displayName": name.title()} | more


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
