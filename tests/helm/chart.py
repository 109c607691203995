"""The chart, as Helm 3 and Helm 4 render it."""

import base64
import os
import subprocess
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "target/helm"
CHART = ROOT / "conf/helm/wire-scim-guard"
EXAMPLES = sorted((ROOT / "conf/helm/examples").glob("*.yaml"))
HELMS = ["helm3", "helm4"]
OLDEST, WIRES, NEWEST = "1.25", "1.29", "1.37"
FOLDER = "/etc/wire/scim-guard"


def helm(version, *arguments):
    """Runs one of the two; returns exit code, standard output and standard error."""
    with tempfile.TemporaryDirectory() as home:
        homes = {f"HELM_{kind}_HOME": home for kind in ["CACHE", "CONFIG", "DATA"]}
        command = [TOOLS / version, *map(str, arguments)]
        done = subprocess.run(command, env=os.environ | homes, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr


def render(version, chart, *arguments, kube=NEWEST):
    """The objects of a chart; an error if it does not render."""
    code, output, errors = helm(version, "template", "scim", chart, "--kube-version", f"{kube}.0", *arguments)
    if code != 0:
        raise RuntimeError(f"{version} template {chart.name} {arguments}: {errors}")
    return [document for document in yaml.safe_load_all(output) if document]


def example(path, *arguments, version="helm4", kube=NEWEST):
    return render(version, CHART, "--values", path, *arguments, kube=kube)


def one(documents, kind, name=None):
    """The object with this name, or the only one of this kind that is not the Valkey server's."""
    names = {d["metadata"]["name"]: d for d in documents if d["kind"] == kind}
    found = [d for n, d in names.items() if n == name or name is None and not n.endswith("-valkey")]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} objects of kind {kind} {name or ''}")
    return found[0]


def template(documents, suffix=""):
    """The pod of the guard, or that of its Valkey server, with the suffix `-valkey`."""
    name = one(documents, "Deployment")["metadata"]["name"] + suffix
    return one(documents, "Deployment", name)["spec"]["template"]


def container(documents, suffix=""):
    return template(documents, suffix)["spec"]["containers"][0]


def service(documents, suffix=""):
    return one(documents, "Service", one(documents, "Deployment")["metadata"]["name"] + suffix)["spec"]


def mounted(documents, suffix=""):
    """The files that the pod mounts from objects of the chart: {path: text}."""
    pod = template(documents, suffix)["spec"]
    places = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    files = {}
    for volume in pod["volumes"]:
        for path, text in volume_files(documents, volume).items():
            files[f"{places[volume['name']]}/{path}"] = text
    return files


def volume_files(documents, volume):
    if "configMap" in volume:
        return one(documents, "ConfigMap", volume["configMap"]["name"])["data"]
    name = volume["secret"]["secretName"]
    own = [d for d in documents if d["kind"] == "Secret" and d["metadata"]["name"] == name]
    if not own:
        return {}  # a Secret that the operator creates
    items = volume["secret"]["items"]
    return {item["path"]: base64.b64decode(own[0]["data"][item["key"]]).decode() for item in items}


def config(documents):
    return yaml.safe_load(mounted(documents)[f"{FOLDER}/conf/scim-guard.yaml"])
