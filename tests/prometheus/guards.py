"""Guards as processes, and traffic of all kinds, for tests of what operators see."""

import json
import subprocess
import time
import urllib.error
import urllib.request

from certificate import self_signed
from ports import free_port

WAIT_TIMEOUT = 120
failures = []


def check(name, passed, detail=""):
    """Prints whether a check passed, with an optional detail; the names of failed ones are collected in `failures`."""
    print(f"{'ok    ' if passed else 'FAILED'} {name}{f': {detail}' if detail != '' else ''}", flush=True)
    if not passed:
        failures.append(name)


def wait_until(what, condition):
    end = time.monotonic() + WAIT_TIMEOUT
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"timed out waiting for {what}")
        time.sleep(0.1)
    return found


def ask(url, method="GET", body=None, headers=None):
    """The status and the body of an answer; 0 if there is none."""
    data = None if body is None else json.dumps(body).encode() if not isinstance(body, bytes) else body
    request = urllib.request.Request(url, data, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


class Program:
    """A program that is stopped at the end."""

    def __init__(self, command, log):
        self.log = log
        self.process = subprocess.Popen(command, stdout=log.open("wb"), stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()


def guard(binary, folder, name, backend, token_hash, more=""):
    """Starts a guard; returns its addresses."""
    port, admin = free_port(), free_port()
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 30 * 86400))
    (folder / f"{name}.tokens.yaml").write_text(
        f"tokens:\n- {{label: okta, hash: \"{token_hash}\", expires: \"{expires}\"}}\n")
    config = folder / f"{name}.yaml"
    if not (folder / "tls.key").exists():
        self_signed(folder / "tls.crt", folder / "tls.key", "guard.example")
    tls = "tls: {certificates: [{certificate: tls.crt, key: tls.key}]}"
    config.write_text(
        f"listen: [\"127.0.0.1:{port}\", {{address: \"127.0.0.1:{free_port()}\", {tls}}}]\nadmin: {{listen: \"127.0.0.1:{admin}\"}}\n"
        f"upstream: {{servers: [\"{backend}\"]}}\nthreads: 1\ntokens: {name}.tokens.yaml\n"
        f"rules: {{actions: {{user.user_name.case: report, user.roles: report}}}}\n"
        f"repairs: [language]\nmetrics: {{wire_dashboard: true}}\nlog: {{access: false}}\n{more}")
    program = Program([binary, "serve", "--config", str(config)], folder / f"{name}.log")
    base = f"http://127.0.0.1:{admin}"
    wait_until(f"guard {name}", lambda: ask(f"{base}/i/status")[0] == 200)
    return program, f"http://127.0.0.1:{port}", base


def traffic(url, token, stop):
    """Requests of all kinds, until the end of the test."""
    number = 0
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/scim+json"}
    users = f"{url}/scim/v2/Users"
    while not stop.is_set():
        number += 1
        user = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": f"user.{number}",
                "displayName": "User", "externalId": f"user.{number}@example.com"}
        _, created = ask(users, "POST", user, headers)
        identifier = json.loads(created or b"{}").get("id") if created.startswith(b"{") else None
        if identifier:
            ask(f"{users}/{identifier}", "GET", None, headers)
            ask(f"{users}/{identifier}", "PUT", user | {"displayName": "Other"}, headers)
            ask(f"{users}/{identifier}", "DELETE", None, headers)
        upper = f"User.Upper.{number}"
        ask(users, "POST", user | {"userName": upper, "externalId": f"upper.{number}@example.com"}, headers)
        ask(users, "POST", user | {"roles": ["king"]}, headers)
        ask(users, "POST", user | {"userName": "no good"}, headers)
        ask(users, "POST", user | {"userName": f"lang.{number}", "externalId": f"l.{number}@example.com",
                                   "preferredLanguage": "DE"}, headers)
        ask(users, "POST", b"{", headers)
        user_path = f"{users}/3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3"
        ask(user_path, "GET", None, {"Authorization": "Bearer x"})
        ask(user_path, "GET", None, {"Authorization": f"Bearer {'B' * 43}="})
        ask(f"{url}/nothing")
        time.sleep(0.02)


def hash_of(binary, token):
    """The hash of a token, as written in the registry."""
    hashed = subprocess.run([binary, "token", "hash"], input=token, capture_output=True, text=True, check=True)
    return hashed.stdout.split()[-1]
