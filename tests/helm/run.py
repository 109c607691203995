#!/usr/bin/env python3
"""The Helm chart: what it renders with Helm 3 and 4, whether Kubernetes and its policies accept that, and whether the guard
runs with it."""

import argparse
import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients"), str(HERE.parent / "containers")]
import container as pods  # noqa: E402
from chart import (  # noqa: E402
    CHART,
    EXAMPLES,
    FOLDER,
    HELMS,
    NEWEST,
    OLDEST,
    ROOT,
    TOOLS,
    WIRES,
    config,
    container,
    example,
    helm,
    mounted,
    one,
    render,
)
from guard import expect, run  # noqa: E402

EVERYTHING = ROOT / "conf/helm/examples/everything.yaml"

# Kinds that Kubernetes itself does not have: they are checked with the schemas of their own projects.
FOREIGN = {"ServiceMonitor", "PrometheusRule", "HTTPRoute"}

# Checks of checkov that the chart does not pass, and why.
ACCEPTED = {
    "CKV_K8S_11": "No limit for the processor, as in Wire's charts: throttling would add latency.",
    "CKV_K8S_15": "Images that were imported from a file cannot be pulled: IfNotPresent, and never the tag latest.",
    "CKV_K8S_21": "The namespace is chosen at installation.",
    "CKV_K8S_43": "Images are referred to by tag: Wire's offline delivery does not support digests.",
    "CKV2_K8S_6": "The NetworkPolicy is optional, as it needs a network plugin that enforces it.",
}


def lint():
    for version in HELMS:
        for values in [None, *EXAMPLES]:
            arguments = ["--values", values] if values else []
            code, output, errors = helm(version, "lint", "--strict", CHART, *arguments)
            expect(f"{version} lint {values}: {output}{errors}", code, 0)


def both_helms_render_the_same():
    for values in EXAMPLES:
        three, four = (example(values, version=version) for version in HELMS)
        expect(values.name, key(three), key(four))
        expect("the defaults alone", bool(render("helm4", CHART)), True)


def key(documents):
    return sorted(json.dumps(document, sort_keys=True) for document in documents)


def schemas_of_kubernetes():
    for values in EXAMPLES:
        for kube in [OLDEST, WIRES, "1.31", NEWEST]:
            documents = [d for d in example(values, kube=kube) if d["kind"] not in FOREIGN]
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                yaml.safe_dump_all(documents, file)
                file.flush()
                command = [TOOLS / "venv/bin/kubernetes-validate", "-k", kube, "--strict", file.name]
                done = subprocess.run(command, capture_output=True, text=True)
            said = done.stdout + done.stderr
            # A kind without a schema is a warning only.
            if done.returncode != 0 or "find schema" in said:
                raise AssertionError(f"{values.name}, Kubernetes {kube}: {said}")


def schemas_of_other_projects():
    seen = set()
    for values in EXAMPLES:
        foreign = [d for d in example(values) if d["kind"] in FOREIGN]
        seen |= {d["kind"] for d in foreign}
        expect(values.name, validated(foreign), "")
    expect("kinds seen", seen, FOREIGN)
    broken = one(example(EVERYTHING), "ServiceMonitor")
    broken["spec"]["endpoints"][0]["port"] = 9090
    expect("a wrong one", "port must be string" in validated([broken]), True)


