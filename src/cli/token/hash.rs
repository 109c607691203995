//! `token hash`: prints the hashes of a token for the registry.

use std::io::{self, IsTerminal as _, Read as _, Write};

use super::Failure;
use crate::digest::StoredHash;
use crate::secret::Secret;
use crate::token;

/// Print the hashes of a token, in both forms that the registry accepts.
///
/// The token is read from standard input, so that it appears in no process list and in no shell history;
/// on a terminal you are asked for it without echo.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: wire-scim-guard token hash < token.txt")]
pub struct Arguments {}

/// Bytes: more than a token and anything pasted with it.
const MAX_BYTES: u64 = 4096;

pub fn run(_: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
    let text = if io::stdin().is_terminal() {
        super::ask("Token", "standard input")?
    } else {
        let mut text = String::new();
        io::stdin().lock().take(MAX_BYTES).read_to_string(&mut text).map_err(|error| {
            Failure::Unusable(format!("standard input: cannot be read: {error}"))
        })?;
        Secret::new(text)
    };
    let token = text.reveal().trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    if !token::is_wire_token(token.as_bytes()) {
        return Err(Failure::Unusable(
            "standard input: this is not a SCIM token of Wire, which has 44 characters of base64 and ends in `=`"
                .into(),
        ));
    }
    writeln!(out, "{}", StoredHash::wire(token.as_bytes()))?;
    writeln!(out, "{}", StoredHash::short(token.as_bytes()))?;
    Ok(())
}
