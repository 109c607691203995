//! The words of the config file and the command line, and their meanings.

use tracing::Level;

use super::{LogFormat, OnFailure, PathPolicy};
use crate::policy::{Action, Identity, Profile};

/// Words with their meanings, in the order in which they are listed to people.
pub type Words<T, const N: usize> = [(&'static str, T); N];

pub const PROFILES: Words<Profile, 2> =
    [("documented", Profile::Documented), ("as-served", Profile::AsServed)];

pub const IDENTITIES: Words<Identity, 3> =
    [("any", Identity::Any), ("email", Identity::Email), ("saml", Identity::Saml)];

pub const ACTIONS: Words<Action, 3> =
    [("enforce", Action::Enforce), ("report", Action::Report), ("off", Action::Off)];

pub const PATH_POLICIES: Words<PathPolicy, 2> =
    [("refuse", PathPolicy::Refuse), ("forward", PathPolicy::Forward)];

pub const ON_FAILURE: Words<OnFailure, 2> =
    [("local", OnFailure::Local), ("refuse", OnFailure::Refuse)];

pub const LEVELS: Words<Level, 5> = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

pub const LOG_FORMATS: Words<LogFormat, 2> = [("json", LogFormat::Json), ("text", LogFormat::Text)];
