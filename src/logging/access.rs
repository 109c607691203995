//! The access log: which lines about requests are written, and where.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tracing::Level;

use crate::config::{AccessLines, Log};
use crate::fraction::Sampler;

use super::lines::{Access, Disagreement, Tunnel};
use super::sink;
use super::style::{Line, Style};

/// Where access lines go.
#[derive(Debug, Clone)]
pub struct AccessLog {
    to: To,
    settings: Arc<ArcSwap<Settings>>,
    sampler: Arc<Sampler>,
}

/// The settings of the configuration.
#[derive(Debug, Clone, Copy)]
struct Settings {
    style: Style,
    /// For which requests to write a line.
    requests: AccessLines,
    /// Whether to write warnings.
    warnings: bool,
}

impl Settings {
    fn of(log: &Log) -> Self {
        let warnings = log.level >= Level::WARN;
        Self { style: Style::of(log), requests: log.access, warnings }
    }
}

impl Default for AccessLog {
    /// Writes nothing.
    fn default() -> Self {
        Self { to: To::Nowhere, ..Self::new(&Log::default()) }
    }
}

#[derive(Debug, Clone)]
enum To {
    Nowhere,
    Stderr,
    Memory(Arc<Mutex<Vec<u8>>>),
}

impl AccessLog {
    /// Writes to standard error the lines that the configuration selects.
    pub fn new(log: &Log) -> Self {
        let settings = Arc::new(ArcSwap::from_pointee(Settings::of(log)));
        Self { to: To::Stderr, settings, sampler: Arc::default() }
    }

    /// Applies another configuration, for all clones.
    pub fn configure(&self, log: &Log) {
        self.settings.store(Arc::new(Settings::of(log)));
    }

    /// A buffer that the caller reads, for tests.
    pub fn memory() -> (Self, Arc<Mutex<Vec<u8>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        (Self { to: To::Memory(Arc::clone(&lines)), ..Self::new(&Log::default()) }, lines)
    }

    /// The same with other settings.
    pub fn with(self, log: &Log) -> Self {
        Self { to: self.to, ..Self::new(log) }
    }

    /// Whether a line is written for this request; if not, callers need not collect its fields.
    /// `always`: the request is one that is logged even if only a fraction is.
    pub fn wants(&self, always: bool) -> bool {
        match self.settings.load().requests {
            AccessLines::None => false,
            AccessLines::All => true,
            AccessLines::Sample(share) => always || self.sampler.next(share),
        }
    }

    /// Writes the line of a request.
    pub fn write(&self, access: &Access<'_>) {
        self.write_line(access);
    }

    /// Writes the line of a request on which Wire and the guard disagree.
    pub fn write_disagreement(&self, disagreement: &Disagreement<'_>) {
        if self.settings.load().warnings {
            self.write_line(disagreement);
        }
    }

    /// Writes the line of a connection that had switched to WebSocket.
    pub fn write_tunnel(&self, tunnel: &Tunnel<'_>) {
        if self.wants(false) {
            self.write_line(tunnel);
        }
    }

    /// Writes a line to the same place as the others, but not through their queue; to standard
    /// error by `write`.
    pub(crate) fn write_certainly(&self, line: &impl Line, write: impl FnOnce(&[u8])) {
        let Some(bytes) = self.settings.load().style.line(line) else { return };
        match &self.to {
            To::Nowhere => {}
            To::Stderr => write(&bytes),
            To::Memory(lines) => {
                lines.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes);
            }
        }
    }

    fn write_line(&self, line: &impl Line) {
        let Some(bytes) = self.settings.load().style.line(line) else { return };
        match &self.to {
            To::Nowhere => {}
            // When the queue is full, the line is dropped and counted.
            To::Stderr => drop(sink().writer.clone().write_all(&bytes)),
            To::Memory(lines) => {
                lines.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_access_line_is_one_json_object_in_the_format_of_wires_services() {
        let (log, lines) = AccessLog::memory();
        log.write(&Access {
            level: "Info",
            msgs: ["request"],
            request_id: "r-1",
            handler: "/scim/v2/Users",
            method: "POST",
            status: 400,
            verdict: "refused",
            rule: Some("user.user_name"),
            reported: &["user.roles"],
            at: &[Some("roles[0]"), Some("userName")],
            repaired: &["language"],
            duration: Duration::from_micros(1500),
            validation: Duration::from_micros(3),
            upstream_duration: None,
            bytes_in: 10,
            bytes_out: 200,
            client: Some([192, 0, 2, 1].into()),
            token: Some("okta"),
            upstream: None,
        });
        let line = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
        assert!(line.ends_with("}\n"));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "Info");
        assert_eq!(line["request"], "r-1");
        assert_eq!(line["rule"], "user.user_name");
        assert_eq!(line["reported"][0], "user.roles");
        assert_eq!(line["at"], serde_json::json!(["roles[0]", "userName"]));
        assert_eq!(line["repaired"], serde_json::json!(["language"]));
        assert_eq!(line["duration_ms"], 1.5);
        assert_eq!(line["client"], "192.0.2.1");
        assert_eq!(line["token"], "okta");
        assert!(line.get("upstream").is_none());
    }
}
