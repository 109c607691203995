"""A machine of its own for the commands of the book: a network with nothing but the loopback interface, where the ports and the
host names of the book lead to stand-ins, and the files that its configs name."""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

from certificate import self_signed

ROOT = Path(__file__).resolve().parent.parent.parent
INSIDE = "WIRE_SCIM_GUARD_BOOK"
BACKENDS = "127.0.0.2"
HOSTS = f"""127.0.0.1 localhost scim.example.com
{BACKENDS} nginz.wire spar nginz nginz-https.example.com wire.example.com nginz.wire.svc scim-guard
"""
SCIM_TOKEN = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def enter(folder):
    """Runs this program again in namespaces of its own, unless that has been done."""
    if os.environ.get(INSIDE):
        hosts = Path(folder) / "hosts"
        hosts.write_text(HOSTS)
        subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
        loopback_up()
        return
    command = ["unshare", "--net", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*command, "true"], capture_output=True).returncode != 0:
        sys.exit("this test needs network and mount namespaces: run it as root, or allow unprivileged user namespaces")
    os.execvpe("unshare", [*command, sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        set_flags, up, running = 0x8914, 0x1, 0x40
        fcntl.ioctl(control, set_flags, struct.pack("16sh", b"lo", up | running))


def shared_files(folder):
    """The files that configs of the book name, once for all pages."""
    folder.mkdir()
    self_signed(folder / "clients-ca.pem", folder / "clients-ca.key", "clients", authority=True)
    self_signed(folder / "backend-ca.pem", folder / "backend-ca.key", "backends", authority=True)
    for name in ("scim.example.com", "wildcard", "guard", "server", "tls"):
        self_signed(folder / f"{name}.pem", folder / f"{name}.key", "scim.example.com")
    shutil.copy(folder / "tls.pem", folder / "tls.crt")
    shutil.copy(ROOT / "conf/tokens.yaml", folder / "tokens.yaml")
    shutil.copy(ROOT / "tests/corpus/ldap-scim-bridge.yaml", folder / "bridge.yaml")
    shutil.copy(ROOT / "tests/corpus/ldap-scim-bridge.ldif", folder / "export.ldif")
    (folder / "people.csv").write_text("Login,Mail,First,Last,Role,Active\njane,jane@example.com,Jane,Doe,member,true\n")
    (folder / "users.jsonl").write_text('{"userName":"jane","externalId":"jane@example.com","displayName":"Jane"}\n')
    (folder / "admin.token").write_text("a-token-for-the-admin-listener\n")
    (folder / "shared.key").write_text("bm90IGEga2V5IG9mIGFueWJvZHksIG9mIHRoaXMgdGVzdA==\n")
    (folder / "audit.key").write_text("a key of at least thirty-two characters\n")
    (folder / "token").write_text(SCIM_TOKEN)
    (folder / "password").write_text("secret123\n")
    schemas = folder / "schemas"
    schemas.mkdir()
    for name in ("user", "patch", "group"):
        shutil.copy(ROOT / f"schemas/{name}.json", schemas)
    return folder
