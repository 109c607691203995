//! What the bridge does with one entry (keep, delete, skip, or end the whole run), and what it
//! sends.

use super::advice;
use super::body::Body;
use super::config::{BridgeConfig, Codec};
use super::membership::Membership;
use crate::preflight::candidate::{Candidate, Class, Identifiers, Name, Stage};
use crate::preflight::entry::Entry;
use crate::wire::email;

/// A config, ready to be applied to entries.
#[allow(missing_debug_implementations, reason = "the config holds a password")]
pub struct Model<'c> {
    config: &'c BridgeConfig,
    /// The target that is mapped from the same attribute as `userName`.
    shared: Option<&'static str>,
}

/// The value of an attribute that takes one value.
#[derive(Debug, PartialEq, Eq)]
enum Text {
    Missing,
    Value(String),
    /// Bytes that are not valid in the codec; the bridge fails when it needs the value.
    Invalid,
}

/// The result of mapping an entry.
struct Translation {
    user_name: Text,
    external_id: Text,
    display_name: Text,
    email: Text,
    role: Text,
    /// Why attributes cannot be mapped, as sentences.
    errors: Vec<String>,
}

impl<'c> Model<'c> {
    pub fn new(config: &'c BridgeConfig) -> Self {
        let shared = advice::shares_user_name(config).map(|(target, _)| target);
        Self { config, shared }
    }

    /// What happens to an entry that at least one of the searches returns.
    pub fn judge(&self, entry: &Entry, found: Membership) -> Candidate {
        let marked = found.search && self.is_marked(entry);
        let to_keep = found.search && !marked;
        let translation = self.translate(entry);
        let kept = to_keep.then(|| self.keep(&translation));
        let left = (marked || found.delete).then(|| self.leave(&translation, marked));
        let (class, body, reason, stage) = match (kept, left) {
            (Some(Kept::Stop(stage, why)), _) => (Class::Stop, None, Some(why), Some(stage)),
            (_, Some(Err((stage, why)))) => (Class::Stop, None, Some(why), Some(stage)),
            (Some(Kept::Sent(body)), Some(Ok(()))) => {
                let why =
                    "both searches return the entry: in each run it is written and then deleted";
                (Class::Leave, Some(body), Some(why.into()), None)
            }
            (Some(Kept::Skip(why)), Some(Ok(()))) => {
                let why = format!(
                    "both searches return the entry; it is not written ({why}), and then deleted"
                );
                (Class::Leave, None, Some(why), None)
            }
            (None, Some(Ok(()))) => (Class::Leave, None, Some(self.why_left(marked)), None),
            (Some(Kept::Skip(why)), None) => (Class::Skip, None, Some(why), None),
            (Some(Kept::Sent(body)), None) => (Class::Keep, Some(body), None, None),
            (None, None) => (Class::Leave, None, None, None),
        };
        let Translation { user_name, external_id, display_name, email, .. } = translation;
        Candidate {
            name: Name::Dn(entry.dn_text()),
            class,
            body,
            reason,
            stage,
            to_keep,
            lacks_user_name: to_keep && self.shared.is_none() && user_name == Text::Missing,
            identifiers: Identifiers {
                user_name: user_name.value(),
                external_id: external_id.value(),
                email: email.value(),
                display_name: display_name.value(),
            },
        }
    }

    /// Whether `deleteOnAttribute` marks the entry.
    fn is_marked(&self, entry: &Entry) -> bool {
        self.config.delete_on.as_ref().is_some_and(|on| {
            let values = entry.values(&on.key.value).unwrap_or_default();
            values.iter().any(|value| value == on.value.value.as_bytes())
        })
    }

    fn why_left(&self, marked: bool) -> String {
        match (&self.config.delete_on, marked) {
            (Some(on), true) => {
                format!("deleted, as deleteOnAttribute finds its value in {}", on.key.value)
            }
            _ => "deleted, as deleteFromDirectory returns it".into(),
        }
    }

    /// What happens to an entry that is to be written.
    fn keep(&self, translation: &Translation) -> Kept {
        if let Some(target) = self.shared {
            return Kept::Stop(
                Stage::Translation,
                format!(
                    "userName and {target} are mapped from the same attribute, with which the bridge ends here"
                ),
            );
        }
        let mapping = &self.config.mapping;
        let mut errors = translation.errors.clone();
        if translation.user_name == Text::Missing {
            errors.insert(
                0,
                format!("{} is missing, which userName is mapped from", mapping.user_name.value),
            );
        }
        if translation.email == Text::Invalid {
            errors.push(self.invalid("email"));
        }
        if !errors.is_empty() {
            return Kept::Stop(Stage::Translation, errors.join("; "));
        }
        let invalid = translation.invalid();
        if let (Some(target), true) = (invalid, self.config.renders_all.value) {
            let why = format!(
                "{}, and the log level makes the bridge render it first",
                self.invalid(target)
            );
            return Kept::Stop(Stage::Rendering, why);
        }
        match (&translation.external_id, invalid) {
            (Text::Invalid, _) => Kept::Stop(Stage::ExternalId, self.invalid("externalId")),
            (Text::Missing, _) => {
                let source = &mapping.external_id.value;
                Kept::Skip(format!("{source} is missing, which externalId is mapped from"))
            }
            (Text::Value(_), Some(target)) => Kept::Skip(self.invalid(target)),
            (Text::Value(external_id), None) => {
                let body = Body {
                    active: None,
                    display_name: translation.display_name.as_str(),
                    email: translation.email.as_str(),
                    external_id: Some(external_id),
                    role: translation.role.as_str(),
                    user_name: translation.user_name.as_str(),
                };
                Kept::Sent(body.to_json())
            }
        }
    }

