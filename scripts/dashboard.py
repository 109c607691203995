#!/usr/bin/env python3
"""Writes the Grafana dashboard in both forms: as Grafana's "Import" takes it, and wrapped for its API
(`/api/dashboards/db`), as the upload script of wire-server-deploy sends it. `--check`: fails if either is stale.

Queries work with one replica and with many, inside and outside of Kubernetes: without a label `namespace`, "All"
matches the series that lack it.
"""

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "conf" / "grafana"
PLAIN = FOLDER / "wire-scim-guard.json"
UPLOAD = FOLDER / "upload" / "wire-scim-guard.json"

SERIES = 'namespace=~"$namespace",instance=~"$instance"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def rate(metric, by, more=""):
    by = f"sum by ({by}) " if by else "sum "
    return f"{by}(rate({metric}{{{SERIES}{more}}}[$__rate_interval]))"


def gauge(metric, how="sum", by="", more=""):
    by = f"{how} by ({by}) " if by else f"{how} "
    return f"{by}({metric}{{{SERIES}{more}}})"


def process(series):
    """Of the guards only: other programs have metrics of this name as well."""
    return f"sum by (instance) ({series % SERIES} and on (job, instance) scim_guard_build_info)"


def quantile(of, metric):
    return f"histogram_quantile({of}, {rate(metric + '_bucket', 'le')})"


def quantiles(metric):
    return [(quantile(of, metric), name) for of, name in ((0.5, "median"), (0.9, "90 %"), (0.99, "99 %"))]


def hits(action, more=""):
    return rate("scim_guard_rule_hits_total", "rule", f',action="{action}"{more}') + " > 0"


