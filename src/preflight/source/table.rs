//! A table of people as CSV, with a mapping of its columns to attributes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use csv::{ByteRecord, ReaderBuilder};
use indicatif::ProgressBar;

use super::{Input, Item, Source, Visit};
use crate::input::near;
use crate::preflight::bridge::body::{Active, Body};
use crate::preflight::candidate::{Candidate, Class, Identifiers, Name};
use crate::wire::email;

/// The attributes that a column can be mapped to.
pub const TARGETS: [&str; 6] = ["userName", "externalId", "displayName", "email", "role", "active"];

/// The approximate maximum size of a row, in bytes.
const MAX_ROW: u64 = 16 << 20;

/// The maximum size of the line with the column names, in bytes.
const MAX_HEAD: u64 = 1 << 20;

/// A table and its mapping.
#[derive(Debug)]
pub struct Table {
    input: Input,
    delimiter: u8,
    /// By the name of the target.
    mapping: BTreeMap<&'static str, Vec<Part>>,
}

/// A part of a value: literal text of the mapping, or a column.
#[derive(Debug)]
enum Part {
    Text(String),
    Column(usize),
}

impl Table {
    /// Reads the column names and resolves the mapping, each `target=column` or `target=text with
    /// {column}`. Errors are sentences, one per line.
    pub fn new(input: Input, mapping: &[String]) -> Result<Self, String> {
        let name = input.name();
        let (delimiter, head) = head(&input).map_err(|error| format!("{name}: {error}"))?;
        let mut wrong = Vec::new();
        let mut mapped = BTreeMap::new();
        for rule in mapping {
            let Some((target, source)) = rule.split_once('=') else {
                wrong.push(format!("--map {rule}: write ATTRIBUTE=COLUMN, such as userName=Login"));
                continue;
            };
            let Some(target) = TARGETS.into_iter().find(|known| *known == target) else {
                let hint = near::hint(target, TARGETS);
                let known = TARGETS.join(", ");
                wrong.push(format!("--map {rule}: {target} is none of {known}{hint}"));
                continue;
            };
            match parts(source, &head) {
                Ok(_) if mapped.contains_key(target) => {
                    wrong.push(format!("--map {rule}: {target} is mapped twice"));
                }
                Ok(parts) => drop(mapped.insert(target, parts)),
                Err(why) => wrong.push(format!("--map {rule}: {why}")),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("\n"));
        }
        Ok(Self { input, delimiter, mapping: mapped })
    }

    /// The mapped value of a row for one target; `None` if it is empty.
    fn value(&self, target: &str, row: &[&str]) -> Option<String> {
        let parts = self.mapping.get(target)?;
        let texts = parts.iter().map(|part| match part {
            Part::Text(text) => text,
            Part::Column(column) => row.get(*column).copied().unwrap_or_default(),
        });
        Some(texts.collect::<String>()).filter(|value| !value.is_empty())
    }

    fn candidate(&self, number: u32, row: &[&str]) -> Candidate {
        let [user_name, external_id, display_name, address, role, active] =
            TARGETS.map(|target| self.value(target, row));
        let body = Body {
            active: active.as_deref().map(|text| match text {
                _ if text.eq_ignore_ascii_case("true") => Active::Is(true),
                _ if text.eq_ignore_ascii_case("false") => Active::Is(false),
                _ => Active::Text(text),
            }),
            display_name: display_name.as_deref(),
            email: address.as_deref(),
            external_id: external_id.as_deref(),
            role: role.as_deref(),
            user_name: user_name.as_deref(),
        };
        Candidate {
            name: Name::Row(u64::from(number)),
            class: Class::Keep,
            body: Some(body.to_json()),
            reason: None,
            stage: None,
            to_keep: true,
            lacks_user_name: false,
            identifiers: Identifiers {
                email: address.as_deref().and_then(email::canonical),
                user_name,
                external_id,
                display_name,
            },
        }
    }
}

