//! Which repair would help a request that was refused, for the detail of its refusal.

use super::body::{Judged, repair_body};
use super::{Repair, Repairs};
use crate::api::BodyKind;
use crate::json::{Document, Name};
use crate::rule::Rule;

/// The repairs, among those that are disabled, that would change what a rule has refused.
pub fn for_body(
    rule: Rule,
    kind: BodyKind,
    document: &Document<'_>,
    on: Repairs,
    judged: Judged,
) -> Repairs {
    let off = of_rule(rule).without(on);
    if off.is_empty() {
        return off;
    }
    if rule == Rule::GroupPatch {
        return off;
    }
    let user_name = document.root().as_object().and_then(|user| user.string(Name::UserName));
    if let (Rule::UserUserName, Some(user_name)) = (rule, user_name) {
        return off.both(by_form(user_name));
    }
    let limit = document.source().len() * 16;
    repair_body(kind, document, off, judged, limit).map_or(Repairs::NONE, |repaired| repaired.by)
}

/// The repair for a userName of this form.
fn by_form(user_name: &str) -> Repairs {
    match user_name {
        "" => Repairs::NONE,
        name if name.contains('@') => Repairs::of(&[Repair::UserNameLocalPart]),
        _ => Repairs::of(&[Repair::UserNameAscii]),
    }
}

/// The repairs that can help against a rule.
pub const fn of_rule(rule: Rule) -> Repairs {
    match rule {
        Rule::HeadersAccept => Repairs::of(&[Repair::Accept]),
        Rule::BodyMediaType => Repairs::of(&[Repair::ContentType]),
        Rule::UserUserName => Repairs::of(&[Repair::UserNameLocalPart, Repair::UserNameAscii]),
        Rule::UserUserNameCase => Repairs::of(&[Repair::UserNameLower]),
        Rule::UserType => Repairs::of(&[Repair::Roles, Repair::EmptyValues]),
        Rule::UserRoles => Repairs::of(&[Repair::Roles]),
        Rule::UserProfileUrl | Rule::UserEmails => Repairs::of(&[Repair::EmptyValues]),
        Rule::UserLanguage => Repairs::of(&[Repair::EmptyValues, Repair::Language]),
        Rule::UserPassword => Repairs::of(&[Repair::Password]),
        Rule::UserDisplayName | Rule::UserDisplayNameRequired => {
            Repairs::of(&[Repair::DisplayName, Repair::PatchPathless])
        }
        Rule::UserExternalIdRequired => Repairs::of(&[Repair::ExternalId, Repair::PatchPathless]),
        Rule::PatchPath | Rule::PatchValue => Repairs::of(&[
            Repair::PatchPathless,
            Repair::PatchUnsupported,
            Repair::Roles,
            Repair::Password,
        ]),
        Rule::GroupMembers => Repairs::of(&[Repair::GroupsMembers]),
        Rule::FilterUnsupported => Repairs::of(&[Repair::GroupsFilter]),
        Rule::GroupPatch => Repairs::of(&[Repair::GroupsPatch]),
        _ => Repairs::NONE,
    }
}

/// Adds the repairs that could prevent a refusal to its detail.
pub fn add(repairs: Repairs, detail: &mut String) {
    const START: &str = " The operator of this proxy can switch on a repair for it: ";
    detail.reserve(START.len() + 64);
    let mut between = START;
    for repair in repairs.iter() {
        detail.push_str(between);
        detail.push_str(repair.name());
        between = ", ";
    }
    if !repairs.is_empty() {
        detail.push('.');
    }
}
