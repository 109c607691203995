#!/usr/bin/env python3
"""preflight with a Samba domain controller, which behaves like Active Directory. It runs in a separate network
namespace, as the LDAP ports are fixed."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import program
from live import own_ca
from people import TOKEN
from program import WAIT_TIMEOUT, Folder, contains, expect, preflight

PASSWORD = "Sesam-Oeffne-Dich-1"
BASE = "DC=example,DC=test"
CONFIG = f"""logLevel: "Info"
ldapSource:
  tls: true
  host: "127.0.0.1"
  port: 636
  dn: "CN=Administrator,CN=Users,{BASE}"
  password: "{PASSWORD}"
  search: {{base: "CN=Users,{BASE}", objectClass: "user"}}
  codec: "utf8"
  deleteOnAttribute: {{key: "userAccountControl", value: "514"}}
scimTarget: {{tls: true, host: "wire.example.com", port: 443, path: "/scim/v2", token: "Bearer {TOKEN}"}}
mapping: {{displayName: "displayName", userName: "sAMAccountName", externalId: "mail", email: "mail"}}
"""
PEOPLE = 1200


class DomainController:
    def __init__(self, folder):
        self.folder = folder
        provision = ["samba-tool", "domain", "provision", f"--targetdir={folder}", "--realm=EXAMPLE.TEST"]
        provision += ["--domain=EXAMPLE", f"--adminpass={PASSWORD}", "--server-role=dc", "--dns-backend=NONE"]
        provision += ["--use-rfc2307", "--option=interfaces=lo", "--option=bind interfaces only=yes"]
        subprocess.run(provision, capture_output=True, check=True, timeout=300)
        own_ca(folder)
        tls = [("tls keyfile", "server.key"), ("tls certfile", "server.pem"), ("tls cafile", "ca.pem")]
        (folder / "server.key").chmod(0o600)
        self.config = folder / "etc/smb.conf"
        lines = "".join(f"\t{name} = {folder / file}\n" for name, file in tls)
        self.config.write_text(self.config.read_text().replace("[global]\n", f"[global]\n{lines}", 1))
        self.add()
        self.log = (folder / "samba.log").open("w")
        command = ["samba", "-i", "-M", "single", "-s", self.config, "--option=server services=ldap"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self.log, stderr=self.log)
        self.wait()

    def ldb(self, tool, *options, text=None):
        command = [tool, "-H", self.folder / "private/sam.ldb", *options]
        done = subprocess.run(command, input=text, capture_output=True, timeout=300)
        if done.returncode != 0:
            raise RuntimeError(f"{tool}: {done.stderr.decode()[-500:]}")
        return done.stdout

    def add(self):
        def user(n):
            name = {1: "Capital.Letters", 2: "müller", 3: "support"}.get(n, f"user.{n}")
            mail = "" if n == 4 else f"mail: user.{n}@example.com\n"
            control = 514 if n == 5 else 512
            return (
                f"dn: CN=Person {n},CN=Users,{BASE}\nobjectClass: user\nsAMAccountName: {name}\n{mail}"
                f"displayName: Jörg Müller {n}\nuserAccountControl: {control}\n\n"
            )

        self.ldb("ldbadd", text="".join(user(n) for n in range(PEOPLE)).encode())

    def wait(self):
        for _ in range(WAIT_TIMEOUT * 10):
            probe = ["ldapsearch", "-x", "-H", "ldap://127.0.0.1", "-b", "", "-s", "base", "defaultNamingContext"]
            if subprocess.run(probe, capture_output=True).returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"samba does not answer: {(self.folder / 'samba.log').read_text()[-800:]}")

    def stop(self):
        self.process.terminate()
        self.process.wait(WAIT_TIMEOUT)
        self.log.close()


def scenario():
    with Folder() as folder, tempfile.TemporaryDirectory(prefix="samba") as place:
        controller = DomainController(Path(place))
        try:
            check(controller, folder)
        finally:
            controller.stop()


def check(controller, folder):
    plain = folder.file("plain.yaml", CONFIG.replace("tls: true", "tls: false", 1).replace("636", "389"))
    code, _, err = preflight("--bridge-config", plain)
    expect("a plain bind", (code, err.count("\n")), (2, 1))
    contains("a plain bind", err, "strongerAuthRequired", "LDAPS")
    bridge = folder.file("bridge.yaml", CONFIG)
    code, _, err = preflight("--bridge-config", bridge)
    expect("an unknown certificate", code, 2)
    contains("an unknown certificate", err, "UnknownIssuer")
    trusted = {"SSL_CERT_FILE": str(controller.folder / "ca.pem")}
    wrong = folder.file("wrong.yaml", CONFIG.replace(PASSWORD, "wrong"))
    code, _, err = preflight("--bridge-config", wrong, environment=trusted)
    expect("a wrong password", code, 2)
    contains("a wrong password", err, "invalidCredentials")
    begin = time.monotonic()
    live = preflight("--bridge-config", bridge, environment=trusted)
    took = time.monotonic() - begin
    export = controller.ldb("ldbsearch", "-b", f"CN=Users,{BASE}", "(objectClass=*)")
    exported = preflight("--bridge-config", bridge, "--ldif", folder.file("export.ldif", export))
    for code, _, err in (live, exported):
        expect("exit code and errors", (code, err), (1, ""))
    expect("entries", sorted(live[1][:-1], key=str), sorted(exported[1][:-1], key=str))
    summary = live[1][-1]["summary"]
    # The built-in accounts of every domain have no email address; krbtgt is marked as a leaver as well, which
    # stops the bridge's run.
    built_in = summary["entries"] - PEOPLE
    expect("classes", summary["class"], {"keep": PEOPLE - 2, "leave": 1, "skip": built_in, "stop": 1})
    contains("what stops the bridge", summary["stops_at"].lower(), "cn=krbtgt,")
    rules = {"user.user_name": 1, "user.user_name.case": 1, "user.user_name.reserved": 1}
    expect("rules", summary["rule"], rules)
    contains("the limit of Active Directory", str(summary["config"]), f"the search finds {summary['entries']} entries")
    print(f"{summary['entries']} entries of the live directory in {took:.1f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        inside = [sys.executable, os.path.abspath(__file__), "--inside", "--binary", os.path.abspath(options.binary)]
        sys.exit(subprocess.run(["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *inside]).returncode)
    program.BINARY[0] = options.binary
    from guard import run

    sys.exit(run([("a domain controller: TLS, refusals, a live search and its export", scenario)]))
