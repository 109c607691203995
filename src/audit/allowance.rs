//! The line that says what a token may delete or deactivate beyond its limit.

use std::fmt::Write as _;

use serde::Serialize;

use crate::deprovisioning::AllowanceChange;
use crate::logging::Line;
use crate::timestamp::Timestamp;

/// Written when the token registry says something new: there is no request, and no answer.
#[derive(Debug, Serialize)]
pub struct AllowanceLine {
    level: &'static str,
    msgs: [&'static str; 1],
    /// When the guard began to use the change.
    time: Timestamp,
    token: String,
    /// `allow`, or `disallow`.
    action: &'static str,
    resource: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    outcome: &'static str,
}

impl AllowanceLine {
    pub fn new(change: AllowanceChange) -> Self {
        let AllowanceChange { label, allowance } = change;
        Self {
            level: "Info",
            msgs: ["audit"],
            time: Timestamp::now(),
            token: label,
            action: if allowance.is_some() { "allow" } else { "disallow" },
            resource: "deprovisioning",
            count: allowance.map(|allowance| allowance.count),
            until: allowance.map(|allowance| Timestamp(allowance.until)),
            outcome: "done",
        }
    }
}

impl Line for AllowanceLine {
    fn has_time(&self) -> bool {
        true
    }

    fn text(&self, out: &mut String) {
        let Self { level, time, action, resource, outcome, token, .. } = self;
        let _ = write!(out, "{time} {level:<5} audit: {action} {resource} {outcome}");
        if let (Some(count), Some(until)) = (self.count, self.until) {
            let _ = write!(out, " {count} until {until}");
        }
        let _ = write!(out, " token {token}");
    }
}
