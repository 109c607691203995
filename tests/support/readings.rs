//! Compares the guard's verdict on a document with the stand-in's.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::sync::LazyLock;

use wire_scim_guard::config::Config;
use wire_scim_guard::evaluator::{CheckReport, Evaluator};
use wire_scim_guard::policy::{Identity, Policy, Profile};
use wire_scim_guard::release::{Release, Releases};
use wire_scim_guard::rule::{Rule, ScimType};
use wire_scim_guard::standin::reading::{Email, Fault, Mode, User};

/// A guard for one release and one identity mode, with the stand-in's names of both.
pub struct Judge {
    pub guard: Evaluator,
    pub release: Release,
    pub mode: Mode,
}

/// One for each release and mode.
pub static JUDGES: LazyLock<Vec<Judge>> = LazyLock::new(|| {
    let modes = [(Mode::Email, Identity::Email), (Mode::Saml, Identity::Saml)];
    let judge = |release, (mode, identity)| {
        let mut config = Config::new(Vec::new(), Vec::new());
        config.policy = Policy::new(Profile::AsServed, identity);
        config.policy.releases = Releases::Only(release);
        Judge { guard: Evaluator::new(&config).unwrap(), release, mode }
    };
    let of_release = |release| modes.map(|mode| judge(release, mode));
    Release::ALL.into_iter().flat_map(of_release).collect()
});

/// The rules by which the guard may refuse what Wire serves.
fn is_stricter(rule: Rule) -> bool {
    [
        Rule::JsonDuplicateKey,
        Rule::JsonSyntax,
        Rule::JsonDepth,
        Rule::JsonNumber,
        Rule::UserUserNameReserved,
    ]
    .contains(&rule)
}

/// Compares a report with the stand-in's outcome for the same document; a PATCH has one outcome for each
/// stored user.
pub fn agree<T: serde::Serialize>(body: &str, report: &CheckReport, outcomes: &[Result<T, Fault>]) {
    let served = outcomes.iter().find_map(|outcome| outcome.as_ref().ok());
    let Some(refusal) = &report.refusal else {
        assert!(served.is_some(), "false pass: {body}");
        if let (Some(reading), Some(served)) = (&report.reading, served) {
            let served = serde_json::to_value(served).unwrap();
            assert_eq!(
                serde_json::to_value(reading).unwrap(),
                served,
                "parsed differently: {body}"
            );
        }
        return;
    };
    if is_stricter(refusal.rule) {
        return;
    }
    assert!(served.is_none(), "false refusal by {}: {body}", refusal.rule);
    let known = |outcome: &Result<T, Fault>| match outcome {
        Err(Fault::Parse(_)) => refusal.status() == 400,
        Err(Fault::Rule { status: 500, .. }) => refusal.status() == 400,
        Err(Fault::Rule { status, scim_type, .. }) => {
            refusal.status() == *status
                && refusal.rule.entry().scim_type.map(ScimType::as_str) == *scim_type
        }
        Ok(_) => false,
    };
    assert!(outcomes.iter().any(known), "no outcome matches {}: {body}", refusal.rule);
}

/// Stored users that a PATCH may be applied to.
pub fn stored() -> Vec<User> {
    let user = |external_id: &str, emails: &[&str], display_name: Option<&str>| User {
        user_name: "sample".into(),
        external_id: Some(external_id.into()),
        display_name: display_name.map(str::to_owned),
        emails: emails
            .iter()
            .map(|address| Email { primary: Some(true), ..Email::plain(address) })
            .collect(),
        ..User::default()
    };
    let absorbing = User {
        // Entries that a value path may select, so that it appends none.
        emails: ["work", "home", "", "Work"]
            .iter()
            .map(|kind| Email {
                kind: Some((*kind).to_owned()),
                primary: Some(false),
                ..Email::plain("sample@example.com")
            })
            .collect(),
        ..user("sample@example.com", &[], Some("Sample"))
    };
    vec![
        absorbing,
        user("sample@example.com", &["sample@example.com"], Some("Sample")),
        user("name-id", &["sample@example.com"], Some("Sample")),
        user("sample@example.com", &[], None),
    ]
}
