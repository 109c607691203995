//! The JSON Schema files (draft 2020-12), compiled once: the built-in ones, or the operator's own.
//!
//! A schema says which types Wire reads. Formats that only Wire has (`wire-email`, `wire-uri`,
//! `wire-boolean`, `wire-patch-op`, `wire-patch-path`) are registered here and may be used in
//! operators' schemas too.

mod cost;
mod file;
mod finder;
mod graph;

use std::collections::HashSet;
use std::path::Path;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use jsonschema::{Draft, JsonType, PatternOptions, Registry, ValidationError, Validator};

use crate::config::file::LoadError;
use crate::config::near;
use crate::findings::Findings;
use crate::json::{Folded, Name, Value, folds_alike};
use crate::place::{IntoPlace, Place};
use crate::refusal::{Refusal, shortened};
use crate::rule::Rule;
use crate::scim::{email, filter, patch, uri};

use finder::Finder;

/// The schemas of all bodies that are judged.
#[derive(Debug)]
pub struct Schemas {
    pub user: Schema,
    pub patch: Schema,
    pub group: Schema,
}

/// One compiled schema.
#[derive(Debug)]
pub struct Schema {
    source: serde_json::Value,
    validator: Validator<Folded>,
    /// Looks through large documents.
    finder: Finder,
    /// What Wire itself asks for, where this is an operator's.
    wires: Option<Box<Self>>,
}

/// All that is wrong with the schemas of a folder, a line each.
#[derive(Debug)]
pub struct SchemaErrors(Vec<LoadError>);

impl std::error::Error for SchemaErrors {}

impl std::fmt::Display for SchemaErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if at > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

const FILES: [(&str, &str); 3] = [
    ("user.json", include_str!("../../schemas/user.json")),
    ("patch.json", include_str!("../../schemas/patch.json")),
    ("group.json", include_str!("../../schemas/group.json")),
];

/// The size of a value whose faults are all looked for, even if nothing can come of it but a report.
const LOOKED_THROUGH: usize = 4096;

/// The largest compiled form of one regular expression in an operator's schema, in bytes.
const PATTERN_SIZE: usize = 1024 * 1024;

impl Schemas {
    /// The schemas that come with the guard.
    pub fn built_in() -> Self {
        let [user, patch, group] = FILES.map(|(name, text)| {
            let source = serde_json::from_str(text);
            let schema = source.map(|source: serde_json::Value| {
                let validator = build(&source, None).map_err(|error| error.to_string())?;
                Ok::<_, String>(Schema {
                    finder: Finder::new(&source, None)?,
                    validator,
                    source,
                    wires: None,
                })
            });
            match schema {
                Ok(Ok(schema)) => schema,
                // The files are constants, and a test compiles them.
                Ok(Err(message)) => unreachable!("{name}: {message}"),
                Err(error) => unreachable!("{name}: {error}"),
            }
        });
        Self { user, patch, group }
    }

    /// The schemas of a folder. Files that are not there are the built-in ones; all that is wrong
    /// with those that are comes back at once.
    pub fn load(folder: &Path) -> Result<Self, SchemaErrors> {
        let mut errors = misplaced(folder);
        let built_in = Self::built_in();
        let mut load = |name: &str, wires: Schema| {
            let path = folder.join(name);
            if !path.exists() {
                return Some(wires);
            }
            file::load(&path, wires).map_err(|error| errors.push(error)).ok()
        };
        let Self { user, patch, group } = built_in;
        let [user_file, patch_file, group_file] = FILES.map(|(name, _)| name);
        let read = (load(user_file, user), load(patch_file, patch), load(group_file, group));
        match read {
            (Some(user), Some(patch), Some(group)) if errors.is_empty() => {
                Ok(Self { user, patch, group })
            }
            _ => Err(SchemaErrors(errors)),
        }
    }
}

/// What is wrong with a folder of schemas before any is read: it has none, or files that look like one
/// and would not be read.
fn misplaced(folder: &Path) -> Vec<LoadError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) => return vec![LoadError::Unreadable { path: folder.to_owned(), source }],
    };
    let files = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let files: Vec<String> = files.filter(|name| name.ends_with(".json")).collect();
    let known = FILES.map(|(name, _)| name);
    if files.is_empty() {
        let why = format!("there is none of {} in this folder", known.join(", "));
        return vec![LoadError::Unread { path: folder.to_owned(), why }];
    }
    let foreign = files.iter().filter(|name| !known.contains(&name.as_str()));
    foreign
        .map(|name| {
            let hint = near::hint(name, known);
            let why = format!("no schema of this name is read{hint}");
            LoadError::Unread { path: folder.join(name), why }
        })
        .collect()
}

