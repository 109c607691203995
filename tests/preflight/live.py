"""A live directory in a real OpenLDAP: searches, refusals and failures."""

import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from people import BASE, CONFIG, person, record, tree
from program import WAIT_TIMEOUT, contains, expect, preflight

from ports import free_port

SLAPD = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
database mdb
suffix "{base}"
rootdn "cn=root,{base}"
rootpw root
access to attrs=userPassword by anonymous auth by * none
access to * by users read by anonymous auth
limits dn.exact="cn=admin,{base}" size.soft={limit} size.hard={limit} size.prtotal=unlimited
directory {folder}/data
"""
ADMIN = record(f"cn=admin,{BASE}", {"objectClass": ["person"], "cn": ["admin"], "sn": ["admin"], "userPassword": ["secret"]})


def own_ca(folder):
    """Creates a CA and a certificate issued by it for this machine: ca.pem, server.pem, server.key."""

    def openssl(*options):
        subprocess.run(["openssl", *options], cwd=folder, capture_output=True, check=True, timeout=WAIT_TIMEOUT)

    key = ["-nodes", "-newkey", "rsa:2048"]
    ca = ["-days", "2", "-x509", "-subj", "/CN=Test CA", "-addext", "basicConstraints=critical,CA:TRUE"]
    openssl("req", *key, *ca, "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    sign = ["-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
    openssl("x509", "-req", *sign, "-out", "server.pem")


class Slapd:
    """slapd on free ports, with these records and its own CA."""

    def __init__(self, records, limit="unlimited"):
        self.folder = Path(tempfile.mkdtemp(prefix="slapd"))
        (self.folder / "data").mkdir()
        own_ca(self.folder)
        config = SLAPD.format(folder=self.folder, base=BASE, limit=limit)
        (self.folder / "slapd.conf").write_text(config)
        self.port, self.tls_port = free_port(), free_port()
        self.url = f"ldap://127.0.0.1:{self.port}"
        slapd = shutil.which("slapd", path="/usr/sbin:/usr/bin:/sbin")
        self.log = (self.folder / "log").open("w")
        urls = f"{self.url} ldaps://127.0.0.1:{self.tls_port}"
        command = [slapd, "-d", "0", "-f", self.folder / "slapd.conf", "-h", urls]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.wait()
        self.tool("ldapadd", b"".join([*tree(), ADMIN, *records]))

    def wait(self):
        for _ in range(WAIT_TIMEOUT * 20):
            probe = ["ldapsearch", "-x", "-H", self.url, "-D", f"cn=root,{BASE}", "-w", "root", "-b", "", "-s", "base"]
            if subprocess.run(probe, capture_output=True).returncode == 0:
                return
            try:
                self.process.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                pass
        raise RuntimeError(f"slapd does not answer: {(self.folder / 'log').read_text()[-500:]}")

    def tool(self, name, text):
        command = [name, "-x", "-H", self.url, "-D", f"cn=root,{BASE}", "-w", "root"]
        done = subprocess.run(command, input=text, capture_output=True, timeout=WAIT_TIMEOUT * 3)
        if done.returncode != 0:
            raise RuntimeError(f"{name}: {done.stderr.decode()}")

    def export(self):
        command = ["ldapsearch", "-x", "-LLL", "-H", self.url, "-D", f"cn=root,{BASE}", "-w", "root", "-b", BASE]
        return subprocess.run(command, capture_output=True, check=True, timeout=WAIT_TIMEOUT).stdout

    def stop(self):
        self.process.terminate()
        self.process.wait(WAIT_TIMEOUT)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def config(port, tls=False, host="127.0.0.1"):
    text = CONFIG.replace("port: 389", f"port: {port}").replace('host: "127.0.0.1"', f'host: "{host}"')
    return text.replace("  tls: false", f"  tls: {str(tls).lower()}", 1)


# A server with a schema accepts no entries with these faults.
LIVE = [{}, {"uid": ["Caps"]}, {"uid": ["jörg"]}, {"mail": None}, {"employeeNumber": ["gone"]}, {"ou": "Leavers"}]
LIVE += [{"uid": ["same"]}, {"uid": ["same"]}, {"displayName": None}, {"ou": "Services"}]


def the_same_as_an_export(folder):
    with Slapd([record(*person(n, fault)) for n, fault in enumerate(LIVE)]) as ldap:
        bridge = folder.file("bridge.yaml", config(ldap.port))
        live = preflight("--bridge-config", bridge)
        export = preflight("--bridge-config", bridge, "--ldif", folder.file("export.ldif", ldap.export()))
        for code, lines, err in (live, export):
            expect("exit code and errors", (code, err), (1, ""))
        expect("entries", sorted(live[1][:-1], key=str), sorted(export[1][:-1], key=str))
        expect("entries and leavers", (live[1][-1]["summary"]["entries"], live[1][-1]["summary"]["class"]["leave"]), (9, 2))
        # The proposed handles are loaded into the directory.
        changes = folder.path / "handles.ldif"
        code, lines, _ = preflight("--bridge-config", bridge, "--propose", "--changes", changes)
        ldap.tool("ldapmodify", changes.read_bytes())
        code, lines, _ = preflight("--bridge-config", bridge)
        rules, conflicts = lines[-1]["summary"]["rule"], lines[-1]["summary"]["conflict"]
        expect("after the changes", (rules, conflicts["handle"]), ({"user.display_name.required": 1}, 0))
        # An entry found by both searches is judged once.
        both = folder.file("both.yaml", config(ldap.port).replace("ou=Leavers", "ou=People"))
        _, lines, _ = preflight("--bridge-config", both)
        expect("entries of both searches", lines[-1]["summary"]["entries"], 8)


def an_own_ca(folder):
    with Slapd([record(*person(0))]) as ldap:
        bridge = folder.file("bridge.yaml", config(ldap.tls_port, tls=True))
        code, _, err = preflight("--bridge-config", bridge)
        expect("an unknown certificate", (code, err.count("\n")), (2, 1))
        contains("an unknown certificate", err, "UnknownIssuer", "SSL_CERT_FILE")
        trusted = {"SSL_CERT_FILE": str(ldap.folder / "ca.pem")}
        code, lines, err = preflight("--bridge-config", bridge, environment=trusted)
        expect("its own CA", (code, err, lines[-1]["summary"]["entries"]), (0, "", 1))


def a_size_limit(folder):
    with Slapd([record(*person(n)) for n in range(30)], limit=20) as ldap:
        code, lines, err = preflight("--bridge-config", folder.file("bridge.yaml", config(ldap.port)))
        expect("entries returned", (code, err, lines[-1]["summary"]["entries"]), (0, "", 20))
        contains("entries not returned", str(lines[-1]["summary"]["config"]), "20 of 30 entries")


def refusals(folder):
    with Slapd([record(*person(0))]) as ldap:
        good = config(ldap.port)
        for text, options, part in [
            (good.replace('"secret"', '"wrong"'), [], "invalidCredentials"),
            (good.replace('search: {base: "ou=People', 'search: {base: "ou=Nobody'), [], "noSuchObject"),
            (good.replace(f"port: {ldap.port}", f"port: {free_port()}"), [], "cannot be reached"),
            (good, ["--password-file", folder.file("other", "wrong\n")], "invalidCredentials"),
        ]:
            code, lines, err = preflight("--bridge-config", folder.file("bridge.yaml", text), *options)
            expect(part, (code, err.count("\n"), lines[-1]["summary"]["entries"]), (2, 1, 0))
            contains(part, err, part)
            expect("no password", "wrong" in err.replace("is wrong", ""), False)
        bridge = folder.file("bridge.yaml", good.replace('"secret"', '"wrong"'))
        password = folder.file("password", "secret\n")
        expect("the password of a file", preflight("--bridge-config", bridge, "--password-file", password)[0], 0)
        # If the second search fails, the results of the first one are judged.
        text = good.replace("ou=Leavers", "ou=Nobody")
        code, lines, err = preflight("--bridge-config", folder.file("bridge.yaml", text))
        expect("the second search", (code, lines[-1]["summary"]["entries"]), (2, 1))
        contains("the second search", err, "noSuchObject")


class Cutting:
    """Forwards a connection to a server, and cuts it off after this many bytes from the server."""

    def __init__(self, port, most):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.target, self.most = self.listener.getsockname()[1], port, most
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self.target))
        threading.Thread(target=self.upwards, args=(client, server), daemon=True).start()
        left = self.most
        while left > 0 and (data := server.recv(min(left, 4096))):
            client.sendall(data)
            left -= len(data)
        client.shutdown(socket.SHUT_RDWR)
        server.close()

    @staticmethod
    def upwards(client, server):
        try:
            while data := client.recv(4096):
                server.sendall(data)
        except OSError:
            pass


def stops_in_the_middle(folder):
    with Slapd([record(*person(n)) for n in range(200)]) as ldap:
        cutting = Cutting(ldap.port, 40_000)
        code, lines, err = preflight("--bridge-config", folder.file("bridge.yaml", config(cutting.port)))
        found = lines[-1]["summary"]["entries"]
        expect("some entries were found, but not all", (code, 0 < found < 200, len(lines) - 1), (2, True, found))
        contains("the error message", err, f"after {found} entries")
