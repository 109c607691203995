//! An operator's schema file: parses JSON text into a compiled [`Schema`], or returns all errors in
//! it at once, each with its position.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use regex::RegexBuilder;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::finder::Finder;
use super::graph::{Graph, escaped};
use super::{PATTERN_SIZE, Schema, build, cost};
use crate::input::diagnostic::{At, Diagnostic};
use crate::input::load::{LoadError, read_file};
use crate::input::value::size_text;
use crate::json::Folded;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The only supported draft.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Reads the file at `path`, which is used instead of Wire's own schema.
pub(super) fn load(path: &Path, built_in: Schema) -> Result<Schema, LoadError> {
    let (source, validator) = read_file(path, MAX_FILE, parse)?;
    let finder = Finder::new(&source, Some(&built_in.source)).map_err(|why| LoadError::Unread {
        path: path.into(),
        why: format!("this schema {why}"),
    })?;
    Ok(Schema { source, validator, finder, built_in: Some(Box::new(built_in)) })
}

/// Parses a schema. On failure the errors are in the order of the text.
fn parse(text: &str) -> Result<(Value, Validator<Folded>), Vec<Diagnostic>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let schema = match serde_json::from_str(text) {
        Ok(Unique(schema)) => schema,
        Err(error) => return Err(vec![not_json(&error)]),
    };
    let mut errors = Errors { text, found: Vec::new() };
    errors.of_draft(&schema);
    errors.of_keywords(&schema);
    if errors.found.is_empty() {
        for (pointer, why) in cost::errors(&Graph::of(&schema)) {
            errors.note(&pointer, why);
        }
    }
    if errors.found.is_empty() {
        match build(&schema, None) {
            Ok(validator) => return Ok((schema, validator)),
            Err(error) => {
                let pointer = error.instance_path().as_str().to_owned();
                errors.note(&pointer, error.to_string());
            }
        }
    }
    let mut found = errors.found;
    found.sort();
    found.dedup();
    Err(found)
}

fn not_json(error: &serde_json::Error) -> Diagnostic {
    let at = At { line: error.line().max(1), column: error.column().max(1) };
    let why = error.to_string();
    let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why);
    Diagnostic::new(at, format!("this is not JSON: {why}"))
}

/// The errors in a schema that is valid JSON.
struct Errors<'t> {
    text: &'t str,
    found: Vec<Diagnostic>,
}

impl Errors<'_> {
    fn note(&mut self, pointer: &str, message: impl Into<String>) {
        self.found.push(Diagnostic::new(place(self.text, pointer), message));
    }

    /// Validates the schema with the meta-schema.
    fn of_draft(&mut self, schema: &Value) {
        if let Some(draft) = schema.get("$schema")
            && draft.as_str().is_none_or(|draft| draft.trim_end_matches('#') != DRAFT)
        {
            self.note("/$schema", format!("only draft 2020-12 is read: \"$schema\": \"{DRAFT}\""));
            return;
        }
        let faults: Vec<(String, String)> = jsonschema::draft202012::meta::validator()
            .iter_errors(schema)
            .map(|error| {
                let keyword = error.instance_path().as_str().rsplit('/').next().unwrap_or_default();
                let why = match error.kind() {
                    ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::Enum { .. } => {
                        format!("this is not a valid value for `{keyword}` (draft 2020-12)")
                    }
                    _ => error.to_string(),
                };
                (error.instance_path().as_str().to_owned(), why)
            })
            .collect();
        for (pointer, why) in faults {
            self.note(&pointer, why);
        }
    }

    /// Checks what the compiler would report one at a time and without a position.
    fn of_keywords(&mut self, schema: &Value) {
        let mut keywords = Vec::new();
        strings(schema, "", &mut keywords);
        for (pointer, keyword, text) in keywords {
            let why = match keyword {
                "pattern" => match pattern_fault(text) {
                    Some(why) => {
                        self.note(&pointer, why);
                        continue;
                    }
                    None => continue,
                },
                "$ref" if !text.starts_with('#') => {
                    "a `$ref` to another file or address is not followed; copy what it names into `$defs`"
                }
                // Percent-encoded pointers are left to the compiler.
                "$ref"
                    if text.starts_with("#/")
                        && !text.contains('%')
                        && schema.pointer(&text[1..]).is_none() =>
                {
                    "there is nothing in this file where this `$ref` points"
                }
                "format" if build(&json!({ "format": text }), None).is_err() => {
                    "no such format; those of draft 2020-12 are known, and wire-email, wire-uri, wire-boolean, \
                     wire-patch-op and wire-patch-path"
                }
                _ => continue,
            };
            self.note(&pointer, why);
        }
    }
}

/// The error in a regular expression.
fn pattern_fault(pattern: &str) -> Option<String> {
    if build(&json!({ "pattern": pattern }), None).is_ok() {
        return None;
    }
    let read = RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build();
    let why = match read {
        Err(regex::Error::CompiledTooBig(_)) => {
            format!("is larger than {} once it is compiled", size_text(PATTERN_SIZE as u64))
        }
        Err(error) => {
            let text = error.to_string();
            // The first lines repeat the pattern and mark the position.
            let why = text.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
            match why {
                Some(why) if why.starts_with("look-around") || why.starts_with("backreferences") => {
                    "has a look-around or a back-reference, which are not supported, as patterns run in \
                     linear time"
                        .to_owned()
                }
                Some(why) => format!("cannot be read: {why}"),
                None => "cannot be read".to_owned(),
            }
        }
        Ok(_) => "cannot be read as one of ECMA-262".to_owned(),
    };
    Some(format!("this regular expression {why}"))
}

