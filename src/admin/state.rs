//! What the page and `/i/state` show.
//!
//! SECURITY: nothing in it comes from a client; token labels, file names and server names are the operator's.

use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use crate::activity::{RepairSummary, Summary};
use crate::logging;
use crate::metrics::ServerState;
use crate::snapshot::LoadedRegistry;
use crate::timestamp::Timestamp;

use super::Admin;
use super::advice::{self, Advice};

#[derive(Debug, Serialize)]
pub struct State {
    pub version: &'static str,
    pub now: Timestamp,
    pub started: Timestamp,
    pub stopping: bool,
    /// Whether rules that report may be enforced.
    pub enforce: Vec<Advice>,
    /// What was refused, reported, overruled and missed, by rule.
    pub rules: Vec<Summary>,
    pub repairs: Vec<RepairSummary>,
    pub servers: Vec<Server>,
    /// Absent without a token registry.
    pub registry: Option<Registry>,
    pub config: Config,
    pub log_lines_dropped: usize,
}

#[derive(Debug, Serialize)]
pub struct Server {
    pub server: String,
    pub state: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Registry {
    pub file: String,
    pub tokens: usize,
    /// Since when it is in use.
    pub since: Timestamp,
    /// Why the file as it is now is not in use.
    pub failure: Option<String>,
    pub next_expiry: Option<Expiry>,
}

#[derive(Debug, Serialize)]
pub struct Expiry {
    pub token: String,
    pub at: Timestamp,
}

#[derive(Debug, Serialize)]
pub struct Config {
    pub file: Option<String>,
    pub fingerprint: String,
    pub warnings: Vec<String>,
}

impl State {
    pub fn of(admin: &Admin) -> Self {
        let snapshot = admin.snapshots.current();
        let config = &snapshot.config;
        let rules = admin.metrics.activity().summaries();
        let servers = admin.servers.list().into_iter();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            now: Timestamp::now(),
            started: Timestamp(admin.metrics.started()),
            stopping: *admin.stopping.borrow(),
            enforce: advice::of(&config.policy, &rules),
            rules,
            repairs: admin.metrics.activity().repairs(),
            servers: servers.map(|(server, state)| Server { server, state: word(state) }).collect(),
            registry: snapshot
                .registry
                .as_ref()
                .map(|registry| Registry::of(registry, config.tokens.as_deref())),
            config: Config {
                file: config.file.as_deref().map(shown),
                fingerprint: format!("{:012x}", config.fingerprint),
                warnings: config.warnings.iter().map(ToString::to_string).collect(),
            },
            log_lines_dropped: logging::dropped_lines(),
        }
    }
}

impl Registry {
    fn of(loaded: &LoadedRegistry, file: Option<&Path>) -> Self {
        let now = SystemTime::now();
        let entries = loaded.tokens.entries();
        let expiring = entries.iter().filter_map(|entry| Some((entry, entry.expires?)));
        let next = expiring.filter(|(_, at)| *at > now).min_by_key(|(_, at)| *at);
        let state = loaded.file.state();
        Self {
            file: file.map(shown).unwrap_or_default(),
            tokens: entries.len(),
            since: Timestamp(state.read),
            failure: state.failure.map(|failure| failure.to_string()),
            next_expiry: next.map(|(entry, at)| Expiry {
                token: entry.label.as_str().to_owned(),
                at: Timestamp(at),
            }),
        }
    }
}

fn shown(path: &Path) -> String {
    // SECURITY: a token may have been written where a path belongs.
    crate::secret::redacted(&path.display().to_string())
}

fn word(state: ServerState) -> &'static str {
    match state {
        ServerState::Healthy => "in rotation",
        ServerState::Unhealthy => "skipped after failures",
        ServerState::Unresolved => "not resolved so far",
    }
}
