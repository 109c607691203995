//! The negotiation headers: Accept, Content-Type, Content-Encoding, read as Wire's server reads
//! them.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};

use crate::rule::Rule;
use crate::verdict::{Findings, Refusal};

/// Judges Accept: one of its ranges must admit what Wire answers with.
pub fn judge_accept(headers: &HeaderMap, findings: &mut Findings<'_>) -> Result<(), Refusal> {
    let mut lines = headers.get_all(ACCEPT).iter().peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    let admits = |line: &http::HeaderValue| {
        line.to_str().is_ok_and(|line| line.split(',').any(|range| admits_scim(range.trim())))
    };
    if lines.any(admits) {
        return Ok(());
    }
    findings.hit(Rule::HeadersAccept, || {
        "Accept admits nothing that Wire answers with. Send `Accept: application/scim+json`, \
         application/json or */*, without parameters other than charset=utf-8."
    })
}

fn admits_scim(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let known = ["*/*", "application/*", "application/json", "application/scim+json"];
    known.iter().any(|known| kind.eq_ignore_ascii_case(known))
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("q") => {
                value.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
            }
            Some((name, value)) => {
                name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
            }
            None => false,
        })
}

/// Judges Content-Type of a body that Wire parses.
///
/// SECURITY: a body whose type is not read here would pass unjudged at a reader that guesses.
pub fn judge_content_type(headers: &HeaderMap, findings: &mut Findings<'_>) -> Result<(), Refusal> {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let line = lines.next();
    if lines.next().is_some() {
        findings.hit(
            Rule::HeadersDuplicate,
            || "There is more than one Content-Type header; send one, application/scim+json.",
        )?;
    }
    if line.and_then(|line| line.to_str().ok()).is_some_and(is_scim_json) {
        return Ok(());
    }
    findings.hit(Rule::BodyMediaType, || {
        "Content-Type must be application/scim+json or application/json (a charset parameter is \
         allowed). Set it in the client; the body must be JSON in UTF-8."
    })
}

fn is_scim_json(line: &str) -> bool {
    let mut parts = line.split(';');
    let kind = parts.next().unwrap_or_default().trim();
    (kind.eq_ignore_ascii_case("application/scim+json")
        || kind.eq_ignore_ascii_case("application/json"))
        && parts.all(|parameter| {
            parameter
                .split_once('=')
                .is_some_and(|(name, value)| !name.trim().is_empty() && !value.trim().is_empty())
        })
}

/// Reads Content-Encoding: whether the body is gzip, which Wire inflates; other codings are
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
            || "There is more than one Content-Encoding header; send the body without any.",
        )?;
    }
    match line.map(http::HeaderValue::as_bytes) {
        None => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(coding) if coding.eq_ignore_ascii_case(b"identity") => Ok(false),
        Some(_) => {
            findings.hit(Rule::BodyEncoding, || {
                "Content-Encoding must be absent or exactly `gzip`. Send the body without compression."
            })?;
            Ok(false)
        }
    }
}
