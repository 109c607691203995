"""The rendered container, in podman: its user, its security context, its mounts as Kubernetes lays them out."""

import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from chart import FOLDER, ROOT, container, example, mounted, one
from guard import WAIT_TIMEOUT, expect

# Test machines are assumed to lack systemd's cgroups and overlay file systems.
PODMAN = ["podman", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]
TOKEN = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # the stand-in's
ADMIN_TOKEN = "sixteen-characters"


def serves_in_a_container(binary):
    """Probes, a request, a changed Secret, and a stop, with everything that the chart can mount."""
    with tempfile.TemporaryDirectory() as folder, Pod(binary, Path(folder)) as pod:
        pod.answers_its_probes()
        pod.is_confined()
        expect("a user", pod.create("alice"), (201, None))
        pod.change_secret("tokens", {"tokens.yaml": "tokens: []\n"})
        wait_until("a changed Secret is applied", lambda: pod.create("bob") == (401, "token.unknown"))
        expect("exit code after SIGTERM", pod.stop(), 0)


class Pod:
    def __init__(self, binary, folder):
        self.folder, self.binary = folder, binary
        tokens = folder / "tokens.yaml"
        tokens.write_text(f'tokens: [{{label: test, hash: "{hashed(binary)}"}}]\n')
        # A pod has its own address; here the backend shares the guard's, and needs another port.
        changed = ["--set", "config.upstream.servers[0]=127.0.0.1:8081", "--set-file", f"secrets.tokens={tokens}"]
        self.documents = example(ROOT / "conf/helm/examples/everything.yaml", *changed)
        self.spec = one(self.documents, "Deployment")["spec"]["template"]["spec"]
        write(folder / "mounts", with_certificates(self.documents))
        self.image(folder / "image")

    def image(self, root):
        """A root file system with the program and the libraries that it is linked with."""
        linked = subprocess.run(["ldd", self.binary], capture_output=True, text=True, check=True).stdout
        for library in [self.binary, *re.findall(r"(/\S+) \(0x", linked)]:
            place = root / "guard" if library == self.binary else root / library.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)
        for name in ["etc", "proc", "sys", "dev", "run", "tmp"]:
            (root / name).mkdir(exist_ok=True)
        (root / FOLDER.lstrip("/")).mkdir(parents=True)

    def podman(self, *arguments):
        storage = ["--root", self.folder / "storage", "--runroot", self.folder / "run"]
        done = subprocess.run([*PODMAN, *storage, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"podman {arguments[0]}: {done.stderr[-1500:]}")
        return done.stdout.strip()

    def __enter__(self):
        user, context = self.spec["securityContext"], container(self.documents)["securityContext"]
        options = ["--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--group-add", str(user["fsGroup"])]
        expect("the context", (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]), (True, False))
        options += ["--read-only", "--read-only-tmpfs=false", "--security-opt", "no-new-privileges"]
        options += [f"--cap-drop={name}" for name in context["capabilities"]["drop"]]
        options += ["--runtime", "runc", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        for mount in container(self.documents)["volumeMounts"]:
            part = mount["mountPath"].removeprefix(FOLDER).lstrip("/")
            options += ["--volume", f"{self.folder}/mounts/{part}:{mount['mountPath']}:ro"]
        arguments = container(self.documents)["args"]
        command = ["run", "--detach", "--network", "none", *options, "--rootfs", self.folder / "image", "/guard", *arguments]
        self.id = self.podman(*command)
        self.process = int(self.podman("inspect", "--format", "{{.State.Pid}}", self.id))
        log = (self.folder / "standin.log").open("w")
        inside = ["nsenter", "--target", str(self.process), "--net"]
        self.backend = subprocess.Popen([*inside, self.binary, "standin", "--listen", "127.0.0.1:8081"], stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        self.backend.terminate()
        self.backend.wait(WAIT_TIMEOUT)
        self.podman("rm", "--force", self.id)

    def request(self, port, method, path, body=None, headers=None):
        """A request from within the pod's network."""
        with inside_network(self.process):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_TIMEOUT)
            connection.connect()
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, answer.headers.get("Scim-Guard-Rule")

    def answers_its_probes(self):
        ports = {port["name"]: port["containerPort"] for port in container(self.documents)["ports"]}
        for name in ["readinessProbe", "livenessProbe"]:
            probe = container(self.documents)[name]["httpGet"]
            wait_until(name, lambda: self.request(ports[probe["port"]], "GET", probe["path"]) == (200, None), self.logs)
        authorized = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        path = one(self.documents, "ServiceMonitor")["spec"]["endpoints"][0]["path"]
        expect("metrics", self.request(ports["http-metrics"], "GET", path, None, authorized), (200, None))
        expect("metrics, without the token", self.request(ports["http-metrics"], "GET", path)[0], 401)
        wait_until("the backend is up", lambda: self.create("carol")[0] in (201, 409), self.logs)

    def logs(self):
        return self.podman("logs", self.id)

    def is_confined(self):
        status = Path(f"/proc/{self.process}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        user = str(self.spec["securityContext"]["runAsUser"])
        expect("user", fields["Uid"].split(), [user] * 4)
        expect("capabilities", {fields[name] for name in ["CapEff", "CapPrm", "CapBnd"]}, {"0" * 16})
        expect("no new privileges, seccomp", (fields["NoNewPrivs"], fields["Seccomp"]), ("1", "2"))
        mounts = [line.split() for line in Path(f"/proc/{self.process}/mounts").read_text().splitlines()]
        writable = [m[1] for m in mounts if "rw" in m[3].split(",") and not m[1].startswith(("/proc", "/sys", "/dev"))]
        # Files of the container engine, which Kubernetes mounts too.
        expect("writable", set(writable) - {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv"}, set())

    def create(self, name):
        body = json.dumps({"userName": name, "externalId": f"{name}@example.com", "displayName": name})
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/scim+json"}
        return self.request(8080, "POST", "/scim/v2/Users", body, headers)

    def change_secret(self, name, files):
        write(self.folder / "mounts", {f"{FOLDER}/{name}/{file}": text for file, text in files.items()})

    def stop(self):
        self.podman("stop", "--time", str(self.spec["terminationGracePeriodSeconds"]), self.id)
        return int(self.podman("inspect", "--format", "{{.State.ExitCode}}", self.id))


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
    import ctypes  # Python has os.setns from 3.12 on

    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def wait_until(what, condition, logs=lambda: ""):
    end = time.monotonic() + WAIT_TIMEOUT
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {WAIT_TIMEOUT} s {logs()[-1500:]}")


def hashed(binary):
    done = subprocess.run([binary, "token", "hash"], input=TOKEN, capture_output=True, text=True, check=True)
    return re.search(r"sha512:[A-Za-z0-9+/=]+", done.stdout)[0]


def with_certificates(documents):
    """The mounted files, and new certificates for the Secrets that the operator makes."""
    files = mounted(documents)
    volumes = [volume["name"] for volume in one(documents, "Deployment")["spec"]["template"]["spec"]["volumes"]]
    if "tls" not in volumes:
        return files
    with tempfile.TemporaryDirectory() as folder:
        for file in certificate(Path(folder), "scim.example.com"):
            files[f"{FOLDER}/tls/{file.name}"] = file.read_text()
    files[f"{FOLDER}/client-ca/ca.pem"] = files[f"{FOLDER}/tls/tls.crt"]
    files[f"{FOLDER}/admin/token"] = ADMIN_TOKEN
    files[f"{FOLDER}/extra/backend-ca/ca.crt"] = files[f"{FOLDER}/tls/tls.crt"]
    return files


def certificate(folder, name):
    """The files of a new certificate and its key."""
    files = folder / "tls.crt", folder / "tls.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    extensions = [f"subjectAltName=DNS:{name}", "basicConstraints=critical,CA:FALSE"]
    command += ["-subj", f"/CN={name}", "-out", files[0], "-keyout", files[1]]
    command += [argument for extension in extensions for argument in ("-addext", extension)]
    subprocess.run(command, check=True, capture_output=True)
    return files


def write(root, files):
    """Lays files out below the folder as kubelet does: links, through a link `..data` that is replaced at each change."""
    for parent in {os.path.dirname(path) for path in files}:
        volume = root / parent.removeprefix(FOLDER).lstrip("/")
        volume.mkdir(parents=True, exist_ok=True)
        version = Path(tempfile.mkdtemp(prefix="..", dir=volume))
        version.chmod(0o755)
        for path in [path for path in files if os.path.dirname(path) == parent]:
            file = version / os.path.basename(path)
            file.write_text(files[path])
            file.chmod(0o440)
            os.chown(file, 0, 65532)
            link = volume / file.name
            if not link.is_symlink():
                link.symlink_to(f"..data/{file.name}")
        (volume / "..next").symlink_to(version.name)
        (volume / "..next").rename(volume / "..data")
