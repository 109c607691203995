"""The packages as files: what is in them, and what the tools of the distributions say of them."""

import filecmp
import os
import subprocess
import tempfile
from pathlib import Path

from guard import expect
from machine import ROOT

SHIPPED = {
    "/usr/bin/wire-scim-guard",
    "/etc/wire-scim-guard/config.yaml",
    "/usr/lib/systemd/system/wire-scim-guard.service",
    "/usr/lib/systemd/system/wire-scim-guard.socket",
    "/usr/lib/sysusers.d/wire-scim-guard.conf",
    "/usr/share/man/man1/wire-scim-guard.1.gz",
    "/usr/share/man/man1/wire-scim-guard-serve.1.gz",
    "/usr/share/bash-completion/completions/wire-scim-guard",
    "/usr/share/fish/vendor_completions.d/wire-scim-guard.fish",
    "/usr/share/wire-scim-guard/config.yaml",
    "/usr/share/wire-scim-guard/config.schema.json",
    "/usr/share/wire-scim-guard/tokens.yaml",
    "/usr/share/wire-scim-guard/wire-scim-guard.json",
    "/usr/share/wire-scim-guard/wire-scim-guard.rules.yaml",
    "/usr/share/doc/wire-scim-guard/changelog.gz",
}
DEB_ONLY = {
    "/usr/share/zsh/vendor-completions/_wire-scim-guard",
    "/usr/share/doc/wire-scim-guard/copyright",
    "/usr/share/doc/wire-scim-guard/THIRD-PARTY.txt.gz",
}
RPM_ONLY = {
    "/usr/share/zsh/site-functions/_wire-scim-guard",
    "/usr/share/licenses/wire-scim-guard/LICENSE",
    "/usr/share/licenses/wire-scim-guard/THIRD-PARTY.txt.gz",
}


def build(binary, folder, version):
    """The packages of a version: (.deb, .rpm)."""
    variables = {"VERSION": version, "MAINTAINER": "Packages <packages@example.com>", "SOURCE_DATE_EPOCH": "1700000000"}
    command = [ROOT / "scripts/package.sh", binary, folder]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return [next(Path(folder).glob(f"*{version}*.{ending}")) for ending in ["deb", "rpm"]]


def the_same_bytes_twice(binary, packages):
    with tempfile.TemporaryDirectory() as folder:
        for first, second in zip(packages, build(binary, folder, "0.1.0"), strict=True):
            expect(first.name, filecmp.cmp(first, second, shallow=False), True)


def contents_of_the_deb(deb):
    lines = [line.split() for line in output("dpkg-deb", "--contents", deb).splitlines()]
    files = {line[5].removeprefix(".") for line in lines if line[0].startswith("-")}
    missing = (SHIPPED | DEB_ONLY) - files
    expect("missing", missing, set())
    expect("owners", {line[1] for line in lines} <= {"root/root", "0/0"}, True)
    expect("modes", {line[0] for line in lines if line[0].startswith("-")}, {"-rw-r--r--", "-rwxr-xr-x"})
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "--control", deb, folder], check=True)
        conffiles = (Path(folder) / "conffiles").read_text().split()
    expect("conffiles", conffiles, ["/etc/wire-scim-guard/config.yaml"])


def lintian_has_no_objection(deb):
    # A release names its maintainer; nobody can be reached at example.com.
    command = ["lintian", "--allow-root", "--suppress-tags", "bogus-mail-host,bogus-mail-host-in-debian-changelog", "--fail-on", "error,warning", deb]
    done = subprocess.run(command, capture_output=True, text=True)
    expect("lintian", (done.returncode, done.stdout + done.stderr), (0, ""))


def contents_of_the_rpm(rpm):
    files = set(output("rpm", "--query", "--package", "--list", rpm).split())
    expect("missing", (SHIPPED | RPM_ONLY) - files, set())
    expect("config", output("rpm", "--query", "--package", "--configfiles", rpm).split(), ["/etc/wire-scim-guard/config.yaml"])
    tags = "%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{LICENSE}"
    found = output("rpm", "--query", "--package", "--queryformat", tags, rpm)
    expect("tags", found, f"wire-scim-guard 0.1.0 1 {os.uname().machine} Apache-2.0")
    scripts = output("rpm", "--query", "--package", "--scripts", rpm)
    names = ["postinstall", "preuninstall", "postuninstall"]
    expect("scripts", [name for name in names if f"{name} scriptlet" in scripts], names)
    expect("digests", "digests" in output("rpm", "--checksig", "--nosignature", rpm), True)


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
