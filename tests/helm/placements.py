#!/usr/bin/env python3
"""The guard in each placement of a deployment of Wire, with a real nginx that is configured as the files of conf/placements and the
chart are rendered: whatever spelling of a SCIM path nginz would send to spar goes through the guard."""

import argparse
import functools
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote

import yaml

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients"), str(HERE.parent / "containers")]
from certificate import self_signed  # noqa: E402
from chart import CHART, HELMS, NEWEST, OLDEST, ROOT, TOOLS, WIRES, config, example, one, render  # noqa: E402
from guard import WAIT_TIMEOUT, Process, expect, request, run  # noqa: E402
from ports import free_port  # noqa: E402

EXAMPLES = ROOT / "conf/helm/examples"
PLACEMENTS = ROOT / "conf/placements"

SPELLINGS = """/scim/v2/Users /scim/v2/Users/1 /scim/v2 /scim/v2/ /scim/v2?filter=x /scim/v2x /scim/V2/users /SCIM/v2/Users
/v8/scim/v2/Users /V8/scim/v2/Users /v0/scim/v2/Users /v123/scim/v2/Users /v8/SCIM/V2/Users
/%73cim/v2/Users /scim%2Fv2/Users /scim/%762/Users /%2fscim/v2/Users /v%38/scim/v2/Users /v8%2Fscim%2fv2 /scim/v%32/Users
//scim/v2/Users /scim//v2/Users ///v8///scim///v2 /x/../scim/v2/Users /./scim/v2/Users /v8/../scim/v2/Users /scim/./v2
/scim/x/../v2/Users /scim/auth-tokens/../v2/Users /scim/v2/../auth-tokens /%2e/scim/v2 /x/%2e%2e/scim/v2 /scim/v2/%2e%2e/auth-tokens
/scim/v2;x/Users /scim/v2%20 /scim/v2%3fx /scim/v2/%c3%a4 /scim/auth-tokens /v8/scim/auth-tokens /SCIM/auth-tokens
/scim/auth-tokens/1 /scim/%61uth-tokens /scim /scim/ /scimfoo /scim2/v2 /xscim/v2 /v/scim/v2 /v8/v8/scim/v2 /v-8/scim/v2
/sso/initiate-login /users /teams /v8/identity-providers /""".split()


def spellings():
    """The spellings above, and many that are derived from SCIM paths by changing case, encoding and slashes."""
    chance = random.Random(7)
    made = []
    for _ in range(400):
        path = chance.choice(["/scim/v2/Users", "/v8/scim/v2/Groups", "/v17/scim/auth-tokens", "/scim/v2/Users/1"])
        out = ""
        for letter in path:
            draw = chance.random()
            out += f"%{ord(letter):02x}" if draw < 0.1 else letter.swapcase() if draw < 0.2 else letter
            out += chance.choice(["/", "./", "x/../"]) if letter == "/" and draw > 0.9 else ""
        made.append(out)
    return SPELLINGS + made


