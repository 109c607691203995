#!/usr/bin/env python3
"""The image: built twice, read as an archive, loaded again, and run as the Helm chart runs it, in podman; and all files of a
release."""

import argparse
import base64
import contextlib
import filecmp
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent / "clients"), str(HERE.parent / "containers")]
import artefacts  # noqa: E402
import podman  # noqa: E402
from guard import WAIT_TIMEOUT, expect, run  # noqa: E402
from podman import wait_until  # noqa: E402

VERSION = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
CHART = ROOT / "conf/helm/wire-scim-guard"
TOKEN = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # the stand-in's
USER = 65532

# The names of the backend resolve by /etc/hosts, with the resolver of the static C library.
CONFIG = """
listen: ["0.0.0.0:8080"]
admin: {listen: "0.0.0.0:9090"}
upstream: {servers: ["backend.test:8081"]}
threads: 1
"""


# What an operator adds to the authorities that this machine trusts.
PRIVATE = "-----BEGIN CERTIFICATE-----\nQW4gYXV0aG9yaXR5IG9mIHRoaXMgbWFjaGluZSBhbG9uZQ==\n-----END CERTIFICATE-----\n"
IN_THEIR_PLACE = """
for folder in /etc/ssl/certs /usr/share/ca-certificates /usr/local/share/ca-certificates; do
    if [ -d $folder ]; then mount --bind "$0" $folder; fi
done
exec "$@"
"""


def build(binary, folder, before=()):
    command = [*before, ROOT / "scripts/image.sh", binary, folder]
    variables = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return next(Path(folder).glob("*.tar"))


def the_same_bytes_on_a_machine_that_trusts_others(binary, archive):
    with tempfile.TemporaryDirectory() as folder:
        for name in ("ca-certificates.crt", "private.crt"):
            Path(folder, name).write_text(PRIVATE)
        before = ["unshare", "--mount", "sh", "-ec", IN_THEIR_PLACE, folder]
        again = build(binary, f"{folder}/out", before)
        expect("the same bytes", filecmp.cmp(archive, again, shallow=False), True)


def an_archive_for_every_tool(archive):
    expect("name", archive.name, f"wire-scim-guard_{VERSION}.tar")
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))
        expect("images", len(manifest), 1)
        expect("names", manifest[0]["RepoTags"], [f"docker.io/library/wire-scim-guard:{VERSION}"])
        config = json.load(tar.extractfile(manifest[0]["Config"]))
        layers = [tar.extractfile(layer).read() for layer in manifest[0]["Layers"]]
    expect("platform", (config["os"], config["architecture"]), ("linux", architecture()))
    digests = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
    expect("digests", digests, config["rootfs"]["diff_ids"])
    run_as = config["config"]
    expect("user", run_as["User"], f"{USER}:{USER}")
    expect("program", run_as["Entrypoint"], ["/usr/bin/wire-scim-guard"])
    expect("ports", sorted(run_as["ExposedPorts"]), ["8080/tcp", "8443/tcp", "9090/tcp"])
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in run_as["Labels"].items()}
    expect("labels", {"title", "description", "licenses", "version", "revision", "created"} <= labels.keys(), True)
    expect("version", labels["version"], VERSION)
    expect("created", labels["created"], config["created"])


def only_static_programs():
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([ROOT / "scripts/image.sh", "/bin/true", folder], capture_output=True, text=True)
        expect("exit code", done.returncode, 1)
        expect("message", done.stderr, "image: /bin/true is not a static program; `LINK=static scripts/dist.sh` builds one.\n")


def the_chart_fits(archive):
    """The chart refers to this image, and its command and user are those of the image."""
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]
        run_as = json.load(tar.extractfile(manifest["Config"]))["config"]
    values, chart = (CHART / "values.yaml").read_text(), (CHART / "Chart.yaml").read_text()
    expect("image", [f"docker.io/library/{artefacts.image(values, chart)}"], manifest["RepoTags"])
    expect("runAsUser", f"runAsUser: {USER}\n" in values and f"runAsGroup: {USER}\n" in values, True)
    arguments = f"args: [{', '.join(run_as['Cmd'])}]\n"
    expect("args", arguments in (CHART / "templates/deployment.yaml").read_text(), True)


