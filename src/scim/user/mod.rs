//! A user of POST and PUT: types first, then Wire's rules in Wire's order.

mod advice;
mod attributes;
mod handle;
mod reading;
mod rules;

use self::advice::{DISPLAY_NAME_MISSING, EXTERNAL_ID_MISSING};
pub(super) use self::attributes::{ATTRIBUTES, EMAIL};
pub use self::handle::is_reserved;
pub(crate) use self::handle::{handle, is_handle};
pub use self::reading::Reading;
pub(crate) use self::reading::{is_active, is_primary};
pub(crate) use self::rules::is_name;
pub(super) use self::rules::{
    judge_default_name, judge_display_name, judge_rich_info_size, judge_roles, judge_user_name,
    judge_user_name_case,
};
use super::rich_info::RichInfo;
use super::text;
use crate::deprovisioning::AccountChange;
use crate::findings::Findings;
use crate::json::{Array, Name, Object, Value};
use crate::policy::Identity;
use crate::refusal::Refusal;
use crate::release::Release;
use crate::rule::Rule;
use crate::schema::{Fault, FaultKind, Schema};
use crate::wire::language;

/// Whether the user is being created. A reserved handle may be an old one of an existing user, who
/// keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    New,
    Existing,
}

/// How the token's team identifies its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Email,
    Saml,
}

/// A user whose types were judged.
#[derive(Debug)]
pub struct User<'d> {
    object: Object<'d>,
    rich_info: RichInfo<'d>,
    // Values that several rules use are looked up once.
    user_name: Option<&'d str>,
    display_name: Option<&'d str>,
    external_id: Option<&'d str>,
    emails: Option<Array<'d>>,
}

/// Judges a user. `Ok` returns the user and the mode in which Wire accepts it.
pub fn judge<'d>(
    value: Value<'d>,
    lifecycle: Lifecycle,
    schema: &Schema,
    findings: &mut Findings<'_>,
) -> Result<Option<(User<'d>, Mode)>, Refusal> {
    if let Some(object) = value.as_object()
        && let Some(repetition) = attributes::repetition(object)
    {
        findings.hit(Rule::JsonDuplicateKey, || repetition.at(), || repetition.detail())?;
    }
    schema.judge(value, &SCHEMA_RULES, findings, rule_of, advice::detail_of)?;
    let Some(object) = value.as_object() else { return Ok(None) };
    let rich_info = match RichInfo::read(object) {
        Ok(rich_info) => rich_info,
        Err(fault) => {
            findings
                .hit(Rule::UserRichInfo, fault.attribute, || advice::rich_info_detail(&fault))?;
            RichInfo::default()
        }
    };
    let user = User::new(object, rich_info);
    let mode = findings.for_releases(|release, findings| {
        in_mode(findings, |mode, findings| user.wire_rules(release, mode, findings))
    })?;
    if findings.identity() == Identity::Any && user.depends_on_identity(mode) {
        findings.leave_to_wire();
    }
    if lifecycle == Lifecycle::Existing {
        let change = AccountChange::of_active(is_active(object));
        findings.set_account(change);
    }
    user.own_rules(lifecycle, findings)?;
    Ok(Some((user, mode)))
}

