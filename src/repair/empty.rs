//! The repair `empty_values`: what clients send for "nothing", of attributes of which Wire keeps nothing.

use super::Repair;
use super::edit::Edits;
use crate::json::{Name, Object, Value};
use crate::wire::uri;

/// Attributes that Wire reads and does not keep.
const LISTS: [Name; 3] = [Name::Photos, Name::PhoneNumbers, Name::Ims];

/// Repairs a whole user.
pub(super) fn repair<'d>(user: Object<'d>, edits: &mut Edits<'d>) {
    for name in [Name::ProfileUrl, Name::PreferredLanguage] {
        if let Some(value) = user.value(name).filter(|value| value.as_str() == Some("")) {
            edits.replace(Repair::EmptyValues, value, "null");
        }
    }
    for name in LISTS {
        let Some(value) = user.value(name) else { continue };
        if value.as_str() == Some("") {
            edits.replace(Repair::EmptyValues, value, "null");
        } else {
            let is_photo = name == Name::Photos;
            edits.retain(Repair::EmptyValues, value, |entry| is_usable(entry, is_photo));
        }
    }
    if let Some(emails) = user.value(Name::Emails) {
        edits.retain(Repair::EmptyValues, emails, |entry| !is_empty_email(entry));
    }
}

/// Whether an entry of emails has no address.
pub(super) fn is_empty_email(entry: Value<'_>) -> bool {
    let Some(entry) = entry.as_object() else { return false };
    entry.value(Name::Value).is_none_or(|value| value.is_null() || value.as_str() == Some(""))
}

/// Whether an entry of a list can be read, or says something that cannot.
fn is_usable(entry: Value<'_>, is_photo: bool) -> bool {
    if entry.is_null() || entry.as_str() == Some("") {
        return false;
    }
    let address = entry.as_object().and_then(|entry| entry.string(Name::Value));
    !is_photo || address.is_none_or(uri::is_absolute)
}
