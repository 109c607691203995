//! One line of the audit log.

use std::fmt::Write as _;
use std::net::IpAddr;

use serde::Serialize;
use strum::IntoStaticStr;

use crate::logging::Line;
use crate::timestamp::Timestamp;

use super::{Action, Resource};

/// How an audited request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Outcome {
    /// Wire carried it out.
    Done,
    /// The guard refused it; `rule` says why.
    Refused,
    /// Wire refused it; `status` is its answer.
    Rejected,
    /// There was no answer, or a server error: it may have been carried out.
    Unknown,
}

#[derive(Debug, Serialize)]
pub struct AuditLine {
    pub level: &'static str,
    pub msgs: [&'static str; 1],
    /// When the request arrived.
    pub time: Timestamp,
    pub request: String,
    /// The token's label in the registry; null without one.
    pub token: Option<String>,
    pub client: Option<IpAddr>,
    #[serde(serialize_with = "word")]
    pub action: Action,
    #[serde(serialize_with = "word")]
    pub resource: Resource,
    /// From the path, or from Wire's answer to a creation.
    pub id: Option<String>,
    /// The names of what it sets.
    pub attributes: Vec<String>,
    /// The keyed hash of the externalId, if the request has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repaired: Vec<&'static str>,
    #[serde(serialize_with = "word")]
    pub outcome: Outcome,
    /// The status that the client received; null if it had disconnected.
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
}

fn word<S: serde::Serializer, T: Copy + Into<&'static str>>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str((*value).into())
}

impl Line for AuditLine {
    fn has_time(&self) -> bool {
        true
    }

    fn text(&self, out: &mut String) {
        let Self { level, time, action, resource, outcome, .. } = self;
        let (action, resource): (&str, &str) = (action.into(), resource.into());
        let outcome: &str = outcome.into();
        let _ = write!(out, "{time} {level:<5} audit: {action} {resource}");
        if let Some(id) = &self.id {
            let _ = write!(out, " {id}");
        }
        let _ = write!(out, " {outcome}");
        if let Some(status) = self.status {
            let _ = write!(out, " {status}");
        }
        if let Some(rule) = self.rule {
            let _ = write!(out, " by {rule}");
        }
        if !self.attributes.is_empty() {
            let _ = write!(out, " sets {}", self.attributes.join(" "));
        }
        if !self.repaired.is_empty() {
            let _ = write!(out, " repaired {}", self.repaired.join(" "));
        }
        if let Some(person) = &self.person {
            let _ = write!(out, " person {person}");
        }
        if let Some(client) = self.client {
            let _ = write!(out, " from {client}");
        }
        if let Some(token) = &self.token {
            let _ = write!(out, " token {token}");
        }
        let _ = write!(out, " request {}", self.request);
    }
}
