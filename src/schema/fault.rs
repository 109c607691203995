//! A place where a document does not satisfy its schema, and the message about it.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use jsonschema::{JsonType, ValidationError};

use crate::json::Name;
use crate::place::{IntoPlace, Place};
use crate::refusal::shortened;

/// One place where a document does not satisfy a schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Where, from the top of the document.
    pub path: Vec<Step>,
    pub kind: FaultKind,
    /// An operator's schema requires it, and Wire does not.
    pub beyond_wire: bool,
}

/// One step into a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    Key(String),
    Index(usize),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The value has another JSON type; `expected` in words.
    Type { expected: String },
    /// An attribute is missing.
    Missing { attribute: String },
    /// A string is not of a format.
    Format { format: String },
    /// An object has an attribute that it must not have.
    Unexpected { attribute: String },
    /// Some other keyword of the schema.
    Keyword { keyword: String },
}

/// Converts an error of the validator.
pub(super) fn fault(error: &ValidationError<'_>) -> Fault {
    let path = error
        .instance_path()
        .iter()
        .map(|segment| match segment {
            LocationSegment::Property(name) => Step::Key(name.into_owned()),
            LocationSegment::Index(index) => Step::Index(index),
        })
        .collect();
    let kind = match error.kind() {
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => {
            FaultKind::Type { expected: in_words(*kind).to_owned() }
        }
        ValidationErrorKind::Type { kind: TypeKind::Multiple(kinds) } => {
            let mut words: Vec<&str> = kinds.iter().map(in_words).collect();
            // "an array or null" reads better than the other way round.
            words.reverse();
            // That Wire also accepts some strings as booleans would not help anyone.
            if kinds.contains(JsonType::Boolean) && kinds.contains(JsonType::String) {
                words = vec!["true or false"];
            }
            FaultKind::Type { expected: words.join(" or ") }
        }
        ValidationErrorKind::Required { property } => {
            FaultKind::Missing { attribute: property.as_str().unwrap_or_default().to_owned() }
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            FaultKind::Unexpected { attribute: unexpected.first().cloned().unwrap_or_default() }
        }
        ValidationErrorKind::Format { format } => FaultKind::Format { format: format.clone() },
        other => FaultKind::Keyword { keyword: other.keyword().to_owned() },
    };
    Fault { path, kind, beyond_wire: false }
}

fn in_words(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "null",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "an integer",
        JsonType::Number => "a number",
        JsonType::String => "a string",
        JsonType::Array => "an array",
        JsonType::Object => "an object",
    }
}

impl Fault {
    /// The fault without the details in which two schemas may differ for the same value.
    pub(super) fn sort(&self) -> Self {
        let kind = match &self.kind {
            FaultKind::Type { .. } => FaultKind::Type { expected: String::new() },
            FaultKind::Format { .. } => FaultKind::Format { format: String::new() },
            other => other.clone(),
        };
        Self { path: self.path.clone(), kind, beyond_wire: false }
    }

    /// The attribute at the top of the document that the fault is in, or that is missing there.
    pub fn attribute(&self) -> Option<Name> {
        match (self.path.first(), &self.kind) {
            (Some(Step::Key(key)), _) => Name::of(key),
            (None, FaultKind::Missing { attribute }) => Name::of(attribute),
            _ => None,
        }
    }

    /// The place of the fault, or of what is missing.
    pub fn at(&self) -> Place {
        let mut steps = self.path.iter();
        let missing = match &self.kind {
            FaultKind::Missing { attribute } => Some(Name::of(attribute)),
            _ => None,
        };
        let first = match (steps.next(), missing) {
            (Some(Step::Key(key)), _) => Place::of(Name::of(key)),
            (Some(Step::Index(index)), _) => "body".into_place().index(*index),
            (None, Some(attribute)) => return Place::of(attribute),
            (None, None) => return "body".into_place(),
        };
        let place = steps.fold(first, |place, step| match step {
            Step::Key(key) => place.child(Name::of(key)),
            Step::Index(index) => place.index(*index),
        });
        missing.map_or(place.clone(), |attribute| place.child(attribute))
    }

    /// The place in words, such as `emails[0].value`.
    pub fn place(&self) -> String {
        let mut place = String::new();
        for step in &self.path {
            match step {
                Step::Index(index) => place.push_str(&format!("[{index}]")),
                Step::Key(key) => {
                    if !place.is_empty() {
                        place.push('.');
                    }
                    place.push_str(shortened(key));
                }
            }
        }
        if place.is_empty() { "the body".to_owned() } else { place }
    }

    /// What is wrong there, as a sentence without its full stop.
    pub fn sentence(&self) -> String {
        let place = self.place();
        match &self.kind {
            FaultKind::Type { expected } => format!("{place} must be {expected}"),
            FaultKind::Unexpected { attribute } => {
                format!("{} must not appear in {place}", shortened(attribute))
            }
            FaultKind::Missing { attribute } if self.path.is_empty() => {
                format!("{attribute} is missing")
            }
            FaultKind::Missing { attribute } => format!("{place} has no {attribute}"),
            FaultKind::Format { format } => format!("{place} is not {}", format_in_words(format)),
            FaultKind::Keyword { keyword } => {
                format!("{place} does not satisfy the schema (`{keyword}`)")
            }
        }
    }
}

fn format_in_words(format: &str) -> String {
    match format {
        "wire-email" => "an email address".into(),
        "wire-uri" => "an absolute URI such as https://example.com/x".into(),
        "wire-boolean" => "true or false".into(),
        "wire-patch-op" => "add, replace or remove".into(),
        "wire-patch-path" => "a path that Wire can read".into(),
        other => format!("of the format `{other}`"),
    }
}
