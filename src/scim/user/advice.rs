//! What the refusals of a user say to the admin of the client.

use super::rule_of;
use super::rules::is_handle_byte;
use crate::json::Name;
use crate::rule::Rule;
use crate::schema::{Fault, FaultKind, Step};
use crate::scim::rich_info;

pub(super) const EXTERNAL_ID_MISSING: &str = "externalId is missing. It must be the email address of the user (teams with passwords) or the \
     SAML NameID (teams with single sign-on). Map it from mail or from the attribute that the identity \
     provider sends as NameID (Entra ID: externalId from userPrincipalName or mail; Okta: turn on the \
     externalId mapping; ldap-scim-bridge: `externalId: mail`).";

pub(super) const DISPLAY_NAME_MISSING: &str = "displayName is missing. Wire would show the email address or externalId in its place. Map it \
     from displayName of the directory (Entra ID and Okta: displayName; ldap-scim-bridge: \
     `displayName: displayName` or `displayName: cn`).";

/// `length` is that of the handle; what is wrong is told of userName as it was sent.
pub(super) fn user_name_detail(user_name: &str, length: usize) -> String {
    const FORM: &str = "userName becomes the @handle in Wire and must be 2 to 256 characters out of \
                        a-z 0-9 _ . -";
    let is_foreign = |c: char| match u8::try_from(c) {
        Ok(byte) if byte.is_ascii() => !is_handle_byte(byte.to_ascii_lowercase()),
        _ => c.to_lowercase().any(|c| !u8::try_from(c).is_ok_and(is_handle_byte)),
    };
    let foreign = |text: &str| {
        let found = text.chars().enumerate().find(|(_, c)| is_foreign(*c));
        found.map(|(at, c)| format!("character {} (U+{:04X})", at + 1, u32::from(c)))
    };
    if let Some((before, _)) = user_name.split_once('@') {
        let before = foreign(before).map_or_else(String::new, |character| {
            format!(
                " Before the `@`, {character} is not allowed either: replace it too (Entra ID: \
                 NormalizeDiacritics() or Replace())."
            )
        });
        return format!(
            "{FORM}; this one looks like an email address or UPN (it has an `@`). Map the part before \
             the `@` or another short name (Entra ID: Item(Split([userPrincipalName], \"@\"), 1) or \
             mailNickname; Okta: String.substringBefore(user.login, \"@\"); ldap-scim-bridge: \
             `userName: uid`).{before}"
        );
    }
    match foreign(user_name) {
        Some(character) => format!(
            "{FORM}; {character} is not allowed. Map an attribute without it, such as mailNickname (Entra ID; \
             NormalizeDiacritics() takes accents away) or uid (LDAP)."
        ),
        None if length == 0 => {
            format!("{FORM}; this one is empty. Map an attribute that is filled.")
        }
        None => {
            let other = if length > 256 { "shorter" } else { "longer" };
            format!("{FORM}; this one has {length}. Map a {other} attribute.")
        }
    }
}

/// The sentence for a fault against the schema, with what to change in the mapping.
pub(super) fn detail_of(fault: &Fault) -> String {
    let mistyped = matches!(fault.kind, FaultKind::Type { .. });
    let mend = match fault.attribute() {
        _ if rule_of(fault) == Rule::UserSchema => {
            "The operator of this proxy asks for it in the schema user.json."
        }
        Some(Name::UserName) => {
            "Map userName to a short name of the user (Entra ID: mailNickname; Okta: the part of the login \
             before the `@`; ldap-scim-bridge: `userName: uid`)."
        }
        Some(Name::Roles) => {
            "Wire reads roles as a list of texts, one of owner, admin, member, partner, as in \
             \"roles\": [\"member\"], and no objects. Entra ID and Keycloak send objects: remove their \
             roles mapping or map a plain text."
        }
        Some(Name::Entitlements) => {
            "Wire reads entitlements as a list of texts. Remove the mapping."
        }
        Some(Name::Emails) if is_last(fault, Name::Primary) => {
            "Send true or false, or leave primary out."
        }
        Some(Name::Emails) => {
            "Send [{\"value\": \"name@example.com\"}] with addresses in ASCII only, or leave emails out."
        }
        Some(Name::Photos) if mistyped => {
            "Send [{\"value\": \"https://example.com/x.png\"}], or remove the mapping: Wire stores no photos."
        }
        Some(Name::Photos | Name::ProfileUrl) if !mistyped => {
            "Relative references and empty texts are refused, and so are characters that are not \
             percent-encoded, such as blanks and all beyond ASCII. Remove the mapping if the directory has none."
        }
        Some(Name::Active) => "Send true or false.",
        Some(Name::WireUser | Name::WireProfile) => RICH_INFO_FORMS,
        Some(Name::Password) if mistyped => {
            return "password must not be sent at all: remove it from the attribute mapping."
                .into();
        }
        // They may be null by the schema, and are refused by another rule then.
        Some(Name::ExternalId) if mistyped => {
            return "externalId must be a text: the email address or the SAML NameID. Map it so."
                .into();
        }
        Some(Name::DisplayName) if mistyped => {
            return "displayName must be a text. Map it so, from displayName of the directory."
                .into();
        }
        _ if matches!(&fault.kind, FaultKind::Type { expected } if expected.contains("a text")) => {
            "Send a text, in quotes, or remove the attribute from the mapping."
        }
        _ => "Correct or remove the attribute in the mapping.",
    };
    format!("{}. {mend}", fault.sentence())
}

const RICH_INFO_FORMS: &str = "Rich info is {\"urn:ietf:params:scim:schemas:extension:wire:1.0:User\": {\"Department\": \"Sales\"}}, or \
     {\"urn:wire:scim:schemas:profile:1.0\": {\"richInfo\": {\"version\": 0, \"fields\": [{\"type\": \
     \"Department\", \"value\": \"Sales\"}]}}}; null is not allowed.";

/// Whether a fault is in a part of this name.
fn is_last(fault: &Fault, name: Name) -> bool {
    matches!(fault.path.last(), Some(Step::Key(key)) if Name::of(key) == Some(name))
}

pub(super) fn rich_info_detail(fault: &rich_info::Fault) -> String {
    format!("{} {}. {RICH_INFO_FORMS}", fault.attribute.as_str(), fault.what)
}
