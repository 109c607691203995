//! The section `rules`: profile, single actions and the global switch, folded into a policy.

use super::words::{ACTIONS, PROFILES};
use crate::input::near;
use crate::input::section::Section;
use crate::policy::{Action, Identity, Policy, PolicyError, Profile};
use crate::rule::Rule;

/// Reads the section: the policy, and the global switch if it is set. `profile` and `identity` come
/// from the command line, or from another section.
pub fn read(
    mut rules: Section<'_, '_>,
    profile: Option<Profile>,
    identity: Identity,
) -> (Policy, Option<Action>) {
    let written = rules.field("profile").and_then(|field| field.choice(&PROFILES));
    let profile = profile.or(written).unwrap_or(Profile::Documented);
    let mode = rules.field("mode").and_then(|field| field.choice(&ACTIONS));
    let mut policy = Policy::new(profile, identity);
    read_actions(rules.section("actions"), &mut policy);
    if let Some(mode) = mode {
        policy.cap(mode);
    }
    rules.close();
    (policy, mode)
}

/// Applies the single actions, the most general pattern first: the keys of a mapping have no order.
fn read_actions(mut section: Section<'_, '_>, policy: &mut Policy) {
    let mut actions = section.rest();
    actions.sort_by_key(|(pattern, ..)| (!pattern.ends_with('*'), pattern.len()));
    for (pattern, at, field) in actions {
        // If the action itself is invalid, the pattern is still checked, with an action that every
        // rule accepts.
        let action = field.choice(&ACTIONS).unwrap_or(Action::Enforce);
        if let Err(error) = policy.set(pattern, action) {
            field.error_at(at, explain(&error));
        }
    }
}

fn explain(error: &PolicyError) -> String {
    match error {
        PolicyError::Unknown(pattern) => {
            let groups = groups().map(|group| format!("{group}.*"));
            let known: Vec<String> = Rule::all().map(|r| r.id().into()).chain(groups).collect();
            let hint = near::hint(pattern, known.iter().map(String::as_str));
            if hint.is_empty() { error.to_string() } else { format!("no such rule{hint}") }
        }
        PolicyError::Fixed(..) => error.to_string(),
    }
}

/// The names of the rules' groups: the part before the first dot.
fn groups() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    Rule::all().filter_map(move |rule| {
        let group = rule.id().split('.').next()?;
        let new = group != last;
        last = group;
        new.then_some(group)
    })
}