def files_of_the_image(archive):
    files, contents = {}, {}
    with tarfile.open(archive) as tar:
        for layer in json.load(tar.extractfile("manifest.json"))[0]["Layers"]:
            with tarfile.open(fileobj=tar.extractfile(layer)) as inner:
                members = [member for member in inner if member.isfile()]
                files |= {member.name: member for member in members}
                contents |= {member.name: inner.extractfile(member).read() for member in members}
    docs = "usr/share/doc/wire-scim-guard"
    wanted = {"usr/bin/wire-scim-guard", "etc/ssl/certs/ca-certificates.crt", "etc/passwd", "etc/group"}
    expect("files", set(files), wanted | {f"{docs}/LICENSE", f"{docs}/THIRD-PARTY.txt"})
    expect("owners", {(member.uid, member.gid) for member in files.values()}, {(0, 0)})
    expect("writable", {name for name, member in files.items() if member.mode & 0o22}, set())
    expect("times", len({member.mtime for member in files.values()}), 1)
    authorities_of_mozilla(contents["etc/ssl/certs/ca-certificates.crt"], contents[f"{docs}/THIRD-PARTY.txt"].decode())


def authorities_of_mozilla(bundle, licences):
    """They are those of the package that packaging/requirements.txt pins, by its own list of checksums."""
    pinned = re.search(r"^certifi==(\S+)", (ROOT / "packaging/requirements.txt").read_text(), re.MULTILINE)[1]
    records = ROOT.glob(f"target/packaging/lib/python3*/site-packages/certifi-{pinned}.dist-info/RECORD")
    digest = base64.urlsafe_b64encode(hashlib.sha256(bundle).digest()).decode().rstrip("=")
    wanted = f"certifi/cacert.pem,sha256={digest},{len(bundle)}"
    expect("authorities", wanted in next(records).read_text().splitlines(), True)
    expect("their number", bundle.count(b"-----BEGIN CERTIFICATE-----") > 100, True)
    name = f"Mozilla's authorities of certificates, certifi {pinned} (MPL-2.0)\n{'=' * 100}\n\nMozilla Public License Version 2.0\n"
    expect("their licence", name in licences, True)


