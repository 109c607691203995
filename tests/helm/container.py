"""The rendered container, in podman: its user, its security context, its mounts as Kubernetes lays them out."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import podman
from certificate import self_signed
from chart import FOLDER, ROOT, container, example, mounted, one
from guard import WAIT_TIMEOUT, expect
from podman import wait_until

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
        self.folder, self.binary, self.podman = folder, binary, podman.Podman(folder)
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

    def __enter__(self):
        user, context = self.spec["securityContext"], container(self.documents)["securityContext"]
        options = ["--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--group-add", str(user["fsGroup"])]
        expect("the context", (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]), (True, False))
        options += ["--read-only", "--read-only-tmpfs=false", "--security-opt", "no-new-privileges"]
        options += [f"--cap-drop={name}" for name in context["capabilities"]["drop"]]
        for mount in container(self.documents)["volumeMounts"]:
            part = mount["mountPath"].removeprefix(FOLDER).lstrip("/")
            options += ["--volume", f"{self.folder}/mounts/{part}:{mount['mountPath']}:ro"]
        arguments = container(self.documents)["args"]
        image = ["--rootfs", self.folder / "image", "/guard"]
        self.id, self.process = self.podman.run("--network", "none", *options, *image, *arguments)
        self.backend = podman.backend(self.binary, self.process, 8081, (self.folder / "standin.log").open("w"))
        return self

    def __exit__(self, *_):
        self.backend.terminate()
        self.backend.wait(WAIT_TIMEOUT)
        self.podman("rm", "--force", self.id)

    def request(self, port, *arguments):
        return podman.request(self.process, port, *arguments)

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
        writable = podman.confined(self.process, self.spec["securityContext"]["runAsUser"])
        expect("writable", writable - podman.OF_THE_ENGINE, set())

    def create(self, name):
        body = json.dumps({"userName": name, "externalId": f"{name}@example.com", "displayName": name})
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/scim+json"}
        return self.request(8080, "POST", "/scim/v2/Users", body, headers)

    def change_secret(self, name, files):
        write(self.folder / "mounts", {f"{FOLDER}/{name}/{file}": text for file, text in files.items()})

    def stop(self):
        self.podman("stop", "--time", str(self.spec["terminationGracePeriodSeconds"]), self.id)
        return self.podman.exit_code(self.id)


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
        pair = Path(folder) / "tls.crt", Path(folder) / "tls.key"
        self_signed(*pair, "scim.example.com")
        files |= {f"{FOLDER}/tls/{file.name}": file.read_text() for file in pair}
    files[f"{FOLDER}/client-ca/ca.pem"] = files[f"{FOLDER}/tls/tls.crt"]
    files[f"{FOLDER}/admin/token"] = ADMIN_TOKEN
    files[f"{FOLDER}/extra/backend-ca/ca.crt"] = files[f"{FOLDER}/tls/tls.crt"]
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
