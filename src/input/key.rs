//! The keys that a mapping of a file may have: one definition for the reader, the JSON Schema, the reference page and
//! the example.

use std::fmt;
use std::time::Duration;

use super::value::{duration_text, size_text};

/// A key, and all that is known of its value.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub absent: Absent,
    /// Whether a change takes effect only with a restart.
    pub at_restart: bool,
    /// What it means, in Markdown.
    pub doc: &'static str,
}

/// What holds if a key is left out. Texts of values are YAML.
#[derive(Debug)]
pub enum Absent {
    /// That is an error. With a value for the example.
    Refused(&'static str),
    /// This value.
    Value(fn() -> String),
    /// A mapping of which all keys are absent.
    Section,
    /// What no value says, in words. With a value for the example; a mapping can have those of its keys.
    Otherwise(&'static str, &'static str),
}

/// What a value has to be.
#[derive(Debug)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number from one to another.
    Count(u64, u64),
    /// A number of bytes.
    Size(u64, u64),
    Duration(Duration, Duration),
    /// A number from 0 to 1.
    Share,
    /// One of these words.
    Word(fn() -> Vec<&'static str>),
    /// One value, in this form.
    Text(&'static Form),
    /// A list of at least and at most so many items.
    List(&'static Kind, usize, usize),
    Map(&'static [Key]),
    /// A mapping whose keys are names, each with the words that it may have, which are among those of `Kind`.
    Names(&'static Kind, fn() -> Vec<(String, Vec<&'static str>)>),
    /// One of several, of which one at most is a mapping.
    Either(&'static [Kind]),
}

/// How a single value is written.
#[derive(Debug)]
pub struct Form {
    /// What it is.
    pub name: &'static str,
    /// A regular expression that all valid values match.
    pub pattern: Option<&'static str>,
    /// It may look like a number.
    pub number: bool,
}

/// The most items of a list: those of some lists are compared with each other, those of others with
/// every request.
pub const MAX_ITEMS: usize = 1000;

impl Key {
    pub const fn new(name: &'static str, kind: Kind, absent: Absent, doc: &'static str) -> Self {
        Self { name, kind, absent, at_restart: false, doc }
    }

    /// A key whose value is read at start only.
    pub const fn at_restart(self) -> Self {
        Self { at_restart: true, ..self }
    }
}

/// What it has to be, for people.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Count(least, most) => write!(f, "whole number, {least} to {most}"),
            Self::Size(least, most) => {
                write!(f, "size, {} to {}", size_text(*least), size_text(*most))
            }
            Self::Duration(least, most) => {
                write!(f, "duration, {} to {}", duration_text(*least), duration_text(*most))
            }
            Self::Share => f.write_str("number from 0 to 1"),
            Self::Word(words) => match &words()[..] {
                [word] => f.write_str(word),
                words => write!(f, "one of {}", words.join(", ")),
            },
            Self::Text(form) => f.write_str(form.name),
            Self::List(of, ..) => write!(f, "list, each item: {of}"),
            Self::Map(_) => f.write_str("mapping"),
            Self::Names(of, _) => write!(f, "mapping, each value: {of}"),
            Self::Either(kinds) => {
                let kinds: Vec<String> = kinds.iter().map(Self::to_string).collect();
                f.write_str(&kinds.join("; or "))
            }
        }
    }
}

impl Kind {
    /// The keys of the mapping; none if it is no mapping.
    pub fn keys(&self) -> &'static [Key] {
        match self.find(|kind| matches!(kind, Self::Map(_))) {
            Some(Self::Map(keys)) => keys,
            _ => &[],
        }
    }

    /// The kind itself, or the first of several, for which this is true.
    pub fn find(&self, is_it: impl Fn(&Self) -> bool) -> Option<&Self> {
        match self {
            Self::Either(kinds) => kinds.iter().find(|kind| is_it(kind)),
            kind => Some(kind).filter(|kind| is_it(kind)),
        }
    }
}

/// The words of a table of words and their meanings.
pub fn names<T>(words: &[(&'static str, T)]) -> Vec<&'static str> {
    words.iter().map(|(word, _)| *word).collect()
}

/// The word for a meaning.
pub fn name_of<T: PartialEq>(words: &[(&'static str, T)], meaning: &T) -> String {
    words.iter().find(|(_, value)| value == meaning).map_or("", |(word, _)| word).to_owned()
}
