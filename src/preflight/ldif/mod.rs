//! Reads LDIF (RFC 2849) one record at a time.
//!
//! Only the values of requested attributes are kept; all others, such as photos, are skipped piece
//! by piece, so that memory does not depend on their size.

use std::io::{self, BufRead};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use self::line::{Line, Lines, Separator};
use super::entry::Entry;

mod line;
pub mod write;

/// Base64 as servers write it; the padding bits of the last byte are ignored.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The maximum size of the kept values of one record, in bytes.
const MAX_RECORD: usize = 16 << 20;

/// Reads the records of one file.
#[derive(Debug)]
pub struct Reader<R> {
    lines: Lines<R>,
    /// Whether a line other than a comment has been read.
    begun: bool,
    ended: bool,
}

/// The kind of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Entry(Entry),
    /// A change other than `add`: not an entry.
    Change,
    /// A referral, or the result that `ldapsearch` prints after the entries, with its code.
    Note {
        result: Option<u32>,
    },
}

/// Why a record could not be read.
#[derive(Debug)]
pub enum Fault {
    /// The file itself cannot be read any further.
    Io(io::Error),
    /// The file has another encoding; nothing in it can be read.
    Encoding,
    /// The record with this line is not LDIF. Reading can continue.
    Broken { line: u64, why: &'static str },
}

impl<R: BufRead> Reader<R> {
    pub fn new(input: R) -> Self {
        Self { lines: Lines::new(input), begun: false, ended: false }
    }

    /// The next record; `None` at the end of the file. `wanted` decides for which attributes the
    /// values are kept; it receives the name as written.
    pub fn next(&mut self, wanted: &dyn Fn(&[u8]) -> bool) -> Option<Result<Record, Fault>> {
        if self.ended {
            return None;
        }
        match self.record(wanted) {
            Ok(Some(record)) => Some(Ok(record)),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(Fault::Broken { line, why }) => {
                if let Err(error) = self.pass_over() {
                    self.ended = true;
                    return Some(Err(Fault::Io(error)));
                }
                Some(Err(Fault::Broken { line, why }))
            }
            Err(fault) => {
                self.ended = true;
                Some(Err(fault))
            }
        }
    }

    /// Physical bytes that were read so far.
    pub fn position(&self) -> u64 {
        self.lines.position()
    }

