#!/usr/bin/env python3
"""The Helm chart: what it renders with Helm 3 and 4, whether Kubernetes and its policies accept that, and whether the guard
runs with it."""

import argparse
import functools
import ipaddress
import json
import os
import re
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
    service,
    template,
)
from guard import expect, run  # noqa: E402

EVERYTHING = ROOT / "conf/helm/examples/everything.yaml"
SCHEMA = CHART / "values.schema.json"

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
            accepted_by_kubernetes(values.name, example(values, kube=kube), kube)


def accepted_by_kubernetes(what, documents, kube):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump_all([d for d in documents if d["kind"] not in FOREIGN], file)
        file.flush()
        command = [TOOLS / "venv/bin/kubernetes-validate", "-k", kube, "--strict", file.name]
        done = subprocess.run(command, capture_output=True, text=True)
    said = done.stdout + done.stderr
    # A kind without a schema is a warning only.
    if done.returncode != 0 or "find schema" in said:
        raise AssertionError(f"{what}, Kubernetes {kube}: {said}")


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
        "config.trusted_proxy=10.0.0.0/8": "trusted_proxy",
        "service.nodePort=31772": "service.nodePort",
        "service.type=NodePort,service.loadBalancerIP=192.0.2.1": "loadBalancerIP",
        "config.limits.bodies=1MiB": "bodies",
        "config.rules.mode=warn": "mode",
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
        "listen.address=localhost": "address",
        "listen.proxyProtocol[0]=balancer": "proxyProtocol",
        "service.type=ExternalName": "type",
        "autoscaling.enabled=true,autoscaling.minReplicas=7": "autoscaling.minReplicas (7) is more than autoscaling.maxReplicas (6)",
        "networkPolicy.enabled=true,networkPolicy.from[0].podSelector=null": "podSelector",
        "tls.only=true": "tls.only: set tls.secretName",
        "tls.only=true,tls.secretName=t,ingress.enabled=true,ingress.hosts[0]=h": "tls.only: the Ingress",
        "tls.only=true,tls.secretName=t,httpRoute.enabled=true,httpRoute.hosts[0]=h,httpRoute.parentRefs[0].name=g": "tls.only: the HTTPRoute",
        "config.admin.tls.client_auth.ca=a,config.admin.tls.certificates[0].certificate=c,config.admin.tls.certificates[0].key=k": "kubelet",
        "config.shared.timeout=1s": "config.shared: name the server",
        "valkey.enabled=true": "secrets.valkey.password and secrets.valkey.key",
        "valkey.enabled=true,valkey.secretName=s,config.shared.redis=redis://r": "not both",
        "valkey.enabled=true,valkey.secretName=s,secrets.valkey.password=sixteen-letters.,secrets.valkey.key=thirty-two-letters-are-a-key-too": "not both",
        "secrets.valkey.password=sixteen-letters.": "key",
        "valkey.maxmemory=some": "maxmemory",
    }
    for version in HELMS:
        for setting, place in wrong.items():
            code, _, errors = helm(version, "template", "scim", CHART, "--set", setting)
            expect(f"{version} --set {setting}: {errors}", (code, place in errors), (1, True))
        # Helm drops keys without a value, and Kubernetes takes a missing `from` for everybody.
        for key in ["from", "metricsFrom"]:
            for nobody in ["", "[]"]:
                code, errors = refused(version, f"networkPolicy: {{enabled: true, {key}: {nobody}}}")
                expect(f"{version} {key}: {nobody}: {errors}", (code, key in errors), (1, True))


def refused(version, values):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(values)
        file.flush()
        code, _, errors = helm(version, "template", "scim", CHART, "--values", file.name)
    return code, errors


def a_misspelt_key_is_named_by_lint():
    for version in HELMS:
        code, output, errors = helm(version, "lint", CHART, "--set", "config.upstream.sever=spar:8080")
        expect(f"{version}: {output}{errors}", (code, "sever" in output + errors), (1, True))