def validated(documents):
    """The errors that the schemas find."""
    command = ["node", "--input-type=module", "-e", (HERE / "foreign.mjs").read_text()]
    done = subprocess.run(command, input=json.dumps(documents), cwd=TOOLS / "node", capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return done.stdout + done.stderr


def wrong_values_are_refused():
    wrong = {
        "config.listen[0]=0.0.0.0:80": "listen",
        "config.tokens=tokens.yaml": "tokens",
        "config.admin.listen=0.0.0.0:1": "listen",
        "config.admin.token_file=token": "token_file",
        "replicas=2": "replicas",
        "image.tag=latest": "tag",
        "image.repository=guard@sha256:00": "repository",
        "ingress.enabled=true": "hosts",
        "httpRoute.enabled=true": "hosts",
        "config.limits.shutdown_timeout=soon": "shutdown_timeout",
        "config.limits.shutdown_delay=soon": "shutdown_delay",
        "tokensSecretRef.name=only": "key",
        "schemas.other\\.json=text": "other.json",
        "name=Guard": "name",
    }
    for version in HELMS:
        for setting, place in wrong.items():
            code, _, errors = helm(version, "template", "scim", CHART, "--set", setting)
            expect(f"{version} --set {setting}: {errors}", (code, place in errors), (1, True))


def policies():
    accepted = set()
    for values in EXAMPLES:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump_all(example(values), file)
            file.flush()
            command = [TOOLS / "venv/bin/checkov", "-f", file.name, "--framework", "kubernetes", "--skip-download"]
            command += ["--quiet", "--output", "json"]
            done = subprocess.run(command, capture_output=True, text=True)
        report = json.loads(done.stdout)
        failed = {c["check_id"]: f"{c['check_name']} ({c['resource']})" for c in report["results"]["failed_checks"]}
        news = {id: name for id, name in failed.items() if id not in ACCEPTED}
        expect(f"{values.name}: failed checks", news, {})
        expect("checks were made", report["summary"]["passed"] > 60, True)
        accepted |= failed.keys()
    expect("every exception is needed", accepted, set(ACCEPTED))


def config_check(binary):
    """With the files as they are mounted; the content of the operator's Secrets is created here."""
    for values in EXAMPLES:
        documents = example(values)
        with tempfile.TemporaryDirectory() as folder:
            pods.write(Path(folder), pods.with_certificates(documents))
            text = (Path(folder) / "conf/scim-guard.yaml").read_text().replace(FOLDER, folder)
            file = Path(folder) / "conf/here.yaml"
            file.write_text(text)
            done = subprocess.run([binary, "config", "check", "--config", file], capture_output=True, text=True)
            expect(f"{values.name}: {done.stdout}{done.stderr}", done.returncode, 0)


def config_keeps_its_types():
    read = config(example(EVERYTHING))
    expect("a release", read["wire"]["release"], "5.34")
    expect("a large number", read["limits"]["connections"], 1000000)
    text = mounted(example(EVERYTHING))[f"{FOLDER}/tokens/tokens.yaml"]
    expect("a date is not changed", "expires: 2099-12-31\n" in text, True)


def drain_fits_the_config():
    """The grace period has room for the wait before SIGTERM and for shutdown_timeout."""
    for setting, timeout in {"30s": 30, "1500ms": 2, "2m": 120, "1h": 3600, "0s": 0}.items():
        set_timeout = ["--set", f"config.limits.shutdown_timeout={setting}", "--set", "preStopSeconds=7"]
        pod = one(render("helm4", CHART, *set_timeout), "Deployment")["spec"]["template"]["spec"]
        expect(setting, pod["terminationGracePeriodSeconds"], 7 + timeout + 5)
        expect("preStop", pod["containers"][0]["lifecycle"], {"preStop": {"sleep": {"seconds": 7}}})
        expect("no other wait", "shutdown_delay" in config(render("helm4", CHART, *set_timeout))["limits"], False)
    documents = render("helm4", CHART, kube=WIRES)
    pod = one(documents, "Deployment")["spec"]["template"]["spec"]
    expect("before Kubernetes 1.30", "lifecycle" in pod["containers"][0], False)
    expect("the guard waits itself", config(documents)["limits"], {"shutdown_delay": "10s"})
    expect("the default", pod["terminationGracePeriodSeconds"], 45)
    own = ["--set", "config.limits.shutdown_delay=20s", "--set", "config.limits.body=1MiB"]
    documents = render("helm4", CHART, *own, kube=WIRES)
    expect("one that is set", config(documents)["limits"], {"shutdown_delay": "20s", "body": "1MiB"})
    pod = one(documents, "Deployment")["spec"]["template"]["spec"]
    expect("has room", pod["terminationGracePeriodSeconds"], 65)
    documents = render("helm4", CHART, "--set", "preStopSeconds=0", kube=WIRES)
    expect("no wait", "limits" in config(documents), False)


def changes_roll_out():
    """A changed config or registry changes the pod, unless the guard watches its files."""

    def annotations(*arguments):
        template = one(render("helm4", CHART, *arguments), "Deployment")["spec"]["template"]
        return template["metadata"].get("annotations", {})

    before = annotations()
    expect("names", set(before), {"checksum/configmap", "checksum/secret"})
    changes = {
        "config.identity=saml": "checksum/configmap",
        "schemas.user\\.json=text": "checksum/configmap",
        "secrets.tokens=tokens: []": "checksum/secret",
    }
    for setting, name in changes.items():
        expect(setting, annotations("--set", setting)[name] != before[name], True)
    expect("watched", annotations("--set", "config.reload.watch=true"), {})


def budget_and_scaling():
    kinds = [d["kind"] for d in render("helm4", CHART, "--set", "replicaCount=1")]
    expect("one replica: kinds", sorted(kinds), ["ConfigMap", "Deployment", "Service"])
    documents = example(EVERYTHING)
    expect("replicas are left to the autoscaler", "replicas" in one(documents, "Deployment")["spec"], False)
    expect("budget", one(documents, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1)


def names_fit_together():
    """Selectors, ports and volumes refer to existing objects."""
    for values in EXAMPLES:
        documents = example(values)
        template = one(documents, "Deployment")["spec"]["template"]
        labels, pod = template["metadata"]["labels"].items(), template["spec"]
        for kind in ["Deployment", "PodDisruptionBudget"]:
            for found in [d for d in documents if d["kind"] == kind]:
                expect(kind, found["spec"]["selector"]["matchLabels"].items() <= labels, True)
        service = one(documents, "Service")
        expect("Service", service["spec"]["selector"].items() <= labels, True)
        ports = {port["name"] for port in container(documents)["ports"]}
        expect("ports", {port["targetPort"] for port in service["spec"]["ports"]}, ports)
        volumes = {volume["name"] for volume in pod["volumes"]}
        expect("volumes", {mount["name"] for mount in container(documents)["volumeMounts"]}, volumes)
    monitor = one(example(EVERYTHING), "ServiceMonitor")["spec"]
    labels = one(example(EVERYTHING), "Service")["metadata"]["labels"].items()
    expect("ServiceMonitor", monitor["selector"]["matchLabels"].items() <= labels, True)


def alerts_are_those_of_prometheus():
    alerts = yaml.safe_load((ROOT / "conf/prometheus/wire-scim-guard.rules.yaml").read_text())
    for version in HELMS:
        expect(version, one(example(EVERYTHING, version=version), "PrometheusRule")["spec"], alerts)


def a_packaged_chart_is_complete():
    for version in HELMS:
        with tempfile.TemporaryDirectory() as folder:
            code, _, errors = helm(version, "package", CHART, "--destination", folder)
            expect(f"{version} package: {errors}", code, 0)
            package = next(Path(folder).iterdir())
            rendered = render(version, package, "--values", EVERYTHING)
        expect(version, key(rendered), key(example(EVERYTHING)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    binary = str(Path(parser.parse_args().binary).resolve())
    scenarios = [
        lint,
        both_helms_render_the_same,
        schemas_of_kubernetes,
        schemas_of_other_projects,
        wrong_values_are_refused,
        policies,
        functools.partial(config_check, binary),
        config_keeps_its_types,
        drain_fits_the_config,
        changes_roll_out,
        budget_and_scaling,
        names_fit_together,
        alerts_are_those_of_prometheus,
        a_packaged_chart_is_complete,
        functools.partial(pods.serves_in_a_container, binary),
    ]
    named = [(getattr(s, "func", s).__name__.replace("_", " "), s) for s in scenarios]
    return run(named)


if __name__ == "__main__":
    sys.exit(main())
