//! Filters and paths: split into words, of which only the last may contain blanks.

use super::Fault;

const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(super) const PROFILE: &str = "urn:wire:scim:schemas:profile:1.0";
pub(super) const EXTENSION: &str = "urn:ietf:params:scim:schemas:extension:wire:1.0:User";
const BLANKS: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];
const OPERATORS: [&str; 9] = ["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"];

/// A filter for users that Wire supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserFilter {
    UserName(String),
    ExternalId(String),
}

/// An attribute with its schema and its sub-attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) schema: Option<&'static str>,
    pub(super) name: String,
    pub(super) sub: bool,
}

/// A comparison; the operator is in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) attribute: Attribute,
    pub(super) operator: String,
    pub(super) literal: Literal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    String(String),
    Boolean(bool),
    /// A number or null, which are not compared with anything.
    Other,
}

/// A path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    Attribute(Attribute),
    Values { attribute: Attribute, filter: Comparison, sub: Option<String> },
}

/// Parses a filter for users.
pub fn user_filter(text: &str) -> Result<UserFilter, Fault> {
    let Comparison { attribute, operator, literal } = read(text)?;
    match (attribute.name.to_lowercase().as_str(), operator.as_str(), literal) {
        ("username", "eq", Literal::String(text)) => Ok(UserFilter::UserName(text)),
        ("externalid", "eq", Literal::String(text)) => Ok(UserFilter::ExternalId(text)),
        _ => Err(Fault::rule("invalidFilter", "filter is not supported")),
    }
}

/// Parses a filter for groups: the string that displayName must contain.
pub fn group_filter(text: &str) -> Result<String, Fault> {
    let Comparison { attribute, operator, literal } = read(text)?;
    match (attribute.name.to_lowercase().as_str(), attribute.sub, operator.as_str(), literal) {
        ("displayname", false, "co", Literal::String(text)) => Ok(text),
        _ => Err(Fault::Rule {
            status: 500,
            scim_type: None,
            detail: "filter is not supported".into(),
        }),
    }
}

fn read(text: &str) -> Result<Comparison, Fault> {
    let text = text.trim_matches(BLANKS);
    match comparison(text, &[CORE]) {
        Some((comparison, "")) => Ok(comparison),
        _ => Fault::parse("filter"),
    }
}

/// Parses a path; `None` if it is not a path.
pub(super) fn path(text: &str) -> Option<Path> {
    let schemas = [CORE, PROFILE, EXTENSION];
    let (attribute, rest) = attribute(text, &schemas)?;
    if rest.is_empty() {
        return Some(Path::Attribute(attribute));
    }
    let (filter, rest) = comparison(rest.strip_prefix('[')?, &schemas)?;
    let rest = rest.strip_prefix(']')?;
    let (sub, rest) = match rest.strip_prefix('.') {
        Some(sub) => name(sub).map(|(sub, rest)| (Some(sub.to_owned()), rest))?,
        None => (None, rest),
    };
    rest.is_empty().then_some(Path::Values { attribute, filter, sub })
}

fn comparison<'a>(text: &'a str, schemas: &[&'static str]) -> Option<(Comparison, &'a str)> {
    let (attribute, rest) = attribute(text, schemas)?;
    let rest = blanks(rest)?;
    let operator = rest.get(..2)?.to_ascii_lowercase();
    if !OPERATORS.contains(&operator.as_str()) {
        return None;
    }
    let (literal, rest) = literal(blanks(&rest[2..])?)?;
    Some((Comparison { attribute, operator, literal }, rest))
}

fn blanks(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(BLANKS);
    (rest.len() < text.len()).then_some(rest)
}

fn attribute<'a>(text: &'a str, schemas: &[&'static str]) -> Option<(Attribute, &'a str)> {
    let in_front = |schema: &&'static str| text.strip_prefix(*schema)?.strip_prefix(':');
    let schema = schemas.iter().find(|schema| in_front(schema).is_some()).copied();
    let text = schema.as_ref().and_then(in_front).unwrap_or(text);
    let (first, rest) = name(text)?;
    let sub = rest.strip_prefix('.').and_then(name);
    let attribute = Attribute { schema, name: first.to_owned(), sub: sub.is_some() };
    Some((attribute, sub.map_or(rest, |(_, rest)| rest)))
}

fn name(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
    Some(text.split_at(end.unwrap_or(text.len())))
}

/// A literal, and what follows it.
fn literal(text: &str) -> Option<(Literal, &str)> {
    if text.starts_with('"') {
        return string(text).map(|(string, rest)| (Literal::String(string), rest));
    }
    if let Some(rest) = text.strip_prefix("null") {
        return Some((Literal::Other, rest));
    }
    for (word, value) in [("true", true), ("false", false)] {
        if text.get(..word.len()).is_some_and(|front| front.eq_ignore_ascii_case(word)) {
            return Some((Literal::Boolean(value), &text[word.len()..]));
        }
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned.len() < text.len() && unsigned.starts_with('-') {
        return None;
    }
    // The longest prefix of characters of numbers, shortened until it is a number.
    let run = unsigned
        .find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c))
        .unwrap_or(unsigned.len());
    let is_number = |end: &usize| {
        let run = &unsigned[..*end];
        !run.is_empty() && serde_json::from_str::<&serde_json::value::RawValue>(run).is_ok()
    };
    let end = (1..=run).rev().find(is_number)?;
    Some((Literal::Other, &unsigned[end..]))
}

fn string(text: &str) -> Option<(String, &str)> {
    let mut end = None;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => {
                end = Some(at + 1);
                break;
            }
            _ => escaped = c == '\\' && !escaped,
        }
    }
    let (quoted, rest) = text.split_at(end?);
    let quoted = super::json::text_of(quoted.as_bytes()).ok()?;
    Some((serde_json::from_str(&quoted).ok()?, rest))
}
