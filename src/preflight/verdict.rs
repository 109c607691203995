//! The verdict on what would be sent: the only place where the guard is called.

use crate::evaluator::{CheckKind, CheckReport, Evaluator};
use crate::rule::Rule;
use crate::scim::user::Reading;

/// What the guard would answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The rule that refuses, and its message.
    pub refusal: Option<(Rule, String)>,
    /// What Wire stores for an accepted user.
    pub reading: Option<Reading>,
}

/// Judges the JSON of a user as if the user were new.
pub fn judge(guard: &Evaluator, body: &[u8]) -> Verdict {
    let CheckReport { refusal, reading, .. } = guard.check(CheckKind::User, body);
    Verdict { refusal: refusal.map(|refusal| (refusal.rule, refusal.detail)), reading }
}