class Nginx:
    """A real nginx with these locations, and a log of where it sent each request."""

    def __init__(self, locations, upstreams, http=""):
        self.folder = Path(tempfile.mkdtemp(prefix="placement"))
        self.port = free_port()
        servers = "".join(f"upstream {name} {{ server {place}; }}\n" for name, place in upstreams.items())
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        )
        config = f"""daemon off; user root; pid {self.folder}/pid;
events {{}}
http {{
    log_format where escape=json '{{"to":"$proxy_host","client":"$http_x_forwarded_for"}}';
    access_log {self.folder}/access.log where;
    {temporary}{servers}{http}
    server {{ listen 127.0.0.1:{self.port}; {locations} }}
}}
"""
        (self.folder / "nginx.conf").write_text(config)
        program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
        command = [program, "-c", self.folder / "nginx.conf", "-e", self.folder / "error.log"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        listens(self.port, self.process)
        self.url = f"http://127.0.0.1:{self.port}"

    def send(self, target):
        """Sends a request for this target, byte for byte; returns its status and the guard's rule."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_TIMEOUT) as connection:
            head = f"GET {target} HTTP/1.1\r\nHost: nginz-https.example.com\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            answer = connection.makefile("rb").read().decode(errors="replace")
        rules = [line[17:] for line in answer.split("\r\n\r\n")[0].split("\r\n") if line.lower().startswith("scim-guard-rule")]
        return int(answer.split(" ")[1]), (rules or [""])[0]

    def destinations(self, targets):
        """Where each of these goes, by the name of the upstream; empty if nginx answers itself."""
        before = len(self.log())
        for target in targets:
            self.send(target)
        end = time.monotonic() + WAIT_TIMEOUT
        while len(lines := self.log()[before:]) < len(targets):
            if time.monotonic() > end:
                raise RuntimeError(f"{len(lines)} lines in the log of nginx, not {len(targets)}")
            time.sleep(0.02)
        return [json.loads(line)["to"] for line in lines]

    def log(self):
        return (self.folder / "access.log").read_text().splitlines()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(WAIT_TIMEOUT)
        shutil.rmtree(self.folder, ignore_errors=True)


def listens(port, process):
    end = time.monotonic() + WAIT_TIMEOUT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} exited during its start")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


class Guard:
    """The guard with the config that the chart renders; only its addresses are those of this test."""

    def __init__(self, binary, values, backend):
        self.config = config(example(EXAMPLES / values))
        self.folder = tempfile.TemporaryDirectory()
        port, admin = free_port(), free_port()
        expect("one backend", len(self.config["upstream"]["servers"]), 1)
        self.config["listen"], self.config["admin"] = [f"127.0.0.1:{port}"], {"listen": f"127.0.0.1:{admin}"}
        self.config["upstream"] = backend if isinstance(backend, dict) else {"servers": [backend]}
        self.config["trusted_proxies"] = ["127.0.0.1/32"]
        file = Path(self.folder.name) / "scim-guard.yaml"
        file.write_text(yaml.safe_dump(self.config))
        self.log = (Path(self.folder.name) / "log").open("w+")
        self.process = subprocess.Popen([binary, "serve", "--config", file], stderr=self.log)
        listens(port, self.process)
        self.place = f"127.0.0.1:{port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(WAIT_TIMEOUT)
        self.log.close()
        self.folder.cleanup()


class Spar(Process):
    """The embedded Wire."""

    def __init__(self, binary):
        super().__init__([binary, "standin"])
        self.place = self.value("standin").removeprefix("http://")
        self.token = self.value("token")


def nginz(version, *values):
    """The locations of nginz with these values files on top."""
    arguments = [argument for file in values for argument in ("--values", file)]
    return one(render(version, HERE / "nginz", *arguments), "ConfigMap")["data"]["locations"]


def user(name):
    return {"userName": name, "externalId": f"{name}@example.com", "displayName": name}


def works_through(url, token):
    """A client's requests, with and without /v2 in its base URL."""
    expect("create", request(url, token, "POST", "/scim/v2/Users", user("alice"))[0], 201)
    expect("create below a version", request(url, token, "POST", "/v8/scim/v2/Users", user("bob"))[0], 201)
    expect("base URL without /v2", request(url, token, "POST", "/scim/Users", user("carol"))[0], 201)


def between_nginz_and_spar(binary):
    """The key of nginz's values sorts before `spar`, with both helms, and takes over exactly what was the SCIM API."""
    targets = spellings()
    for version in HELMS:
        with Spar(binary) as spar, Guard(binary, "between-nginz-and-spar.yaml", spar.place) as guard:
            places = {"spar": spar.place, "brig": spar.place, "galley": spar.place, "scim-guard": guard.place}
            scim = [line for line in nginz(version).splitlines() if "/scim/v2 " in line]
            expect("the location of the SCIM API", len(scim), 1)
            # The API without the guard, with a marker that distinguishes it from the token API at
            # the same service.
            marked = nginz(version, HERE / "nginz/marked.yaml")
            with Nginx(marked, places | {"scim-v2": spar.place}) as before:
                was = before.destinations(targets)
            expect("spellings of the API", was.count("scim-v2") > 150, True)
            with Nginx(nginz(version, PLACEMENTS / "nginz-values.yaml"), places) as after:
                for target, then, now in zip(targets, was, after.destinations(targets)):
                    wanted = {"scim-v2": {"scim-guard"}, "spar": {"spar"}}.get(then, {then})
                    if then == "spar" and now == "scim-guard":
                        wanted = {"scim-guard"}
                        expect(f"{target}: a base URL without /v2", "/scim/" in unquote(target).lower(), True)
                    expect(f"{version} {target}", {now}, wanted)
                expect("the token API", after.destinations(["/scim/auth-tokens", "/v8/scim/auth-tokens"]), ["spar"] * 2)
                works_through(after.url, spar.token)


def between_ingress_and_nginz(binary):
    for version in HELMS:
        paths = ingress_paths(version)
        with Spar(binary) as spar, Nginx(nginz(version), dict.fromkeys(["spar", "brig", "galley"], spar.place)) as inner:
            with Guard(binary, "between-ingress-and-nginz.yaml", inner.url.removeprefix("http://")) as guard:
                with Nginx(ingress(paths), ingress_places(inner, guard)) as outer:
                    everything_goes_through(inner, outer, spellings())
                    expect("the token API", outer.destinations(["/v8/scim/auth-tokens"]), ["scim-guard"])
                    works_through(outer.url, spar.token)
                    expect("its answer", outer.send("/scim/auth-tokens"), (200, ""))


def everything_goes_through(inner, outer, targets):
    """Requests that nginz sends to spar as SCIM, or that require a login, are sent to the guard by the ingress; the rest to nginz."""
    scim = 0
    was = inner.destinations(targets)
    for target, then, now in zip(targets, was, outer.destinations(targets)):
        if then == "spar" and "scim" in decoded(target):
            expect(target, now, "scim-guard")
            scim += 1
        elif "scim" not in decoded(target):
            expect(target, now, "nginz")
    expect("spellings of SCIM", scim > 200, True)


def decoded(target):
    return unquote(target).lower()


def ingress_paths(version):
    rule = one(example(EXAMPLES / "between-ingress-and-nginz.yaml", version=version), "Ingress")["spec"]["rules"][0]
    return [path["path"] for path in rule["http"]["paths"]]


def ingress(paths):
    """As ingress-nginx writes locations with use-regex: case-insensitive, the longest first, and Wire's own path `/` last."""
    places = [(path, "scim-guard") for path in sorted(paths, key=len, reverse=True)] + [("/", "nginz")]
    forwarded = "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header Host $host; proxy_http_version 1.1;"
    return "".join(f'location ~* "^{path}" {{ {forwarded} proxy_pass http://{name}; }}\n' for path, name in places)


def ingress_places(inner, guard):
    return {"nginz": inner.url.removeprefix("http://"), "scim-guard": guard.place}


def envoy_gateway(binary):
    """The HTTPRoute's expression has to match the whole path, as it was sent. (Envoy itself resolves dot segments before.)"""
    spar_targets = [t for t in spellings() if ".." not in unquote(t) and "/./" not in unquote(t)]
    with Spar(binary) as spar, Nginx(nginz("helm4"), dict.fromkeys(["spar", "brig", "galley"], spar.place)) as inner:
        with Guard(binary, "envoy-gateway.yaml", inner.url.removeprefix("http://")) as guard:
            with Nginx("location / { proxy_http_version 1.1; proxy_pass http://$place; }", ingress_places(inner, guard), route()) as outer:
                everything_goes_through(inner, outer, spar_targets)
                works_through(outer.url, spar.token)


def route(path="$request_uri"):
    """The map of the HTTPRoute, from a path to the variable $place."""
    rule = one(example(EXAMPLES / "envoy-gateway.yaml"), "HTTPRoute")["spec"]["rules"][0]
    match = rule["matches"][0]["path"]
    expect("a regular expression", match["type"], "RegularExpression")
    expect("the guard", rule["backendRefs"], [{"name": "scim-guard", "port": 8080}])
    return f"""map {path} $sent {{ "~^(?<path>[^?]*)" $path; }}
        map $sent $place {{ "~^(?:{match["value"]})$" scim-guard; default nginz; }}
        """


def bridge(binary):
    """Requests of ldap-scim-bridge, at the address in its values."""
    target = yaml.safe_load((PLACEMENTS / "bridge-values.yaml").read_text())["config"]["scimTarget"]
    service = one(render("helm4", CHART), "Service")
    expect("the Service", (target["host"], target["port"]), (service["metadata"]["name"], service["spec"]["ports"][0]["port"]))
    with Spar(binary) as spar, Guard(binary, "ldap-scim-bridge.yaml", spar.place) as guard:
        url, users = f"http://{guard.place}", f"{target['path']}/Users"
        query = f"{users}?filter=externalId%20eq%20%22alice%40example.com%22"
        expect("find", request(url, spar.token, "GET", query)[1]["totalResults"], 0)
        person = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "alice", "externalId": "alice@example.com"}
        expect("create, without displayName", request(url, spar.token, "POST", users, person)[0], 201)
        expect("a wrong one", request(url, spar.token, "POST", users, person | {"userName": "alice@example.com"})[0], 400)
        ask = urllib.request.Request(f"{url}/scim/auth-tokens")
        try:
            urllib.request.urlopen(ask, timeout=WAIT_TIMEOUT)
        except urllib.error.HTTPError as error:
            expect("the token API", error.code, 404)
        else:
            raise AssertionError("the token API was served")