def the_schema_has_that_of_the_config():
    """With the keys that the chart does not set itself. UPDATE_DOCS=1 writes it, from the schema that the program prints."""
    guard = json.loads((ROOT / "conf/wire-scim-guard.schema.json").read_text())
    del guard["$schema"], guard["title"]
    for key in ["listen", "tokens", "schemas"]:
        del guard["properties"][key]
    for key in ["listen", "token_file"]:
        del guard["properties"]["admin"]["properties"][key]
    guard["required"].remove("listen")
    # `valkey.enabled` sets it; else a template asks for it.
    guard["properties"]["shared"]["required"].remove("redis")
    own, mark, _ = SCHEMA.read_text().partition('    "guard": ')
    wanted = own + mark + json.dumps(guard, indent=2).replace("\n", "\n    ") + "\n  }\n}\n"
    if "UPDATE_DOCS" in os.environ:
        SCHEMA.write_text(wanted)
    if SCHEMA.read_text() != wanted:
        raise AssertionError(f"{SCHEMA.name} of the chart is stale: run tests/helm/run.py with UPDATE_DOCS=1")


def examples_report():
    """Nothing is refused before its operator has seen what would be."""
    expect("the defaults", config(render("helm4", CHART))["rules"]["mode"], "report")
    for values in EXAMPLES:
        expect(values.name, config(example(values))["rules"]["mode"], "report")


def renders_in_wires_script_for_offline_deliveries():
    """list-helm-containers.sh of wire-server-deploy renders each chart with these options."""
    options = ["--set", "federate.dtls.tls.key=emptyString", "--set", "federate.dtls.tls.crt=emptyString"]
    for version in HELMS:
        image = container(render(version, CHART, *options))["image"]
        expect(version, image.split(":")[0], "wire-scim-guard")


NAMESPACE = "kubernetes.io/metadata.name"

# Who sends requests in each example: the labels of its namespace (None: Wire's own), its labels or its address, and the port.
CLIENTS = {
    "between-ingress-and-nginz": ({NAMESPACE: "ingress-nginx"}, {"app.kubernetes.io/name": "ingress-nginx"}, "http"),
    "between-nginz-and-spar": (None, {"app": "nginz"}, "http"),
    "envoy-gateway": (
        {NAMESPACE: "envoy-gateway-system"},
        {
            "app.kubernetes.io/name": "envoy",
            "app.kubernetes.io/component": "proxy",
            "app.kubernetes.io/managed-by": "envoy-gateway",
        },
        "http",
    ),
    "everything": (None, {"app": "nginz"}, "https"),
    # Wire's chart labels the Job, and not its pods.
    "ldap-scim-bridge": (None, {"job-name": "ldap-scim-bridge-29361600", "controller-uid": "1"}, "http"),
    "wire-cloud": (None, "192.0.2.7", "https"),
}


def policies_admit_the_client_of_each_example():
    expect("examples", set(CLIENTS), {values.stem for values in EXAMPLES})
    for values in EXAMPLES:
        documents = example(values, "--set", "networkPolicy.enabled=true")
        policy = one(documents, "NetworkPolicy")["spec"]
        namespace, who, port = CLIENTS[values.stem]
        expect(f"{values.name}: the port", port in {p["name"] for p in container(documents)["ports"]}, True)
        expect(f"{values.name}: its client", admits(policy, namespace, who, port), True)
        expect(f"{values.name}: metrics", admits(policy, {NAMESPACE: "monitoring"}, {"app": "prometheus"}, "http-metrics"), True)
        expect(f"{values.name}: its client, metrics", admits(policy, namespace, who, "http-metrics"), False)
        for stranger in [{"app": "webapp"}, "203.0.113.7"]:
            expect(f"{values.name}: {stranger}", admits(policy, {NAMESPACE: "other"}, stranger, port), False)
    documents = example(EVERYTHING)
    policy, guard = one(documents, "NetworkPolicy", "scim-guard-valkey")["spec"], template(documents)["metadata"]["labels"]
    expect("the pod", policy["podSelector"]["matchLabels"].items() <= template(documents, "-valkey")["metadata"]["labels"].items(), True)
    expect("the guard", admits(policy, None, guard, "valkey"), True)
    expect("others", admits(policy, None, {"app": "nginz"}, "valkey"), False)