# Rows, and in each the panels: title, what it means, unit, queries with their legends, and the form.
ROWS = [
    ("Traffic", [
        ("Requests by handler", "All requests, by the route of Wire's API.", "reqps",
         [(rate("scim_guard_requests_total", "handler"), "{{handler}}")]),
        ("Requests by status", "The status that clients got. 499: the client had gone.", "reqps",
         [(rate("scim_guard_requests_total", "status_code"), "{{status_code}}")]),
        ("Server errors by handler", "Answers with a status of 500 and above, from Wire or from the guard.", "reqps",
         [(rate("scim_guard_requests_total", "handler, status_code", ',status_code=~"5.."') + " > 0",
           "{{handler}} {{status_code}}")]),
        ("Client errors by handler", "Answers with a status of 400 to 499, from Wire or from the guard.", "reqps",
         [(rate("scim_guard_requests_total", "handler, status_code", ',status_code=~"4.."') + " > 0",
           "{{handler}} {{status_code}}")]),
        ("Requests in flight", "Requests whose answer has not ended, on each replica.", "short",
         [(gauge("scim_guard_requests_in_flight", by="instance"), "{{instance}}")]),
        ("Replicas by version", "Guards that are scraped.", "short",
         [(gauge("scim_guard_build_info", by="version"), "{{version}}")], "stat"),
    ]),
    ("Verdicts", [
        ("Verdicts", "What the guard decided, before anything was forwarded.", "reqps",
         [(rate("scim_guard_verdicts_total", "verdict"), "{{verdict}}")]),
        ("Refusals by rule", "Rules that refused requests; those of upstream.* answer for a backend that failed.",
         "reqps", [(hits("enforce"), "{{rule}}")]),
        ("Reports by rule", "Rules that were hit and only reported: the requests were forwarded.", "reqps",
         [(hits("report"), "{{rule}}")]),
        ("Agreement with Wire", "confirmed: Wire refused what a rule reported. overruled: Wire served it. missed: Wire "
         "refused what no rule reported.", "reqps",
         [(rate("scim_guard_agreement_total", "outcome"), "{{outcome}}")]),
        ("Agreement by rule", "Requests in the range of time shown. A rule that is overruled, and is no policy of your "
         "own, should not be enforced.", "short",
         [(f'sum by (rule, outcome) (increase(scim_guard_agreement_total{{{SERIES},outcome=~"confirmed|overruled|missed"}}'
           "[$__range])) > 0", "{{rule}} {{outcome}}")], "table"),
        ("Repairs", "Requests that were repaired before they were forwarded.", "reqps",
         [(rate("scim_guard_repairs_total", "repair"), "{{repair}}")]),
    ]),
    ("Tokens", [
        ("Requests by token", "By label in the token registry.", "reqps",
         [(rate("scim_guard_token_requests_total", "token"), "{{token}}")]),
        ("Refusals by token", "Requests with a registered token that were refused.", "reqps",
         [(rate("scim_guard_token_requests_total", "token", ',verdict="refused"'), "{{token}}")]),
        ("Time to the next expiry", "Until the next token of the registry expires.", "s",
         [(f"{gauge('scim_guard_register_next_expiry_timestamp_seconds', 'min')} - time()", "next expiry")], "stat"),
        ("Registry", "Tokens in the registry in use, and whether its file is invalid now.", "short",
         [(gauge("scim_guard_register_entries", "max"), "tokens"),
          (gauge("scim_guard_register_failed", "max"), "invalid file")], "stat"),
        ("Refusals because of tokens and rates", "Missing, malformed, unknown, expired or refused tokens, and rates that "
         "were exceeded.", "reqps", [(hits("enforce", ',rule=~"token[.].*|limits.failures"'), "{{rule}}")]),
        ("Use of the limit of deprovisioning", "Users deleted or deactivated lately, as a part of the limit, of the replica "
         "that has used most. At 100 % further ones are held back.", "percentunit",
         [(f"max by (token) (scim_guard_deprovisioning_used{{{SERIES}}} / scim_guard_deprovisioning_limit{{{SERIES},"
           "token!=\"other\"})", "{{token}}")]),
        ("Deprovisioned users", "Users that were deleted or deactivated in the range of time shown, and requests that were "
         "held back or reported.", "short",
         [(f"sum by (token) (increase(scim_guard_deprovisioned_total{{{SERIES}}}[$__range])) > 0", "{{token}}"),
          (f'sum by (action) (increase(scim_guard_rule_hits_total{{{SERIES},rule="limits.deprovisioning"}}[$__range])) > 0',
           "over the limit: {{action}}")], "stat"),
        ("Remembered by the refusal cache", "Refused and accepted tokens, and addresses with failures.", "short",
         [(gauge("scim_guard_shield_remembered", by="what"), "{{what}}")]),
    ]),
    ("Shared state", [
        ("Store", "1: every replica asks the store that they share, and hears the others. Absent without `shared`.", "short",
         [(gauge("scim_guard_shared_up", "min"), "answers"), (gauge("scim_guard_shared_listening", "min"), "events arrive")],
         "stat"),
        ("Look-ups in the store", "Requests that a budget concerns: answered, given up after shared.timeout, or decided without "
         "the store.", "reqps",
         [(f"sum by (outcome) (rate(scim_guard_shared_lookups_total{{{SERIES}}}[$__rate_interval]))", "{{outcome}}")]),
        ("Look-up latency", "How long requests waited for the store.", "s",
         quantiles("scim_guard_shared_lookup_duration_seconds")),
        ("Events of replicas", "Refused and accepted tokens, and failures by address.", "short",
         [(f"sum by (outcome) (rate(scim_guard_shared_events_total{{{SERIES}}}[$__rate_interval]))", "{{outcome}}")]),
    ]),
    ("Backend", [
        ("Servers in rotation", "1: every replica sends requests to the server. 0: a replica skips it.", "short",
         [(gauge("scim_guard_upstream_in_rotation", "min", "server"), "{{server}}")]),
        ("Backend latency", "From the choice of a server to the end of its answer.", "s",
         quantiles("scim_guard_upstream_duration_seconds")),
        ("Backend failures", "Requests that the guard answered for a backend that failed or throttled.", "reqps",
         [(hits("enforce", ',rule=~"upstream[.].*"'), "{{rule}}")]),
    ]),
    ("Guard", [
        ("Request latency", "The whole request, with the backend's time.", "s",
         quantiles("scim_guard_request_duration_seconds")),
        ("Validation latency", "The guard's own judging, without waiting for bytes.", "s",
         quantiles("scim_guard_validation_duration_seconds")),
        ("Body size", "Request bodies that were judged.", "bytes", quantiles("scim_guard_request_body_bytes")),
        ("Memory", "Resident memory of each replica.", "bytes",
         [(process("process_resident_memory_bytes{%s}"), "{{instance}}")]),
        ("Buffered bytes", "What is buffered for clients, by purpose, and the limit of one replica.", "bytes",
         [(gauge("scim_guard_buffered_bytes", "max", "kind"), "{{kind}}"),
          (gauge("scim_guard_buffered_bytes_limit", "min"), "limit")]),
        ("Connections", "Open client connections of each replica, and the limit of one.", "short",
         [(gauge("scim_guard_connections", by="instance"), "{{instance}}"),
          (gauge("scim_guard_connections_limit", "min"), "limit")]),
        ("CPU", "Processor seconds per second.", "short",
         [(process("rate(process_cpu_seconds_total{%s}[$__rate_interval])"), "{{instance}}")]),
        ("Open descriptors", "Files and sockets of each replica.", "short",
         [(process("process_open_fds{%s}"), "{{instance}}")]),
        ("Reloads", "Of config, schemas, registry and certificates, and whether the last one failed.", "short",
         [(f"sum by (outcome) (increase(scim_guard_reloads_total{{{SERIES}}}[$__range]))", "{{outcome}}"),
          (gauge("scim_guard_reload_failed", "max"), "last one failed")], "stat"),
        ("Different configs", "1: all replicas of a namespace have the same config.", "short",
         [("count by (namespace, job) (count_values by (namespace, job) (\"fingerprint\", "
           f"scim_guard_config_fingerprint{{{SERIES}}}))", "{{namespace}} {{job}}")], "stat"),
        ("Time to the expiry of certificates", "Until each TLS certificate expires.", "s",
         [(gauge("scim_guard_certificate_expiry_timestamp_seconds", "min", "certificate") + " - time()",
           "{{certificate}}")], "stat"),
        ("Log lines dropped", "Lines that standard error did not accept, or not fast enough.", "short",
         [(f"sum by (instance) (increase(scim_guard_log_lines_dropped_total{{{SERIES}}}[$__range]))", "{{instance}}")],
         "stat"),
    ]),
]


