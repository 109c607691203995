//! The data of the page and of `/i/state`.
//!
//! SECURITY: none of it comes from a client; token labels, file names and server names are the
//! operator's.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::activity::{RepairSummary, Summary};
use crate::deprovisioning::Counter;
use crate::input::value::duration_text;
use crate::logging;
use crate::metrics::ServerState;
use crate::removal::{self, LimitUse};
use crate::shared::{Down, SharedState};
use crate::snapshot::{LoadedRegistry, Snapshot};
use crate::timestamp::Timestamp;
use crate::tls::expiry::Expiry;

use super::Admin;
use super::advice::{self, Advice};

/// How many of the tokens that have used a limit are shown.
const SHOWN_TOKENS: usize = 50;

#[derive(Debug, Serialize)]
pub struct State {
    pub version: &'static str,
    pub now: Timestamp,
    pub started: Timestamp,
    pub stopping: bool,
    /// Whether rules that report may be enforced.
    pub enforce: Vec<Advice>,
    /// Events by rule: refused, reported, overruled and missed.
    pub rules: Vec<Summary>,
    pub repairs: Vec<RepairSummary>,
    pub servers: Vec<Server>,
    /// The tokens that have recently deleted or deactivated users, if that is limited; those
    /// nearest to their limit first.
    pub deprovisioning: Vec<Deprovisioning>,
    /// Absent where nothing is shared with other replicas.
    pub shared: Option<Shared>,
    /// Absent without a token registry.
    pub registry: Option<Registry>,
    /// Of the listeners that speak TLS.
    pub certificates: Vec<Certificate>,
    /// Why changed certificate files are not in use.
    pub certificates_failure: Option<String>,
    pub config: Config,
    pub log_lines_dropped: usize,
}

#[derive(Debug, Serialize)]
pub struct Server {
    pub server: String,
    pub state: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Deprovisioning {
    /// The label in the registry; absent for all other tokens together.
    pub token: Option<String>,
    /// Users that count now.
    pub used: u64,
    pub at_most: u32,
    pub within: String,
    /// Users since the start.
    pub total: u64,
}

#[derive(Debug, Serialize)]
pub struct Shared {
    pub store: String,
    pub on_failure: &'static str,
    /// Whether events of other replicas arrive.
    pub listening: bool,
    /// Why the store is not asked; absent while it answers.
    pub failure: Option<SharedFailure>,
}

#[derive(Debug, Serialize)]
pub struct SharedFailure {
    pub why: String,
    pub since: Timestamp,
}

#[derive(Debug, Serialize)]
pub struct Registry {
    pub file: String,
    pub tokens: usize,
    /// Since when it is in use.
    pub since: Timestamp,
    /// Why the file in its present form is not in use.
    pub failure: Option<String>,
    pub next_expiry: Option<NextExpiry>,
}

#[derive(Debug, Serialize)]
pub struct NextExpiry {
    pub token: String,
    pub at: Timestamp,
}

#[derive(Debug, Serialize)]
pub struct Certificate {
    /// The listener's address, and the number in its list.
    pub certificate: String,
    pub file: String,
    pub expires: Timestamp,
}

#[derive(Debug, Serialize)]
pub struct Config {
    pub file: Option<String>,
    /// Since when it is in use.
    pub since: Timestamp,
    /// When it was last reloaded, if ever.
    pub last_reload: Option<Timestamp>,
    /// Why the last reload failed: the files in their present form are not in use.
    pub failure: Option<String>,
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
            servers: servers
                .map(|(server, state)| Server { server, state: word(&state) })
                .collect(),
            deprovisioning: Deprovisioning::list(&snapshot, admin.metrics.deprovisioning()),
            shared: snapshot.shared.as_ref().map(|shared| Shared::of(shared)),
            registry: snapshot
                .registry
                .as_ref()
                .map(|registry| Registry::of(registry, config.tokens.as_deref())),
            certificates: snapshot.tls.expiries().iter().map(Certificate::of).collect(),
            certificates_failure: admin.reloads.certificates_failure().map(|why| why.to_string()),
            config: Config {
                since: Timestamp(admin.reloads.applied().unwrap_or(admin.metrics.started())),
                last_reload: admin.reloads.last_at().map(Timestamp),
                failure: admin.reloads.failure().map(|errors| errors.to_string()),
                file: config.file.as_deref().map(shown),
                fingerprint: format!("{:012x}", snapshot.fingerprint()),
                warnings: config.warnings.iter().map(ToString::to_string).collect(),
            },
            log_lines_dropped: logging::dropped_lines(),
        }
    }
}

impl Deprovisioning {
    fn list(snapshot: &Snapshot, counter: &Counter) -> Vec<Self> {
        let mut uses = removal::uses(snapshot, counter);
        uses.retain(|token| token.total > 0 || token.used > 0);
        uses.sort_by_key(|LimitUse { used, limit, .. }| {
            std::cmp::Reverse(used.saturating_mul(1_000_000) / u64::from(limit.at_most))
        });
        uses.truncate(SHOWN_TOKENS);
        let shown = |LimitUse { label, limit, used, total }| Self {
            token: label,
            used,
            at_most: limit.at_most,
            within: duration_text(limit.within),
            total,
        };
        uses.into_iter().map(shown).collect()
    }
}

impl Shared {
    pub fn of(shared: &SharedState) -> Self {
        let (settings, status) = (shared.settings(), shared.status());
        let failure = status
            .failure()
            .map(|Down { why, since }| SharedFailure { why, since: Timestamp(since) });
        Self {
            store: settings.store.to_string(),
            on_failure: settings.on_failure.as_str(),
            listening: status.is_listening(),
            failure,
        }
    }

    /// One sentence about the state.
    pub fn sentence(&self) -> String {
        let Some(SharedFailure { why, since }) = &self.failure else {
            let events =
                if self.listening { "" } else { ", but events of other replicas do not arrive" };
            return format!("the store answers{events}");
        };
        let decided = match self.on_failure {
            "refuse" => "requests that a budget concerns are refused",
            _ => "each replica decides by its own budgets",
        };
        format!("the store {why}, since {}; {decided}", since.seconds())
    }
}

impl Certificate {
    fn of(expiry: &Expiry) -> Self {
        let after = Duration::from_secs(u64::try_from(expiry.not_after).unwrap_or(0));
        Self {
            certificate: expiry.certificate.clone(),
            file: shown(&expiry.path),
            expires: Timestamp(SystemTime::UNIX_EPOCH + after),
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
            next_expiry: next.map(|(entry, at)| NextExpiry {
                token: entry.label.as_str().to_owned(),
                at: Timestamp(at),
            }),
        }
    }
}

fn shown(path: &Path) -> String {
    // SECURITY: a token may have been written in place of a path.
    crate::secret::redacted(&path.display().to_string())
}

fn word(state: &ServerState) -> &'static str {
    match state {
        ServerState::Healthy => "in rotation",
        ServerState::Unhealthy { .. } => "skipped after failures",
        ServerState::Unresolved => "not resolved so far",
    }
}