/// The strings under keywords that only the compiler would check, with pointers to them.
fn strings<'s>(schema: &'s Value, at: &str, found: &mut Vec<(String, &'s str, &'s str)>) {
    match schema {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                strings(item, &format!("{at}/{index}"), found);
            }
        }
        Value::Object(keywords) => {
            for (keyword, value) in keywords {
                let here = format!("{at}/{}", escaped(keyword));
                match (keyword.as_str(), value) {
                    ("pattern" | "format" | "$ref", Value::String(text)) => {
                        found.push((here, keyword, text));
                    }
                    // Their values are not schemas.
                    ("const" | "enum" | "default" | "examples", _) => {}
                    // Their members are names, not keywords.
                    (
                        "properties" | "$defs" | "patternProperties" | "dependentSchemas",
                        Value::Object(named),
                    ) => {
                        for (name, schema) in named {
                            let here = format!("{here}/{}", escaped(name));
                            if keyword == "patternProperties" {
                                found.push((here.clone(), "pattern", name));
                            }
                            strings(schema, &here, found);
                        }
                    }
                    _ => strings(value, &here, found),
                }
            }
        }
        _ => {}
    }
}

/// The position at which the value at a JSON Pointer begins, or its nearest ancestor that exists.
fn place(text: &str, pointer: &str) -> At {
    let mut value: &str = text.trim_start();
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        let next = match value.as_bytes().first() {
            Some(b'[') => {
                let items: Option<Vec<&RawValue>> = serde_json::from_str(value).ok();
                items
                    .zip(name.parse().ok())
                    .and_then(|(items, at): (_, usize)| items.get(at).copied())
            }
            _ => {
                let members: Option<BTreeMap<String, &RawValue>> = serde_json::from_str(value).ok();
                members.and_then(|members| members.get(&name).copied())
            }
        };
        let Some(next) = next else { break };
        value = next.get();
    }
    At::of(text, value.as_ptr() as usize - text.as_ptr() as usize)
}

/// A JSON value in whose objects no name appears twice: one of the two would be ignored.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{name:?} appears twice in one object")));
            }
            let Unique(value) = members.next_value()?;
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        parse(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_errors_are_reported_at_once_with_their_positions() {
        let text = r##"{
  "type": "objekt",
  "properties": {
    "userName": {"pattern": "^(?=a)", "minLength": "3"},
    "title": {"pattern": "(", "format": "wire-emial"},
    "pattern": {"const": {"pattern": "("}},
    "a/b": {"$ref": "other.json"}
  },
  "patternProperties": {"[": true},
  "items": [{"$ref": "#/$defs/nope"}]
}
"##;
        insta::assert_snapshot!(errors(text).join("\n"));
    }

    #[test]
    fn an_invalid_schema_is_reported_with_its_position() {
        for (text, wanted) in [
            ("", "1:1: this is not JSON: EOF"),
            ("{\n  \"a\": 1,\n}", "3:1: this is not JSON: trailing comma"),
            (
                "{\"type\": \"string\",\n\"type\": \"null\"}",
                "2:6: this is not JSON: \"type\" appears twice",
            ),
            (
                "{\n\"$schema\": \"http://json-schema.org/draft-07/schema#\"}",
                "2:12: only draft 2020-12",
            ),
            ("[]", "1:1: "),
            ("3", "1:1: "),
        ] {
            let errors = errors(text);
            assert_eq!(errors.len(), 1, "{text}: {errors:?}");
            assert!(errors[0].starts_with(wanted), "{text}: {errors:?}");
        }
    }

    #[test]
    fn errors_in_a_regular_expression_are_reported() {
        for (pattern, wanted) in [
            ("[", "cannot be read: unclosed character class"),
            ("(", "cannot be read: unclosed group"),
            (r"[\\w-.]", "cannot be read: "),
            ("a{2,1}", "cannot be read: "),
            ("^(?=a)", "look-around"),
            ("(?<!a)b", "look-around"),
            (r"(a)\\1", "back-reference"),
            ("(a{1000}){1000}", "is larger than 1MiB once it is compiled"),
        ] {
            let found = errors(&format!(r#"{{"pattern": "{pattern}"}}"#));
            assert_eq!(found.len(), 1, "{pattern}: {found:?}");
            assert!(found[0].starts_with("1:13: this regular expression "), "{found:?}");
            assert!(found[0].contains(wanted), "{pattern}: {found:?}");
            let around = found[0].contains("look-around");
            assert_eq!(
                around,
                wanted.starts_with("look") || wanted.starts_with("back"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn the_built_in_schemas_and_small_ones_are_fine() {
        for (_, text) in super::super::FILES {
            assert!(errors(text).is_empty(), "{:?}", errors(text));
        }
        let encoded = r##"{"$ref": "#/$defs/a%20b", "$defs": {"a b": true}}"##;
        let recursive = r##"{"items": {"$ref": "#"}}"##;
        for text in ["\u{feff}{}", "true", recursive, "{\t\"x\": 1}", encoded] {
            assert!(parse(text).is_ok(), "{text}: {:?}", errors(text));
        }
    }
}
