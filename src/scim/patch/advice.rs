//! The messages of refusals of a PATCH, for the admin of the client.

use super::emails;
use super::{is_operators, operations, rule_of};
use crate::json::{Name, Type, Value};
use crate::place::Place;
use crate::refusal::shortened;
use crate::rule::Rule;
use crate::schema::{Fault, FaultKind, Step};
use crate::wire::filter::{Attribute, CORE_USER, ValuePath, WIRE_PROFILE, WIRE_USER, read_path};

/// The message for a fault against the schema of a PATCH.
pub fn detail_of(fault: &Fault, value: Value<'_>) -> String {
    let fix = match rule_of(fault) {
        _ if is_operators(fault) => {
            "The operator of this proxy requires it in the schema patch.json."
        }
        // A string is missing in the array; the schema's keyword alone would not say which one.
        Rule::PatchSchemas if matches!(fault.kind, FaultKind::Keyword { .. }) => {
            return format!(
                "schemas does not contain {PATCH_OP}, which every PATCH has to name, spelled so."
            );
        }
        Rule::PatchSchemas => {
            "A PATCH is {\"schemas\": [\"urn:ietf:params:scim:api:messages:2.0:PatchOp\"], \"Operations\": [...]}, \
             with the URN spelled exactly so."
        }
        Rule::PatchPath => {
            if let Some(detail) = unreadable_path_detail(fault, value) {
                return detail;
            }
            SUPPORTED
        }
        Rule::PatchOp | Rule::PatchOperations => {
            "Operations is an array of objects such as {\"op\": \"replace\", \"path\": \"active\", \"value\": false}."
        }
        _ => "Correct the request.",
    };
    format!("{}. {fix}", fault.sentence())
}

const SUPPORTED: &str = "Wire changes userName, displayName, externalId, active, roles, keys of rich info such as \
     urn:ietf:params:scim:schemas:extension:wire:1.0:User:Department, and from release 5.35 entries of emails such as \
     emails[type eq \"work\"].value. A single unsupported path makes Wire \
     refuse the whole PATCH: remove that attribute from the mapping.";

/// Wire stores the language, but changes it only in a PUT.
const ONLY_AT_CREATION: &str = "Map preferredLanguage for the creation of users only (Entra ID: `Apply this mapping: \
     Only during object creation`), as one unsupported path makes Wire refuse the whole PATCH; a PUT of the user \
     changes it.";

const EMAILS_BY_FILTER: &str = "Wire changes single entries from release 5.35, by a path such as emails[type eq \"work\"].value. \
     Otherwise map emails for the creation of users only (Entra ID: `Apply this mapping: Only during object creation`); \
     a PUT of the user changes the address.";

const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

pub fn no_target(at: usize) -> String {
    format!(
        "Operations[{at}] removes something, but has no path that says what. Add one, as in \
         {{\"op\": \"remove\", \"path\": \"roles\"}}."
    )
}

/// An add or replace without a value.
pub fn no_value(at: usize, attribute: &str, can_change: bool) -> String {
    let fix = if can_change {
        "Map an attribute that is filled, or leave the operation out."
    } else {
        "Leave the operation out: Wire cannot change this attribute at all."
    };
    let name = shortened(attribute);
    format!("Operations[{at}] has no value for {name} (null counts as none). {fix}")
}

/// A value of the wrong type for one of the attributes that Wire changes.
pub fn mistyped(at: usize, attribute: &str, name: Option<Name>, value: Value<'_>) -> String {
    let fault = match (name, value.get()) {
        (Some(Name::Active), Type::String(_)) => {
            "must be true or false, no other string".to_owned()
        }
        (Some(Name::Active), _) => format!("must be true or false, not {}", value.type_name()),
        (Some(Name::Roles), Type::Array(roles)) => {
            let entry = roles.elements().find(|role| role.as_str().is_none());
            let found = entry.map_or("something else", Value::type_name);
            format!("must be an array of strings such as [\"member\"]; an entry is {found}")
        }
        (Some(Name::Roles), _) => {
            format!("must be an array of strings such as [\"member\"], not {}", value.type_name())
        }
        _ => format!("must be a string, not {}", value.type_name()),
    };
    format!("Operations[{at}]: the value of {} {fault}.", shortened(attribute))
}

/// A value without a path that is not an object of the attributes that Wire changes.
pub fn pathless(at: usize, key: Option<&str>) -> String {
    let found =
        key.map_or_else(String::new, |key| format!(" (`{}` is not allowed)", shortened(key)));
    format!(
        "Operations[{at}] has no path, so its value must be an object with no other attributes \
         than userName, displayName, externalId, active and roles, each once{found}. Send one \
         operation with a path for each attribute instead (Entra ID: leave the aadOptscim062020 \
         flag off)."
    )
}