def wire_cloud(binary):
    """A client in cleartext, Wire Cloud over TLS with a verified certificate and with its own name as Host."""
    with tempfile.TemporaryDirectory() as folder, Spar(binary) as spar:
        certificate, key = Path(folder) / "tls.crt", Path(folder) / "tls.key"
        self_signed(certificate, key, "localhost")
        port = free_port()
        http = f"""server {{
            listen 127.0.0.1:{port} ssl; server_name localhost; ssl_certificate {certificate}; ssl_certificate_key {key};
            {nginz("helm4")}
        }}
        server {{
            listen 127.0.0.1:{port} ssl default_server; ssl_certificate {certificate}; ssl_certificate_key {key};
            return 421;
        }}"""
        with Nginx("return 404;", dict.fromkeys(["spar", "brig", "galley"], spar.place), http):
            backend = {"servers": [f"https://localhost:{port}"], "tls": {"ca": str(certificate)}}
            with Guard(binary, "wire-cloud.yaml", backend) as guard:
                works_through(f"http://{guard.place}", spar.token)


def check_finds_ways_around(binary):
    """The operator's check, with the guard in its placements, and with an Ingress that leaves versioned paths open."""
    with Spar(binary) as spar:
        with Guard(binary, "between-nginz-and-spar.yaml", spar.place) as guard:
            places = dict.fromkeys(["spar", "brig", "galley"], spar.place) | {"scim-guard": guard.place}
            with Nginx(nginz("helm4", PLACEMENTS / "nginz-values.yaml"), places) as outer:
                expect("between nginz and spar", checked(outer), (0, []))
        with Nginx(nginz("helm4"), dict.fromkeys(["spar", "brig", "galley"], spar.place)) as inner:
            with Guard(binary, "between-ingress-and-nginz.yaml", inner.url.removeprefix("http://")) as guard:
                with Nginx(ingress(ingress_paths("helm4")), ingress_places(inner, guard)) as outer:
                    expect("between ingress and nginz", checked(outer), (0, []))
                with Nginx(ingress(["/scim"]), ingress_places(inner, guard)) as outer:
                    code, around = checked(outer)
                    expect("a prefix only", (code, "/v8/scim/v2" in around, "/scim/v2" in around), (1, True, False))
            expect("no guard at all", checked(inner)[0], 1)


