//! The query of a search, as Wire's server parses it.

use std::borrow::Cow;

use crate::findings::Findings;
use crate::json::Name;
use crate::refusal::Refusal;
use crate::rule::Rule;
use crate::wire::filter::{self, Comparison, Literal, Operator};

/// Judges a search for users, of which Wire can look up only two forms.
pub fn judge_users(query: Option<&[u8]>, findings: &mut Findings<'_>) -> Result<(), Refusal> {
    match parameter(query, b"filter") {
        Some(Some(filter)) => judge_user_filter(&filter, findings),
        _ => findings.hit(Rule::FilterRequired, "filter", || {
            "Wire does not list all users: a search needs a filter, such as ?filter=userName eq \"alice\" or \
             ?filter=externalId eq \"alice@example.com\" (percent-encoded, `filter` in lower case). Turn off \
             imports and full aggregations in the client; provisioning works without them."
        }),
    }
}

/// Judges a search for groups.
pub fn judge_groups(query: Option<&[u8]>, findings: &mut Findings<'_>) -> Result<(), Refusal> {
    for (name, parameter_name) in [("startIndex", &b"startIndex"[..]), ("count", b"count")] {
        if let Some(Some(value)) = parameter(query, parameter_name)
            && !is_integer(&value)
        {
            findings.hit(Rule::QueryPagination, name, || {
                format!("{name} must be an integer of 64 bits, as in {name}=100.")
            })?;
        }
    }
    match parameter(query, b"filter") {
        Some(Some(filter)) => judge_group_filter(&filter, findings),
        _ => Ok(()),
    }
}

/// Judges the filter of a search for users.
pub fn judge_user_filter(filter: &str, findings: &mut Findings<'_>) -> Result<(), Refusal> {
    let Some(comparison) = filter::read(filter) else {
        return findings.hit(Rule::FilterSyntax, "filter", || {
            "The filter cannot be read. Wire knows one comparison, userName eq \"...\" or externalId eq \
             \"...\", without and, or, not, pr, parentheses or brackets, and with the value in double \
             quotes. Match users on userName or externalId in the client."
        });
    };
    let known =
        matches!(Name::of(comparison.attribute.name), Some(Name::UserName | Name::ExternalId));
    if known
        && comparison.operator == Operator::Equal
        && matches!(comparison.literal, Literal::String(_))
    {
        return Ok(());
    }
    findings.hit(Rule::FilterUnsupported, "filter", || {
        let what = match (known, comparison.operator) {
            (false, _) => "names another attribute",
            (true, Operator::Equal) => "compares with something other than a string in double quotes",
            (true, _) => "has another operator",
        };
        format!(
            "Wire can look up users by userName eq \"...\" and externalId eq \"...\" only; the filter {what}. \
             Match users on one of these in the client."
        )
    })
}

/// Judges the filter of a search for groups.
pub fn judge_group_filter(filter: &str, findings: &mut Findings<'_>) -> Result<(), Refusal> {
    let Some(comparison) = filter::read(filter) else {
        return findings.hit(Rule::FilterSyntax, "filter", || {
            "The filter cannot be read. For groups Wire knows one comparison, displayName co \"...\", with the \
             value in double quotes."
        });
    };
    let Comparison { attribute, operator, literal } = comparison;
    let known = attribute.sub.is_none() && Name::of(attribute.name) == Some(Name::DisplayName);
    if known && operator == Operator::Contains && matches!(literal, Literal::String(_)) {
        return Ok(());
    }
    findings.hit(Rule::FilterUnsupported, "filter", || {
        "Wire can search groups by displayName co \"...\" only and fails on every other filter, also on \
         displayName eq. Turn off the provisioning of groups in the client (Entra ID looks groups up by eq)."
    })
}

/// The first parameter of a name: `None` if it is absent, `Some(None)` if it has no `=`.
/// `&` and `;` separate parameters, `+` is a space, names are compared exactly.
pub(crate) fn parameter<'a>(query: Option<&'a [u8]>, name: &[u8]) -> Option<Option<Cow<'a, str>>> {
    let pair = pairs(query?).find(|pair| name_of(pair).as_ref() == name)?;
    let value = memchr::memchr(b'=', pair).map(|at| &pair[at + 1..]);
    Some(value.map(|value| to_text(decode(value))))
}

/// The parameters of a query, undecoded.
pub(crate) fn pairs(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query.split(|byte| matches!(byte, b'&' | b';'))
}

/// The name of a parameter, decoded.
pub(crate) fn name_of(pair: &[u8]) -> Cow<'_, [u8]> {
    decode(memchr::memchr(b'=', pair).map_or(pair, |at| &pair[..at]))
}

/// The query with another filter; `None` if it has no filter, or if `change` leaves it unchanged.
pub fn with_filter(query: &[u8], change: impl FnOnce(&str) -> Option<String>) -> Option<Vec<u8>> {
    let mut start = 0;
    for pair in query.split(|byte| matches!(byte, b'&' | b';')) {
        let end = start + pair.len();
        let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        if decode(&pair[..equals]).as_ref() == b"filter" {
            let filter = to_text(decode(pair.get(equals + 1..)?));
            let changed = change(&filter)?;
            let mut out = Vec::with_capacity(query.len() + changed.len());
            out.extend_from_slice(&query[..=start + equals]);
            encode(&changed, &mut out);
            out.extend_from_slice(&query[end..]);
            return Some(out);
        }
        start = end + 1;
    }
    None
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub(crate) fn encode(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

/// Percent-decodes; a `%` without two hexadecimal digits after it is kept.
fn decode(bytes: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let hex = |byte: &u8| char::from(*byte).to_digit(16);
        let escape = match tail {
            [high, low, ..] if *first == b'%' => hex(high).zip(hex(low)),
            _ => None,
        };
        rest = match escape {
            Some((high, low)) => {
                decoded.push((high * 16 + low) as u8);
                &tail[2..]
            }
            None => {
                decoded.push(if *first == b'+' { b' ' } else { *first });
                tail
            }
        };
    }
    Cow::Owned(decoded)
}

/// Invalid UTF-8 reads as U+FFFD.
fn to_text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(
            String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        ),
    }
}

/// Whether a string is an integer that fits into 64 bits.
fn is_integer(text: &str) -> bool {
    text.parse::<i64>().is_ok()
}
