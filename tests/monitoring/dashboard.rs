//! The dashboard and the alerts name metrics and rules that exist. `make test-prometheus` evaluates them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use wire_scim_guard::config::{Listener, OnFailure};
use wire_scim_guard::deprovisioning::Limit;
use wire_scim_guard::rule::Rule;

use crate::support::{Backend, Guarded, TOKEN, control, entry, registry_file, shared, tls};

const RULES: &str = "conf/prometheus/wire-scim-guard.rules.yaml";
const DASHBOARD: &str = "conf/grafana/wire-scim-guard.json";

/// The metrics that a text mentions.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("scim_guard_") || word.starts_with("process_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
        .collect()
}

#[test]
fn every_metric_of_dashboard_and_alerts_exists() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        let mut listener = Listener::from(std::net::SocketAddr::from(([127, 0, 0, 2], 0)));
        listener.tls = Some(tls::listener());
        config.listen.push(listener);
        config.tokens = Some(registry_file(&[entry("a", TOKEN, "")]));
        let within = std::time::Duration::from_secs(3600);
        config.deprovisioning = Some(Limit { at_most: 50, within });
        let timeout = std::time::Duration::from_millis(20);
        config.shared = Some(shared(1, timeout, OnFailure::Local));
    });
    assert_eq!(guarded.ask(control()).status, 200);
    // The line of a request is written after everything is counted.
    guarded.access_line(1);
    let text = String::from_utf8(guarded.running.as_ref().unwrap().metrics().text()).unwrap();
    let served: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut count = 0;
    for file in [RULES, DASHBOARD] {
        let file = std::fs::read_to_string(file).unwrap();
        for name in named(&file) {
            assert!(served.contains(name), "{name}");
            count += 1;
        }
    }
    assert!(count > 30, "{count} metrics");
}

#[test]
fn the_alert_for_overruled_rules_leaves_out_exactly_the_policies() {
    let text = std::fs::read_to_string(RULES).unwrap();
    let pattern = text.split("outcome=\"overruled\",rule!~\"").nth(1).unwrap();
    let pattern = pattern.split('"').next().unwrap().replace("[.]", ".");
    let left_out: BTreeSet<&str> = pattern.split('|').collect();
    let policies: BTreeSet<&str> =
        Rule::all().filter(|rule| rule.entry().policy).map(Rule::id).collect();
    assert_eq!(left_out, policies);
}

#[test]
fn the_dashboard_in_both_forms_matches_the_output_of_its_script() {
    let check = Command::new("python3").args(["scripts/dashboard.py", "--check"]).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let read = |path: &str| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(Path::new(path)).unwrap()).unwrap()
    };
    let upload = read("conf/grafana/upload/wire-scim-guard.json");
    assert_eq!(upload["dashboard"], read(DASHBOARD));
    assert!(upload["meta"].is_object());
}
