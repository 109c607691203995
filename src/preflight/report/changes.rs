//! The proposed handles in a form that can be loaded back into the directory.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Judged, Sink, Summary};
use crate::preflight::candidate::{Class, Name};

/// Passes everything on, and also writes the proposals to a file.
#[allow(missing_debug_implementations, reason = "a sink has none")]
pub struct Changes<'s> {
    report: &'s mut dyn Sink,
    writer: Writer,
    attribute: String,
    /// The attribute is a new one, which all users have to get.
    everybody: bool,
}

/// The format of the file.
#[allow(missing_debug_implementations, reason = "the writer has none")]
pub enum Writer {
    /// Changes of one attribute, for ldapmodify.
    Ldif(Box<dyn Write>),
    /// A row with entry, attribute and value.
    Csv(Box<csv::Writer<Box<dyn Write>>>),
}

impl<'s> Changes<'s> {
    /// Writes the beginning of the file; `attribute` is the one to change, and `mapped` the one
    /// that userName comes from now.
    pub fn new(
        report: &'s mut dyn Sink,
        mut writer: Writer,
        attribute: String,
        mapped: &str,
    ) -> io::Result<Self> {
        match &mut writer {
            Writer::Ldif(out) => out.write_all(b"version: 1\n")?,
            Writer::Csv(out) => out.write_record(["entry", "attribute", "now", "value"])?,
        }
        let everybody = attribute != mapped;
        Ok(Self { report, writer, attribute, everybody })
    }

    fn change(&mut self, name: &Name, now: Option<&str>, handle: &str) -> io::Result<()> {
        match (&mut self.writer, name) {
            (Writer::Ldif(out), Name::Dn(dn)) => {
                let attribute = &self.attribute;
                let dn = if is_safe(dn) {
                    format!(" {dn}")
                } else {
                    format!(": {}", STANDARD.encode(dn))
                };
                write!(
                    out,
                    "\ndn:{dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {handle}\n-\n"
                )
            }
            // Rows of a table have no name in a directory.
            (Writer::Ldif(_), Name::Row(_)) => Ok(()),
            (Writer::Csv(out), name) => {
                let entry = match name {
                    Name::Dn(dn) => dn.clone(),
                    Name::Row(row) => row.to_string(),
                };
                out.write_record([&*entry, &self.attribute, now.unwrap_or_default(), handle])?;
                Ok(())
            }
        }
    }
}

impl Sink for Changes<'_> {
    fn line(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        let candidate = judged.candidate;
        let now = candidate.identifiers.user_name.as_deref();
        let kept = now.filter(|_| self.everybody && candidate.class == Class::Keep);
        let handle = judged.proposal.or(kept);
        if let Some(handle) = handle.filter(|handle| self.everybody || Some(*handle) != now) {
            self.change(&candidate.name, now, handle)?;
        }
        self.report.line(judged)
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        match &mut self.writer {
            Writer::Ldif(out) => out.flush()?,
            Writer::Csv(out) => out.flush()?,
        }
        self.report.finish(summary)
    }
}

/// Whether LDIF can contain the string unencoded.
fn is_safe(text: &str) -> bool {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    plain && !text.starts_with([' ', ':', '<']) && !text.ends_with(' ')
}
