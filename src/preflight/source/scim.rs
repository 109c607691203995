//! SCIM users, one per line, as a client would send them.

use std::io::{self, BufRead, BufReader, Read};

use indicatif::ProgressBar;

use super::{Input, Item, Source, Visit};
use crate::json::{self, Name as Attribute, Type, Value};
use crate::preflight::candidate::{Candidate, Class, Identifiers, Name};
use crate::scim::user::is_primary;
use crate::wire::email;

/// The maximum size of a line in bytes: more than a body may have by default.
const MAX_LINE: u64 = 16 << 20;

/// A file of users.
#[derive(Debug)]
pub struct Users {
    input: Input,
}

impl Users {
    pub fn new(input: Input) -> Self {
        Self { input }
    }
}

impl Source for Users {
    fn pass(&self, bar: &ProgressBar, visit: &mut Visit<'_>) -> io::Result<()> {
        let mut lines = BufReader::new(bar.wrap_read(self.input.read()?));
        let mut line = Vec::new();
        let mut number = 0_u32;
        loop {
            line.clear();
            if (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            number += 1;
            let item = if line.len() as u64 == MAX_LINE && !line.ends_with(b"\n") {
                pass_line(&mut lines)?;
                Item::Unread(format!(
                    "{}:{number}: the line is longer than 16 MiB",
                    self.input.name()
                ))
            } else {
                let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
                match text {
                    [] => Item::Nothing,
                    text => Item::Candidate(Box::new(candidate(number, text))),
                }
            };
            visit(number - 1, item)?;
        }
    }

    fn size(&self) -> u64 {
        self.input.size()
    }
}

/// Reads on to the end of a line.
fn pass_line(lines: &mut impl BufRead) -> io::Result<()> {
    loop {
        let chunk = lines.fill_buf()?;
        if chunk.is_empty() {
            return Ok(());
        }
        let end = memchr::memchr(b'\n', chunk);
        let taken = end.map_or(chunk.len(), |end| end + 1);
        lines.consume(taken);
        if end.is_some() {
            return Ok(());
        }
    }
}

fn candidate(row: u32, body: &[u8]) -> Candidate {
    Candidate {
        name: Name::Row(u64::from(row)),
        class: Class::Keep,
        body: Some(body.to_vec()),
        reason: None,
        stage: None,
        to_keep: true,
        lacks_user_name: false,
        identifiers: identifiers(body).unwrap_or_default(),
    }
}

/// A user's identifiers, as Wire reads them.
fn identifiers(body: &[u8]) -> Option<Identifiers> {
    let document = json::parse(body).ok()?;
    let user = document.root().as_object()?;
    let text = |name| user.value(name).and_then(as_text).map(str::to_string);
    Some(Identifiers {
        user_name: text(Attribute::UserName),
        external_id: text(Attribute::ExternalId),
        email: user.value(Attribute::Emails).and_then(address),
        display_name: text(Attribute::DisplayName),
    })
}

/// The primary address, or else the first.
fn address(emails: Value<'_>) -> Option<String> {
    let Type::Array(emails) = emails.get() else { return None };
    let entries = || emails.elements().filter_map(Value::as_object);
    let primary = entries().find(|email| is_primary(*email));
    let email = primary.or_else(|| entries().next())?;
    email.value(Attribute::Value).and_then(as_text).and_then(email::canonical)
}

fn as_text(value: Value<'_>) -> Option<&str> {
    match value.get() {
        Type::String(text) => Some(text),
        _ => None,
    }
}