    fn record(&mut self, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Option<Record>, Fault> {
        if !self.begun && self.lines.starts_in_utf16()? {
            return Err(Fault::Encoding);
        }
        loop {
            let line = self.lines.next(&|name| is_start(name))?;
            match line {
                Line::End => return Ok(None),
                Line::Blank | Line::Comment => continue,
                Line::Attribute => {}
                Line::Broken(why) => return Err(self.broken(why)),
            }
            let first = !std::mem::replace(&mut self.begun, true);
            let name = self.lines.name().to_ascii_lowercase();
            match &name[..] {
                b"version" if first => {
                    if self.value()? != b"1" {
                        return Err(self.broken("this version of LDIF is not known; it must be 1"));
                    }
                }
                b"dn" => {
                    let dn = self.value()?;
                    return self.body(dn, wanted).map(Some);
                }
                b"ref" | b"search" => return self.note().map(Some),
                _ => return Err(self.broken("a record must begin with `dn:`")),
            }
        }
    }

    /// The part after the DN.
    fn body(&mut self, dn: Vec<u8>, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Record, Fault> {
        let mut entry = Entry::new(dn);
        let mut size = 0;
        let mut first = true;
        loop {
            let kept = |name: &[u8]| is_start(name) || wanted(name);
            match self.lines.next(&kept)? {
                Line::End | Line::Blank => return Ok(Record::Entry(entry)),
                Line::Comment => continue,
                Line::Attribute => {}
                // In a record of changes a hyphen ends a change; in an entry it is a error.
                Line::Broken(why) => return Err(self.broken(why)),
            }
            let name = self.lines.name();
            if name.eq_ignore_ascii_case(b"control") {
                if !first {
                    return Err(self.broken("`control:` must follow the DN"));
                }
                continue;
            }
            if name.eq_ignore_ascii_case(b"changetype") {
                if !first {
                    return Err(self.broken("`changetype:` must follow the DN"));
                }
                first = false;
                if !self.value()?.eq_ignore_ascii_case(b"add") {
                    self.pass_over()?;
                    return Ok(Record::Change);
                }
                continue;
            }
            first = false;
            if name.eq_ignore_ascii_case(b"dn") {
                return Err(
                    self.broken("a second `dn:` in one record; a blank line is missing before it")
                );
            }
            if !is_description(name) {
                return Err(self.broken("what precedes the colon is not the name of an attribute"));
            }
            if !wanted(name) {
                self.check_unkept()?;
                continue;
            }
            let name = name.to_vec();
            let value = self.value()?;
            size += name.len() + value.len();
            if size > MAX_RECORD {
                return Err(self.broken("the record has more than 16 MiB of values that are used"));
            }
            entry.add(&name, value);
        }
    }

    /// The rest of a record that is neither an entry nor a change.
    fn note(&mut self) -> Result<Record, Fault> {
        let mut result = None;
        loop {
            match self.lines.next(&|name| name.eq_ignore_ascii_case(b"result"))? {
                Line::End | Line::Blank => return Ok(Record::Note { result }),
                Line::Attribute if self.lines.name().eq_ignore_ascii_case(b"result") => {
                    let value = self.value()?;
                    let digits = value.split(|byte| !byte.is_ascii_digit()).next();
                    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                    result = digits.and_then(|digits| digits.parse().ok());
                }
                Line::Attribute | Line::Comment => {}
                Line::Broken(why) => return Err(self.broken(why)),
            }
        }
    }

    /// The value of the line that was read last.
    fn value(&self) -> Result<Vec<u8>, Fault> {
        let value = self.lines.value();
        match self.lines.separator() {
            Separator::Plain if value.contains(&0) => Err(self.broken("a value contains a NUL")),
            Separator::Plain => Ok(value.to_vec()),
            Separator::Url => Err(self.broken(URL)),
            Separator::Base64 => {
                let blanks = value.iter().rev().take_while(|byte| **byte == b' ').count();
                let value = &value[..value.len() - blanks];
                BASE64.decode(value).map_err(|_| self.broken(NO_BASE64))
            }
        }
    }

    /// Whether the value that was not kept is valid.
    fn check_unkept(&self) -> Result<(), Fault> {
        match self.lines.separator() {
            Separator::Url => Err(self.broken(URL)),
            Separator::Base64 if !self.lines.unkept_is_base64() => Err(self.broken(NO_BASE64)),
            _ => Ok(()),
        }
    }

    /// Reads on to the end of the record, whatever it contains.
    fn pass_over(&mut self) -> io::Result<()> {
        if self.lines.at_record_end() {
            return Ok(());
        }
        while !matches!(self.lines.next(&|_| false)?, Line::End | Line::Blank) {}
        Ok(())
    }

    fn broken(&self, why: &'static str) -> Fault {
        Fault::Broken { line: self.lines.number(), why }
    }
}

const URL: &str =
    "a value is in another file (`:<`), which is not read; export the values themselves";
const NO_BASE64: &str = "the value after `::` is not base64";

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether a line with this name is part of the format and not an attribute.
fn is_start(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 5] = [b"dn", b"version", b"changetype", b"ref", b"search"];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether this is the name of an attribute, with options or without: letters, digits, `-`, `.`, `;`, and
/// `_`, which some servers allow.
fn is_description(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.;_".contains(byte);
    name.first().is_some_and(u8::is_ascii_alphanumeric) && name.iter().all(allowed)
}

#[cfg(test)]
mod tests;
