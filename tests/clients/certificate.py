"""Self-signed certificates for tests."""

import ipaddress
import subprocess

KEYS = {"ECDSA": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "RSA": ["rsa:2048"]}


def self_signed(certificate, key, *names, kind="ECDSA", authority=False):
    """Writes a certificate for host names and addresses, and its key, to these paths."""
    alternatives = ",".join(f"{'IP' if is_address(name) else 'DNS'}:{name}" for name in names)
    command = ["openssl", "req", "-x509", "-nodes", "-days", "90", "-subj", f"/CN={names[0]}", "-newkey", *KEYS[kind]]
    command += ["-addext", f"basicConstraints=critical,CA:{'TRUE' if authority else 'FALSE'}"]
    command += ["-addext", f"subjectAltName={alternatives}", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)


def is_address(name):
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
