//! What the guard says of a request: forward it, or refuse it with one SCIM error; and which
//! rules it hit on the way.

use std::fmt;
use std::time::Duration;

use http::Method;
use serde::Serialize;

use crate::place::{IntoPlace, Place};
use crate::policy::{Action, Identity, Policy};
use crate::rate;
use crate::release::Release;
use crate::rule::Rule;
use crate::target::Handler;

/// The media type of every answer that the guard writes itself (RFC 7644 §8.2).
pub const SCIM_JSON: &str = "application/scim+json;charset=utf-8";

/// The schema of a SCIM error (RFC 7644 §3.12).
const ERROR_SCHEMA: [&str; 1] = ["urn:ietf:params:scim:api:messages:2.0:Error"];

/// A refusal: the one rule that answered, and the sentences for the admin who reads them.
///
/// SECURITY: `detail` never repeats a value that the client sent; attribute names, positions,
/// lengths and single characters are all it may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub rule: Rule,
    pub detail: String,
    /// Where in the request the rule was hit, if it is a part of it.
    pub at: Option<Place>,
    /// The value of the Allow header, with a 405 (RFC 9110 §15.5.6).
    pub allow: Option<&'static str>,
    /// Seconds after which another try is worth it, with a 429.
    pub retry_after: Option<u32>,
}

impl Refusal {
    pub fn new(rule: Rule, detail: impl Into<String>) -> Self {
        Self { rule, detail: detail.into(), at: None, allow: None, retry_after: None }
    }

    /// The same, to be tried again after this time.
    pub fn with_retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(rate::retry_after(wait)), ..self }
    }

    /// The HTTP status, from the rule's row.
    pub fn status(&self) -> u16 {
        self.rule.entry().status
    }

    /// The `WWW-Authenticate` challenge of a 401 (RFC 6750 §3): with an error code only when
    /// credentials came.
    pub fn challenge(&self) -> Option<&'static str> {
        match (self.status(), self.rule) {
            (401, Rule::TokenMissing) => Some(r#"Bearer realm="scim""#),
            (401, _) => Some(r#"Bearer realm="scim", error="invalid_token""#),
            _ => None,
        }
    }

    /// The SCIM error as JSON, its keys in alphabetical order as Wire writes them.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct ScimError<'a> {
            detail: &'a str,
            schemas: [&'a str; 1],
            #[serde(skip_serializing_if = "Option::is_none")]
            scim_type: Option<&'a str>,
            status: String,
        }
        let error = ScimError {
            detail: &self.detail,
            schemas: ERROR_SCHEMA,
            scim_type: self.rule.entry().scim_type.map(super::rule::ScimType::as_str),
            status: self.status().to_string(),
        };
        serde_json::to_vec(&error).unwrap_or_default()
    }
}

/// A rule that was hit and only reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    pub rule: Rule,
    /// The first place that hit it.
    pub at: Option<Place>,
}

/// What judging notes of a request that it does not refuse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Each rule once, in the order in which they were hit.
    pub reported: Vec<Hit>,
    /// Wire may refuse the request all the same, by a rule that the guard judges: its release, the
    /// team's identity mode or the stored user decides.
    pub left_to_wire: bool,
}

impl Remarks {
    /// Notes a rule that is only reported.
    fn report(&mut self, rule: Rule, at: Option<Place>) {
        if !self.reported.iter().any(|hit| hit.rule == rule) {
            self.reported.push(Hit { rule, at });
        }
    }

    /// Adds what was noted later.
    pub fn extend(&mut self, later: Self) {
        self.left_to_wire |= later.left_to_wire;
        for Hit { rule, at } in later.reported {
            self.report(rule, at);
        }
    }
}

/// The rules that a request hits, as they are seen: the first enforced one ends the judging.
#[derive(Debug, Clone)]
pub struct Findings<'p> {
    policy: &'p Policy,
    identity: Identity,
    remarks: Remarks,
}

impl<'p> Findings<'p> {
    pub fn new(policy: &'p Policy) -> Self {
        Self { policy, identity: policy.identity, remarks: Remarks::default() }
    }

    /// The same for a token whose team's mode is known.
    pub fn with_identity(self, identity: Option<Identity>) -> Self {
        Self { identity: identity.unwrap_or(self.identity), ..self }
    }

