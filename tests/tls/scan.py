#!/usr/bin/env python3
"""Scans a TLS listener of the guard with sslscan and testssl, once with an ECDSA and once with an RSA certificate.

Every objection of these programs is a failure, except for properties that a test certificate cannot have: an authority
that they know, and revocation.
"""

import argparse
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/clients"))
from certificate import KEYS, self_signed
from ports import free_port

# Findings that depend on the installed openssl, on the certificate's authority, on DNS or on the
# time, those that testssl reports for every server, and whether its client has read a ticket before it closes.
CERTIFICATE = re.compile(r"^(engine_problem|cert_|OCSP|CAA|DNS_|chain_of_trust|cert$|trust|security_headers|HSTS|HPKP|banner|overall_grade|grade_cap|sessionresumption_ticket)")


class Guard:
    def __init__(self, binary, folder):
        self.port = free_port()
        config = folder / "guard.yaml"
        config.write_text(
            f'listen: [{{address: "127.0.0.1:{self.port}", tls: {{certificates: [{{certificate: cert.pem, key: key.pem}}]}}}}]\n'
            f'admin: {{listen: "127.0.0.1:{free_port()}"}}\nupstream: {{servers: ["127.0.0.1:{free_port()}"]}}\nlog: {{access: false}}\n')
        self.process = subprocess.Popen([binary, "serve", "--config", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def sslscan(port):
    """The lines about protocols and ciphers, and the objections."""
    run = subprocess.run(["sslscan", "--no-colour", "--no-check-certificate", f"127.0.0.1:{port}"], capture_output=True, text=True, check=True)
    wanted = re.compile(r"^\s*((SSL|TLS)v\S+\s+(en|dis)abled|Preferred|Accepted|.*(Heartbleed|heartbleed|renegotiation|Compression|compression))")
    lines = [line.strip() for line in run.stdout.splitlines() if wanted.match(line)]
    enabled = {line.split()[0] for line in lines if line.endswith("enabled") and re.match(r"(SSL|TLS)v", line)}
    wrong = [f"sslscan: enabled are {sorted(enabled)}"] if enabled != {"TLSv1.2", "TLSv1.3"} else []
    wrong += [f"sslscan: {line}" for line in lines if "vulnerable" in line and "not vulnerable" not in line]
    ciphers = [line for line in lines if line.startswith(("Preferred", "Accepted"))]
    wrong += [f"sslscan: {line}" for line in ciphers if not re.search(r"TLS_(AES|CHACHA)|ECDHE", line)]
    if not ciphers:
        wrong.append("sslscan: no cipher was reported")
    return lines, wrong


def testssl(port, folder):
    report = folder / "testssl.json"
    report.unlink(missing_ok=True)
    subprocess.run(
        ["testssl", "--quiet", "--warnings", "batch", "--color", "0", "--ip", "127.0.0.1", "--jsonfile", report, f"localhost:{port}"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL)
    findings = json.loads(report.read_text())
    lines = [f"{f['id']}: {f['finding']}" for f in findings if re.match(r"(SSLv|TLS1|ALPN|FS$|cipherlist_|heartbleed|CCS|ticketbleed|ROBOT|secure_|CRIME|POODLE|SWEET32|FREAK|DROWN|LOGJAM|BEAST|LUCKY13|RC4)", f["id"])]
    objections = [f for f in findings if f["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL") and not CERTIFICATE.match(f["id"])]
    return lines, [f"testssl: {f['severity']} {f['id']}: {f['finding']}" for f in objections]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    arguments = parser.parse_args()
    wrong = []
    for kind in KEYS:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            self_signed(folder / "cert.pem", folder / "key.pem", "guard.example", "localhost", kind=kind)
            with Guard(arguments.binary, folder) as guard:
                for program, (lines, objections) in {"sslscan": sslscan(guard.port), "testssl": testssl(guard.port, folder)}.items():
                    print(f"--- {program}, {kind}", *lines, sep="\n")
                    wrong += [f"{kind}: {objection}" for objection in objections]
    print("--- objections", *(wrong or ["none"]), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