def check_follows_redirects(binary):
    """Envoy Gateway answers encoded slashes with 307 and the path without them; it resolves dot segments and doubled slashes."""
    unescaped = r"""map $request_uri $unescaped { "~*^(?<a>.*[^/])?/*%2f/*(?<b>.*)$" "$a/$b"; default ""; }
        absolute_redirect off;
        """
    encoded = ["/scim%2fv2", "/scim%2Fv2", "/v8%2fscim/v2", "/%2fscim/v2"]
    with Spar(binary) as spar, Nginx(nginz("helm4"), dict.fromkeys(["spar", "brig", "galley"], spar.place)) as inner:
        with Guard(binary, "envoy-gateway.yaml", inner.url.removeprefix("http://")) as guard:

            def envoy(target):
                locations = f"""if ($unescaped) {{ return 307 {target}; }}
                    location / {{ proxy_http_version 1.1; proxy_pass http://$place$uri; }}
                    location ~ ^/around(?<rest>/.*)$ {{ proxy_http_version 1.1; proxy_pass http://nginz$rest; }}"""
                return Nginx(locations, ingress_places(inner, guard), route("$uri") + unescaped)

            with envoy("$unescaped") as outer:
                code, lines = check(outer.url)
                expect(lines, (code, lines.get("AROUND"), lines.get("unclear")), (0, None, None))
                expect("redirected", [line.split()[0] for line in lines["guard"] if " 307 to " in line], encoded)
            with envoy("/around$unescaped") as outer:
                expect("around", checked(outer), (1, encoded))
            with envoy("http://localhost:1$unescaped") as outer:
                code, lines = check(outer.url)
                expect("to another host", (code, len(lines["unclear"]), "elsewhere" in lines["unclear"][0]), (2, len(encoded), True))
            with envoy("$request_uri") as outer:
                code, lines = check(outer.url)
                expect("a loop", (code, "too many redirects" in lines["unclear"][0]), (2, True))


