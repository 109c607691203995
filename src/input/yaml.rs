//! Parses YAML text into a tree of nodes with their positions.
//!
//! Only what a config needs is supported: one document of mappings, lists and scalars. Scalars stay
//! strings; their meaning is up to the caller. The tree is built from the parser's events with a
//! bounded stack, so that no nesting can exhaust the thread's own, and keeps repeated keys, so that
//! these can be reported.

use std::borrow::Cow;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::diagnostic::{At, Diagnostic, MAX_REPORTED};

/// How many values there may be: far more than ten thousand tokens need.
const MAX_NODES: usize = 1_000_000;

/// How deep mappings and lists may be nested: far more than any config needs.
const MAX_DEPTH: usize = 32;

#[derive(Debug)]
pub struct Node<'t> {
    pub at: At,
    pub value: Value<'t>,
}

#[derive(Debug)]
pub enum Value<'t> {
    /// Nothing, `~` or `null`.
    Null,
    /// `plain` scalars are written without quotes.
    Scalar {
        text: Cow<'t, str>,
        plain: bool,
    },
    List(Vec<Node<'t>>),
    /// Keys and values in the order of the file, repeated keys included.
    Map(Vec<(Node<'t>, Node<'t>)>),
    /// Something that is not supported here; the error is already noted.
    Unread,
}

/// A list or mapping that has not ended yet.
enum Open<'t> {
    List { at: At, items: Vec<Node<'t>> },
    Map { at: At, entries: Vec<(Node<'t>, Node<'t>)>, key: Option<Node<'t>> },
}

/// Parses one document. There is no node if the text is empty or not YAML.
pub fn read(text: &str) -> (Option<Node<'_>>, Vec<Diagnostic>) {
    let mut errors = Vec::new();
    // SECURITY: the parser treats a NUL as the end of the text, and would leave the rest unread.
    if let Some(error) = control_character(text) {
        return (None, vec![error]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new_from_str(text);
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut root = None;
    let mut documents = 0;
    let mut nodes = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let message = format!("this is not YAML: {}{}", error.info(), advice(error.info()));
                errors.push(Diagnostic::new(at(*error.marker()), message));
                return (None, errors);
            }
        };
        let here = at(span.start);
        // SECURITY: a node takes a hundred times the memory of its byte in the text.
        nodes += 1;
        if nodes > MAX_NODES {
            errors.push(Diagnostic::new(here, format!("there are more than {MAX_NODES} values")));
            return (None, errors);
        }
        let node = match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    let message = "a second document begins here; a config is one document";
                    errors.push(Diagnostic::new(here, message));
                    break;
                }
                continue;
            }
            Event::SequenceStart(_, ref tag) | Event::MappingStart(_, ref tag) => {
                refuse_tag(tag.as_deref(), here, &mut errors);
                if open.len() == MAX_DEPTH {
                    let message = format!("nested more than {MAX_DEPTH} levels deep");
                    errors.push(Diagnostic::new(here, message));
                    return (None, errors);
                }
                open.push(match event {
                    Event::SequenceStart(..) => Open::List { at: here, items: Vec::new() },
                    _ => Open::Map { at: here, entries: Vec::new(), key: None },
                });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List { at, items }) => Node { at, value: Value::List(items) },
                Some(Open::Map { at, entries, .. }) => Node { at, value: Value::Map(entries) },
                None => continue,
            },
            Event::Scalar(text, style, _, tag) => {
                refuse_tag(tag.as_deref(), here, &mut errors);
                Node { at: here, value: scalar(text, style) }
            }
            Event::Alias(_) => {
                let message = "aliases (`*name`) are not read here; write the value itself";
                note(&mut errors, here, message);
                Node { at: here, value: Value::Unread }
            }
            _ => continue,
        };
        match open.last_mut() {
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(node),
            },
            None => root = Some(node),
        }
    }
    (root, errors)
}

/// The most likely cause of an error of the parser.
fn advice(error: &str) -> &'static str {
    if error.contains("unknown anchor") {
        "; a name that begins with `*` has to be quoted: \"*\""
    } else if error.contains("mapping values are not allowed") {
        "; is a space missing after a colon, or are quotes missing around a value with a colon?"
    } else if error.contains("indentation") || error.contains("expected ',' or") {
        "; is a bracket or a quote before not closed?"
    } else {
        ""
    }
}

fn at(marker: Marker) -> At {
    At { line: marker.line().max(1), column: marker.col() + 1 }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value<'_> {
    let plain = style == ScalarStyle::Plain;
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
        _ => Value::Scalar { text, plain },
    }
}

fn refuse_tag(tag: Option<&Tag>, here: At, errors: &mut Vec<Diagnostic>) {
    if tag.is_some() {
        note(errors, here, "tags (`!name`) are not read here; write the value alone");
    }
}

/// Records an error that a file can contain any number of times.
fn note(errors: &mut Vec<Diagnostic>, here: At, message: &str) {
    if errors.len() < MAX_REPORTED {
        errors.push(Diagnostic::new(here, message));
    }
}

fn control_character(text: &str) -> Option<Diagnostic> {
    let refused = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    let (index, character) = text.char_indices().find(|(_, c)| refused(*c))?;
    let message = format!(
        "the control character U+{:04X} is not allowed here; remove it",
        u32::from(character)
    );
    Some(Diagnostic::new(At::of(text, index), message))
}