    /// Whether an entry can be deleted.
    fn leave(&self, translation: &Translation, marked: bool) -> Result<(), (Stage, String)> {
        let mut errors = translation.errors.clone();
        if translation.email == Text::Invalid {
            errors.push(self.invalid("email"));
        }
        if !errors.is_empty() {
            return Err((Stage::leaver_translation(marked), errors.join("; ")));
        }
        if let (Some(target), true) = (translation.invalid(), self.config.renders_all.value) {
            return Err((Stage::leaver_translation(marked), self.invalid(target)));
        }
        let source = &self.config.mapping.external_id.value;
        match translation.external_id {
            Text::Value(_) => Ok(()),
            Text::Invalid => Err((Stage::leaver_external_id(marked), self.invalid("externalId"))),
            Text::Missing => {
                let why = format!(
                    "it is to be deleted, and {source} is missing, which externalId is mapped from"
                );
                Err((Stage::leaver_external_id(marked), why))
            }
        }
    }

    fn invalid(&self, target: &str) -> String {
        let mut pairs = self.config.mapping.pairs();
        let source =
            pairs.find(|(known, _)| *known == target).map_or(target, |(_, name)| &name.value);
        match source == target {
            true => format!("{source} is not valid UTF-8"),
            false => format!("{source}, which {target} is mapped from, is not valid UTF-8"),
        }
    }

    fn translate(&self, entry: &Entry) -> Translation {
        let mapping = &self.config.mapping;
        let mut errors = Vec::new();
        let mut one = |target: &str, name: &str| {
            let values = entry.values(name).unwrap_or_default();
            match values {
                [] => Text::Missing,
                [value] => self.decode(value),
                _ => {
                    let count = values.len();
                    errors
                        .push(format!("{name} has {count} values, and {target} takes exactly one"));
                    Text::Missing
                }
            }
        };
        let mut optional = |target: &str, name: &Option<super::config::Placed<String>>| {
            name.as_ref().map_or(Text::Missing, |name| one(target, &name.value))
        };
        let display_name = optional("displayName", &mapping.display_name);
        let email = optional("email", &mapping.email);
        let role = optional("roles", &mapping.roles);
        let external_id = one("externalId", &mapping.external_id.value);
        let many = entry.values(&mapping.user_name.value).is_some_and(|values| values.len() > 1);
        let user_name = one("userName", &mapping.user_name.value);
        // An attribute with several values is not missing.
        let user_name = if many { Text::Invalid } else { user_name };
        let email = match email {
            Text::Value(written) => match email::canonical(&written) {
                Some(canonical) => Text::Value(canonical),
                None => {
                    let name = mapping.email.as_ref().map_or("", |name| &name.value);
                    errors.push(format!("{name} holds no email address"));
                    Text::Missing
                }
            },
            other => other,
        };
        Translation { user_name, external_id, display_name, email, role, errors }
    }

    fn decode(&self, value: &[u8]) -> Text {
        match self.config.directory.codec {
            Codec::Latin1 => Text::Value(value.iter().copied().map(char::from).collect()),
            Codec::Utf8 => match std::str::from_utf8(value) {
                Ok(text) => Text::Value(text.to_string()),
                Err(_) => Text::Invalid,
            },
        }
    }
}

/// The outcome for an entry that is to be written.
enum Kept {
    Sent(Vec<u8>),
    Skip(String),
    Stop(Stage, String),
}

impl Translation {
    /// The first target whose value is not valid in the codec.
    fn invalid(&self) -> Option<&'static str> {
        let all = [
            ("externalId", &self.external_id),
            ("userName", &self.user_name),
            ("displayName", &self.display_name),
            ("roles", &self.role),
        ];
        all.into_iter().find(|(_, text)| **text == Text::Invalid).map(|(target, _)| target)
    }
}

impl Text {
    fn as_str(&self) -> Option<&str> {
        match self {
            Self::Value(text) => Some(text),
            Self::Missing | Self::Invalid => None,
        }
    }

    fn value(self) -> Option<String> {
        match self {
            Self::Value(text) => Some(text),
            Self::Missing | Self::Invalid => None,
        }
    }
}
