//! Wire's rules on single attributes of a user, for whole users and for what a PATCH sets.

use std::ops::RangeInclusive;

use super::handle::{self, HANDLE, handle, is_handle_byte, is_reserved};
use super::reading::is_primary;
use crate::findings::Findings;
use crate::json::{Name, Object};
use crate::place::{IntoPlace, Place};
use crate::refusal::Refusal;
use crate::rule::Rule;
use crate::wire::email;

/// The shortest and the longest name, in characters.
const NAME: RangeInclusive<usize> = 1..=128;
/// The role names that Wire knows.
const ROLES: [&str; 4] = ["owner", "admin", "member", "partner"];

/// Judges whether at most one entry of emails is primary.
pub(super) fn judge_primary<'d>(
    emails: impl Iterator<Item = (usize, Object<'d>)>,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    let Some((second, _)) = emails.filter(|(_, entry)| is_primary(*entry)).nth(1) else {
        return Ok(());
    };
    let place = || Place::of(Some(Name::Emails)).index(second).child(Some(Name::Primary));
    findings.hit(Rule::UserEmailsPrimary, place, || {
        format!(
            "emails[{second}] is the second entry whose primary is true; a user has one primary address at \
             most (RFC 7643 §2.4), and Wire refuses more from release 5.35. Mark one entry of emails as \
             primary, or none: then the first one is used."
        )
    })
}

/// Judges userName as the handle that Wire makes of it.
pub(in crate::scim) fn judge_user_name(
    user_name: &str,
    at: impl IntoPlace,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    let handle = handle(user_name);
    let length = handle.chars().count();
    if HANDLE.contains(&length) && handle.bytes().all(is_handle_byte) {
        return Ok(());
    }
    findings.hit(Rule::UserUserName, at, || handle::detail(user_name, length))
}

/// Judges whether userName equals its handle.
pub(in crate::scim) fn judge_user_name_case(
    user_name: &str,
    at: impl IntoPlace,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    if handle(user_name) == user_name {
        return Ok(());
    }
    findings.hit(Rule::UserUserNameCase, at, || {
        "userName has capital letters; Wire shows it as the @handle and stores it in lower case. Map it in \
         lower case (Entra ID: ToLower([mailNickname]); Okta: String.toLowerCase(user.login); \
         ldap-scim-bridge: map an attribute that is lower-case)."
    })
}

pub(super) fn judge_user_name_reserved(
    user_name: &str,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    if !is_reserved(&handle(user_name)) {
        return Ok(());
    }
    findings.hit(Rule::UserUserNameReserved, Name::UserName, || {
        "userName is one of the names that Wire keeps for itself (such as admin, support or team), so no new \
         user can have it. Give the user another userName."
    })
}

/// Judges a displayName that was sent.
pub(in crate::scim) fn judge_display_name(
    display_name: &str,
    at: impl IntoPlace,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    // 128 characters have at least 128 bytes, and most names have fewer.
    if (1..=128).contains(&display_name.len()) {
        return Ok(());
    }
    let length = display_name.chars().count();
    if NAME.contains(&length) {
        return Ok(());
    }
    findings.hit(Rule::UserDisplayName, at, || {
        format!(
            "displayName must have 1 to 128 characters; this one has {length}. Map an attribute that \
             is filled and short enough (Entra ID: Left([displayName], 128))."
        )
    })
}

/// Whether Wire accepts a string as the name of a user.
pub(crate) fn is_name(name: &str) -> bool {
    NAME.contains(&name.chars().count())
}

/// Judges the name that Wire uses if displayName is absent.
pub(in crate::scim) fn judge_default_name(
    name: &str,
    at: impl IntoPlace,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    if is_name(name) {
        return Ok(());
    }
    let length = name.chars().count();
    findings.hit(Rule::UserDisplayName, at, || {
        format!(
            "displayName is missing, and what Wire uses instead (the email address or externalId) \
             has {length} characters; a name must have 1 to 128. Map displayName."
        )
    })
}

pub(super) fn judge_external_id_email(
    external_id: Option<&str>,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    match external_id {
        Some(id) if !email::is_address(id) => findings.hit(Rule::UserExternalIdEmail, Name::ExternalId, || {
            "externalId is not an email address, and emails is empty. For teams without SAML Wire knows \
             users by their email address: map externalId from mail, or map emails. For teams with \
             SAML, associate the SCIM token with the identity provider in Wire's team management."
        }),
        _ => Ok(()),
    }
}

/// Judges the sum of all keys and values of rich info.
pub(in crate::scim) fn judge_rich_info_size(
    size: usize,
    at: impl IntoPlace,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    let limit = findings.policy().rich_info_limit;
    if size <= limit {
        return Ok(());
    }
    findings.hit(Rule::UserRichInfoSize, at, || {
        format!(
            "Rich info is too large: its keys and values have {size} characters together; at most {limit} \
             are stored. Map fewer or shorter fields."
        )
    })
}

/// Judges roles, which Wire reads as strings.
pub(in crate::scim) fn judge_roles<'a>(
    mut roles: impl Iterator<Item = &'a str>,
    at: impl IntoPlace,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    let Some(first) = roles.next() else { return Ok(()) };
    if roles.next().is_some() {
        return findings.hit(Rule::UserRoles, at, || {
            "roles has more than one entry; a user of Wire has one role. Send one of owner, admin, \
             member, partner, or none."
        });
    }
    if ROLES.contains(&first) {
        return Ok(());
    }
    findings.hit(Rule::UserRoles, || at.into_place().index(0), || {
        "roles[0] is not a role of Wire: use owner, admin, member or partner, in lower case and without \
         blanks. Translate the directory's roles in the attribute mapping (Entra ID: an expression with \
         Switch(); ldap-scim-bridge: an attribute that holds one of the four)."
    })
}
