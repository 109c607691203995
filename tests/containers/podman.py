"""Containers, for tests: podman with a storage of its own, and requests from within a container's network."""

import contextlib
import ctypes
import http.client
import socket
import subprocess
import time

from guard import WAIT_TIMEOUT

# No kernel of a test machine is known to have systemd's cgroups or overlays.
PODMAN = ["podman", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]

# What `podman run` needs without CAP_SYS_RESOURCE, and where crun refuses hybrid cgroups.
RUN = ["--runtime", "runc", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]


class Podman:
    def __init__(self, folder):
        self.storage = ["--root", folder / "storage", "--runroot", folder / "run"]

    def __call__(self, *arguments):
        done = subprocess.run([*PODMAN, *self.storage, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"podman {arguments[0]}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done.stdout.strip()

    def run(self, *arguments):
        """Starts a container in the background; returns its id, and its first process."""
        name = self("run", "--detach", *RUN, *arguments)
        return name, int(self("inspect", "--format", "{{.State.Pid}}", name))

    def exit_code(self, name):
        return int(self("inspect", "--format", "{{.State.ExitCode}}", name))


def request(process, port, method, path, body=None, headers=None):
    """A request from within the network of a process; returns status and rule."""
    answer, _ = ask(process, port, method, path, body, headers)
    return answer.status, answer.headers.get("Scim-Guard-Rule")


def text(process, port, path):
    """The body of an answer."""
    return ask(process, port, "GET", path)[1].decode()


def ask(process, port, method, path, body=None, headers=None):
    with inside_network(process):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_TIMEOUT)
        connection.connect()
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer, answer.read()


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT_TIMEOUT)


@contextlib.contextmanager
def inside_network(process):
    """Sockets that this thread opens belong to the network of that process."""
    with open("/proc/thread-self/ns/net") as own, open(f"/proc/{process}/ns/net") as other:
        set_namespace(other.fileno())
        try:
            yield
        finally:
            set_namespace(own.fileno())


def set_namespace(descriptor):
    # Python has os.setns from 3.12 on.
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def confined(process, user):
    """Fails unless the process runs as this user, without capabilities, and cannot get any; returns its writable mounts."""
    status = open(f"/proc/{process}/status").read()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    found = {name: fields[name] for name in ["CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp"]}
    none = "0" * 16
    wanted = {"CapEff": none, "CapPrm": none, "CapBnd": none, "NoNewPrivs": "1", "Seccomp": "2"}
    if (fields["Uid"].split(), found) != ([str(user)] * 4, wanted):
        raise AssertionError(f"process {process} has Uid {fields['Uid']}, {found}")
    mounts = [line.split() for line in open(f"/proc/{process}/mounts")]
    return {m[1] for m in mounts if "rw" in m[3].split(",") and not m[1].startswith(("/proc", "/sys", "/dev"))}


# Files of the container engine, which Kubernetes mounts too.
OF_THE_ENGINE = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv"}


def wait_until(what, condition, logs=lambda: ""):
    end = time.monotonic() + WAIT_TIMEOUT
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {WAIT_TIMEOUT} s {logs()[-1500:]}")


def backend(binary, process, port, log):
    """The stand-in for Wire, in the network of that process."""
    inside = ["nsenter", "--target", str(process), "--net"]
    return subprocess.Popen([*inside, binary, "standin", "--listen", f"127.0.0.1:{port}"], stdout=log, stderr=log)
