//! Writes entries as LDIF, every value in base64, so that any bytes are preserved.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::preflight::entry::Entry;

/// Writes one record, with the blank line after it.
pub fn write(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    writeln!(out, "dn:: {}", STANDARD.encode(&entry.dn))?;
    for (name, values) in entry.attributes() {
        for value in values {
            out.write_all(name)?;
            writeln!(out, ":: {}", STANDARD.encode(value))?;
        }
    }
    out.write_all(b"\n")
}
