//! Whether Wire agreed: what its answer to a forwarded request says about the guard's verdict.
//!
//! A rule that is only reported means that the guard would have refused the request; the answer
//! shows whether that would have been correct. A request without a reported rule should be served,
//! or refused for a reason that only Wire knows.

use strum::IntoStaticStr;

use crate::findings::Remarks;
use crate::rule::Rule;

/// The value of the label `outcome` of `scim_guard_agreement_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Outcome {
    /// A rule was reported, and Wire refused the request.
    Confirmed,
    /// A rule was reported, and Wire served the request.
    Overruled,
    /// No rule was reported, and Wire refused what the guard should have known.
    Missed,
    /// No rule was reported; Wire served the request, or refused it for a reason that only Wire
    /// knows.
    Agreed,
    /// There was no answer, or its status says nothing about the request.
    Undecided,
}

impl Outcome {
    pub const ALL: [Self; 5] =
        [Self::Confirmed, Self::Overruled, Self::Missed, Self::Agreed, Self::Undecided];

    pub fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// The outcome for a request that was judged and forwarded; `status` is that of Wire's answer.
    pub fn of(remarks: &Remarks, status: Option<u16>) -> Self {
        let Some(status) = status else { return Self::Undecided };
        if let Some(first) = remarks.reported.first() {
            return match status {
                200..=299 => Self::Overruled,
                400 | 405 | 406 | 413 | 415 | 500 | 501 => Self::Confirmed,
                401 | 403 if is_about_token(first.rule) => Self::Confirmed,
                _ => Self::Undecided,
            };
        }
        match status {
            200..=299 | 401 | 403 | 404 | 409 | 412 | 420 | 429 => Self::Agreed,
            400 | 405 | 406 | 413 | 415 | 501 if remarks.left_to_wire => Self::Agreed,
            400 | 405 | 406 | 413 | 415 | 501 => Self::Missed,
            _ => Self::Undecided,
        }
    }
}

fn is_about_token(rule: Rule) -> bool {
    rule.id().starts_with("token.")
}

/// The `scimType` of a SCIM error (RFC 7644 §3.12).
///
/// SECURITY: only a keyword of the RFC is taken from the backend's answer, so that nothing else of
/// it reaches a log.
pub fn scim_type(body: &[u8]) -> Option<&'static str> {
    const KEYWORDS: [&str; 11] = [
        "invalidFilter",
        "tooMany",
        "uniqueness",
        "mutability",
        "invalidSyntax",
        "invalidPath",
        "noTarget",
        "invalidValue",
        "invalidVers",
        "sensitive",
        "internal",
    ];
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ScimError {
        scim_type: Option<String>,
    }
    let error: ScimError = serde_json::from_slice(body).ok()?;
    let scim_type = error.scim_type?;
    KEYWORDS.into_iter().find(|keyword| *keyword == scim_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Hit;

    fn reported(rule: Rule) -> Remarks {
        Remarks { reported: vec![Hit { rule, at: None }], ..Remarks::default() }
    }

    #[test]
    fn a_reported_rule_is_confirmed_or_overruled() {
        let roles = reported(Rule::UserRoles);
        for (status, outcome) in [
            (Some(201), Outcome::Overruled),
            (Some(400), Outcome::Confirmed),
            (Some(413), Outcome::Confirmed),
            (Some(500), Outcome::Confirmed),
            (Some(401), Outcome::Undecided),
            (Some(409), Outcome::Undecided),
            (Some(302), Outcome::Undecided),
            (None, Outcome::Undecided),
        ] {
            assert_eq!(Outcome::of(&roles, status), outcome, "{status:?}");
        }
        let token = reported(Rule::TokenExpired);
        for status in [400, 401, 403] {
            assert_eq!(Outcome::of(&token, Some(status)), Outcome::Confirmed, "{status}");
        }
    }

    #[test]
    fn without_one_wire_agrees_or_the_guard_missed_something() {
        let none = Remarks::default();
        let left = Remarks { left_to_wire: true, ..Remarks::default() };
        for (status, outcome, if_left) in [
            (200, Outcome::Agreed, Outcome::Agreed),
            (409, Outcome::Agreed, Outcome::Agreed),
            (420, Outcome::Agreed, Outcome::Agreed),
            (400, Outcome::Missed, Outcome::Agreed),
            (413, Outcome::Missed, Outcome::Agreed),
            (500, Outcome::Undecided, Outcome::Undecided),
            (301, Outcome::Undecided, Outcome::Undecided),
        ] {
            assert_eq!(Outcome::of(&none, Some(status)), outcome, "{status}");
            assert_eq!(Outcome::of(&left, Some(status)), if_left, "{status}");
        }
    }

    #[test]
    fn only_keywords_are_taken_from_an_answer() {
        assert_eq!(scim_type(br#"{"scimType":"invalidPath"}"#), Some("invalidPath"));
        for body in [&b"{}"[..], b"x", br#"{"scimType":"alice@example.com"}"#, br#"{"scimType":1}"#]
        {
            assert_eq!(scim_type(body), None);
        }
    }
}
