//! Reads mappings key by key: every key that is asked for is consumed, what is left over at the
//! end is unknown, and whatever is wrong is noted while the reading goes on.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::diagnostic::{At, Diagnostics};
use super::near;
use super::value::{self, quoted};
use super::yaml::{Node, Value};

/// The most items of a list. Those of some lists are compared with each other, those of others with
/// every request.
const LONGEST_LIST: usize = 1000;

/// One mapping of the file. `close` it when all keys were asked for.
pub struct Section<'n, 't> {
    /// The full name, such as `limits`; empty at the top.
    path: String,
    pub at: At,
    entries: Vec<Entry<'n, 't>>,
    /// What stands there is no mapping; nothing more is said of what it lacks.
    misshapen: bool,
    asked: Vec<&'static str>,
    notes: &'n Diagnostics,
}

struct Entry<'n, 't> {
    name: &'n str,
    at: At,
    value: &'n Node<'t>,
}

/// One value of the file, under its full name.
#[derive(Clone)]
pub struct Field<'n, 't> {
    path: String,
    pub at: At,
    node: &'n Node<'t>,
    notes: &'n Diagnostics,
}

impl<'n, 't> Section<'n, 't> {
    /// A section that is not in the file: all its keys are absent.
    fn absent(path: String, at: At, notes: &'n Diagnostics) -> Self {
        Self { path, at, entries: Vec::new(), misshapen: false, asked: Vec::new(), notes }
    }

    /// The whole document; `None` if it is empty.
    pub fn top(node: Option<&'n Node<'t>>, notes: &'n Diagnostics) -> Self {
        match node {
            Some(Node { value: Value::Null, .. }) | None => {
                Self::absent(String::new(), At::START, notes)
            }
            Some(node) => Field { path: String::new(), at: node.at, node, notes }.section(),
        }
    }

    /// The value of a key, if the key is there and has one.
    pub fn field(&mut self, key: &'static str) -> Option<Field<'n, 't>> {
        let path = join(&self.path, key);
        #[cfg(test)]
        self.notes.asked.borrow_mut().push(path.clone());
        self.asked.push(key);
        let at = self.entries.iter().position(|entry| entry.name == key)?;
        let Entry { at, value, .. } = self.entries.remove(at);
        match value.value {
            Value::Null => {
                let message =
                    format!("{path} has no value; give it one, or leave out the whole line");
                self.notes.mistake(at, message);
                None
            }
            Value::Unread => None,
            _ => Some(Field { path, at: value.at, node: value, notes: self.notes }),
        }
    }

    /// As `field`, but a key that is missing, or has no value, is a mistake with `what` to do.
    pub fn required(&mut self, key: &'static str, what: &str) -> Option<Field<'n, 't>> {
        let path = join(&self.path, key);
        let entry = self.entries.iter().find(|entry| entry.name == key);
        match entry.map(|Entry { at, value, .. }| (at, &value.value)) {
            None if !self.misshapen => {
                self.notes.mistake(self.at, format!("{path} is missing: {what}"));
            }
            Some((at, Value::Null)) => {
                self.notes.mistake(*at, format!("{path} has no value: {what}"));
                self.entries.retain(|entry| entry.name != key);
            }
            _ => {}
        }
        self.field(key)
    }

    /// A section within this one; all its keys are absent if it is.
    pub fn section(&mut self, key: &'static str) -> Section<'n, 't> {
        let (path, at, notes) = (join(&self.path, key), self.at, self.notes);
        match self.field(key) {
            Some(field) => field.section(),
            None => Self::absent(path, at, notes),
        }
    }

    /// Hands out the keys and values that are left: for mappings whose keys are data.
    pub fn rest(&mut self) -> Vec<(&'n str, At, Field<'n, 't>)> {
        let (path, notes) = (&self.path, self.notes);
        let field = |entry: Entry<'n, 't>| {
            let path = join(path, entry.name);
            let at = entry.value.at;
            (entry.name, entry.at, Field { path, at, node: entry.value, notes })
        };
        self.entries.drain(..).map(field).collect()
    }

    /// Notes what nobody asked for.
    pub fn close(self) {
        for entry in &self.entries {
            let hint = near::hint(entry.name, self.asked.iter().copied());
            let known = if hint.is_empty() {
                format!("; the keys here are {}", self.asked.join(", "))
            } else {
                hint
            };
            let path = join(&self.path, entry.name);
            self.notes.mistake(entry.at, format!("{path} is an unknown key{known}"));
        }
    }
}

impl<'n, 't> Field<'n, 't> {
    /// Notes what is wrong with this value.
    pub fn mistake(&self, message: impl Display) {
        self.mistake_at(self.at, message);
    }

    /// Notes what is wrong with this value, or its key, at some other place.
    pub fn mistake_at(&self, at: At, message: impl Display) {
        let message = if self.path.is_empty() {
            message.to_string()
        } else {
            format!("{}: {message}", self.path)
        };
        self.notes.mistake(at, message);
    }

    fn wants<T>(&self, wanted: &str) -> Option<T> {
        let found = match &self.node.value {
            Value::Null => "nothing".into(),
            Value::Scalar { text, .. } => quoted(text),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping (key: value)".into(),
            Value::Unread => return None,
        };
        self.mistake(format_args!("expected {wanted}, found {found}"));
        None
    }

