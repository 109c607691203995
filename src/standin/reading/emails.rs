//! The `emails` of a user, and the value paths by which a PATCH changes them since 5.35.

use std::slice;

use serde_json::value::RawValue;

use super::filter::{Attribute, Comparison, Literal};
use super::json::{Object, as_array, as_boolean, as_string};
use super::{Fault, email};

/// An entry of `emails`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    /// In canonical form.
    pub address: String,
    pub kind: Option<String>,
    pub primary: Option<bool>,
}

impl Email {
    /// An entry with neither type nor primary.
    pub fn plain(address: &str) -> Self {
        Self { address: address.to_owned(), kind: None, primary: None }
    }
}

/// Parses an entry.
pub(super) fn entry(object: &Object<'_>) -> Result<Email, Fault> {
    let Some(address) = email::canonical(&object.required_string("value")?) else {
        return Fault::parse("emails.value");
    };
    Ok(Email { address, kind: object.string("type")?, primary: object.boolean("primary")? })
}

/// `remove` on a value path with any sub-attribute.
pub(super) fn remove(
    emails: &mut Vec<Email>,
    attribute: &Attribute,
    filter: &Comparison,
) -> Result<(), Fault> {
    is_emails(attribute)?;
    emails.retain(|email| !matches(filter, email));
    Ok(())
}

/// `add` and `replace` on a value path.
pub(super) fn put(
    emails: &mut Vec<Email>,
    attribute: &Attribute,
    filter: &Comparison,
    sub: Option<&str>,
    value: &RawValue,
) -> Result<(), Fault> {
    is_emails(attribute)?;
    match sub.map(str::to_ascii_lowercase).as_deref() {
        None => put_entries(emails, filter, value),
        Some("value") => put_address(emails, filter, value),
        Some("type") => {
            let kind = as_string(value).ok_or_else(|| Fault::value("type must be a string"))?;
            each_match(emails, filter, |email| email.kind = Some(kind.clone()));
            Ok(())
        }
        Some("primary") => {
            let primary =
                as_boolean(value).ok_or_else(|| Fault::value("primary must be a boolean"))?;
            each_match(emails, filter, |email| email.primary = Some(primary));
            Ok(())
        }
        Some(_) => Err(Fault::rule("invalidPath", "this sub-attribute of emails is not supported")),
    }
}

fn is_emails(attribute: &Attribute) -> Result<(), Fault> {
    if attribute.name.eq_ignore_ascii_case("emails") {
        return Ok(());
    }
    Err(Fault::rule("invalidPath", "value paths are supported for emails only"))
}

/// Adds whole entries, from the last to the first, each to the array as left by the one before.
fn put_entries(
    emails: &mut Vec<Email>,
    filter: &Comparison,
    value: &RawValue,
) -> Result<(), Fault> {
    let list = as_array(value);
    let read = |raw| entry(&Object::read(raw, "value")?);
    let entries = list.as_deref().unwrap_or(slice::from_ref(&value)).iter().map(|raw| read(raw));
    let entries: Vec<Email> =
        entries.collect::<Result<_, _>>().map_err(|_| Fault::value("not an entry of emails"))?;
    for new in entries.into_iter().rev() {
        if !each_match(emails, filter, |email| *email = new.clone()) {
            emails.push(new);
        }
    }
    Ok(())
}

/// Sets an address; if nothing matches `type eq "..."`, an entry of that type is added.
fn put_address(
    emails: &mut Vec<Email>,
    filter: &Comparison,
    value: &RawValue,
) -> Result<(), Fault> {
    let address = as_string(value).and_then(|text| email::canonical(&text));
    let address = address.ok_or_else(|| Fault::value("not an email address"))?;
    if each_match(emails, filter, |email| email.address.clone_from(&address)) {
        return Ok(());
    }
    let Comparison { attribute, operator, literal } = filter;
    if let (true, "eq", Literal::String(kind)) =
        (attribute.name.eq_ignore_ascii_case("type"), operator.as_str(), literal)
    {
        emails.push(Email { address, kind: Some(kind.clone()), primary: None });
    }
    Ok(())
}

/// Changes every match; returns whether there was one.
fn each_match(
    emails: &mut [Email],
    filter: &Comparison,
    mut change: impl FnMut(&mut Email),
) -> bool {
    let mut any = false;
    for email in emails.iter_mut().filter(|email| matches(filter, email)) {
        change(email);
        any = true;
    }
    any
}

/// Whether an entry matches; what cannot be compared does not match.
fn matches(filter: &Comparison, email: &Email) -> bool {
    let Comparison { attribute, operator, literal } = filter;
    match (attribute.name.to_ascii_lowercase().as_str(), literal) {
        ("type", Literal::String(text)) => {
            compare(email.kind.as_deref().unwrap_or_default(), operator, text)
        }
        ("value", Literal::String(text)) => compare(&email.address, operator, text),
        ("primary", Literal::Boolean(value)) => match operator.as_str() {
            "eq" => email.primary == Some(*value),
            "ne" => email.primary != Some(*value),
            _ => false,
        },
        _ => false,
    }
}

/// Compares by code point, which is the order of UTF-8.
fn compare(stored: &str, operator: &str, wanted: &str) -> bool {
    match operator {
        "eq" => stored == wanted,
        "ne" => stored != wanted,
        "co" => stored.contains(wanted),
        "sw" => stored.starts_with(wanted),
        "ew" => stored.ends_with(wanted),
        "gt" => stored > wanted,
        "ge" => stored >= wanted,
        "lt" => stored < wanted,
        _ => stored <= wanted,
    }
}
