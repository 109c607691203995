//! One value of a file, read as the expected type; errors are recorded.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use super::diagnostic::{At, Diagnostics};
use super::key::{self, Kind};
use super::near;
use super::value::{self, quoted};
use super::yaml::{Node, Value};

/// One value of the file, under its full name.
#[derive(Clone)]
pub struct Field<'n, 't> {
    pub(super) path: String,
    pub at: At,
    pub(super) node: &'n Node<'t>,
    /// What it has to be.
    pub(super) kind: &'static Kind,
    pub(super) diagnostics: &'n Diagnostics,
}

impl<'n, 't> Field<'n, 't> {
    /// Records an error in this value.
    pub fn error(&self, message: impl Display) {
        self.error_at(self.at, message);
    }

    /// Records an error in this value, or its key, at another position.
    pub fn error_at(&self, at: At, message: impl Display) {
        let message = if self.path.is_empty() {
            message.to_string()
        } else {
            format!("{}: {message}", self.path)
        };
        self.diagnostics.error(at, message);
    }

    /// Notes that this value names a file which is read with the text.
    pub fn note_file(&self, path: &Path) {
        self.diagnostics.note_file(path);
    }

    pub(super) fn wants<T>(&self, wanted: &str) -> Option<T> {
        let found = match &self.node.value {
            Value::Null => "nothing".into(),
            Value::Scalar { text, .. } => quoted(text),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping (key: value)".into(),
            Value::Unread => return None,
        };
        self.error(format_args!("expected {wanted}, found {found}"));
        None
    }

    pub fn is_mapping(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// The items of a list, each read by `read`, except those that it could not read.
    pub fn list<T>(&self, read: impl Fn(&Field<'n, 't>) -> Option<T>) -> Option<Vec<T>> {
        let Some(&Kind::List(kind, _, most)) =
            self.kind.find(|kind| matches!(kind, Kind::List(..)))
        else {
            return self.misdefined();
        };
        let Value::List(items) = &self.node.value else {
            return self.wants("a list, such as [a, b]");
        };
        if items.len() > most {
            self.error(format_args!(
                "the list has {} items; {most} are the most that is read here",
                items.len()
            ));
            return None;
        }
        let field = |(index, node): (usize, &'n Node<'t>)| Field {
            path: format!("{}[{index}]", self.path),
            at: node.at,
            node,
            kind,
            diagnostics: self.diagnostics,
        };
        Some(items.iter().enumerate().map(field).filter_map(|item| read(&item)).collect())
    }

    /// As `list`, with the positions of the items. Here an empty list is an error, and so is a
    /// repeated item.
    pub fn filled_list<T: PartialEq>(
        &self,
        why: &str,
        read: impl Fn(&Field<'n, 't>) -> Option<T>,
    ) -> Option<Vec<(At, T)>> {
        let items = self.list(|item| Some((item.clone(), read(item))))?;
        if items.is_empty() {
            self.error(format_args!("the list is empty; {why}"));
        }
        let mut good: Vec<(At, T)> = Vec::new();
        for (item, value) in items {
            let Some(value) = value else { continue };
            match good.iter().find(|(_, other)| *other == value) {
                Some((first, _)) => item.error(format_args!(
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
            _ => self.wants("a single value"),
        }
    }

    /// A scalar read by `read`, whose error ends the sentence about it.
    pub fn parsed<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match read(self.text()?) {
            Ok(value) => Some(value),
            Err(why) => {
                self.error(why);
                None
            }
        }
    }

    /// A scalar that is a string in YAML, read by `read`: other readers of the file would drop the
    /// trailing zeros of a number.
    pub fn string<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match &self.node.value {
            Value::Scalar { text, plain: true } if text.parse::<f64>().is_ok() => {
                self.error(format_args!("{text} is a number; write it in quotes: \"{text}\""));
                None
            }
            _ => self.parsed(read),
        }
    }

    pub fn flag(&self) -> Option<bool> {
        if self.kind.find(|kind| matches!(kind, Kind::Flag)).is_none() {
            return self.misdefined();
        }
        match &self.node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => self.wants("true or false, without quotes"),
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        match self.kind.find(|kind| matches!(kind, Kind::Word(_))) {
            Some(Kind::Word(defined)) if defined() == key::names(words) => {}
            _ => return self.misdefined(),
        }
        self.parsed(|text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let hint = near::hint(text, names.iter().copied());
                format!("{} is none of: {}{hint}", quoted(text), names.join(", "))
            })
        })
    }

    /// A whole number.
    pub fn count(&self) -> Option<u64> {
        let Some(&Kind::Count(least, most)) =
            self.kind.find(|kind| matches!(kind, Kind::Count(..)))
        else {
            return self.misdefined();
        };
        self.parsed(|text| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            match text.parse::<u64>() {
                Ok(number) if digits && (least..=most).contains(&number) => Ok(number),
                _ if digits => Err(out_of_range(text, least, most)),
                _ => Err(format!(
                    "{} is not a whole number; write one from {least} to {most}",
                    quoted(text)
                )),
            }
        })
    }

    /// A number of bytes.
    pub fn size(&self) -> Option<u64> {
        let Some(&Kind::Size(least, most)) = self.kind.find(|kind| matches!(kind, Kind::Size(..)))
        else {
            return self.misdefined();
        };
        self.parsed(|text| match value::size(text)? {
            size if (least..=most).contains(&size) => Ok(size),
            _ => Err(out_of_range(text, value::size_text(least), value::size_text(most))),
        })
    }

    /// A time.
    pub fn duration(&self) -> Option<Duration> {
        let Some(&Kind::Duration(least, most)) =
            self.kind.find(|kind| matches!(kind, Kind::Duration(..)))
        else {
            return self.misdefined();
        };
        self.parsed(|text| match value::duration(text)? {
            duration if (least..=most).contains(&duration) => Ok(duration),
            _ => {
                let least = value::duration_text(least);
                Err(out_of_range(text, least, value::duration_text(most)))
            }
        })
    }

    /// The reader takes the value for something else than its definition.
    fn misdefined<T>(&self) -> Option<T> {
        self.error("its definition does not fit its reader, which is a fault of this program");
        None
    }
}

fn out_of_range(text: &str, least: impl Display, most: impl Display) -> String {
    format!("{} is out of range; it must be {least} to {most}", quoted(text))
}
