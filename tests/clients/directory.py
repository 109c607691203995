"""A directory in a real OpenLDAP, provisioned as Wire's ldap-scim-bridge does it: for every entry a search
by externalId, then POST or PUT; for every leaver a search and DELETE."""

import base64
import json
import shutil
import subprocess
import tempfile
import urllib.parse
from pathlib import Path

from guard import WAIT_TIMEOUT, Demo, expect
from ports import free_port

CORPUS = Path(__file__).parent.parent / "corpus"
BASE = "dc=nodomain"
ADMIN, PASSWORD = f"cn=admin,{BASE}", "secret"
# As in the bridge's configuration in the corpus.
MAPPING = {"displayName": "displayName", "userName": "uid", "externalId": "mail", "roles": "employeeType"}
CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {folder}/data
"""


class OpenLdap:
    """slapd on a free port, with the directory of the corpus."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="directory"))
        (self.folder / "data").mkdir()
        config = CONFIG.format(folder=self.folder, base=BASE, admin=ADMIN, password=PASSWORD)
        (self.folder / "slapd.conf").write_text(config)
        self.url = f"ldap://127.0.0.1:{free_port()}"
        slapd = shutil.which("slapd", path="/usr/sbin:/usr/bin:/sbin")
        log = (self.folder / "log").open("w")
        command = [slapd, "-d", "0", "-f", self.folder / "slapd.conf", "-h", self.url]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.wait()
        self.run("ldapadd", "-f", str(CORPUS / "ldap-scim-bridge.ldif"))

    def wait(self):
        for _ in range(WAIT_TIMEOUT * 20):
            found = subprocess.run(
                ["ldapsearch", "-x", "-H", self.url, "-b", "", "-s", "base"], capture_output=True
            )
            if found.returncode == 0:
                return
            if self.process.poll() is not None:
                break
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                pass
        raise RuntimeError(f"slapd does not answer: {(self.folder / 'log').read_text()[-500:]}")

    def run(self, tool, *options, text=None):
        command = [tool, "-x", "-H", self.url, "-D", ADMIN, "-w", PASSWORD, *options]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=WAIT_TIMEOUT)
        if done.returncode != 0:
            raise RuntimeError(f"{tool}: {done.stderr}")
        return done.stdout

    def entries(self, unit):
        """The accounts of a unit, each a dictionary of attributes."""
        ldif = self.run(
            "ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-b", f"ou={unit},{BASE}", "(objectClass=account)"
        )
        for block in filter(None, ldif.split("\n\n")):
            entry = {}
            for line in block.splitlines():
                name, _, value = line.partition(":")
                encoded = value.startswith(":")
                entry[name] = base64.b64decode(value[1:]).decode() if encoded else value.strip()
            yield entry

    def change(self, ldif):
        self.run("ldapmodify", text=ldif)

    def stop(self):
        self.process.terminate()
        self.process.wait(WAIT_TIMEOUT)
        shutil.rmtree(self.folder, ignore_errors=True)


def bridge(demo, ldap):
    """Performs one run of the bridge; returns the outcome for each address."""
    outcome = {}

    def find(address):
        query = urllib.parse.quote(f'externalId eq "{address}"')
        status, found = demo.request("GET", f"/scim/v2/Users?filter={query}")
        expect(f"search for {address}", status, 200)
        return found["Resources"][0]["id"] if found["Resources"] else None

    for entry in ldap.entries("People"):
        user = {attribute: entry[source] for attribute, source in MAPPING.items()}
        user |= {"roles": [user["roles"]], "emails": [{"value": entry["mail"]}]}
        user["schemas"] = ["urn:ietf:params:scim:schemas:core:2.0:User"]
        known = find(entry["mail"])
        method, path = ("PUT", f"/scim/v2/Users/{known}") if known else ("POST", "/scim/v2/Users")
        status, answer = demo.request(method, path, user)
        outcome[entry["mail"]] = (method, status)
        if status >= 400 and not answer["detail"]:
            raise AssertionError(f"{entry['mail']} was refused without a detail")
    for entry in ldap.entries("DeletedPeople"):
        if known := find(entry["mail"]):
            outcome[entry["mail"]] = ("DELETE", demo.request("DELETE", f"/scim/v2/Users/{known}")[0])
    return outcome


def recorded(run):
    """The outcome for each address in a recorded run of the bridge."""
    rows = [json.loads(line) for line in (CORPUS / "ldap-scim-bridge.jsonl").read_text().splitlines()]
    outcome, address = {}, None
    for row in rows:
        if row["run"] != run:
            continue
        if row["method"] == "GET":
            address = urllib.parse.unquote(row["target"]).split('"')[1]
        else:
            outcome[address] = (row["method"], row["wire_status"])
    return outcome


CHANGES = f"""
dn: cn=jane,ou=People,{BASE}
changetype: modify
replace: displayName
displayName: Jane Doe-Smith
-
replace: employeeType
employeeType: admin

dn: cn=upn,ou=People,{BASE}
changetype: modify
replace: uid
uid: max

dn: cn=emoji,ou=People,{BASE}
changetype: modrdn
newrdn: cn=emoji
deleteoldrdn: 1
newsuperior: ou=DeletedPeople,{BASE}
"""


def scenario(binary):
    ldap = OpenLdap()
    try:
        with Demo(binary, "as-served") as demo:
            expect("run 1", bridge(demo, ldap), recorded(1))
            ldap.change(CHANGES)
            expect("run 2", bridge(demo, ldap), recorded(2))
    finally:
        ldap.stop()
