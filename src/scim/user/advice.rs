//! The messages of refusals of a user, for the admin of the client.

use super::rule_of;
use crate::json::Name;
use crate::rule::Rule;
use crate::schema::{Fault, FaultKind, Step};
use crate::scim::rich_info;

pub(super) const EXTERNAL_ID_MISSING: &str = "externalId is missing. It must be the email address of the user (teams with passwords) or the \
     SAML NameID (teams with single sign-on). Map it from mail or from the attribute that the identity \
     provider sends as NameID (Entra ID: externalId from userPrincipalName or mail; Okta: turn on the \
     externalId mapping; ldap-scim-bridge: `externalId: mail`).";

pub(super) const DISPLAY_NAME_MISSING: &str = "displayName is missing. Wire would show the email address or externalId instead. Map it \
     from displayName of the directory (Entra ID and Okta: displayName; ldap-scim-bridge: \
     `displayName: displayName` or `displayName: cn`).";

/// The message for a fault against the schema, with what to change in the mapping.
pub(super) fn detail_of(fault: &Fault) -> String {
    let mistyped = matches!(fault.kind, FaultKind::Type { .. });
    let fix = match fault.attribute() {
        _ if rule_of(fault) == Rule::UserSchema => {
            "The operator of this proxy requires it in the schema user.json."
        }
        Some(Name::UserName) => {
            "Map userName to a short name of the user (Entra ID: mailNickname; Okta: the part of the login \
             before the `@`; ldap-scim-bridge: `userName: uid`)."
        }
        Some(Name::Roles) => {
            "Wire reads roles as an array of strings, one of owner, admin, member, partner, as in \
             \"roles\": [\"member\"], and no objects. Entra ID and Keycloak send objects: remove their \
             roles mapping or map a plain string."
        }
        Some(Name::Entitlements) => {
            "Wire reads entitlements as an array of strings. Remove the mapping."
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
            "Relative references and empty strings are refused, and so are characters that are not \
             percent-encoded, such as spaces and all beyond ASCII. Remove the mapping if the directory has none."
        }
        Some(Name::Active) => "Send true or false.",
        Some(Name::WireUser | Name::WireProfile) => RICH_INFO_FORMS,
        Some(Name::Password) if mistyped => {
            return "password must not be sent at all: remove it from the attribute mapping."
                .into();
        }
        // The schema accepts null for them; another rule refuses it then.
        Some(Name::ExternalId) if mistyped => {
            return "externalId must be a string: the email address or the SAML NameID. Map it as such."
                .into();
        }
        Some(Name::DisplayName) if mistyped => {
            return "displayName must be a string. Map it as such, from displayName of the directory."
                .into();
        }
        _ if matches!(&fault.kind, FaultKind::Type { expected } if expected.contains("a string")) => {
            "Send a string, in quotes, or remove the attribute from the mapping."
        }
        _ => "Correct or remove the attribute in the mapping.",
    };
    format!("{}. {fix}", fault.sentence())
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
