"""A machine of its own for a test: a container with a real systemd, its own network, and a backend."""

import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import podman
from guard import WAIT_TIMEOUT
from podman import wait_until

ROOT = Path(__file__).parents[2]
BASE = ROOT / "target/systemd/root"
TOKEN = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # the stand-in's
SERVICE, SOCKET = "wire-scim-guard.service", "wire-scim-guard.socket"


class Machine:
    def __init__(self, binary):
        self.stack = contextlib.ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.podman = podman.Podman(self.folder)
        self.root = self.folder / "root"
        self.numbers = itertools.count()
        subprocess.run(["cp", "--archive", "--reflink=auto", BASE, self.root], check=True)
        options = ["--privileged", "--systemd=always", "--network", "none"]
        self.id, self.process = self.podman.run(*options, "--rootfs", self.root, "/lib/systemd/systemd")
        self.stack.callback(self.podman, "rm", "--force", "--time", "0", self.id)
        wait_until("systemd", lambda: self.sh("systemctl is-system-running")[1] in ("running", "degraded"))
        self("mount --make-rshared /")  # otherwise services get no credentials
        log = self.stack.enter_context((self.folder / "standin.log").open("w"))
        backend = podman.backend(binary, self.process, 8081, log)
        self.stack.callback(backend.wait, WAIT_TIMEOUT)
        self.stack.callback(backend.terminate)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def sh(self, command):
        """Runs a command line; returns its exit code and all output."""
        inside = [*podman.PODMAN, *self.podman.storage, "exec", self.id, "sh", "-c", command]
        done = subprocess.run(inside, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout.strip()

    def __call__(self, command):
        code, output = self.sh(command)
        if code != 0:
            raise AssertionError(f"{command}: exit code {code}: {output}\n{self.journal()[-1500:]}")
        return output

    def copy(self, file):
        """Returns the path of the file on the machine."""
        shutil.copy(file, self.root / "srv")
        return f"/srv/{file.name}"

    def read(self, path):
        return (self.root / path.lstrip("/")).read_text()

    def write(self, path, text, owner="root:root", mode="0644"):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self(f"chown {owner} {path} && chmod {mode} {path}")

    @contextlib.contextmanager
    def changed(self, path, text):
        """Another text for a file, for a while."""
        before = self.read(path)
        self.write(path, text)
        try:
            yield
        finally:
            self.write(path, before)

    def restart(self):
        self("systemctl daemon-reload && systemctl reset-failed")  # systemd permits five starts in ten seconds
        self(f"systemctl restart {SERVICE}")

    def exists(self, path):
        return (self.root / path.lstrip("/")).exists()

    def show(self, name, unit=SERVICE):
        return self(f"systemctl show --property={name} --value {unit}")

    def main_process(self):
        """The id of the service's main process, as this machine knows it."""
        return int(self.show("MainPID"))

    def outer_process(self):
        """The same process, as the host knows it."""
        inner = self.main_process()
        for line in self.podman("top", self.id, "pid", "hpid").splitlines()[1:]:
            pid, host = line.split()
            if int(pid) == inner:
                return int(host)
        raise AssertionError(f"process {inner} is not there")

    def journal(self):
        return self.sh(f"journalctl --unit {SERVICE} --output cat")[1]

    def request(self, port, method, path, body=None, headers=None):
        return podman.request(self.process, port, method, path, body, headers)

    def text(self, port, path):
        return podman.text(self.process, port, path)

    def create_somebody(self):
        """A user who does not exist yet."""
        return self.create(f"person{next(self.numbers)}")

    def create(self, name):
        body = json.dumps({"userName": name, "externalId": f"{name}@example.com", "displayName": name})
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/scim+json"}
        return self.request(8080, "POST", "/scim/v2/Users", body, headers)
