//! The repair `empty_values`: empty values that clients send for attributes of which Wire stores
//! nothing.

use super::Repair;
use super::edit::Edits;
use crate::json::{Name, Value};
use crate::wire::uri;

/// Repairs an attribute of a whole user.
pub(super) fn repair<'d>(name: Name, value: Value<'d>, edits: &mut Edits<'d>) {
    match name {
        Name::ProfileUrl | Name::PreferredLanguage if value.as_str() == Some("") => {
            edits.replace(Repair::EmptyValues, value, "null");
        }
        // Wire parses these but does not store them.
        Name::Photos | Name::PhoneNumbers | Name::Ims => {
            if value.as_str() == Some("") {
                edits.replace(Repair::EmptyValues, value, "null");
            } else {
                let is_photo = name == Name::Photos;
                edits.retain(Repair::EmptyValues, value, |entry| is_usable(entry, is_photo));
            }
        }
        Name::Emails => {
            edits.retain(Repair::EmptyValues, value, |entry| !is_empty_email(entry));
        }
        _ => {}
    }
}

/// Whether an entry of emails has no address.
pub(super) fn is_empty_email(entry: Value<'_>) -> bool {
    let Some(entry) = entry.as_object() else { return false };
    entry.value(Name::Value).is_none_or(|value| value.is_null() || value.as_str() == Some(""))
}

/// Whether an entry of a list can be parsed, or is not simply empty.
fn is_usable(entry: Value<'_>, is_photo: bool) -> bool {
    if entry.is_null() || entry.as_str() == Some("") {
        return false;
    }
    if !is_photo {
        return true;
    }
    let address = entry.as_object().and_then(|entry| entry.string(Name::Value));
    address.is_none_or(uri::is_absolute)
}
