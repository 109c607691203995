//! Whether it is safe to enforce a rule that only reports.

use serde::Serialize;

use crate::activity::{Counts, Summary};
use crate::policy::{Action, Policy};
use crate::rule::Rule;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Yes,
    No,
    /// It is stricter than Wire by design: enforcing it refuses what Wire serves, which is its
    /// purpose.
    Policy,
    /// It was not hit, or Wire's answers were not conclusive.
    Unknown,
}

/// The answer for one rule.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    pub rule: &'static str,
    pub safe_to_enforce: Answer,
    pub why: String,
}

/// The answers for all rules that report.
pub fn of(policy: &Policy, activity: &[Summary]) -> Vec<Advice> {
    let reporting = Rule::all().filter(|rule| policy.action(*rule) == Action::Report);
    let advice = |rule: Rule| {
        let noted = activity.iter().find(|summary| summary.rule == rule.id());
        of_rule(rule, noted.map(|summary| summary.since_start).unwrap_or_default())
    };
    reporting.map(advice).collect()
}

fn of_rule(rule: Rule, counts: Counts) -> Advice {
    let Counts { reported, confirmed, overruled, .. } = counts;
    let (safe_to_enforce, why) = match (rule.entry().policy, overruled, confirmed) {
        (true, ..) => (
            Answer::Policy,
            format!(
                "It is stricter than Wire by design. Enforced, it would have refused {reported} requests, of which \
                 Wire served {overruled}."
            ),
        ),
        (false, 1.., _) => (
            Answer::No,
            format!("Wire served {overruled} of {reported} requests that it would have refused."),
        ),
        (false, 0, 1..) => (
            Answer::Yes,
            format!(
                "Wire itself refused {confirmed} of {reported} requests that it reported, and served none."
            ),
        ),
        (false, 0, 0) if reported > 0 => (
            Answer::Unknown,
            format!("It reported {reported} requests, and no answer of Wire decides."),
        ),
        (false, 0, 0) => (Answer::Unknown, "No request has hit it since the start.".into()),
    };
    Advice { rule: rule.id(), safe_to_enforce, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_follows_from_what_wire_answered() {
        let counts = |reported, confirmed, overruled| Counts {
            reported,
            confirmed,
            overruled,
            ..Counts::default()
        };
        for (rule, counts, answer) in [
            (Rule::UserRoles, counts(0, 0, 0), Answer::Unknown),
            (Rule::UserRoles, counts(3, 0, 0), Answer::Unknown),
            (Rule::UserRoles, counts(3, 3, 0), Answer::Yes),
            (Rule::UserRoles, counts(3, 2, 1), Answer::No),
            (Rule::UserUserNameCase, counts(3, 0, 3), Answer::Policy),
        ] {
            assert_eq!(of_rule(rule, counts).safe_to_enforce, answer, "{counts:?}");
        }
    }

    #[test]
    fn only_rules_that_report_are_listed() {
        let mut policy = crate::config::Config::new(Vec::new(), Vec::new()).policy;
        assert_eq!(of(&policy, &[]), []);
        policy.set("user.roles", Action::Report).unwrap();
        assert_eq!(of(&policy, &[])[0].rule, "user.roles");
    }
}