/// Compiles a schema. What it refers to outside of itself is in `registry`.
fn build(
    schema: &serde_json::Value,
    registry: Option<&Registry<'_>>,
) -> Result<Validator<Folded>, ValidationError<'static>> {
    let options = jsonschema::options_for::<Folded>()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        // SECURITY: this engine takes linear time whatever the pattern; the default one backtracks.
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_SIZE))
        .with_format("wire-email", email::is_address)
        .with_format("wire-uri", uri::is_absolute)
        .with_format("wire-boolean", is_boolean)
        .with_format("wire-patch-op", |text: &str| patch::Op::read(text).is_some())
        .with_format("wire-patch-path", |text: &str| filter::read_path(text).is_some());
    match registry {
        Some(registry) => options.with_registry(registry).build(schema),
        None => options.build(schema),
    }
}

/// The texts that Wire reads as booleans.
fn is_boolean(text: &str) -> bool {
    folds_alike(text, "true") || folds_alike(text, "false")
}

/// One place where a document does not satisfy a schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Where, from the top of the document.
    pub path: Vec<Step>,
    pub kind: FaultKind,
    /// It is an operator's schema that asks for it, and not Wire.
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
    /// A text is not of a format.
    Format { format: String },
    /// An object has an attribute that it must not have.
    Unexpected { attribute: String },
    /// Some other keyword of the schema.
    Keyword { keyword: String },
}

impl Schema {
    /// Whether a value satisfies the schema: all that is asked of most documents.
    pub fn is_valid(&self, value: Value<'_>) -> bool {
        self.validator.is_valid(value)
    }

    /// What Wire itself asks for.
    pub fn wires(&self) -> &Self {
        self.wires.as_deref().unwrap_or(self)
    }

    /// Notes every place where a value does not satisfy the schema, in the order of the schema, until
    /// that ends the judging: each as one of `rules`, namely `rule_of` it. Places may come twice. Of a
    /// large value, equal faults are noted once; and where no other rule can come of it, the first fault
    /// alone.
    pub fn judge(
        &self,
        value: Value<'_>,
        rules: &[Rule],
        findings: &mut Findings<'_>,
        rule_of: impl Fn(&Fault) -> Rule,
        detail_of: impl Fn(&Fault) -> String,
    ) -> Result<(), Refusal> {
        if self.is_valid(value) {
            return Ok(());
        }
        let policy = findings.policy();
        let mut hit = |fault: &Fault| {
            let rule = rule_of(fault);
            debug_assert!(rules.contains(&rule), "{rule} is none of those of this schema");
            findings.hit(rule, || fault.at(), || detail_of(fault))
        };
        // SECURITY: the validator gathers what it finds, and a client can make it find much.
        if value.size() > LOOKED_THROUGH {
            if self.wires.is_some() || policy.is_mixed(rules) {
                return self.finder.find(value, &mut |fault| hit(&fault));
            }
            // The first one stands for all, and is found without the others.
            let first = self.validator.validate(value).map_err(|error| fault(&error));
            return first.or_else(|fault| hit(&fault));
        }
        let wires: Option<HashSet<Fault>> = self.wires.as_ref().map(|wires| {
            wires.validator.iter_errors(value).map(|error| fault(&error).sort()).collect()
        });
        let mut hit = |fault: Fault| {
            let beyond_wire = wires.as_ref().is_some_and(|wires| !wires.contains(&fault.sort()));
            hit(&Fault { beyond_wire, ..fault })
        };
        if let Err(error) = self.validator.validate(value) {
            hit(fault(&error))?;
        }
        self.validator.iter_errors(value).try_for_each(|error| hit(fault(&error)))
    }
}

fn fault(error: &ValidationError<'_>) -> Fault {
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
            // "a list or null" reads better than the other way round.
            words.reverse();
            // Texts that Wire reads as booleans are no advice for anybody.
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
        JsonType::String => "a text",
        JsonType::Array => "a list",
        JsonType::Object => "an object",
    }
}

impl Fault {
    /// The fault without what two schemas may say differently of the same value.
    fn sort(&self) -> Self {
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
                format!("{} must not stand in {place}", shortened(attribute))
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
