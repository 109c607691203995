"""A chain of processes for tests with a real nginx: client -> guard -> nginx -> embedded Wire."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "clients"))
from guard import WAIT_TIMEOUT, Process, request  # noqa: E402
from ports import free_port  # noqa: E402


class Chain:
    """The embedded Wire; subclasses start nginx and the guard."""

    def __init__(self, binary):
        self.binary = binary
        self.folder = Path(tempfile.mkdtemp(prefix="nginz"))
        self.processes = []
        self.standin = Process([binary, "standin"])
        self.token = self.standin.value("token")

    def start_nginx(self, template, **values):
        """Starts nginx with a config file of this folder; returns its port."""
        port = free_port()
        backend = self.standin.value("standin").removeprefix("http://")
        config = self.folder / "nginx.conf"
        config.write_text((HERE / template).read_text().format(folder=self.folder, port=port, backend=backend, **values))
        nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
        self.start([nginx, "-c", config, "-e", self.folder / "error.log"], port)
        return port

    def start_guard(self, settings):
        """Starts the guard with these settings and its listeners."""
        port, self.admin = free_port(), free_port()
        config = self.folder / "guard.yaml"
        listeners = f'listen: ["127.0.0.1:{port}"]\nadmin: {{listen: "127.0.0.1:{self.admin}"}}\n'
        config.write_text(listeners + settings)
        self.start([self.binary, "serve", "--config", config], port)
        self.url = f"http://127.0.0.1:{port}"

    def start(self, command, port):
        log = (self.folder / "log").open("a")
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        wait_for(port, self.processes[-1], self.folder / "log")

    def request(self, *arguments):
        return request(self.url, self.token, *arguments)

    def seen(self, requests):
        """The access log of nginx, once it has this many lines: nginx writes them after its answers."""
        end = time.monotonic() + WAIT_TIMEOUT
        while time.monotonic() < end:
            lines = (self.folder / "access.log").read_text().splitlines()
            if len(lines) >= requests:
                return [json.loads(line) for line in lines]
            time.sleep(0.01)
        raise RuntimeError(f"nginx received {len(lines)} requests, not {requests}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(WAIT_TIMEOUT)
        self.standin.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def wait_for(port, process, log):
    """Waits until the port accepts connections."""
    end = time.monotonic() + WAIT_TIMEOUT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} exited during its start: {log.read_text()[-500:]}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            pass
    raise RuntimeError(f"nothing listens on port {port}")


def user(name, **more):
    return {"userName": name, "externalId": f"{name}@example.com", "displayName": name.title()} | more
