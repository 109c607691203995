//! The section `rules`: profile, single actions and the global switch, folded into a policy.

use super::words::{ACTIONS, PROFILES};
use crate::input::key::{Absent, Key, Kind, name_of, names};
use crate::input::near;
use crate::input::section::Section;
use crate::policy::{Action, Identity, Policy, PolicyError, Profile};
use crate::rule::Rule;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "profile",
        Kind::Word(|| names(&PROFILES)),
        Absent::Value(|| name_of(&PROFILES, &DEFAULT_PROFILE)),
        "`documented`: what Wire's documentation requires (no capital letters in userName, a \
         displayName). `as-served`: what Wire's server accepts, unless it is ambiguous or \
         exceeds a limit.",
    ),
    Key::new(
        "mode",
        ACTION,
        Absent::Value(|| Action::Enforce.as_str().into()),
        "The global switch. `enforce`: each rule's action applies. `report`: hits are counted \
         and logged, and the request is forwarded; this includes the token registry, so that \
         expired tokens pass. `off`: nothing is judged. Rules that cannot be switched are \
         enforced in every mode.",
    ),
    Key::new(
        "actions",
        Kind::Names(&ACTION, patterns),
        Absent::Otherwise(
            "those of the profile",
            "{user.display_name.required: report, \"patch.*\": report}",
        ),
        "Actions of single rules (`user.roles`) or of all rules of a kind (`\"patch.*\"`, in \
         quotes): `enforce`, `report` or `off`. The more specific entry wins. `wire-scim-guard \
         rules` lists all rules with what they check. Those with `no` under SWITCH cannot be \
         switched: they refuse requests that cannot be parsed, are ambiguous, match no route or \
         exceed a limit, or they report failures of the backend. Naming one of them is an error; \
         patterns do not affect them.",
    ),
];

const ACTION: Kind = Kind::Word(|| names(&ACTIONS));

const DEFAULT_PROFILE: Profile = Profile::Documented;

/// All rules and patterns of rules, each with the actions that it may have.
fn patterns() -> Vec<(String, Vec<&'static str>)> {
    let mut all: Vec<String> = vec!["*".into()];
    for rule in Rule::all() {
        all.push(rule.id().into());
        all.extend(rule.id().match_indices('.').map(|(dot, _)| format!("{}.*", &rule.id()[..dot])));
    }
    all.sort_unstable();
    all.dedup();
    let valid = |pattern: &str, action| {
        Policy::new(DEFAULT_PROFILE, Identity::Any).set(pattern, action).is_ok()
    };
    let actions = |pattern: &String| {
        let valid = ACTIONS.iter().filter(|(_, action)| valid(pattern, *action));
        valid.map(|(name, _)| *name).collect()
    };
    all.into_iter().map(|pattern| (pattern.clone(), actions(&pattern))).collect()
}

/// Reads the section: the policy, and the global switch if it is set. `profile` and `identity` come
/// from the command line, or from another section.
pub fn read(
    mut rules: Section<'_, '_>,
    profile: Option<Profile>,
    identity: Identity,
) -> (Policy, Option<Action>) {
    let written = rules.field("profile").and_then(|field| field.choice(&PROFILES));
    let profile = profile.or(written).unwrap_or(DEFAULT_PROFILE);
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
