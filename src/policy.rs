//! Which rules are enforced, reported or off: the profile, the operator's actions and the global
//! switch, folded into one action per rule at load time.

use strum::IntoStaticStr;

use crate::release::Releases;
use crate::rule::{Enforcement, Rule};

/// The maximum number of characters that all keys and values of rich info may have together, unless
/// Wire is configured otherwise (`richInfoLimit` of spar).
pub const RICH_INFO_LIMIT: usize = 5000;

/// What happens when a rule is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Action {
    /// Not judged.
    Off,
    /// Counted and logged; the request continues.
    Report,
    /// The request is refused.
    Enforce,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// How strict the guard is where Wire's documentation asks for more than Wire's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What Wire's server accepts, plus what its documentation demands.
    Documented,
    /// What Wire's server accepts, except for what is ambiguous or exceeds a limit.
    AsServed,
}

/// What is known of the identity provider of the tokens' teams: it determines how Wire interprets
/// `externalId`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Not known: only what both kinds of teams refuse is refused.
    Any,
    /// Teams without SAML: users are identified by their email address.
    Email,
    /// Teams with SAML: users are identified by their NameID.
    Saml,
}

/// One action for every rule, and the properties of the backend that rules depend on.
#[derive(Debug, Clone)]
pub struct Policy {
    actions: [Action; Rule::COUNT],
    pub identity: Identity,
    /// The releases that the backend may run.
    pub releases: Releases,
    /// The maximum number of characters of rich info in the backend.
    pub rich_info_limit: usize,
}

/// Why an operator's action is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("no rule is called {0:?}; `wire-scim-guard rules` lists them")]
    Unknown(String),
    #[error("{0} is always enforced: {1}")]
    Fixed(&'static str, &'static str),
}

impl Policy {
    /// The actions of a profile, before an operator changes any.
    pub fn new(profile: Profile, identity: Identity) -> Self {
        let mut actions = [Action::Enforce; Rule::COUNT];
        for rule in Rule::all() {
            actions[rule as usize] = default_action(rule, profile);
        }
        Self { actions, identity, releases: Releases::Any, rich_info_limit: RICH_INFO_LIMIT }
    }

    /// Sets the action of one rule, or of all rules under a prefix such as `patch.*`.
    ///
    /// A prefix does not affect rules that are always enforced; another action for such a rule
    /// itself, or for a prefix that matches no other, is an error.
    pub fn set(&mut self, pattern: &str, action: Action) -> Result<(), PolicyError> {
        let Some(prefix) = pattern.strip_suffix('*') else {
            let rule =
                Rule::from_id(pattern).ok_or_else(|| PolicyError::Unknown(pattern.into()))?;
            if let Some(why) = rule.entry().enforcement.fixed()
                && action != Action::Enforce
            {
                return Err(PolicyError::Fixed(rule.id(), why));
            }
            self.actions[rule as usize] = action;
            return Ok(());
        };
        let matching: Vec<Rule> = Rule::all()
            .filter(|rule| {
                (prefix.is_empty() || prefix.ends_with('.')) && rule.id().starts_with(prefix)
            })
            .collect();
        let first = matching.first().ok_or_else(|| PolicyError::Unknown(pattern.into()))?;
        let switchable =
            || matching.iter().filter(|rule| rule.entry().enforcement.fixed().is_none());
        for rule in switchable() {
            self.actions[*rule as usize] = action;
        }
        match first.entry().enforcement.fixed() {
            Some(why) if switchable().next().is_none() && action != Action::Enforce => {
                Err(PolicyError::Fixed(first.id(), why))
            }
            _ => Ok(()),
        }
    }

    /// Lowers every rule that can be switched to at most `mode`: the one global switch.
    pub fn cap(&mut self, mode: Action) {
        for rule in Rule::all() {
            if rule.entry().enforcement.fixed().is_none() {
                let action = &mut self.actions[rule as usize];
                *action = (*action).min(mode);
            }
        }
    }

    /// Whether some of `rules` are enforced, and some are not.
    pub fn is_mixed(&self, rules: &[Rule]) -> bool {
        let is_enforced = |rule: &Rule| self.action(*rule) == Action::Enforce;
        rules.iter().any(is_enforced) && !rules.iter().all(is_enforced)
    }

    /// What happens when `rule` is hit.
    pub fn action(&self, rule: Rule) -> Action {
        self.actions[rule as usize]
    }
}

/// The action of a rule in a profile unless the operator sets another.
pub fn default_action(rule: Rule, profile: Profile) -> Action {
    match rule.entry().enforcement {
        Enforcement::Fixed(_) | Enforcement::EveryProfile => Action::Enforce,
        Enforcement::Documented if profile == Profile::Documented => Action::Enforce,
        Enforcement::Documented | Enforcement::OptIn => Action::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_differ_in_exactly_two_rules() {
        let differing: Vec<&str> = Rule::all()
            .filter(|rule| {
                default_action(*rule, Profile::Documented)
                    != default_action(*rule, Profile::AsServed)
            })
            .map(Rule::id)
            .collect();
        assert_eq!(differing, ["user.user_name.case", "user.display_name.required"]);
    }

    #[test]
    fn a_prefix_affects_only_rules_that_can_be_switched() {
        let mut policy = Policy::new(Profile::Documented, Identity::Any);
        policy.set("json.*", Action::Report).unwrap();
        assert_eq!(policy.action(Rule::JsonDuplicateKey), Action::Report);
        assert_eq!(policy.action(Rule::JsonSyntax), Action::Enforce);
    }

    #[test]
    fn fixed_rules_and_unknown_names_are_errors() {
        let mut policy = Policy::new(Profile::Documented, Identity::Any);
        let mut fixed = |pattern| match policy.set(pattern, Action::Off) {
            Err(PolicyError::Fixed(id, _)) => id,
            other => panic!("{pattern}: {other:?}"),
        };
        assert_eq!(fixed("target.not_found"), "target.not_found");
        assert_eq!(fixed("framing.*"), "framing.message");
        assert!(matches!(policy.set("user.handle", Action::Off), Err(PolicyError::Unknown(_))));
        assert!(matches!(policy.set("user.user*", Action::Off), Err(PolicyError::Unknown(_))));
    }

    #[test]
    fn rules_are_mixed_where_some_are_enforced_and_some_are_not() {
        let rules = [Rule::UserType, Rule::UserEmails];
        let mut policy = Policy::new(Profile::AsServed, Identity::Any);
        assert!(!policy.is_mixed(&rules));
        policy.set("user.type", Action::Report).unwrap();
        assert!(policy.is_mixed(&rules));
        policy.cap(Action::Report);
        assert!(!policy.is_mixed(&rules));
    }

    #[test]
    fn the_global_switch_only_lowers() {
        let mut policy = Policy::new(Profile::AsServed, Identity::Any);
        policy.set("user.roles", Action::Off).unwrap();
        policy.cap(Action::Report);
        assert_eq!(policy.action(Rule::UserRoles), Action::Off);
        assert_eq!(policy.action(Rule::UserEmails), Action::Report);
        assert_eq!(policy.action(Rule::JsonSyntax), Action::Enforce);
    }
}