def admits(policy, namespace, who, port):
    """Whether a pod with these labels, or an address, may connect."""
    return any(
        port in {p["port"] for p in rule["ports"]} and any(is_peer(peer, namespace, who) for peer in rule["from"])
        for rule in policy["ingress"]
    )


def is_peer(peer, namespace, who):
    if isinstance(who, str) or "ipBlock" in peer:
        return isinstance(who, str) and "ipBlock" in peer and ipaddress.ip_address(who) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
    if "namespaceSelector" in peer:
        there = namespace is not None and selects(peer["namespaceSelector"], namespace)
    else:
        there = namespace is None
    return there and selects(peer.get("podSelector", {}), who)


def selects(selector, labels):
    expressions = selector.get("matchExpressions", [])
    expect("operators", {e["operator"] for e in expressions} <= {"Exists"}, True)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(e["key"] in labels for e in expressions)


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


def the_documented_check(binary):
    """The command of docs/kubernetes.md that checks a rendered config before it is installed."""
    block = re.search(r"```sh[^\n]*\n(helm template .*?)```", (ROOT / "docs/kubernetes.md").read_text(), re.S)[1]
    for version in HELMS:
        for values in EXAMPLES:
            done = pasted(block, version, binary, values.read_text())
            # Files that are mounted from Secrets are not here.
            others = [line for line in done.stderr.splitlines() if FOLDER not in line and "warning:" not in line]
            expect(f"{version} {values.name}: {done.stdout}{done.stderr}", others, [])
            expect(values.name, (done.returncode, "rendered.yaml: ok" in done.stdout) == (0, True), FOLDER not in done.stderr)
        wrong = "config: {trusted_proxies: [somewhere]}"
        done = pasted(block, version, binary, wrong)
        expect(f"{version} {wrong}: {done.stderr}", (done.returncode, "trusted_proxies" in done.stderr), (2, True))


def documented_values():
    """Those of docs/kubernetes.md render, with a value in place of each `...`."""
    found = re.findall(r'```yaml not-run="values of the chart[^\n]*\n(.*?)```', (ROOT / "docs/kubernetes.md").read_text(), re.S)
    expect("blocks", len(found), 3)
    for version in HELMS:
        for values in found:
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(values.replace("...", "a-secret-of-32-characters-at-least"))
                file.flush()
                expect(values, len(example(file.name, version=version)) >= 4, True)


def pasted(block, version, binary, values):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "values/scim-guard").mkdir(parents=True)
        (root / "values/scim-guard/values.yaml").write_text(values)
        (root / "conf").symlink_to(ROOT / "conf")
        (root / "helm").symlink_to(TOOLS / version)
        (root / "wire-scim-guard").symlink_to(binary)
        path = {"PATH": f"{folder}:{os.environ['PATH']}"}
        return subprocess.run(["bash", "-c", block], cwd=folder, env=os.environ | path, capture_output=True, text=True)


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
        pod = template(render("helm4", CHART, *set_timeout))["spec"]
        expect(setting, pod["terminationGracePeriodSeconds"], 7 + timeout + 5)
        expect("preStop", pod["containers"][0]["lifecycle"], {"preStop": {"sleep": {"seconds": 7}}})
        expect("no other wait", "shutdown_delay" in config(render("helm4", CHART, *set_timeout))["limits"], False)
    documents = render("helm4", CHART, kube=WIRES)
    pod = template(documents)["spec"]
    expect("before Kubernetes 1.30", "lifecycle" in pod["containers"][0], False)
    expect("the guard waits itself", config(documents)["limits"], {"shutdown_delay": "10s"})
    expect("the default", pod["terminationGracePeriodSeconds"], 45)
    own = ["--set", "config.limits.shutdown_delay=20s", "--set", "config.limits.body=1MiB"]
    documents = render("helm4", CHART, *own, kube=WIRES)
    expect("one that is set", config(documents)["limits"], {"shutdown_delay": "20s", "body": "1MiB"})
    pod = template(documents)["spec"]
    expect("has room", pod["terminationGracePeriodSeconds"], 65)
    documents = render("helm4", CHART, "--set", "preStopSeconds=0", kube=WIRES)
    expect("no wait", "limits" in config(documents), False)