impl Source for Table {
    fn pass(&self, bar: &ProgressBar, visit: &mut Visit<'_>) -> io::Result<()> {
        let left = Cell::new(MAX_ROW);
        let file = Bounded { input: bar.wrap_read(self.input.read()?), left: &left };
        let mut rows = ReaderBuilder::new().delimiter(self.delimiter).from_reader(file);
        let name = self.input.name();
        let mut row = ByteRecord::new();
        let mut number = 0_u32;
        loop {
            left.set(MAX_ROW);
            let read = rows.read_byte_record(&mut row);
            let item = match read {
                Ok(false) => return Ok(()),
                Ok(true) => {
                    let fields: Result<Vec<&str>, _> =
                        row.iter().map(std::str::from_utf8).collect();
                    match fields {
                        Ok(fields) => {
                            Item::Candidate(Box::new(self.candidate(number + 1, &fields)))
                        }
                        Err(_) => Item::Unread(format!(
                            "{name}: row {} is not UTF-8; save the table as UTF-8 (in Excel: CSV UTF-8)",
                            number + 1
                        )),
                    }
                }
                Err(error) => match error.into_kind() {
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        Item::Unread(format!(
                            "{name}: row {} has {len} fields, and the first line names {expected_len} columns; is a quote \
                         missing?",
                            number + 1
                        ))
                    }
                    csv::ErrorKind::Io(error) => return Err(error),
                    _ => Item::Unread(format!("{name}: row {} cannot be read", number + 1)),
                },
            };
            visit(number, item)?;
            number += 1;
        }
    }

    fn size(&self) -> u64 {
        self.input.size()
    }
}

/// Stops reading a row that has no end, such as one with an open quote.
struct Bounded<'l, R> {
    input: R,
    left: &'l Cell<u64>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::Error::other("a row is longer than 16 MiB; is a quote missing?"));
        }
        let read = self.input.read(buffer)?;
        self.left.set(self.left.get().saturating_sub(read as u64));
        Ok(read)
    }
}

/// The delimiter and the column names.
fn head(input: &Input) -> Result<(u8, Vec<String>), String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let mut line = Vec::new();
    let file = input.read().map_err(unreadable)?;
    BufReader::new(file.take(MAX_HEAD)).read_until(b'\n', &mut line).map_err(unreadable)?;
    if line.starts_with(&[0xFF, 0xFE]) || line.starts_with(&[0xFE, 0xFF]) {
        return Err("is UTF-16; save the table as UTF-8".into());
    }
    let delimiter = delimiter(&line);
    let file = input.read().map_err(unreadable)?;
    let mut rows = ReaderBuilder::new().delimiter(delimiter).from_reader(file.take(MAX_HEAD));
    let names = rows.headers().map_err(|_| "the names of the columns are not UTF-8".to_string())?;
    if names.is_empty() {
        return Err("is empty; its first line must name the columns".into());
    }
    Ok((delimiter, names.iter().map(str::to_string).collect()))
}

/// What separates the column names: a comma, or else a semicolon, as Excel writes in some
/// countries, or a tab.
fn delimiter(line: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    for byte in line {
        quoted ^= *byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|(known, _)| !quoted && known == byte) {
            *count += 1;
        }
    }
    // The first of equal counts.
    counts
        .into_iter()
        .rev()
        .max_by_key(|(_, count)| *count)
        .map_or(b',', |(delimiter, _)| delimiter)
}

/// `Login`, or `{First} {Last}`.
fn parts(source: &str, head: &[String]) -> Result<Vec<Part>, String> {
    let column = |name: &str| {
        head.iter().position(|known| known == name).map(Part::Column).ok_or_else(|| {
            let hint = near::hint(name, head.iter().map(String::as_str));
            format!("there is no column {name:?}{hint}; the columns are {}", head.join(", "))
        })
    };
    if !source.contains('{') {
        return column(source).map(|part| vec![part]);
    }
    let mut parts = Vec::new();
    let mut rest = source;
    while let Some((text, after)) = rest.split_once('{') {
        let (name, after) =
            after.split_once('}').ok_or("a `{` has no `}`; write {COLUMN} inside a string")?;
        if !text.is_empty() {
            parts.push(Part::Text(text.to_string()));
        }
        parts.push(column(name)?);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_string()));
    }
    Ok(parts)
}
