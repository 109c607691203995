//! The lines about requests and connections, with the fields in the order of the line.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::style::Line;

/// One line of the access log; the fields are in the order of the line.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Access<'a> {
    /// `Info`; with `msgs`, the word that identifies these lines, it is what every line of Wire's services has.
    pub level: &'static str,
    pub msgs: [&'static str; 1],
    #[serde(rename = "request")]
    pub request_id: &'a str,
    pub handler: &'static str,
    pub method: &'static str,
    pub status: u16,
    pub verdict: &'static str,
    /// The rule that refused the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// Rules that were hit and only reported.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub reported: &'a [&'static str],
    /// Where in the request each of `reported` was hit, and then `rule`; null if that is not in the body.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub at: &'a [Option<&'a str>],
    /// The repairs that changed the request before it was forwarded.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub repaired: &'a [&'static str],
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    #[serde(rename = "validation_ms", serialize_with = "millis")]
    pub validation: Duration,
    #[serde(
        rename = "upstream_ms",
        skip_serializing_if = "Option::is_none",
        serialize_with = "some_millis"
    )]
    pub upstream_duration: Option<Duration>,
    /// Bytes of the request body that were read.
    pub bytes_in: usize,
    /// Bytes of the answer's body.
    pub bytes_out: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// The token's label in the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<SocketAddr>,
}

impl Line for Access<'_> {
    fn text(&self, out: &mut String) {
        let Self { level, method, handler, status, verdict, .. } = self;
        let _ = write!(out, "{level:<5} {method} {handler} {status} {verdict}");
        if let Some(rule) = self.rule {
            let _ = write!(out, " by {rule}");
        }
        if !self.reported.is_empty() {
            let _ = write!(out, ", reported {}", self.reported.join(" "));
        }
        let places: Vec<&str> = self.at.iter().flatten().copied().collect();
        if !places.is_empty() {
            let _ = write!(out, " at {}", places.join(" "));
        }
        if !self.repaired.is_empty() {
            let _ = write!(out, ", repaired {}", self.repaired.join(" "));
        }
        let _ = write!(out, " in {:.1} ms", self.duration.as_secs_f64() * 1000.0);
        if let Some(client) = self.client {
            let _ = write!(out, " from {client}");
        }
        if let Some(token) = self.token {
            let _ = write!(out, " token {token}");
        }
        let _ = write!(out, " request {}", self.request_id);
    }
}

/// A line about a request on which Wire and the guard disagree.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Disagreement<'a> {
    pub level: &'static str,
    pub msgs: [&'static str; 1],
    #[serde(rename = "request")]
    pub request_id: &'a str,
    pub handler: &'static str,
    pub method: &'static str,
    pub outcome: &'static str,
    /// The first reported rule; null for a request that the guard should have refused.
    pub rule: Option<&'static str>,
    /// Where the request hit the rule.
    pub at: Option<&'a str>,
    /// The status of Wire's answer.
    pub status: u16,
    /// The scimType of Wire's answer; null if it has none or could not be read.
    #[serde(rename = "scimType")]
    pub scim_type: Option<&'static str>,
}

impl Line for Disagreement<'_> {
    fn text(&self, out: &mut String) {
        let Self { level, method, handler, outcome, status, .. } = self;
        let _ = write!(out, "{level:<5} {outcome}: {method} {handler}, Wire answered {status}");
        if let Some(scim_type) = self.scim_type {
            let _ = write!(out, " {scim_type}");
        }
        if let Some(rule) = self.rule {
            let _ = write!(out, ", reported {rule}");
        }
        if let Some(at) = self.at {
            let _ = write!(out, " at {at}");
        }
        let _ = write!(out, " request {}", self.request_id);
    }
}

/// The line of a connection that had switched to WebSocket, when it has ended.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Tunnel<'a> {
    pub level: &'static str,
    pub msgs: [&'static str; 1],
    /// The id of the request that switched.
    #[serde(rename = "request")]
    pub request_id: &'a str,
    /// Who or what ended it: client, backend, idle, stopping or memory.
    pub ended_by: &'static str,
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    /// Bytes from the client after the switch.
    pub bytes_in: u64,
    /// Bytes to the client after the switch.
    pub bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<SocketAddr>,
}

impl Line for Tunnel<'_> {
    fn text(&self, out: &mut String) {
        let Self { level, ended_by, bytes_in, bytes_out, .. } = self;
        let _ = write!(
            out,
            "{level:<5} connection ended by {ended_by}, {bytes_in} bytes in, {bytes_out} out"
        );
        let _ = write!(out, " in {:.1} ms", self.duration.as_secs_f64() * 1000.0);
        if let Some(client) = self.client {
            let _ = write!(out, " from {client}");
        }
        let _ = write!(out, " request {}", self.request_id);
    }
}

/// Milliseconds with three decimal places.
fn millis<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_micros() as f64 / 1000.0)
}

fn some_millis<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    millis(&time.unwrap_or_default(), serializer)
}
