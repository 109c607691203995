//! A refusal of the guard, and the SCIM error (RFC 7644 §3.12) that the client receives for it.

use std::fmt::Write;
use std::time::Duration;

use crate::json;
use crate::place::Place;
use crate::rate;
use crate::rule::{Rule, ScimType};

/// The media type of every answer that the guard writes itself (RFC 7644 §8.2).
pub const SCIM_JSON: &str = "application/scim+json;charset=utf-8";

/// The schema of a SCIM error (RFC 7644 §3.12).
pub(crate) const ERROR_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// A refusal: the rule that was hit, and a message for the admin of the client.
///
/// SECURITY: `detail` never repeats a value that the client sent; it may contain only attribute
/// names, positions, lengths and single characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub rule: Rule,
    pub detail: String,
    /// Where in the request the rule was hit, if in a part of it.
    pub at: Option<Place>,
    /// The value of the Allow header, with a 405 (RFC 9110 §15.5.6).
    pub allow: Option<&'static str>,
    /// The value of the Retry-After header in seconds, with a 429.
    pub retry_after: Option<u32>,
}

impl Refusal {
    pub fn new(rule: Rule, detail: impl Into<String>) -> Self {
        Self { rule, detail: detail.into(), at: None, allow: None, retry_after: None }
    }

    /// The same refusal with a Retry-After of this time.
    pub fn with_retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(rate::retry_after(wait)), ..self }
    }

    /// The HTTP status, from the rule's row.
    pub fn status(&self) -> u16 {
        self.rule.entry().status
    }

    /// The `WWW-Authenticate` challenge of a 401 (RFC 6750 §3): with an error code only if
    /// credentials were sent.
    pub fn challenge(&self) -> Option<&'static str> {
        match (self.status(), self.rule) {
            (401, Rule::TokenMissing) => Some(r#"Bearer realm="scim""#),
            (401, _) => Some(r#"Bearer realm="scim", error="invalid_token""#),
            _ => None,
        }
    }

    /// The SCIM error as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        error_json(self.status(), self.rule.entry().scim_type, &self.detail)
    }
}

/// A SCIM error as JSON, its keys in alphabetical order as Wire writes them.
pub(crate) fn error_json(status: u16, scim_type: Option<ScimType>, detail: &str) -> Vec<u8> {
    // The other members have about 100 bytes.
    let mut json = String::with_capacity(detail.len() + 192);
    json.push_str("{\"detail\":");
    json::push_string(&mut json, detail);
    json.push_str(",\"schemas\":[\"");
    json.push_str(ERROR_SCHEMA);
    json.push_str("\"],");
    if let Some(scim_type) = scim_type {
        json.push_str("\"scimType\":\"");
        json.push_str(scim_type.as_str());
        json.push_str("\",");
    }
    let _ = write!(json, "\"status\":\"{status}\"}}");
    json.into_bytes()
}

/// The beginning of a name that the client chose, short enough to be repeated in a message.
pub fn shortened(name: &str) -> &str {
    name.char_indices().nth(64).map_or(name, |(end, _)| &name[..end])
}