class Container:
    """The image, loaded from its archive and run with the chart's security context."""

    def __init__(self, binary, archive, config, command=()):
        self.binary, self.command, self.stack = binary, command, contextlib.ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.podman = podman.Podman(self.folder)
        self.stack.callback(self.podman, "rm", "--all", "--force")
        self.podman("load", "--input", archive)
        (self.folder / "conf").mkdir()
        (self.folder / "conf/scim-guard.yaml").write_text(config)

    def options(self):
        options = ["--network", "none", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all"]
        options += ["--security-opt", "no-new-privileges", "--add-host", "backend.test:127.0.0.1"]
        options += ["--volume", f"{self.folder}/conf:/etc/wire/scim-guard/conf:ro"]
        return [*options, f"wire-scim-guard:{VERSION}", *self.command]

    def once(self):
        """Runs the command to its end; returns its exit code and all output."""
        command = [*podman.PODMAN, *self.podman.storage, "run", *podman.RUN, *self.options()]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def start(self):
        self.id, self.process = self.podman.run(*self.options())
        log = self.stack.enter_context((self.folder / "standin.log").open("w"))
        wire = podman.backend(self.binary, self.process, 8081, log)
        self.stack.callback(wire.wait, WAIT_TIMEOUT)
        self.stack.callback(wire.terminate)

    def request(self, port, *arguments):
        return podman.request(self.process, port, *arguments)

    def create(self, name):
        body = json.dumps({"userName": name, "externalId": f"{name}@example.com", "displayName": name})
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/scim+json"}
        return self.request(8080, "POST", "/scim/v2/Users", body, headers)

    def logs(self):
        return self.podman("logs", self.id)


def it_serves_and_drains(binary, archive):
    with Container(binary, archive, CONFIG) as container:
        container.start()
        wait_until("readiness", lambda: container.request(9090, "GET", "/i/ready") == (200, None), container.logs)
        expect("liveness", container.request(9090, "GET", "/i/status"), (200, None))
        writable = podman.confined(container.process, USER)
        expect("writable", writable - podman.OF_THE_ENGINE, set())
        wait_until("the backend is up", lambda: container.create("carol")[0] in (201, 409), container.logs)
        expect("a user", container.create("alice"), (201, None))
        expect("a refusal", container.create("Alice"), (400, "user.user_name.case"))
        drains(container)


def drains(container):
    """A request that is under way when the container is stopped is answered."""
    with podman.inside_network(container.process):
        under_way = podman.connect(8080)
    body = json.dumps({"userName": "dora", "externalId": "dora@example.com", "displayName": "Dora"}).encode()
    head = f"POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += f"Content-Type: application/scim+json\r\nContent-Length: {len(body)}\r\n\r\n"
    under_way.sendall(head.encode() + body[:-1])
    in_flight = "scim_guard_requests_in_flight 1"
    wait_until("the request is under way", lambda: in_flight in metrics(container))
    stopping = threading.Thread(target=container.podman, args=["stop", "--time", "45", container.id])
    stopping.start()
    wait_until("it drains", lambda: container.request(9090, "GET", "/i/ready")[0] == 503)
    under_way.sendall(body[-1:])
    expect("its answer", under_way.makefile("rb").readline().split()[1], b"201")
    under_way.close()
    stopping.join()
    expect("exit code", container.podman.exit_code(container.id), 0)


def metrics(container):
    with podman.inside_network(container.process):
        connection = podman.connect(9090)
    connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    with connection, connection.makefile("rb") as answer:
        return answer.read().decode()


def it_knows_the_authorities_of_the_internet(binary, archive):
    """A backend over https:// without authorities of its own is verified by those in the image."""
    config = CONFIG.replace("backend.test:8081", "https://prod-nginz-https.wire.com").replace("0.0.0.0", "127.0.0.1")
    check = ["config", "check", "--config", "/etc/wire/scim-guard/conf/scim-guard.yaml"]
    with Container(binary, archive, config, check) as container:
        code, output = container.once()
    expect("exit code", code, 0)
    expect("output", output.splitlines()[-1], "/etc/wire/scim-guard/conf/scim-guard.yaml: ok")


def a_faulty_config_is_said(binary, archive):
    with Container(binary, archive, CONFIG + "upstreams: 1\n") as container:
        code, output = container.once()
    expect("exit code", code, 2)
    expect("position", "/etc/wire/scim-guard/conf/scim-guard.yaml:6:1: " in output, True)


def architecture():
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, help="a static program, as scripts/dist.sh builds it")
    binary = str(Path(parser.parse_args().binary).resolve())
    with tempfile.TemporaryDirectory() as folder:
        archive = build(binary, f"{folder}/image")
        artefacts.build(binary, f"{folder}/release")
        print(f"{archive.name}: {archive.stat().st_size} bytes")
        scenarios = [
            functools.partial(an_archive_for_every_tool, archive),
            functools.partial(files_of_the_image, archive),
            functools.partial(the_same_bytes_on_a_machine_that_trusts_others, binary, archive),
            only_static_programs,
            functools.partial(the_chart_fits, archive),
            functools.partial(it_serves_and_drains, binary, archive),
            functools.partial(it_knows_the_authorities_of_the_internet, binary, archive),
            functools.partial(a_faulty_config_is_said, binary, archive),
        ]
        scenarios += [functools.partial(scenario, Path(folder) / "release") for scenario in artefacts.SCENARIOS]
        return run([(getattr(s, "func", s).__name__.replace("_", " "), s) for s in scenarios])


if __name__ == "__main__":
    sys.exit(main())
