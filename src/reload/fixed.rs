//! Settings that only a restart can change.

use std::fmt::Display;

use crate::config::{Config, Tracing};

/// The keys in which `next` differs from the configuration in use although they cannot change.
pub(crate) fn changed_keys(current: &Config, next: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    let mut compare = |key: &str, old: &dyn Display, new: &dyn Display| {
        let (old, new) = (old.to_string(), new.to_string());
        if old != new {
            keys.push(format!("{key} (in use: {old}; now in the file: {new})"));
        }
    };
    compare("threads", &current.threads, &next.threads);
    compare("admin.listen", &current.admin, &next.admin);
    let wire_dashboard = |config: &Config| config.metrics.wire_dashboard;
    compare("metrics.wire_dashboard", &wire_dashboard(current), &wire_dashboard(next));
    let tracing =
        |config: &Config| config.tracing.as_ref().map_or("none".into(), Tracing::to_string);
    compare("tracing", &tracing(current), &tracing(next));
    if keys.is_empty() {
        return keys;
    }
    vec![format!(
        "a reload cannot change {}: restart the process or upgrade it (SIGUSR2), or undo the change",
        keys.join(" and ")
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_key_is_named_with_both_values() {
        let current = Config::new(Vec::new(), Vec::new());
        let mut next = current.clone();
        assert!(changed_keys(&current, &next).is_empty());
        next.threads = current.threads + 1;
        next.admin = "127.0.0.1:9999".parse().unwrap();
        let [sentence] = &changed_keys(&current, &next)[..] else { panic!("one sentence") };
        for part in ["threads (in use: ", "admin.listen (in use: 127.0.0.1:9090; now in the file: "]
        {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}
