//! Reads mappings key by key: every key that is asked for is consumed, what is left over at the
//! end is unknown, and whatever is wrong is noted while the reading goes on. Which keys there are, and what their values have to be,
//! is in a table of [`Key`]s.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use super::diagnostic::{At, Diagnostics};
use super::field::Field;
use super::key::{Key, Kind};
use super::near;
use super::value::quoted;
use super::yaml::{Node, Value};

/// One mapping of the file. Call `close` after looking up all keys.
pub struct Section<'n, 't> {
    /// The full name, such as `limits`; empty at the top.
    path: String,
    pub at: At,
    entries: Vec<Entry<'n, 't>>,
    /// The value is not a mapping; keys that it lacks are not reported.
    misshapen: bool,
    keys: &'static [Key],
    /// What values have to be if the keys are data.
    values: Option<&'static Kind>,
    diagnostics: &'n Diagnostics,
}

struct Entry<'n, 't> {
    name: &'n str,
    at: At,
    value: &'n Node<'t>,
}

impl<'n, 't> Section<'n, 't> {
    /// A section that is not in the file: all its keys are absent.
    fn absent(path: String, at: At, kind: &'static Kind, diagnostics: &'n Diagnostics) -> Self {
        let values = match kind {
            Kind::Names(values, _) => Some(*values),
            _ => None,
        };
        let (entries, misshapen, keys) = (Vec::new(), false, kind.keys());
        Self { path, at, entries, misshapen, keys, values, diagnostics }
    }

    /// The whole document, a mapping; `None` if it is empty.
    pub fn top(
        node: Option<&'n Node<'t>>,
        kind: &'static Kind,
        diagnostics: &'n Diagnostics,
    ) -> Self {
        match node {
            Some(Node { value: Value::Null, .. }) | None => {
                Self::absent(String::new(), At::START, kind, diagnostics)
            }
            Some(node) => {
                Field { path: String::new(), at: node.at, node, kind, diagnostics }.section()
            }
        }
    }

    /// The value of a key, if the key is there and has one.
    pub fn field(&mut self, key: &'static str) -> Option<Field<'n, 't>> {
        let path = join(&self.path, key);
        let kind = self.kind_of(key)?;
        let at = self.entries.iter().position(|entry| entry.name == key)?;
        let Entry { at, value, .. } = self.entries.remove(at);
        match value.value {
            Value::Null => {
                let message =
                    format!("{path} has no value; give it one, or leave out the whole line");
                self.diagnostics.error(at, message);
                None
            }
            Value::Unread => None,
            _ => {
                let diagnostics = self.diagnostics;
                Some(Field { path, at: value.at, node: value, kind, diagnostics })
            }
        }
    }

    /// What the value of a key has to be. Every key that a reader asks for is defined.
    fn kind_of(&self, key: &str) -> Option<&'static Kind> {
        let defined = self.keys.iter().find(|defined| defined.name == key);
        if defined.is_none() {
            let path = join(&self.path, key);
            let message = format!("{path} has no definition, which is a fault of this program");
            self.diagnostics.error(self.at, message);
        }
        defined.map(|defined| &defined.kind)
    }

    /// Whether the key is there, with a value or not.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == key)
    }

    /// As `field`, but a key that is missing, or has no value, is an error with `what` to do.
    pub fn required(&mut self, key: &'static str, what: &str) -> Option<Field<'n, 't>> {
        let path = join(&self.path, key);
        let entry = self.entries.iter().find(|entry| entry.name == key);
        match entry.map(|Entry { at, value, .. }| (at, &value.value)) {
            None if !self.misshapen => {
                self.diagnostics.error(self.at, format!("{path} is missing: {what}"));
            }
            Some((at, Value::Null)) => {
                self.diagnostics.error(*at, format!("{path} has no value: {what}"));
                self.entries.retain(|entry| entry.name != key);
            }
            _ => {}
        }
        self.field(key)
    }

    /// A section within this one; all its keys are absent if it is.
    pub fn section(&mut self, key: &'static str) -> Section<'n, 't> {
        let (path, at, diagnostics) = (join(&self.path, key), self.at, self.diagnostics);
        let kind = self.keys.iter().find(|defined| defined.name == key);
        match self.field(key) {
            Some(field) => field.section(),
            None => {
                let kind = kind.map_or(&Kind::Map(&[]), |defined| &defined.kind);
                Self::absent(path, at, kind, diagnostics)
            }
        }
    }

    /// Returns the keys and values that are left: for mappings whose keys are data.
    pub fn rest(&mut self) -> Vec<(&'n str, At, Field<'n, 't>)> {
        let (path, diagnostics) = (&self.path, self.diagnostics);
        let kind = self.values.unwrap_or(&Kind::Map(&[]));
        let field = |entry: Entry<'n, 't>| {
            let path = join(path, entry.name);
            let at = entry.value.at;
            (entry.name, entry.at, Field { path, at, node: entry.value, kind, diagnostics })
        };
        self.entries.drain(..).map(field).collect()
    }

    /// Reports the keys that were not looked up.
    pub fn close(self) {
        let keys: Vec<&str> = self.keys.iter().map(|key| key.name).collect();
        for entry in &self.entries {
            let hint = near::hint(entry.name, keys.iter().copied());
            let known = if hint.is_empty() {
                format!("; the keys here are {}", keys.join(", "))
            } else {
                hint
            };
            let path = join(&self.path, entry.name);
            self.diagnostics.error(entry.at, format!("{path} is an unknown key{known}"));
        }
    }
}

impl<'n, 't> Field<'n, 't> {
    /// The mapping at this position. Repeated keys are reported, and the first one is used.
    pub fn section(self) -> Section<'n, 't> {
        let mut section = Section::absent(self.path.clone(), self.at, self.kind, self.diagnostics);
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
                    self.diagnostics.error(key.at, "a key is a single word; quote it if need be");
                    continue;
                }
            };
            match first.entry(name) {
                Slot::Occupied(first) => {
                    let path = join(&self.path, name);
                    let message = format!("{path} is given twice; first on line {}", first.get());
                    self.diagnostics.error(key.at, message);
                }
                Slot::Vacant(slot) => {
                    slot.insert(key.at.line);
                    section.entries.push(Entry { name, at: key.at, value });
                }
            }
        }
        section
    }
}

/// Replaces a default by the value in the file.
pub fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn join(path: &str, key: &str) -> String {
    let key = if key.len() > 60 { quoted(key) } else { key.to_string() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
