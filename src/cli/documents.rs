//! The documents that `check` judges: files, standard input, or the rows of a JSON Lines file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::config::words::Words;
use crate::evaluator::CheckKind;

pub const KINDS: Words<CheckKind, 5> = [
    ("user", CheckKind::User),
    ("patch", CheckKind::Patch),
    ("group", CheckKind::Group),
    ("filter", CheckKind::Filter),
    ("group_filter", CheckKind::GroupFilter),
];

/// One document to judge.
pub struct Document {
    pub name: Name,
    pub kind: CheckKind,
    pub bytes: Vec<u8>,
}

/// A document that cannot be judged, and why, as a sentence.
pub struct Unusable {
    pub name: Name,
    pub why: String,
}

/// The name of a document in the output.
pub enum Name {
    File(String),
    Id(String),
}

impl Name {
    pub fn as_str(&self) -> &str {
        match self {
            Self::File(name) | Self::Id(name) => name,
        }
    }
}

/// Reads a whole file, or standard input for `-`. Of a body that is larger than `body_limit`, only one byte more
/// than the limit is read.
pub fn read(path: &Path, kind: CheckKind, body_limit: usize) -> Result<Document, Unusable> {
    let name = Name::File(path.display().to_string());
    let is_filter = matches!(kind, CheckKind::Filter | CheckKind::GroupFilter);
    let limit = if is_filter { u64::MAX } else { body_limit as u64 + 1 };
    let mut bytes = Vec::new();
    let read = open(path).and_then(|source| source.take(limit).read_to_end(&mut bytes));
    if let Err(error) = read {
        let why = format!("{}: cannot be read: {error}", name.as_str());
        return Err(Unusable { name, why });
    }
    if is_filter && bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(Document { name, kind, bytes })
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(path)?))
}

/// The rows of a JSON Lines file, one after the other.
pub struct Rows {
    path: String,
    source: BufReader<Box<dyn Read>>,
    line: usize,
    /// Bytes read so far.
    pub position: u64,
}

/// The columns that are read; others are ignored.
#[derive(Deserialize)]
struct Row {
    id: Option<serde_json::Value>,
    kind: String,
    body: Option<String>,
    body_base64: Option<String>,
}

impl Rows {
    pub fn open(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let source = open(path).map_err(|error| format!("{name}: cannot be read: {error}"))?;
        Ok(Self { path: name, source: BufReader::new(source), line: 0, position: 0 })
    }

    /// Parses a row.
    fn read(&self, line: &[u8]) -> Result<Document, Unusable> {
        let here = || format!("{}:{}", self.path, self.line);
        Self::read_row(line, &here).map_err(|why| Unusable { name: Name::Id(here()), why })
    }

    fn read_row(line: &[u8], here: &dyn Fn() -> String) -> Result<Document, String> {
        // The byte order mark that some editors write.
        let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        let row: Row = serde_json::from_slice(line).map_err(|error| {
            let what = match error.classify() {
                serde_json::error::Category::Data => {
                    "is not a JSON object with kind, and body or body_base64, as strings"
                }
                _ => "is not JSON",
            };
            format!("{}: this row {what}", here())
        })?;
        let kind = KINDS.iter().find(|(word, _)| *word == row.kind).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| {
            let known: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
            format!("{}: kind is {:?}, which is none of: {}", here(), row.kind, known.join(", "))
        })?;
        let bytes = match (row.body, row.body_base64) {
            (Some(body), None) => body.into_bytes(),
            (None, Some(encoded)) => STANDARD
                .decode(encoded)
                .map_err(|error| format!("{}: body_base64 is not base64: {error}", here()))?,
            _ => return Err(format!("{}: a row has either body or body_base64", here())),
        };
        let name = match row.id {
            Some(serde_json::Value::String(id)) => id,
            Some(serde_json::Value::Number(id)) => id.to_string(),
            _ => here(),
        };
        Ok(Document { name: Name::Id(name), kind, bytes })
    }
}

impl Iterator for Rows {
    type Item = Result<Document, Unusable>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        loop {
            line.clear();
            self.line += 1;
            match self.source.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(read) => self.position += read as u64,
                Err(error) => {
                    // After an error, reading is not tried again.
                    self.source = BufReader::new(Box::new(io::empty()));
                    let why = format!("{}: cannot be read: {error}", self.path);
                    return Some(Err(Unusable { name: Name::Id(self.path.clone()), why }));
                }
            }
            if !line.trim_ascii().is_empty() {
                return Some(self.read(&line));
            }
        }
    }
}
