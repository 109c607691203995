//! `docs/metrics-reference.md`, from what guards serve.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::is_current;
use crate::support::program::Place;
use crate::support::tls::Authority;
use crate::support::{Backend, Client, TOKEN, entry, registry_file, unused_addr, wait_until};

/// What is served only with an option.
const OPTIONS: &[(&str, &str)] = &[
    ("http_request_duration_seconds", "with `metrics: {wire_dashboard: true}`"),
    ("scim_guard_certificate_expiry_timestamp_seconds", "with TLS listeners"),
    ("scim_guard_deprovisioned_total", "with `deprovisioning`"),
    ("scim_guard_deprovisioning_limit", "with `deprovisioning`"),
    ("scim_guard_deprovisioning_used", "with `deprovisioning`"),
    ("scim_guard_register_entries", "with `tokens`"),
    ("scim_guard_register_failed", "with `tokens`"),
    ("scim_guard_register_next_expiry_timestamp_seconds", "with `tokens`"),
    ("scim_guard_register_read_timestamp_seconds", "with `tokens`"),
    ("scim_guard_shared_events_total", "with `shared`"),
    ("scim_guard_shared_listening", "with `shared`"),
    ("scim_guard_shared_lookup_duration_seconds", "with `shared`"),
    ("scim_guard_shared_lookups_total", "with `shared`"),
    ("scim_guard_shared_up", "with `shared`"),
    ("scim_guard_token_requests_total", "with `tokens`"),
    ("scim_guard_traced_requests_total", "with `tracing`"),
];

/// Labels whose values are not all served from the start, or are too many to be listed.
const LABELS: &[(&str, &str)] = &[
    ("certificate", "the listener's address and the number in its list"),
    (
        "handler",
        "the route as a template, such as `/scim/v2/Users/:uid`; `/scim/auth-tokens`, `other` outside of SCIM, or `invalid`",
    ),
    ("method", "`GET`, `POST`, `PUT`, `PATCH`, `DELETE`, `HEAD`, `OPTIONS`, or `OTHER`"),
    ("repair", "a [repair](repair.md)"),
    ("rule", "a [rule](rules.md); of agreement also `none`"),
    ("server", "an entry of `upstream.servers`"),
    ("status_code", "`100` to `599`"),
    ("token", "a label in the token registry; of deprovisioning also `other`"),
    (
        "verdict",
        "`forwarded`, `refused` or `reported`; of requests that have ended also `failed`: the backend failed, or the client \
         disconnected (status 499)",
    ),
    ("version", "the program's version"),
];

#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// The metrics of a guard that has served a request, with this entry of `listen` besides its own.
fn served(name: &str, listener: &str, more: &str) -> BTreeMap<String, Family> {
    let backend = Backend::fine();
    let place = Place::new(name, &backend, more);
    let config = std::fs::read_to_string(&place.config).unwrap();
    let listen = format!("listen: [{listener}");
    std::fs::write(&place.config, config.replacen("listen: [", &listen, 1)).unwrap();
    let guard = place.run_logged("exec \"$@\"");
    place.status();
    let scrape = || {
        let mut client = Client::connect(place.admin);
        client.send("GET /metrics HTTP/1.1\r\n\r\n");
        String::from_utf8(client.response().body).unwrap()
    };
    wait_until("the request to be counted", || scrape().contains("scim_guard_requests_total{"));
    let families = families(&scrape());
    drop(guard);
    families
}

/// Reads Prometheus' text format.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next()) {
            (Some("#"), Some("HELP")) => {
                let name = words.next().unwrap().to_owned();
                families.entry(name).or_default().help = words.next().unwrap().to_owned();
            }
            (Some("#"), Some("TYPE")) => {
                let name = words.next().unwrap().to_owned();
                families.entry(name).or_default().kind = words.next().unwrap().to_owned();
            }
            _ => {
                let Some((name, labels)) = line.split_once('{') else { continue };
                let base =
                    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let name = base.filter(|base| families.contains_key(*base)).unwrap_or(name);
                let family = families.get_mut(name).unwrap();
                for pair in labels.split('}').next().unwrap().split("\",") {
                    let (label, value) = pair.trim_end_matches('"').split_once("=\"").unwrap();
                    if label != "le" {
                        family.labels.entry(label.into()).or_default().insert(value.into());
                    }
                }
            }
        }
    }
    families
}

#[test]
fn the_page_of_the_metrics_is_current() {
    let always = served("reference-plain", "", "");
    let files = Authority::new("metrics").issue(&["dns:guard.example"]).files();
    let listener = format!(
        "{{address: \"{}\", tls: {{certificates: [{{certificate: {}, key: {}}}]}}}}, ",
        unused_addr(),
        files.certificate.display(),
        files.key.display()
    );
    // All options that add metrics; the control request's token is in the registry.
    let more = format!(
        "metrics: {{wire_dashboard: true}}\ntracing: {{otlp: \"http://127.0.0.1:1\"}}\ntokens: {}\n\
         deprovisioning: {{at_most: 50, within: 1h}}\nshared: {{redis: \"redis://127.0.0.1:1\"}}\n",
        registry_file(&[entry("okta", TOKEN, "")]).display(),
    );
    let all = served("reference-all", &listener, &more);

    let mut text = String::from(
        "# Metrics reference\n\nThe [admin listener](operating.md#metrics) serves these metrics at `/metrics` and `/i/metrics`, in \
         Prometheus' text format.\nNo label value comes from a client. [monitoring.md](monitoring.md) has a dashboard and alerts.\n",
    );
    for (name, family) in &all {
        let option = OPTIONS.iter().find(|(known, _)| known == name);
        assert_eq!(option.is_none(), always.contains_key(name), "{name}: is it always served?");
        let when = option.map_or("always", |(_, when)| when);
        write!(text, "\n## `{name}`\n\n*{}*, served {when}\n\n{}\n", family.kind, family.help)
            .unwrap();
        let mut gap = "\n";
        for (label, values) in &family.labels {
            let known = LABELS.iter().find(|(known, _)| known == label);
            let values = known.map_or_else(
                || values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "),
                |(_, words)| (*words).to_owned(),
            );
            writeln!(text, "{gap}- `{label}`: {values}").unwrap();
            gap = "";
        }
    }
    is_current("docs/metrics-reference.md", &text);
    for (name, _) in OPTIONS {
        assert!(all.contains_key(*name), "{name} is not served");
    }
    for name in named_in_sources(Path::new("src")) {
        assert!(all.contains_key(&name), "{name} is in the sources and was not served");
    }
}

/// The names in quotes that metrics of the guard have.
fn named_in_sources(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            names.extend(named_in_sources(&path));
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let quoted = source.split('"').filter(|part| part.starts_with("scim_guard_"));
        let is_name =
            |part: &&str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        names.extend(quoted.filter(is_name).map(str::to_owned));
    }
    names
}
