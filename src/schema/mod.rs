//! The JSON Schema files (draft 2020-12), compiled once: the built-in ones, or the operator's own.
//!
//! A schema defines which types Wire accepts. Formats that only Wire has (`wire-email`, `wire-uri`,
//! `wire-boolean`, `wire-patch-op`, `wire-patch-path`) are registered here and may be used in
//! operators' schemas too.

mod cost;
mod fault;
mod file;
mod finder;
mod folder;
mod graph;

use std::collections::HashSet;

use jsonschema::{Draft, PatternOptions, Registry, ValidationError, Validator};

use crate::findings::Findings;
use crate::fingerprint;
use crate::json::{Folded, Value};
use crate::refusal::Refusal;
use crate::rule::Rule;
use crate::wire::op::Op;
use crate::wire::{boolean, email, filter, uri};

use self::fault::fault;
use self::finder::Finder;

pub use self::fault::{Fault, FaultKind, Step};
pub use self::folder::SchemaErrors;

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
    /// Finds the faults of large documents.
    finder: Finder,
    /// The built-in schema, where this is an operator's.
    built_in: Option<Box<Self>>,
}

pub(crate) const FILES: [(&str, &str); 3] = [
    ("user.json", include_str!("../../schemas/user.json")),
    ("patch.json", include_str!("../../schemas/patch.json")),
    ("group.json", include_str!("../../schemas/group.json")),
];

/// The size up to which all faults of a value are collected, even if they can only be reported.
const MAX_COLLECTED: usize = 4096;

/// The largest compiled form of one regular expression in an operator's schema, in bytes.
const PATTERN_SIZE: usize = 1024 * 1024;

impl Schemas {
    /// A number that differs if a schema differs.
    pub(crate) fn fingerprint(&self) -> u64 {
        fingerprint::of(
            [&self.user, &self.patch, &self.group].map(|schema| schema.source.to_string()),
        )
    }

    /// The built-in schemas.
    pub fn built_in() -> Self {
        let [user, patch, group] = FILES.map(|(name, text)| {
            let source = serde_json::from_str(text);
            let schema = source.map(|source: serde_json::Value| {
                let validator = build(&source, None).map_err(|error| error.to_string())?;
                Ok::<_, String>(Schema {
                    finder: Finder::new(&source, None)?,
                    validator,
                    source,
                    built_in: None,
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
}

/// Compiles a schema. External references are resolved from `registry`.
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
        .with_format("wire-boolean", |text: &str| boolean::read(text).is_some())
        .with_format("wire-patch-op", |text: &str| Op::read(text).is_some())
        .with_format("wire-patch-path", |text: &str| filter::read_path(text).is_some());
    match registry {
        Some(registry) => options.with_registry(registry).build(schema),
        None => options.build(schema),
    }
}

impl Schema {
    /// Whether a value satisfies the schema; most documents do.
    pub fn is_valid(&self, value: Value<'_>) -> bool {
        self.validator.is_valid(value)
    }

    /// The built-in schema, which defines what Wire itself requires.
    pub fn built_in(&self) -> &Self {
        self.built_in.as_deref().unwrap_or(self)
    }

    /// Records every place where a value does not satisfy the schema, in the order of the schema,
    /// until that ends the judging: each as the one of `rules` that `rule_of` returns. Places may
    /// be repeated. Of a large value, equal faults are recorded once; and if all rules have the
    /// same outcome, only the first fault.
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
        // SECURITY: the validator collects all errors, and a client can cause many.
        if value.size() > MAX_COLLECTED {
            if self.built_in.is_some() || policy.is_mixed(rules) {
                return self.finder.find(value, &mut |fault| hit(&fault));
            }
            // The first one decides for all, and is found without the others.
            let first = self.validator.validate(value).map_err(|error| fault(&error));
            return first.or_else(|fault| hit(&fault));
        }
        let built_in: Option<HashSet<Fault>> = self.built_in.as_ref().map(|built_in| {
            built_in.validator.iter_errors(value).map(|error| fault(&error).sort()).collect()
        });
        let mut hit = |fault: Fault| {
            let beyond_wire =
                built_in.as_ref().is_some_and(|built_in| !built_in.contains(&fault.sort()));
            hit(&Fault { beyond_wire, ..fault })
        };
        if let Err(error) = self.validator.validate(value) {
            hit(fault(&error))?;
        }
        self.validator.iter_errors(value).try_for_each(|error| hit(fault(&error)))
    }
}