def changes_roll_out():
    """A changed config or registry changes the pod. While the guard watches its files, only what it cannot apply does."""

    def annotations(*settings):
        return template(render("helm4", CHART, *settings))["metadata"]["annotations"]

    before = annotations()
    expect("names", set(before), {"checksum/restart", "checksum/configmap", "checksum/secret"})
    changes = {
        "config.identity=saml": "checksum/configmap",
        "schemas.user\\.json=text": "checksum/configmap",
        "secrets.tokens=tokens: []": "checksum/secret",
    }
    for setting, part in changes.items():
        expect(setting, annotations("--set", setting)[part] != before[part], True)
    watch = ["--set", "config.reload.watch=true"]
    watched = annotations(*watch)
    expect("watched", watched, {"checksum/restart": before["checksum/restart"]})
    for setting in changes:
        expect(f"watched: {setting}", annotations(*watch, "--set", setting), watched)
    restarts = {
        "threads": "config.threads=7",
        "admin.listen": "listen.address=[::]",
        "metrics.wire_dashboard": "config.metrics.wire_dashboard=true",
        "tracing": "config.tracing.otlp=http://collector:4318",
        "tracing.otlp": "config.tracing.otlp=http://collector:4318",
        "tracing.sample": "config.tracing.sample=0.5,config.tracing.otlp=http://collector:4318",
    }
    expect("keys that require a restart", restart_keys(), set(restarts))
    hashes = [annotations(*watch, "--set", setting)["checksum/restart"] for setting in {*restarts.values()}]
    expect("each changes the pod", len({watched["checksum/restart"], *hashes}), len(hashes) + 1)


def restart_keys():
    """As the schema of the config names them."""

    def below(schema, path):
        for key, value in schema.get("properties", {}).items():
            if "A change requires a restart." in value.get("description", ""):
                yield ".".join([*path, key])
            yield from below(value, [*path, key])

    return set(below(json.loads((ROOT / "conf/wire-scim-guard.schema.json").read_text()), []))


def the_admin_listener_over_tls():
    over = ["--set", "config.admin.tls.certificates[0].certificate=c,config.admin.tls.certificates[0].key=k"]
    over += ["--set", "config.admin.tls.client_auth.ca=ca,config.admin.tls.client_auth.required=false"]
    monitor = ["--set", "metrics.serviceMonitor.enabled=true", "--set", "metrics.serviceMonitor.tlsConfig.serverName=guard"]
    for arguments, scheme in [([], "http"), (over, "https")]:
        documents = render("helm4", CHART, *arguments, *monitor)
        for probe in ["livenessProbe", "readinessProbe"]:
            expect(probe, container(documents)[probe]["httpGet"]["scheme"], scheme.upper())
        endpoint = one(documents, "ServiceMonitor")["spec"]["endpoints"][0]
        expect("ServiceMonitor", (endpoint["scheme"], endpoint["tlsConfig"]), (scheme, {"serverName": "guard"}))