def check_works_through_a_proxy(binary):
    """The head of a proxy's answer to CONNECT is not the answer of the server."""
    with tempfile.TemporaryDirectory() as folder, Spar(binary) as spar:
        certificate, key = Path(folder) / "tls.crt", Path(folder) / "tls.key"
        self_signed(certificate, key, "localhost")
        with Guard(binary, "between-nginz-and-spar.yaml", spar.place) as guard, ConnectProxy() as proxy:
            port = free_port()
            server = f"""server {{
                listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};
                location ~* ^/scim {{ proxy_pass http://scim-guard; }} location / {{ return 404; }}
            }}"""
            with Nginx("return 404;", {"scim-guard": guard.place}, server):
                environment = {"https_proxy": proxy.url, "no_proxy": "", "NO_PROXY": ""}
                code, lines = check(f"https://localhost:{port}", "--cacert", certificate, **environment)
                expect(lines, (code, set(lines)), (0, {"guard", "nowhere"}))
            expect("through the proxy", proxy.asked > 30, True)


class ConnectProxy:
    """A proxy that knows CONNECT only, and counts."""

    def __enter__(self):
        self.asked = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self.listener.getsockname())
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        method, target, _ = head.decode().split(" ", 2)
        host, port = target.split(":")
        if method != "CONNECT":
            client.close()
            return
        self.asked += 1
        server = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 Connection established\r\nX-Asked: %d\r\n\r\n" % self.asked)
        back = threading.Thread(target=pump, args=(server, client), daemon=True)
        back.start()
        pump(client, server)
        back.join()
        client.close()
        server.close()


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def check_is_never_wrongly_sure(binary):
    """What looks like no way around, and is none of the guard's doing."""
    proxied = "proxy_http_version 1.1; proxy_pass http://"
    with Spar(binary) as spar, Nginx(nginz("helm4"), dict.fromkeys(["spar", "brig", "galley"], spar.place)) as inner:
        with Guard(binary, "between-ingress-and-nginz.yaml", inner.url.removeprefix("http://")) as guard:
            places = ingress_places(inner, guard)

            def front(rest, scim=f"location ~* ^/scim {{ {proxied}scim-guard; }}"):
                return Nginx(scim + rest, places)

            # Every 404 of nginz and of spar behind it is replaced by the same page.
            page = "error_page 404 /page; location = /page { internal; return 404 same; }"
            with front(f"location / {{ {proxied}nginz; proxy_intercept_errors on; }} {page}") as outer:
                code, around = checked(outer)
                expect("one page for all", (code, "/v8/scim/v2" in around, "/scim/v2" in around), (1, True, False))
            with front("", "location / { return 404; }") as outer:
                code, lines = check(outer.url)
                expect("nothing but 404", (code, set(lines)), (2, {"nowhere"}))
            fails = "location /v1 { return 503; } location /v8/scim/v2 { return 420; } location /v99 { return 444; }"
            with front(f"{fails} location / {{ return 404; }}") as outer:
                code, lines = check(outer.url)
                expect("failures", (code, set(lines)), (2, {"guard", "nowhere", "unclear"}))
                why = dict(line.split("  ") for line in lines["unclear"])
                said = [why["/v1/scim/v2"][:3], why["/v8/scim/v2"][:22], why["/v99/scim/v2"][:10]]
                expect("why", said, ["503", "420, too many requests", "no answer:"])
            forged = "location / { return 404 'Scim-Guard-Rule: target.not_found\n$request_uri'; }"
            with front(forged) as outer:
                code, around = checked(outer)
                expect("the header in a body", (code, "/v8/scim/v2" in around), (1, True))
            with front(f"location / {{ {proxied}scim-guard; }}") as outer:
                for wrong in [f"{outer.url}/scim/v2", outer.url.removeprefix("http://"), "file:///etc/passwd"]:
                    done = run_check(wrong)
                    expect(wrong, (done.returncode, "scheme and the host only" in done.stderr), (2, True))
    done = run_check(f"http://127.0.0.1:{free_port()}")
    expect("nothing listens", (done.returncode, "no answer" in done.stderr, done.stdout), (2, True, ""))


