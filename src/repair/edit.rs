//! Changes of a body as replacements of byte ranges, so that everything else stays byte for byte.

use std::cell::OnceCell;
use std::ops::Range;

use super::{Repair, Repairs};
use crate::json::{Document, Object, Spans, Value};

/// The changes that repairs make in one body.
pub(super) struct Edits<'d> {
    document: &'d Document<'d>,
    spans: OnceCell<Spans>,
    changes: Vec<(Range<usize>, String)>,
    by: Repairs,
}

impl<'d> Edits<'d> {
    pub fn of(document: &'d Document<'d>) -> Self {
        Self { document, spans: OnceCell::new(), changes: Vec::new(), by: Repairs::NONE }
    }

    fn spans(&self) -> &Spans {
        self.spans.get_or_init(|| Spans::of(self.document))
    }

    /// Notes that a repair has changed something.
    pub fn note(&mut self, repair: Repair) {
        self.by.insert(repair);
    }

    /// Replaces a value by another one, in JSON.
    pub fn replace(&mut self, repair: Repair, value: Value<'_>, by: String) {
        self.note(repair);
        let range = self.spans().of_value(value);
        self.changes.push((range, by));
    }

    /// Replaces a value by a string.
    pub fn replace_string(&mut self, repair: Repair, value: Value<'_>, text: &str) {
        self.replace(repair, value, string(text));
    }

    /// Adds members, in JSON, in front of those of an object.
    pub fn add(&mut self, repair: Repair, object: Object<'_>, members: &str) {
        self.note(repair);
        let start = self.spans().of_object(object).start + 1;
        let comma = if object.is_empty() { "" } else { "," };
        self.changes.push((start..start, format!("{members}{comma}")));
    }

    /// What changed the body, and the changed body if it has at most `limit` bytes. `None`: nothing did.
    pub fn apply(mut self, limit: usize) -> Option<(Repairs, Option<Vec<u8>>)> {
        if self.by.is_empty() {
            return None;
        }
        let source = self.document.source().as_bytes();
        self.changes.sort_by_key(|(range, _)| range.start);
        let removed: usize = self.changes.iter().map(|(range, _)| range.len()).sum();
        let added: usize = self.changes.iter().map(|(_, text)| text.len()).sum();
        let size = source.len() + added - removed;
        if size > limit {
            return Some((self.by, None));
        }
        let mut out = Vec::with_capacity(size);
        let mut at = 0;
        for (range, text) in &self.changes {
            out.extend_from_slice(&source[at..range.start]);
            out.extend_from_slice(text.as_bytes());
            at = range.end;
        }
        out.extend_from_slice(&source[at..]);
        Some((self.by, Some(out)))
    }
}

/// A string in JSON.
pub(super) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