def listeners_and_services():
    def ports(documents, suffix=""):
        return {port["name"]: (port["port"], port.get("nodePort")) for port in service(documents, suffix)["ports"]}

    documents = render("helm4", CHART)
    expect("listen", config(documents)["listen"], [{"address": "0.0.0.0:8080"}])
    expect("inside", (service(documents)["type"], ports(documents)), ("ClusterIP", {"http": (8080, None), "http-metrics": (9090, None)}))
    changed = "listen.address=[::],listen.proxyProtocol[0]=10.0.7.0/28,tls.secretName=scim-guard-tls"
    documents = render("helm4", CHART, "--set", changed)
    http, https = config(documents)["listen"]
    expect("http", http, {"address": "[::]:8080", "proxy_protocol": ["10.0.7.0/28"]})
    expect("https", (https["address"], https["proxy_protocol"], "tls" in https), ("[::]:8443", ["10.0.7.0/28"], True))
    expect("admin", config(documents)["admin"]["listen"], "[::]:9090")
    documents = render("helm4", CHART, "--set", changed + ",tls.only=true,service.type=NodePort,service.tlsNodePort=31773")
    expect("no cleartext", [entry["address"] for entry in config(documents)["listen"]], ["[::]:8443"])
    expect("its ports", {port["name"] for port in container(documents)["ports"]}, {"https", "http-metrics"})
    expect("outside", (service(documents)["type"], ports(documents)), ("NodePort", {"https": (8443, 31773)}))
    expect("metrics inside", (service(documents, "-metrics")["type"], ports(documents, "-metrics")), ("ClusterIP", {"http-metrics": (9090, None)}))
    given = {"loadBalancerIP": "192.0.2.1", "loadBalancerClass": "example.com/lb", "externalTrafficPolicy": "Local"}
    balancer = ["--set", "service.type=LoadBalancer,service.externalPort=80,service.nodePort=31772"]
    balancer += [argument for key, value in given.items() for argument in ("--set", f"service.{key}={value}")]
    balancer += ["--set", "service.loadBalancerSourceRanges[0]=192.0.2.0/24", "--set-string", "service.annotations.internal=true"]
    documents = render("helm4", CHART, *balancer)
    accepted_by_kubernetes("a load balancer", documents, NEWEST)
    labels = one(documents, "Service", "scim-guard-metrics")["metadata"]["labels"]
    expect("ServiceMonitor", labels.items() >= service(documents, "-metrics")["selector"].items(), True)
    spec = service(documents)
    expect("a load balancer", {key: spec[key] for key in given}, given)
    expect("its clients", (spec["loadBalancerSourceRanges"], ports(documents)), (["192.0.2.0/24"], {"http": (80, 31772)}))
    expect("annotations", one(documents, "Service", "scim-guard")["metadata"]["annotations"], {"internal": "true"})
    ingress = ["--set", "ingress.enabled=true,ingress.hosts[0]=h", "--set-string", "ingress.annotations.mine=1"]
    found = one(render("helm4", CHART, *ingress), "Ingress")["metadata"]["annotations"]
    expect("annotations of the Ingress", found, {"mine": "1", "nginx.ingress.kubernetes.io/use-regex": "true"})
    cloud = config(example(ROOT / "conf/helm/examples/wire-cloud.yaml"))
    expect("Wire Cloud in cleartext", [entry["address"] for entry in cloud["listen"]], ["0.0.0.0:8443"])
    expect("no check that is spar's", cloud["upstream"], {"servers": ["https://prod-nginz-https.wire.com"]})


def the_valkey_server_is_shared():
    documents = example(EVERYTHING, "--set", "config.shared.timeout=50ms")
    expect("shared", config(documents)["shared"], {
        "redis": "redis://scim-guard-valkey:6379/0",
        "key_file": f"{FOLDER}/valkey/key",
        "password_file": f"{FOLDER}/valkey/password",
        "timeout": "50ms",
    })
    files = mounted(documents)
    passwords = files[f"{FOLDER}/valkey/password"], mounted(documents, "-valkey")["/etc/valkey/password"]
    expect("the same password", passwords[0], passwords[1])
    expect("nobody else gets the key", list(mounted(documents, "-valkey")), ["/etc/valkey/password"])
    own = ["--set", "valkey.enabled=true,valkey.secretName=mine,valkey.image.repository=r,valkey.image.tag=1.0"]
    documents = render("helm4", CHART, *own)
    expect("no Secret of the chart", [d for d in documents if d["kind"] == "Secret"], [])
    for suffix, volume in [("", "valkey"), ("-valkey", "password")]:
        volumes = {v["name"]: v["secret"]["secretName"] for v in template(documents, suffix)["spec"]["volumes"] if "secret" in v}
        expect(f"the Secret of {suffix or 'the guard'}", volumes, {volume: "mine"})
    expect("the image", container(documents, "-valkey")["image"], "r:1.0")
    changed = example(EVERYTHING, "--set", "secrets.valkey.password=another-password")
    before, after = (template(d, "-valkey")["metadata"]["annotations"] for d in [example(EVERYTHING), changed])
    expect("a changed password restarts the server", before != after, True)