/// Applies rules in the configured mode; if none is configured, only what both modes refuse is
/// refused, with the answer of the email mode.
pub(super) fn in_mode(
    findings: &mut Findings<'_>,
    rules: impl Fn(Mode, &mut Findings<'_>) -> Result<(), Refusal>,
) -> Result<Mode, Refusal> {
    match findings.identity() {
        Identity::Email => rules(Mode::Email, findings).map(|()| Mode::Email),
        Identity::Saml => rules(Mode::Saml, findings).map(|()| Mode::Saml),
        Identity::Any => {
            let mut email = findings.clone();
            let by_email = rules(Mode::Email, &mut email);
            if by_email.is_ok() && email.count() == findings.count() {
                return Ok(Mode::Email);
            }
            let mut saml = findings.clone();
            let by_saml = rules(Mode::Saml, &mut saml);
            if by_saml.is_ok() && (by_email.is_err() || saml.count() < email.count()) {
                *findings = saml;
                return Ok(Mode::Saml);
            }
            *findings = email;
            by_email.map(|()| Mode::Email)
        }
    }
}

impl<'d> User<'d> {
    fn new(object: Object<'d>, rich_info: RichInfo<'d>) -> Self {
        Self {
            object,
            rich_info,
            user_name: object.string(Name::UserName),
            display_name: object.string(Name::DisplayName),
            external_id: object.string(Name::ExternalId),
            emails: object.value(Name::Emails).and_then(Value::as_array),
        }
    }

    /// Wire's rules, in the order in which Wire reports them.
    fn wire_rules(
        &self,
        release: Release,
        mode: Mode,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        if self.object.value(Name::Password).is_some_and(|value| !value.is_null()) {
            findings.hit(Rule::UserPassword, Name::Password, || {
                "password must not be sent: Wire refuses users with a password, even an empty one. \
                 Remove password from the attribute mapping (Okta: turn off Sync Password)."
            })?;
        }
        // Most users have at most one address.
        if release >= Release::R5_35 && self.emails.is_some_and(|emails| emails.len() > 1) {
            rules::judge_primary(self.emails(), findings)?;
        }
        if self.external_id.is_none() {
            let at = Name::ExternalId;
            findings.hit(Rule::UserExternalIdRequired, at, || EXTERNAL_ID_MISSING)?;
        }
        if mode == Mode::Email && self.address_entry().is_none() {
            rules::judge_external_id_email(self.external_id, findings)?;
        }
        if let Some(user_name) = self.user_name {
            judge_user_name(user_name, Name::UserName, findings)?;
        }
        self.judge_display_name(mode, findings)?;
        let limit = findings.policy().rich_info_limit;
        let size = self.rich_info.excess(limit).unwrap_or(0);
        let urn = match self.object.value(Name::WireUser) {
            Some(_) => Name::WireUser,
            None => Name::WireProfile,
        };
        judge_rich_info_size(size, urn, findings)?;
        if let Some(language) = self.object.string(Name::PreferredLanguage)
            && language::read(language).is_none()
        {
            findings.hit(Rule::UserLanguage, Name::PreferredLanguage, || {
                "preferredLanguage must begin with a lower-case ISO 639-1 code, as in `en` or `de-CH`. \
                 Map an attribute that holds such a code, or remove the mapping."
            })?;
        }
        if let Some(roles) = self.object.value(Name::Roles).and_then(Value::as_array) {
            judge_roles(roles.elements().filter_map(Value::as_str), Name::Roles, findings)?;
        }
        Ok(())
    }

    /// The guard's own rules, for what Wire itself would serve; after Wire's, so that what Wire
    /// refuses is answered as Wire would.
    fn own_rules(&self, lifecycle: Lifecycle, findings: &mut Findings<'_>) -> Result<(), Refusal> {
        if let Some(user_name) = self.user_name {
            judge_user_name_case(user_name, Name::UserName, findings)?;
            if lifecycle == Lifecycle::New {
                rules::judge_user_name_reserved(user_name, findings)?;
            }
        }
        if self.display_name.is_none() {
            let at = Name::DisplayName;
            findings.hit(Rule::UserDisplayNameRequired, at, || DISPLAY_NAME_MISSING)?;
        }
        let display_name = self.display_name.map(|name| (name, Name::DisplayName));
        text::judge(display_name, || self.rich_info.merged(), findings)
    }

    fn judge_display_name(&self, mode: Mode, findings: &mut Findings<'_>) -> Result<(), Refusal> {
        if let Some(display_name) = self.display_name {
            return judge_display_name(display_name, Name::DisplayName, findings);
        }
        match self.default_name(mode) {
            Some(name) => judge_default_name(&name, Name::DisplayName, findings),
            None => Ok(()),
        }
    }

    /// Whether the other kind of team would refuse the user that `mode` accepts. The SAML mode is
    /// used only if the email mode refuses; the email mode may use a name that the other one does
    /// not.
    fn depends_on_identity(&self, mode: Mode) -> bool {
        let no_name = || self.default_name(Mode::Saml).is_some_and(|name| !is_name(&name));
        mode == Mode::Saml || (self.display_name.is_none() && no_name())
    }
}

/// The rules for faults against the schema.
const SCHEMA_RULES: [Rule; 6] = [
    Rule::UserSchema,
    Rule::UserUserName,
    Rule::UserRichInfo,
    Rule::UserEmails,
    Rule::UserProfileUrl,
    Rule::UserType,
];

/// The rule that a fault against the schema belongs to.
fn rule_of(fault: &Fault) -> Rule {
    match (&fault.kind, fault.attribute()) {
        _ if fault.beyond_wire => Rule::UserSchema,
        (FaultKind::Keyword { .. } | FaultKind::Unexpected { .. }, _) => Rule::UserSchema,
        (FaultKind::Missing { .. }, Some(Name::UserName)) => Rule::UserUserName,
        // Wire requires no other attribute.
        (FaultKind::Missing { .. }, _) if fault.path.is_empty() => Rule::UserSchema,
        (_, Some(Name::WireUser | Name::WireProfile)) => Rule::UserRichInfo,
        (FaultKind::Format { format }, attribute) => match (format.as_str(), attribute) {
            ("wire-email", Some(Name::Emails)) => Rule::UserEmails,
            ("wire-uri", Some(Name::ProfileUrl | Name::Photos)) => Rule::UserProfileUrl,
            ("wire-boolean", _) => Rule::UserType,
            _ => Rule::UserSchema,
        },
        (FaultKind::Missing { .. }, Some(Name::Emails)) => Rule::UserEmails,
        (FaultKind::Missing { .. }, _) => Rule::UserSchema,
        (FaultKind::Type { .. }, _) => Rule::UserType,
    }
}