    pub fn is_mapping(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// The mapping in this place. Keys that stand twice are noted, and the first one counts.
    pub fn section(self) -> Section<'n, 't> {
        let mut section = Section::absent(self.path.clone(), self.at, self.notes);
        let Value::Map(entries) = &self.node.value else {
            self.wants::<()>("a mapping (key: value)");
            section.misshapen = true;
            return section;
        };
        let mut first: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
        for (key, value) in entries {
            let name: &str = match &key.value {
                Value::Scalar { text, .. } => text,
                Value::Unread => continue,
                _ => {
                    self.notes.mistake(key.at, "a key is a single word; quote it if need be");
                    continue;
                }
            };
            match first.entry(name) {
                Slot::Occupied(first) => {
                    let path = join(&self.path, name);
                    let message = format!("{path} is given twice; first on line {}", first.get());
                    self.notes.mistake(key.at, message);
                }
                Slot::Vacant(slot) => {
                    slot.insert(key.at.line);
                    section.entries.push(Entry { name, at: key.at, value });
                }
            }
        }
        section
    }

    /// The items of a list, each read by `read`, without those that it could not read.
    pub fn list<T>(&self, read: impl Fn(&Field<'n, 't>) -> Option<T>) -> Option<Vec<T>> {
        self.list_of(LONGEST_LIST, read)
    }

    /// As `list`, of at most so many items.
    pub fn list_of<T>(
        &self,
        most: usize,
        read: impl Fn(&Field<'n, 't>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::List(items) = &self.node.value else {
            return self.wants("a list, such as [a, b]");
        };
        if items.len() > most {
            self.mistake(format_args!(
                "the list has {} items; {most} are the most that is read here",
                items.len()
            ));
            return None;
        }
        let field = |(index, node): (usize, &'n Node<'t>)| Field {
            path: format!("{}[{index}]", self.path),
            at: node.at,
            node,
            notes: self.notes,
        };
        Some(items.iter().enumerate().map(field).filter_map(|item| read(&item)).collect())
    }

    /// As `list`, with the places of the items. Here an empty list is a mistake, and so is an item
    /// that stands twice.
    pub fn filled_list<T: PartialEq>(
        &self,
        why: &str,
        read: impl Fn(&Field<'n, 't>) -> Option<T>,
    ) -> Option<Vec<(At, T)>> {
        let items = self.list(|item| Some((item.clone(), read(item))))?;
        if items.is_empty() {
            self.mistake(format_args!("the list is empty; {why}"));
        }
        let mut good: Vec<(At, T)> = Vec::new();
        for (item, value) in items {
            let Some(value) = value else { continue };
            match good.iter().find(|(_, other)| *other == value) {
                Some((first, _)) => item.mistake(format_args!(
                    "this is given twice; first on line {}, column {}",
                    first.line, first.column
                )),
                None => good.push((item.at, value)),
            }
        }
        Some(good)
    }

    /// The text of a scalar, quoted or not.
    pub fn text(&self) -> Option<&'n str> {
        match &self.node.value {
            Value::Scalar { text, .. } => Some(text),
            _ => self.wants("a text"),
        }
    }

    /// A scalar read by `read`, whose error ends the sentence about it.
    pub fn parsed<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match read(self.text()?) {
            Ok(value) => Some(value),
            Err(why) => {
                self.mistake(why);
                None
            }
        }
    }

    /// A scalar that is a string in YAML, read by `read`: a number would lose its last zeros to
    /// other readers of the file.
    pub fn string<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match &self.node.value {
            Value::Scalar { text, plain: true } if text.parse::<f64>().is_ok() => {
                self.mistake(format_args!("{text} is a number; write it in quotes: \"{text}\""));
                None
            }
            _ => self.parsed(read),
        }
    }

    pub fn flag(&self) -> Option<bool> {
        match &self.node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => self.wants("true or false, without quotes"),
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        self.parsed(|text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let hint = near::hint(text, names.iter().copied());
                format!("{} is none of: {}{hint}", quoted(text), names.join(", "))
            })
        })
    }

    /// A whole number.
    pub fn count(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.parsed(|text| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            match text.parse::<u64>() {
                Ok(number) if digits && range.contains(&number) => Ok(number),
                _ if digits => Err(out_of_range(text, range.start(), range.end())),
                _ => Err(format!(
                    "{} is no whole number; write one from {} to {}",
                    quoted(text),
                    range.start(),
                    range.end()
                )),
            }
        })
    }

    /// A number of bytes.
    pub fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.parsed(|text| match value::size(text)? {
            size if range.contains(&size) => Ok(size),
            _ => {
                let (least, most) =
                    (value::size_text(*range.start()), value::size_text(*range.end()));
                Err(out_of_range(text, least, most))
            }
        })
    }

    /// A time.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.parsed(|text| match value::duration(text)? {
            duration if range.contains(&duration) => Ok(duration),
            _ => {
                let least = value::duration_text(*range.start());
                Err(out_of_range(text, least, value::duration_text(*range.end())))
            }
        })
    }
}

fn out_of_range(text: &str, least: impl Display, most: impl Display) -> String {
    format!("{} is out of range; it must be {least} to {most}", quoted(text))
}

fn join(path: &str, key: &str) -> String {
    let key = if key.len() > 60 { quoted(key) } else { key.to_string() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