def variable(name, label, query):
    return {
        "name": name, "label": label, "type": "query", "datasource": DATASOURCE, "query": query,
        "refresh": 2, "multi": True, "includeAll": True, "allValue": ".*", "sort": 1,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def target(ref, expr, legend, form):
    query = {"refId": ref, "expr": expr, "legendFormat": legend, "datasource": DATASOURCE}
    if form == "table":
        return query | {"format": "table", "instant": True, "range": False}
    return query | ({"instant": True, "range": False} if form == "stat" else {"range": True})


def panel(number, at, title, meaning, unit, queries, form="timeseries"):
    defaults = {"unit": unit, "min": 0} if form == "timeseries" else {"unit": unit}
    options = {
        "timeseries": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                       "tooltip": {"mode": "multi", "sort": "desc"}},
        "stat": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "textMode": "auto",
                 "orientation": "auto", "colorMode": "value", "graphMode": "none", "justifyMode": "auto"},
        "table": {"showHeader": True, "cellHeight": "sm"},
    }[form]
    made = {
        "id": number, "type": form, "title": title, "description": meaning, "datasource": DATASOURCE, "gridPos": at,
        "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
        "targets": [target("ABCDEF"[nth], expr, legend, form) for nth, (expr, legend) in enumerate(queries)],
    }
    if form == "table":
        hidden = {"id": "organize", "options": {"excludeByName": {"Time": True}}}
        made["transformations"] = [hidden]
    return made


def dashboard():
    panels, y = [], 0
    for title, row in ROWS:
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False,
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []})
        y += 1
        for nth, entry in enumerate(row):
            at = {"x": nth % 3 * 8, "y": y + nth // 3 * 8, "w": 8, "h": 8}
            panels.append(panel(len(panels) + 1, at, *entry))
        y += -(-len(row) // 3) * 8
    return {
        "uid": "wire-scim-guard", "title": "Wire SCIM Guard", "tags": ["wire", "scim"], "schemaVersion": 39,
        "editable": True, "refresh": "30s", "timezone": "browser", "time": {"from": "now-6h", "to": "now"},
        "description": "Requests to Wire's SCIM API through wire-scim-guard: what is refused and why, whether Wire "
        "agrees, tokens, the backend, and the guard itself.",
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
            variable("namespace", "Namespace", "label_values(scim_guard_build_info, namespace)"),
            variable("instance", "Replica", 'label_values(scim_guard_build_info{namespace=~"$namespace"}, instance)'),
        ]},
        "panels": panels,
    }


def main():
    plain = dashboard()
    wrapped = {"meta": {"type": "db", "slug": "wire-scim-guard", "canSave": True}, "dashboard": plain}
    stale = []
    for path, content in ((PLAIN, plain), (UPLOAD, wrapped)):
        text = json.dumps(content, indent=2) + "\n"
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(str(path))
    if stale:
        sys.exit(f"stale: {', '.join(stale)}; run scripts/dashboard.py")


main()
