#!/usr/bin/env python3
"""Dashboard and alerts with a real Prometheus: two guards under mixed traffic are scraped, and every expression is
evaluated. Prints a line for each panel; fails if one has no data."""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "clients"))
from guard import Process  # noqa: E402
from guards import Program, ask, check, failures, free_port, guard, hash_of, traffic, wait_until  # noqa: E402

DASHBOARD = ROOT / "conf" / "grafana" / "wire-scim-guard.json"
RULES = ROOT / "conf" / "prometheus" / "wire-scim-guard.rules.yaml"
ALERT_TESTS = ROOT / "tests" / "prometheus" / "alerts.yaml"


class Prometheus:
    def __init__(self, folder, targets):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        static = [{"targets": [target.removeprefix("http://")], "labels": {"namespace": namespace}}
                  for target, namespace in targets]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "scim-guard", "static_configs": static}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self.program = Program(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
             f"--web.listen-address=127.0.0.1:{self.port}"], folder / "prometheus.log")
        wait_until("Prometheus", lambda: ask(f"{self.url}/-/ready")[0] == 200)

    def query(self, expression):
        """The series; an exception if the expression is wrong."""
        status, body = ask(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        answer = json.loads(body)
        if status != 200 or answer["status"] != "success":
            raise ValueError(f"{expression}: {answer.get('error', status)}")
        return answer["data"]["result"]


def filled_in(expression):
    for name, value in (("$__rate_interval", "10s"), ("$__range", "1m"), ("$namespace", ".*"), ("$instance", ".*")):
        expression = expression.replace(name, value)
    return expression


def panels():
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def evaluate(prometheus):
    for title, expression in panels():
        try:
            numbers = lambda: [v for s in prometheus.query(filled_in(expression)) if (v := s["value"][1]) != "NaN"]
            values = wait_until(title, numbers)
            check(f"panel {title}", True, f"{len(values)} series, such as {values[0]}")
        except (TimeoutError, ValueError) as error:
            check(f"panel {title}", False, f"{error}: {expression}")
    for series in ('http_request_duration_seconds_count{status_code=~"5.*"}',
                   'http_request_duration_seconds_bucket{handler="/scim/v2/Users",method="POST"}'):
        check(f"Wire's dashboard: {series}", bool(prometheus.query(series)))
    _, body = ask(f"{prometheus.url}/api/v1/rules")
    rules = [rule for group in json.loads(body)["data"]["groups"] for rule in group["rules"]]
    for rule in rules:
        check(f"alert {rule['name']}", rule["health"] == "ok", f"{rule['state']} {rule.get('lastError', '')}")
    check("all alerts are loaded", len(rules) == RULES.read_text().count("- alert:"), len(rules))


def promtool(*arguments, **options):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, cwd=ALERT_TESTS.parent, **options)
    detail = (done.stdout + done.stderr).strip()
    return done.returncode == 0, detail


def round_trip():
    """Grafana's own model knows every key of the dashboard: unknown keys would be lost."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    sent = json.loads(DASHBOARD.read_text())
    back = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(sent)))

    def lost(sent, back, at):
        if isinstance(sent, dict):
            return [more for key, value in sent.items()
                    for more in (lost(value, back[key], f"{at}.{key}") if isinstance(back, dict) and key in back
                                 else [f"{at}.{key}"])]
        if isinstance(sent, list):
            if not isinstance(back, list) or len(sent) != len(back):
                return [at]
            return [more for nth, value in enumerate(sent) for more in lost(value, back[nth], f"{at}[{nth}]")]
        return [] if sent == back else [at]

    losses = lost(sent, back, "dashboard")
    check("the dashboard passes through Grafana's model unchanged", not losses, losses[:5] or len(sent["panels"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    binary = str(Path(parser.parse_args().binary).resolve())
    check("promtool check rules", *promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES)))
    check("promtool test rules", *promtool("test", "rules", ALERT_TESTS.name))
    round_trip()
    with tempfile.TemporaryDirectory() as name, Process([binary, "standin"]) as standin:
        folder, token = Path(name), standin.value("token")
        token_hash = hash_of(binary, token)
        backend = standin.value("standin").removeprefix("http://")
        shared = free_port()
        store = Program(["redis-server", "--port", str(shared), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
                        folder / "store.log")
        more = f"deprovisioning: {{at_most: 3, within: 5s}}\nshared: {{redis: \"redis://127.0.0.1:{shared}\", timeout: 2s}}\n"
        one, url, admin = guard(binary, folder, "one", backend, token_hash, more)
        # The backend of the other one does not listen.
        other, other_url, other_admin = guard(binary, folder, "other", f"127.0.0.1:{free_port()}", token_hash)
        with store, one, other:
            stop = threading.Event()
            threads = [threading.Thread(target=traffic, args=(at, token, stop)) for at in (url, other_url)]
            for thread in threads:
                thread.start()
            try:
                prometheus = Prometheus(folder, [(admin, "wire"), (other_admin, "wire-test")])
                with prometheus.program:
                    evaluate(prometheus)
                    _, metrics = ask(f"{admin}/metrics")
                    check("promtool check metrics", *promtool("check", "metrics", input=metrics.decode()))
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
    print(f"{len(failures)} failed")
    sys.exit(bool(failures))


main()