def run_check(*arguments, **environment):
    return subprocess.run([PLACEMENTS / "check.sh", *arguments], env=os.environ | environment, capture_output=True, text=True)


def check(*arguments, **environment):
    """The exit code, and the lines by their first word; only exit code 0 says that there is no way around."""
    done = run_check(*arguments, **environment)
    expect(done.stdout, "No way around" in done.stdout, done.returncode == 0)
    lines = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        if word in ("guard", "nowhere", "AROUND", "unclear"):
            lines.setdefault(word, []).append(rest.strip())
    if not lines:
        raise RuntimeError(done.stderr)
    return done.returncode, lines


def checked(nginx):
    """The exit code, and the spellings that bypass the guard."""
    code, lines = check(nginx.url)
    return code, [line.split()[0] for line in lines.get("AROUND", [])]


def installed_before_it_is_inserted():
    """Without Ingress and HTTPRoute, as docs/placements.md says, no example leads a request to the guard."""
    inserted = set()
    for values in sorted(EXAMPLES.glob("*.yaml")):
        inserted |= {document["kind"] for document in example(values)} & {"Ingress", "HTTPRoute"}
        kinds = {d["kind"] for d in example(values, "--set", "ingress.enabled=false", "--set", "httpRoute.enabled=false")}
        expect(f"{values.name}: inserted at once", kinds & {"Ingress", "HTTPRoute"}, set())
    expect("inserted by examples", inserted, {"Ingress", "HTTPRoute"})


def spar_admits_each_guard():
    """The NetworkPolicy for spar admits the pods of every example whose backend is spar, and Kubernetes accepts it."""
    file = PLACEMENTS / "spar-networkpolicy.yaml"
    for kube in [OLDEST, WIRES, NEWEST]:
        command = [TOOLS / "venv/bin/kubernetes-validate", "-k", kube, "--strict", file]
        done = subprocess.run(command, capture_output=True, text=True)
        # A kind without a schema is a warning only.
        if done.returncode != 0 or "find schema" in done.stdout + done.stderr:
            raise AssertionError(f"Kubernetes {kube}: {done.stdout}{done.stderr}")
    policy = yaml.safe_load(file.read_text())
    expression = policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchExpressions"]
    expect("one expression", [(e["key"], e["operator"]) for e in expression], [("app", "In")])
    admitted = set(expression[0]["values"])
    expect("its port", policy["spec"]["ingress"][0]["ports"], [{"port": 8080, "protocol": "TCP"}])
    guards = set()
    for values in sorted(EXAMPLES.glob("*.yaml")):
        documents = example(values)
        if "spar:8080" in config(documents)["upstream"]["servers"]:
            guards.add(one(documents, "Deployment")["spec"]["template"]["metadata"]["labels"]["app"])
    expect("guards in front of spar", guards, {"scim-guard", "scim-guard-bridge"})
    expect("not admitted", (guards | {"nginz"}) - admitted, set())
    expect("the bridge itself", "ldap-scim-bridge" in admitted, False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    binary = str(Path(parser.parse_args().binary).resolve())
    scenarios = [
        between_nginz_and_spar,
        between_ingress_and_nginz,
        envoy_gateway,
        wire_cloud,
        bridge,
        check_finds_ways_around,
        check_follows_redirects,
        check_works_through_a_proxy,
        check_is_never_wrongly_sure,
    ]
    named = [(s.__name__.replace("_", " "), functools.partial(s, binary)) for s in scenarios]
    named += [(s.__name__.replace("_", " "), s) for s in (installed_before_it_is_inserted, spar_admits_each_guard)]
    return run(named)


if __name__ == "__main__":
    sys.exit(main())