/// A value without a path that Wire cannot parse as a user.
pub fn pathless_user(at: usize, fault: &Fault) -> String {
    format!(
        "Operations[{at}] has no path, so Wire reads its value as a whole user, and there {}. \
         Send an operation with a path instead, as in {{\"op\": \"replace\", \"path\": \
         \"active\", \"value\": false}}.",
        fault.sentence()
    )
}

/// The message for a path that Wire cannot parse.
fn unreadable_path_detail(fault: &Fault, value: Value<'_>) -> Option<String> {
    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let [_, Step::Index(at), ..] = fault.path.as_slice() else { return None };
    let (_, operation) = operations(value).find(|(place, _)| place == at)?;
    let path = operation.string(Name::Path)?;
    let begins_with =
        |start: &str| path.get(..start.len()).is_some_and(|s| s.eq_ignore_ascii_case(start));
    let is_of = |urn: &&str| {
        begins_with(urn) && matches!(path.as_bytes().get(urn.len()), None | Some(b':'))
    };
    let trimmed = path.trim_matches(|c: char| c == '/' || c.is_whitespace());
    let what = if path.is_empty() {
        "is empty"
    } else if begins_with(ENTERPRISE) {
        "names an attribute of the enterprise extension, which Wire does not know"
    } else if trimmed != path && read_path(trimmed).is_some() {
        "has a slash or a space around it, which does not belong there"
    } else if let Some(urn) = [WIRE_USER, WIRE_PROFILE, CORE_USER].into_iter().find(is_of) {
        return Some(format!(
            "Operations[{at}].path begins with a URN and cannot be read: it must be {urn}, in exactly this \
             spelling, then a `:` and a name that begins with a letter and continues with letters, digits, `-` \
             or `_`, all ASCII."
        ));
    } else if begins_with("urn:") {
        "names an attribute of a schema that Wire does not know"
    } else {
        "is not the name of an attribute: a letter, then letters, digits, `-` or `_`, all ASCII"
    };
    Some(format!("Operations[{at}].path {what}. {SUPPORTED}"))
}

/// A value path that Wire does not serve.
pub fn value_path(at: usize, path: ValuePath<'_>, into_emails: bool) -> String {
    let name = shortened(path.attribute.name);
    let selects =
        format!("Operations[{at}].path selects entries of {name} by a filter in brackets");
    if into_emails {
        return format!(
            "{selects}, which Wire serves from release 5.35; this proxy is configured for an older one. If the \
             backend is 5.35 or later, ask the operator to set wire.release. If not, map emails for the creation \
             of users only (Entra ID: `Apply this mapping: Only during object creation`), as one unsupported path \
             makes Wire refuse the whole PATCH; a PUT of the user changes the address."
        );
    }
    format!("{selects}; Wire does that for emails alone, from release 5.35. {SUPPORTED}")
}

pub fn sub_attribute_of_emails(at: usize) -> String {
    format!(
        "Operations[{at}].path names a sub-attribute of emails that Wire does not store: value, type and primary \
         are stored. Remove it from the mapping."
    )
}

/// A value that does not fit a value path into `emails`.
pub fn value_of_emails(at: usize, fault: emails::Fault) -> String {
    const ADDRESS: &str =
        "must be an email address in ASCII, such as name@example.com. Map it from mail";
    const ENTRY: &str = "must be an object such as {\"value\": \"name@example.com\", \"type\": \"work\"}, or an \
                         array of these. Send such an entry, or the address alone with .value at the end of the path";
    let what = match fault {
        emails::Fault::Address | emails::Fault::Entry(_, Some(Name::Value)) => ADDRESS,
        emails::Fault::Kind | emails::Fault::Entry(_, Some(Name::Type)) => {
            "must be a string such as \"work\". Correct or remove it in the mapping"
        }
        emails::Fault::Primary | emails::Fault::Entry(_, Some(Name::Primary)) => {
            "must be true or false. Correct or remove it in the mapping"
        }
        emails::Fault::SubAttribute | emails::Fault::Entry(..) => ENTRY,
    };
    let operation = Place::of(Some(Name::Operations)).index(at).child(Some(Name::Value));
    format!("{} {what}.", fault.place(operation))
}

pub fn unsupported(at: usize, attribute: Attribute<'_>) -> String {
    let name = shortened(attribute.name);
    let sub = attribute.sub.map(|sub| format!(".{}", shortened(sub))).unwrap_or_default();
    let fix = match Name::of(attribute.name) {
        Some(Name::PreferredLanguage) => ONLY_AT_CREATION,
        Some(Name::Emails) => EMAILS_BY_FILTER,
        _ => SUPPORTED,
    };
    format!("Operations[{at}].path: Wire cannot change {name}{sub}. {fix}")
}
