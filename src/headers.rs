//! The negotiation headers Accept, Content-Type and Content-Encoding, interpreted as Wire's server
//! does.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};

use crate::findings::Findings;
use crate::refusal::Refusal;
use crate::rule::Rule;

/// Judges an Accept header that admits none of the media types of Wire's answers.
pub fn hit_accept(findings: &mut Findings<'_>) -> Result<(), Refusal> {
    findings.hit(Rule::HeadersAccept, "Accept", || {
        "Accept admits nothing that Wire answers with. Send `Accept: application/scim+json`, \
         application/json or */*, without parameters other than charset=utf-8."
    })
}

/// Whether Accept admits a media type of Wire's answers.
pub fn is_acceptable(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(ACCEPT).iter().peekable();
    let admits = |line: &http::HeaderValue| line.as_bytes().split(|b| *b == b',').any(admits_scim);
    lines.peek().is_none() || lines.any(admits)
}

fn admits_scim(range: &[u8]) -> bool {
    let mut parts = range.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let kind = parts.next().unwrap_or_default();
    let known = [&b"*/*"[..], b"application/*", b"application/json", b"application/scim+json"];
    known.iter().any(|known| kind.eq_ignore_ascii_case(known))
        && parts.all(|parameter| match name_and_value(parameter) {
            Some((name, value)) if name.eq_ignore_ascii_case(b"q") => {
                value.iter().any(|byte| matches!(byte, b'1'..=b'9'))
            }
            Some((name, value)) => {
                name.eq_ignore_ascii_case(b"charset") && value.eq_ignore_ascii_case(b"utf-8")
            }
            None => false,
        })
}

fn name_and_value(parameter: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'=', parameter)?;
    Some((&parameter[..at], &parameter[at + 1..]))
}

/// Judges Content-Type of a body that Wire parses.
///
/// SECURITY: a reader that interprets the body as another type could find something else in the
/// same bytes.
pub fn judge_content_type(headers: &HeaderMap, findings: &mut Findings<'_>) -> Result<(), Refusal> {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let line = lines.next();
    if lines.next().is_some() {
        findings.hit(
            Rule::HeadersDuplicate,
            "Content-Type",
            || "There is more than one Content-Type header; send one, application/scim+json.",
        )?;
    }
    if line.is_some_and(|line| is_scim_json(line.as_bytes())) {
        return Ok(());
    }
    findings.hit(Rule::BodyMediaType, "Content-Type", || {
        "Content-Type must be application/scim+json or application/json (parameters are \
         allowed, each with a `=`, and no `;` at the end). Set it in the client; the body must be JSON in UTF-8."
    })
}

/// Whether Content-Type is one that Wire parses.
pub fn is_parsed(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|line| is_scim_json(line.as_bytes()))
}

/// Parameters are ignored, but each has to have a `=`.
fn is_scim_json(line: &[u8]) -> bool {
    let mut parts = line.split(|b| *b == b';');
    let kind = parts.next().unwrap_or_default().trim_ascii();
    (kind.eq_ignore_ascii_case(b"application/scim+json")
        || kind.eq_ignore_ascii_case(b"application/json"))
        && parts.all(|parameter| name_and_value(parameter).is_some())
}

/// Judges Content-Encoding: whether the body is gzip, which Wire decompresses; other codings are
/// refused, as Wire ignores their name and parses the coded bytes.
pub fn judge_content_encoding(
    headers: &HeaderMap,
    findings: &mut Findings<'_>,
) -> Result<bool, Refusal> {
    let mut lines = headers.get_all(CONTENT_ENCODING).iter();
    let line = lines.next();
    if lines.next().is_some() {
        findings.hit(
            Rule::HeadersDuplicate,
            "Content-Encoding",
            || "There is more than one Content-Encoding header; send the body without any.",
        )?;
    }
    match line.map(http::HeaderValue::as_bytes) {
        None => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(coding) if coding.eq_ignore_ascii_case(b"identity") => Ok(false),
        Some(_) => {
            findings.hit(Rule::BodyEncoding, "Content-Encoding", || {
                "Content-Encoding must be absent or exactly `gzip`. Send the body without compression."
            })?;
            Ok(false)
        }
    }
}
