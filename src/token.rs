//! The Authorization header: exactly one, `Bearer`, and a token of the form that Wire issues.
//!
//! SECURITY: no message here repeats any part of what was sent.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::findings::Findings;
use crate::refusal::Refusal;
use crate::rule::Rule;
use crate::target;

/// The place of every rule about a token.
pub const PLACE: &str = "Authorization";

/// 32 bytes in standard base64.
const LENGTH: usize = 44;

/// The content of an Authorization header.
#[derive(Clone, Copy)]
pub enum Credentials<'h> {
    None,
    /// Something other than a bearer token.
    Unreadable,
    /// What follows `Bearer `, in any form.
    Token(&'h [u8]),
}

/// The token of the Authorization header, in any form; `None` if it has none.
pub fn sent(headers: &HeaderMap) -> Option<&[u8]> {
    bearer(headers.get(AUTHORIZATION)?.as_bytes())
}

fn bearer(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"Bearer ")
}

/// Judges the form of the token; whether it is known is up to the registry and to Wire. Unreadable
/// credentials are returned only if that rule is not enforced.
pub fn judge<'h>(
    headers: &'h HeaderMap,
    findings: &mut Findings<'_>,
) -> Result<Credentials<'h>, Refusal> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else {
        findings.hit(Rule::TokenMissing, PLACE, || {
            "There is no Authorization header. Send `Authorization: Bearer <token>` with a SCIM token from \
             Wire's team management (Entra ID: fill in Secret Token; Okta: HTTP Header authorization; \
             ldap-scim-bridge: `token: \"Bearer <token>\"`)."
        })?;
        return Ok(Credentials::None);
    };
    if lines.next().is_some() {
        findings.hit(Rule::TokenDuplicate, PLACE, || {
            "There is more than one Authorization header; send one. A proxy in between may be adding its own."
        })?;
    }
    let line = line.as_bytes();
    let token = bearer(line);
    if !token.is_some_and(is_wire_token) {
        findings.hit(Rule::TokenMalformed, PLACE, || malformed(line))?;
    }
    Ok(token.map_or(Credentials::Unreadable, Credentials::Token))
}

/// Whether bytes have the form of a token that Wire issues: base64 of 32 bytes.
pub fn is_wire_token(token: &[u8]) -> bool {
    // The last of 43 digits encodes four bits of the token, so its two lowest bits are zero.
    let [digits @ .., last, b'='] = token else { return false };
    token.len() == LENGTH
        && digits.iter().all(|byte| BASE64[usize::from(*byte)])
        && b"AEIMQUYcgkosw048".contains(last)
}

/// The digits of base64, as a table: every request has a token to judge.
const BASE64: [bool; 256] = {
    let mut digits = [false; 256];
    let mut byte = 0;
    while byte < digits.len() {
        digits[byte] = matches!(byte as u8, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/');
        byte += 1;
    }
    digits
};

/// What is wrong with an Authorization header, and how to fix it.
fn malformed(line: &[u8]) -> String {
    const FORM: &str = "The SCIM token of Wire has 44 characters of base64 and ends in `=`";
    let token = line.strip_prefix(b"Bearer ");
    let what = match token {
        _ if line.is_empty() => "the header is empty. Send `Bearer <token>`.",
        None if line.len() >= 7 && line[..7].eq_ignore_ascii_case(b"bearer ") => {
            "the header must begin with `Bearer` in exactly this spelling, capital B."
        }
        None if line.eq_ignore_ascii_case(b"bearer") => "nothing follows `Bearer`.",
        None if line.starts_with(b"Bearer") => {
            "`Bearer` must be followed by one space, then the token."
        }
        None if line.len() >= 6 && line[..6].eq_ignore_ascii_case(b"basic ") => {
            "this is a Basic login. Choose bearer token (HTTP header) authentication in the client."
        }
        None if is_wire_token(line) => {
            "the token has no `Bearer ` in front of it (ldap-scim-bridge sends the configured string as \
             it is: write `token: \"Bearer <token>\"`)."
        }
        None => "the header must begin with `Bearer `.",
        Some(token) if token.iter().all(u8::is_ascii_whitespace) => "nothing follows `Bearer`.",
        Some(token) if token.contains(&b',') => {
            "there is a comma in it, as if a client or a proxy had joined two Authorization headers to one. \
             Send one, with one token."
        }
        Some(token) if is_placeholder(token) => {
            "there is a placeholder in place of the token; the client has not filled it in. Check how the \
             variable is called and that it has a value."
        }
        Some(token) if starts_with_bearer(token) => {
            "`Bearer` appears twice. Paste the token alone; the client adds `Bearer` by itself."
        }
        Some(token) if token.starts_with(b"eyJ") && token.contains(&b'.') => {
            "this is a JWT, which Entra ID sends when Secret Token is empty. Paste the SCIM token of Wire there."
        }
        Some(token) if token.iter().any(|byte| matches!(byte, b'"' | b'\'')) => {
            "the token is in quotes. Remove them."
        }
        Some(token) if has_line_break(token) => {
            "the token has a line break or space that was pasted with it. Paste it again without."
        }
        Some(token) if token.contains(&b'%') => {
            "the token is percent-encoded, as in a URL (`%3D` means `=`). Send it as Wire shows it."
        }
        Some(token) if !token.is_ascii() => {
            "the token has a character that is not ASCII, such as a no-break space that was pasted with it. \
             Copy it again, as plain text."
        }
        Some(token) if target::is_uuid(token) => {
            "this is a UUID, perhaps the id of the token. Send the token itself, which Wire shows once, when \
             it is created."
        }
        Some(token)
            if token.len() == LENGTH - 1 && token.iter().all(|byte| BASE64[usize::from(*byte)]) =>
        {
            "the `=` at the end of the token is missing. Copy it again."
        }
        Some(token) if token.iter().any(|byte| matches!(byte, b'-' | b'_')) => {
            "the token has `-` or `_`, which no token of Wire has. Copy it again."
        }
        Some(token) if token.len() < LENGTH => {
            "the token is too short; part of it is missing. Copy it again."
        }
        Some(token) if token.len() > LENGTH => "the token is too long. Copy it again.",
        Some(_) => "the token is not base64 as Wire writes it. Copy it again.",
    };
    format!("The Authorization header is not usable: {what} {FORM}.")
}

/// Whether this is a template's variable, such as `{{token}}`, `${TOKEN}` or `<token>`, or a
/// script's representation of a missing value.
fn is_placeholder(token: &[u8]) -> bool {
    const OF_NOTHING: [&[u8]; 4] = [b"undefined", b"null", b"None", b"[object Object]"];
    let token = token.trim_ascii();
    let enclosed = |start: &[u8], end: &[u8]| token.starts_with(start) && token.ends_with(end);
    enclosed(b"{", b"}")
        || enclosed(b"<", b">")
        || enclosed(b"[", b"]")
        || (token.len() > 1 && enclosed(b"%", b"%"))
        || token.starts_with(b"$")
        || OF_NOTHING.contains(&token)
}

fn starts_with_bearer(token: &[u8]) -> bool {
    let token = token.trim_ascii_start();
    token.len() >= 6 && token[..6].eq_ignore_ascii_case(b"bearer")
}

/// Whether a token contains spaces or line breaks, literally or as escapes.
fn has_line_break(token: &[u8]) -> bool {
    token.iter().any(u8::is_ascii_whitespace)
        || [&b"\\n"[..], b"\\r", b"%0A", b"%0a", b"%0D", b"%0d"]
            .iter()
            .any(|text| token.windows(text.len()).any(|window| window == *text))
}