    /// The mode in which users are judged.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Notes a fault. `Err` ends the judging; `Ok` says to go on, as the rule is off or only
    /// reported. `detail` is asked for only when it is sent.
    pub fn hit<D: Into<String>>(
        &mut self,
        rule: Rule,
        at: impl IntoPlace,
        detail: impl FnOnce() -> D,
    ) -> Result<(), Refusal> {
        match self.policy.action(rule) {
            Action::Enforce => {
                Err(Refusal { at: Some(at.into_place()), ..Refusal::new(rule, detail()) })
            }
            Action::Report => {
                self.remarks.report(rule, Some(at.into_place()));
                Ok(())
            }
            Action::Off => Ok(()),
        }
    }

    /// Judges for every release that the backend may have, newest first, until one serves the
    /// request. If none does, the newest one's refusal is the answer. What the newest would refuse
    /// and an older one serves is reported.
    pub fn for_releases<T>(
        &mut self,
        judge: impl Fn(Release, &mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let releases = self.releases();
        let (newest, older) = (releases[0], &releases[1..]);
        let before = self.remarks.clone();
        let refusal = match judge(newest, self) {
            Err(refusal) if !older.is_empty() => refusal,
            judged => return judged,
        };
        for release in older {
            let mut findings = Self { remarks: before.clone(), ..*self };
            if let Ok(judged) = judge(*release, &mut findings) {
                self.remarks = findings.remarks;
                self.remarks.report(refusal.rule, refusal.at);
                return Ok(judged);
            }
        }
        Err(refusal)
    }

    /// The releases that the backend may have, newest first.
    pub fn releases(&self) -> &'static [Release] {
        self.policy.releases.candidates()
    }

    /// Notes that Wire may refuse what the guard lets pass.
    pub fn leave_to_wire(&mut self) {
        self.remarks.left_to_wire = true;
    }

    /// Notes a method that Wire does not serve on a path; `allow` lists those that it does.
    pub fn hit_method(&mut self, method: &Method, allow: &'static str) -> Result<(), Refusal> {
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let name = if known.contains(&method.as_str()) { method.as_str() } else { "This method" };
        self.hit(Rule::MethodNotAllowed, "method", || {
            format!("{name} is not served on this path. Wire serves {allow} here.")
        })
        .map_err(|refusal| Refusal { allow: Some(allow), ..refusal })
    }

    /// Whether anything would come of hitting `rule`; saves the work of looking.
    pub fn wants(&self, rule: Rule) -> bool {
        self.policy.action(rule) != Action::Off
    }

    /// What comes of hitting a rule.
    pub fn policy(&self) -> &'p Policy {
        self.policy
    }

    /// How many rules were hit and only reported.
    pub fn count(&self) -> usize {
        self.remarks.reported.len()
    }

    /// What was noted of the request.
    pub fn into_remarks(self) -> Remarks {
        self.remarks
    }
}

/// What becomes of a request that was judged whole.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It may go to the backend, under this target; `None`: under the target it came with.
    Forward {
        target: Option<Vec<u8>>,
    },
    Refuse(Refusal),
}

/// SECURITY: a target has a query, which names people.
impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward { .. } => f.debug_struct("Forward").finish_non_exhaustive(),
            Self::Refuse(refusal) => f.debug_tuple("Refuse").field(refusal).finish(),
        }
    }
}

/// What became of a request, as metrics and logs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerdictLabel {
    /// Forwarded, and the backend answered.
    Forwarded,
    /// Answered by the guard: a rule was hit.
    Refused,
    /// Forwarded although rules were hit, as these are only reported.
    Reported,
    /// Meant for the backend, which did not answer; or the client went away.
    Failed,
}

impl VerdictLabel {
    pub const ALL: [Self; 4] = [Self::Forwarded, Self::Refused, Self::Reported, Self::Failed];

    /// The label of a request that was judged and goes to the backend.
    pub fn of_passed(remarks: &Remarks) -> Self {
        if remarks.reported.is_empty() { Self::Forwarded } else { Self::Reported }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Refused => "refused",
            Self::Reported => "reported",
            Self::Failed => "failed",
        }
    }
}

/// The verdict on a whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The route, for metrics and logs.
    pub handler: Handler,
    pub remarks: Remarks,
    pub outcome: Outcome,
}

/// What of a name that a client chose is repeated to it: not much.
pub fn shortened(name: &str) -> &str {
    name.char_indices().nth(64).map_or(name, |(end, _)| &name[..end])
}
