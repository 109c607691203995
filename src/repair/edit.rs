//! Changes of a body as replacements of byte ranges, so that everything else stays unchanged byte
//! for byte.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;

use super::{Repair, Repairs};
use crate::json::{Array, Document, Object, Spans, Value};

/// The changes that repairs make in one body.
pub(super) struct Edits<'d> {
    document: &'d Document<'d>,
    spans: OnceCell<Spans>,
    /// The maximum size of the changed body, in bytes.
    limit: usize,
    changes: Vec<(Range<usize>, Cow<'static, str>)>,
    added: usize,
    by: Repairs,
}

impl<'d> Edits<'d> {
    pub fn of(document: &'d Document<'d>, limit: usize) -> Self {
        let (spans, by) = (OnceCell::new(), Repairs::NONE);
        Self { document, spans, limit, changes: Vec::new(), added: 0, by }
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    fn spans(&self) -> &Spans {
        self.spans.get_or_init(|| Spans::of(self.document))
    }

    /// A value as it is written in the body.
    pub fn written(&self, value: Value<'_>) -> &'d str {
        &self.document.source()[self.spans().of_value(value)]
    }

    /// Records that a repair has changed something.
    pub fn note(&mut self, repair: Repair) {
        self.by.insert(repair);
    }

    fn change(&mut self, range: Range<usize>, text: Cow<'static, str>) {
        self.added += text.len();
        // SECURITY: changes that exceed the limit are not collected.
        if self.added <= self.limit {
            self.changes.push((range, text));
        }
    }

    /// Replaces a value by another one, in JSON.
    pub fn replace(
        &mut self,
        repair: Repair,
        value: Value<'_>,
        text: impl Into<Cow<'static, str>>,
    ) {
        self.note(repair);
        self.change(self.spans().of_value(value), text.into());
    }

    /// Replaces a value by a string.
    pub fn replace_string(&mut self, repair: Repair, value: Value<'_>, text: &str) {
        self.replace(repair, value, string(text));
    }

    /// Adds members, in JSON, before those of an object. Once for each object.
    pub fn add(&mut self, repair: Repair, object: Object<'_>, members: &str) {
        self.note(repair);
        let start = self.spans().of_object(object).start + 1;
        let comma = if object.is_empty() { "" } else { "," };
        self.change(start..start, format!("{members}{comma}").into());
    }

    /// Keeps only some elements of an array; other values stay.
    pub fn retain(&mut self, repair: Repair, value: Value<'d>, keep: impl Fn(Value<'d>) -> bool) {
        let Some(list) = value.as_array() else { return };
        if list.elements().all(&keep) {
            return;
        }
        let kept: Vec<&str> = Array::elements(list)
            .filter(|element| keep(*element))
            .map(|element| self.written(element))
            .collect();
        let kept = format!("[{}]", kept.join(","));
        self.replace(repair, value, kept);
    }

    /// What changed the body, and the changed body if it is not too large. `None`: nothing did.
    pub fn apply(mut self) -> Option<(Repairs, Option<Vec<u8>>)> {
        if self.by.is_empty() {
            return None;
        }
        let source = self.document.source().as_bytes();
        self.changes.sort_by_key(|(range, _)| range.start);
        let removed: usize = self.changes.iter().map(|(range, _)| range.len()).sum();
        let size = (source.len() + self.added).saturating_sub(removed);
        if size > self.limit || self.added > self.limit {
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
