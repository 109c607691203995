//! The rules on the result of a PATCH, as far as its operations determine it.

use super::emails::Entry;
use super::{Change, Changes, place, stored};
use crate::findings::Findings;
use crate::json::{Array, Name, Value};
use crate::place::Place;
use crate::refusal::Refusal;
use crate::rule::Rule;
use crate::scim::user::{self, Mode};
use crate::scim::{rich_info, text};
use crate::wire::email;

/// The operation that sets an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    ByPath(usize),
    /// The attribute is a member of a value without a path.
    WithoutPath(usize),
}

impl Setting {
    /// Where the attribute's value is in the PATCH.
    fn place(self, attribute: Name) -> Place {
        match self {
            Self::ByPath(at) => place(at, Name::Value),
            Self::WithoutPath(at) => place(at, Name::Value).child(Some(attribute)),
        }
    }
}

/// How an attribute is cleared, and by which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clearing {
    Removed(usize),
    /// A value without a path omits it.
    LeftOut(usize),
}

impl Clearing {
    fn place(self) -> Place {
        match self {
            Self::Removed(at) => place(at, Name::Path),
            Self::LeftOut(at) => place(at, Name::Value),
        }
    }

    /// The message for an attribute that every user must have.
    fn detail(self, attribute: &str, why: &str) -> String {
        match self {
            Self::Removed(at) => format!(
                "Operations[{at}] removes {attribute}. {why}: replace it, or leave the operation out."
            ),
            Self::LeftOut(at) => format!(
                "Operations[{at}] has no path, so Wire reads its value as a whole user and clears what it \
                 leaves out, here {attribute}. {why}: send {attribute} as well, or one operation with a path \
                 for each attribute."
            ),
        }
    }
}

impl<'d> Changes<'d> {
    /// Wire's rules on the result, in Wire's order.
    pub(super) fn wire_rules(
        &self,
        mode: Mode,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        let addresses = self.certain_fault_of_addresses(mode);
        if addresses == Some(Rule::UserEmailsPrimary) {
            findings.hit(Rule::UserEmailsPrimary, Name::Operations, || TWO_PRIMARY)?;
        }
        if let Change::Cleared(by) = self.external_id {
            findings.hit(
                Rule::UserExternalIdRequired,
                || by.place(),
                || by.detail("externalId", "Every user must have one"),
            )?;
        }
        if addresses == Some(Rule::UserExternalIdEmail) {
            findings.hit(Rule::UserExternalIdEmail, Name::Operations, || NO_ADDRESS)?;
        }
        if let Change::Set(by, user_name) = self.user_name {
            user::judge_user_name(user_name, || by.place(Name::UserName), findings)?;
        }
        self.judge_display_name(mode, addresses, findings)?;
        let size = rich_info::size(&self.rich_info_set());
        user::judge_rich_info_size(size, Name::Operations, findings)?;
        if let Some((at, roles)) = self.roles {
            let roles = Array::elements(roles).filter_map(Value::as_str);
            user::judge_roles(roles, || place(at, Name::Value), findings)?;
        }
        Ok(())
    }

    fn judge_display_name(
        &self,
        mode: Mode,
        addresses: Option<Rule>,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        match (self.display_name, self.external_id, mode) {
            (Change::Set(by, name), ..) => {
                user::judge_display_name(name, || by.place(Name::DisplayName), findings)
            }
            // With SAML the name then comes only from externalId; else from the stored emails.
            (Change::Cleared(by), Change::Set(_, id), Mode::Saml) => {
                let name = email::canonical(id);
                let name = name.as_deref().unwrap_or(id);
                user::judge_default_name(name, || by.place(), findings)
            }
            (Change::Cleared(by), ..) if addresses == Some(Rule::UserDisplayName) => {
                findings.hit(Rule::UserDisplayName, || by.place(), || LONG_ADDRESS)
            }
            _ => Ok(()),
        }
    }

    /// The rule by which the addresses are refused for every possible stored user.
    fn certain_fault_of_addresses(&self, mode: Mode) -> Option<Rule> {
        let fault = |entries: &[Entry]| self.fault_of_addresses(entries, mode);
        let changes = self.emails.judged()?;
        if !stored::for_every_user(changes, |entries| fault(entries).is_some()) {
            return None;
        }
        let mut entries = Vec::new();
        for change in changes {
            change.apply(&mut entries);
        }
        fault(&entries)
    }

    fn fault_of_addresses(&self, entries: &[Entry], mode: Mode) -> Option<Rule> {
        let mut primary = entries.iter().filter(|entry| entry.primary == Some(true));
        let address = primary.next().or(entries.first()).map(|entry| entry.address.as_str());
        if primary.next().is_some() {
            return Some(Rule::UserEmailsPrimary);
        }
        if mode == Mode::Saml {
            return None;
        }
        let id = if let Change::Set(_, id) = self.external_id { Some(id) } else { None };
        let address = address.or(id)?;
        let Some(address) = email::canonical(address) else {
            return Some(Rule::UserExternalIdEmail);
        };
        let is_name = matches!(self.display_name, Change::Cleared(_));
        (is_name && !user::is_name(&address)).then_some(Rule::UserDisplayName)
    }

    /// The guard's own rules, on what the operations set themselves.
    pub(super) fn own_rules(&self, findings: &mut Findings<'_>) -> Result<(), Refusal> {
        if let Change::Set(by, user_name) = self.user_name {
            user::judge_user_name_case(user_name, || by.place(Name::UserName), findings)?;
        }
        if let Change::Cleared(by) = self.display_name {
            findings.hit(
                Rule::UserDisplayNameRequired,
                || by.place(),
                || {
                    let why = "Wire would show the email address or externalId instead";
                    by.detail("displayName", why)
                },
            )?;
        }
        let display_name = match self.display_name {
            Change::Set(by, name) => Some((name, move || by.place(Name::DisplayName))),
            _ => None,
        };
        text::judge(display_name, || self.rich_info_set(), findings)
    }

    fn rich_info_set(&self) -> Vec<(&'d str, &'d str)> {
        self.rich_info.values().copied().collect()
    }
}

const TWO_PRIMARY: &str = "The operations leave the user with more than one email address whose primary is true; from \
     release 5.35 Wire refuses that (RFC 7643 §2.4). Mark one address as primary at most, or replace the \
     addresses with a PUT of the user.";

const NO_ADDRESS: &str = "The operations leave the user without any email address, and externalId is not one. For teams \
     without SAML Wire knows users by their email address: keep an entry of emails, or map externalId from mail.";

const LONG_ADDRESS: &str = "displayName is removed, and the email address that Wire would take as the name has more than \
     128 characters. Replace displayName instead of removing it.";
