//! Repairs of whole users, of POST and PUT.

use super::body::Judged;
use super::edit::{Edits, string};
use super::{Repair, Repairs, empty, language, roles, user_name};
use crate::json::{Array, Name, Object, Value};
use crate::scim::user::{is_name, is_primary};
use crate::wire::email;

/// Repairs a user of POST (`new`) or PUT, in which no attribute is repeated.
pub(super) fn repair<'d>(
    user: Object<'d>,
    new: bool,
    on: Repairs,
    judged: Judged,
    edits: &mut Edits<'d>,
) {
    for member in user.members() {
        if let Some(name) = member.name() {
            repair_attribute(name, member.value, on, judged, edits);
        }
    }
    if on.contains(Repair::DisplayName)
        && lacks(user, Name::DisplayName)
        && let Some(name) = name_of(user)
    {
        fill(Repair::DisplayName, user, Name::DisplayName, &name, edits);
    }
    if on.contains(Repair::ExternalId)
        && new
        && lacks(user, Name::ExternalId)
        && let Some(address) = address_of(user, on)
    {
        fill(Repair::ExternalId, user, Name::ExternalId, &address, edits);
    }
}

fn repair_attribute<'d>(
    name: Name,
    value: Value<'d>,
    on: Repairs,
    judged: Judged,
    edits: &mut Edits<'d>,
) {
    match name {
        Name::Roles if on.contains(Repair::Roles) => {
            if let Some(roles) = value.as_array().and_then(roles::roles) {
                edits.replace(Repair::Roles, value, roles);
            }
        }
        Name::Entitlements if on.contains(Repair::Roles) => {
            if let Some(entitlements) = value.as_array().and_then(roles::entitlements) {
                edits.replace(Repair::Roles, value, entitlements);
            }
        }
        Name::PreferredLanguage => {
            if on.contains(Repair::Language)
                && let Some(tag) = value.as_str().and_then(language::repaired)
            {
                edits.replace_string(Repair::Language, value, &tag);
            }
            if on.contains(Repair::EmptyValues) {
                empty::repair(name, value, edits);
            }
        }
        Name::Password if on.contains(Repair::Password) && !value.is_null() => {
            edits.replace(Repair::Password, value, "null");
        }
        Name::UserName => {
            let repaired =
                value.as_str().and_then(|name| user_name::repaired(name, on, judged.case));
            if let Some((name, by)) = repaired {
                edits.replace_string(by, value, &name);
            }
        }
        _ if on.contains(Repair::EmptyValues) => empty::repair(name, value, edits),
        _ => {}
    }
}

/// Whether an attribute is missing, null or empty.
fn lacks(user: Object<'_>, attribute: Name) -> bool {
    user.value(attribute).is_none_or(|value| value.is_null() || value.as_str() == Some(""))
}

fn fill<'d>(repair: Repair, user: Object<'d>, attribute: Name, text: &str, edits: &mut Edits<'d>) {
    match user.value(attribute) {
        Some(value) => edits.replace_string(repair, value, text),
        None => {
            let member = format!("\"{}\":{}", attribute.as_str(), string(text));
            edits.add(repair, user, &member);
        }
    }
}

/// The name of a user who has no displayName.
fn name_of(user: Object<'_>) -> Option<String> {
    let name = user.value(Name::Name)?.as_object()?;
    let part = |part| name.string(part).filter(|text| !text.trim().is_empty());
    let parts = (part(Name::GivenName), part(Name::FamilyName));
    let name = match (part(Name::Formatted), parts) {
        (Some(formatted), _) => formatted.to_owned(),
        (None, (Some(given), Some(family))) => format!("{given} {family}"),
        (None, (Some(one), None) | (None, Some(one))) => one.to_owned(),
        (None, (None, None)) => return None,
    };
    is_name(&name).then_some(name)
}

/// The one address that identifies a user: the only primary one, or the only one.
fn address_of(user: Object<'_>, on: Repairs) -> Option<String> {
    let emails = user.value(Name::Emails)?.as_array()?;
    let dropped =
        |entry: &Value<'_>| on.contains(Repair::EmptyValues) && empty::is_empty_email(*entry);
    let entries = || {
        let entries = Array::elements(emails).filter(|entry| !dropped(entry));
        entries.filter_map(Value::as_object)
    };
    let mut primary = entries().filter(|entry| is_primary(*entry));
    let (first, second) = (primary.next(), primary.next());
    let entry = match first {
        Some(entry) => entry,
        None => entries().next().filter(|_| entries().nth(1).is_none())?,
    };
    if second.is_some() {
        return None;
    }
    entry.string(Name::Value).and_then(email::canonical)
}