def notes_say_what_is_open():
    """Helm 3 shows the notes only to a cluster."""

    def notes(*settings):
        arguments = [argument for setting in settings for argument in ("--set", setting)]
        code, output, errors = helm("helm4", "install", "--dry-run=client", "scim", CHART, *arguments)
        expect(f"install {settings}: {errors}", code, 0)
        return output.partition("\nNOTES:\n")[2]

    unprotected, alone = "Everybody in the cluster who reaches port 9090", "replicas counts for itself"
    token = "adminTokenSecretRef.name=a,adminTokenSecretRef.key=b"
    expect("the defaults", (unprotected in notes(), alone in notes(), "forwarded" in notes()), (True, False, True))
    expect("with a token", "Everybody" in notes(token), False)
    expect("with a policy", "Everybody in networkPolicy.metricsFrom" in notes("networkPolicy.enabled=true"), True)
    expect("enforcing", "are refused by the guard" in notes("config.rules.mode=enforce"), True)
    budget, rate = "config.deprovisioning.at_most=5,config.deprovisioning.within=1h", "secrets.tokens=- rate: 20/s"
    for setting in [budget, rate]:
        expect(setting, f"Each of the 3 {alone}" in notes(setting), True)
        for enough in ["replicaCount=1", "config.shared.redis=redis://r", "valkey.enabled=true,valkey.secretName=s"]:
            expect(f"{setting}, {enough}", alone in notes(setting, enough), False)
    expect("scaled", f"Each of the 6 {alone}" in notes(budget, "replicaCount=1,autoscaling.enabled=true"), True)
    expect("a comment", alone in notes("secrets.tokens=# rate: 20/s"), False)
    tls = "config.admin.tls.certificates[0].certificate=c,config.admin.tls.certificates[0].key=k"
    expect("over TLS", "curl -k https://localhost:9090" in notes(tls), True)


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
        for suffix in ["", "-valkey"] if values == EVERYTHING else [""]:
            labels, pod = template(documents, suffix)["metadata"]["labels"].items(), template(documents, suffix)["spec"]
            for found in [d for d in documents if d["kind"] in {"Deployment", "PodDisruptionBudget"}]:
                if found["metadata"]["name"].endswith("-valkey") == (suffix == "-valkey"):
                    expect(found["kind"], found["spec"]["selector"]["matchLabels"].items() <= labels, True)
            services = [d["spec"] for d in documents if d["kind"] == "Service" and d["spec"]["selector"].items() <= labels]
            ports = {port["name"] for port in container(documents, suffix)["ports"]}
            expect("ports", {port["targetPort"] for spec in services for port in spec["ports"]}, ports)
            volumes = {volume["name"] for volume in pod["volumes"]}
            expect("volumes", {mount["name"] for mount in container(documents, suffix)["volumeMounts"]}, volumes)
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
        a_misspelt_key_is_named_by_lint,
        renders_in_wires_script_for_offline_deliveries,
        the_schema_has_that_of_the_config,
        examples_report,
        policies_admit_the_client_of_each_example,
        policies,
        functools.partial(config_check, binary),
        functools.partial(the_documented_check, binary),
        documented_values,
        config_keeps_its_types,
        drain_fits_the_config,
        changes_roll_out,
        the_admin_listener_over_tls,
        listeners_and_services,
        the_valkey_server_is_shared,
        notes_say_what_is_open,
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
