//! A user of POST and PUT: types first, then Wire's rules in Wire's order.

use std::borrow::Cow;

use serde::Serialize;

use super::repeated::{self, Repetition};
use super::rich_info::{self, RichInfo};
use super::text;
use super::{email, language};
use crate::json::{Array, Name, NameSet, Object, Type, Value, folds_alike};
use crate::place::{IntoPlace, Place};
use crate::policy::Identity;
use crate::release::Release;
use crate::rule::Rule;
use crate::schema::{Fault, FaultKind, Schema, Step};
use crate::verdict::{Findings, Refusal};

/// The shortest and the longest handle, in characters.
const HANDLE: std::ops::RangeInclusive<usize> = 2..=256;
/// The shortest and the longest name, in characters.
const NAME: std::ops::RangeInclusive<usize> = 1..=128;
/// The role names that Wire knows.
const ROLES: [&str; 4] = ["owner", "admin", "member", "partner"];

/// Handles that Wire's user service keeps for itself.
#[rustfmt::skip]
const RESERVED: [&str; 35] = [
    "account", "admin", "administrator", "all", "android", "anna", "avs", "backend", "bot", "cs",
    "design", "dev", "developer", "development", "everyone", "help", "helpdesk", "hr", "info", "ios",
    "legal", "management", "news", "otto", "payment", "product", "purchase", "qa", "support", "team",
    "user", "web", "wire", "wirebot", "wireteam",
];

/// Whether Wire's user service keeps this handle for itself.
pub fn is_reserved(handle: &str) -> bool {
    RESERVED.contains(&handle)
}

/// Whether the user is being created. A handle that Wire reserves may be an old one of an
/// existing user, who keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    New,
    Existing,
}

/// What the token's team knows its users by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Email,
    Saml,
}

/// What Wire stores of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    pub handle: String,
    pub name: String,
    pub external_id: String,
    pub emails: Vec<String>,
    pub role: Option<String>,
    pub active: bool,
    pub locale: Option<&'static str>,
    pub rich_info: Vec<(String, String)>,
}

/// A user whose types were judged.
#[derive(Debug)]
pub struct User<'d> {
    object: Object<'d>,
    rich_info: RichInfo<'d>,
}

/// Judges a user. `Ok` gives the user and the mode in which Wire accepts it.
pub fn judge<'d>(
    value: Value<'d>,
    lifecycle: Lifecycle,
    schema: &Schema,
    findings: &mut Findings<'_>,
) -> Result<Option<(User<'d>, Mode)>, Refusal> {
    if let Some(object) = value.as_object()
        && let Some(repetition) = repetition(object)
    {
        findings.hit(Rule::JsonDuplicateKey, || repetition.at(), || repetition.detail())?;
    }
    schema.judge(value, &SCHEMA_RULES, findings, rule_of, detail_of)?;
    let Some(object) = value.as_object() else { return Ok(None) };
    let rich_info = match RichInfo::read(object) {
        Ok(rich_info) => rich_info,
        Err(fault) => {
            findings.hit(Rule::UserRichInfo, fault.attribute, || rich_info_detail(&fault))?;
            RichInfo::default()
        }
    };
    let user = User { object, rich_info };
    let mode = findings.for_releases(|release, findings| {
        in_mode(findings, |mode, findings| user.wire_rules(release, mode, findings))
    })?;
    if findings.identity() == Identity::Any && user.depends_on_identity() {
        findings.leave_to_wire();
    }
    user.own_rules(lifecycle, findings)?;
    Ok(Some((user, mode)))
}

/// Runs rules in the mode that is configured; where none is, only what both modes refuse is
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
        if release >= Release::R5_35 {
            self.judge_primary(findings)?;
        }
        let external_id = self.object.text(Name::ExternalId);
        if external_id.is_none() {
            let at = Name::ExternalId;
            findings.hit(Rule::UserExternalIdRequired, at, || EXTERNAL_ID_MISSING)?;
        }
        if mode == Mode::Email && self.address_entry().is_none() {
            judge_external_id_email(external_id, findings)?;
        }
        if let Some(user_name) = self.object.text(Name::UserName) {
            judge_user_name(user_name, Name::UserName, findings)?;
        }
        self.judge_display_name(mode, external_id, findings)?;
        let limit = findings.policy().rich_info_limit;
        let size = self.rich_info.excess(limit).unwrap_or(0);
        let urn = match self.object.value(Name::WireUser) {
            Some(_) => Name::WireUser,
            None => Name::WireProfile,
        };
        judge_rich_info_size(size, urn, findings)?;
        if let Some(language) = self.object.text(Name::PreferredLanguage)
            && language::read(language).is_none()
        {
            findings.hit(Rule::UserLanguage, Name::PreferredLanguage, || {
                "preferredLanguage must begin with a lower-case ISO 639-1 code, as in `en` or `de-CH`. \
                 Map an attribute that holds such a code, or remove the mapping."
            })?;
        }
        if let Some(roles) = self.object.value(Name::Roles).and_then(Value::as_array) {
            judge_roles(roles.elements().filter_map(Value::as_text), Name::Roles, findings)?;
        }
        Ok(())
    }

    /// The guard's own rules, on what Wire itself would serve; after Wire's, so that what Wire
    /// refuses is answered as Wire would.
    fn own_rules(&self, lifecycle: Lifecycle, findings: &mut Findings<'_>) -> Result<(), Refusal> {
        if let Some(user_name) = self.object.text(Name::UserName) {
            judge_user_name_case(user_name, Name::UserName, findings)?;
            if lifecycle == Lifecycle::New {
                judge_user_name_reserved(user_name, findings)?;
            }
        }
        let display_name = self.object.text(Name::DisplayName);
        if display_name.is_none() {
            let at = Name::DisplayName;
            findings.hit(Rule::UserDisplayNameRequired, at, || DISPLAY_NAME_MISSING)?;
        }
        let display_name = display_name.map(|name| (name, Name::DisplayName));
        text::judge(display_name, || self.rich_info.merged(), findings)
    }

    fn judge_display_name(
        &self,
        mode: Mode,
        external_id: Option<&str>,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        if let Some(display_name) = self.object.text(Name::DisplayName) {
            return judge_display_name(display_name, Name::DisplayName, findings);
        }
        match self.default_name(mode, external_id) {
            Some(name) => judge_default_name(&name, Name::DisplayName, findings),
            None => Ok(()),
        }
    }

    /// The entries of emails that are objects, with their indexes.
    fn emails(&self) -> impl Iterator<Item = (usize, Object<'d>)> {
        let list = self.object.value(Name::Emails).and_then(Value::as_array);
        let entries = list.into_iter().flat_map(Array::elements).enumerate();
        entries.filter_map(|(at, entry)| Some((at, entry.as_object()?)))
    }

    /// The entry of emails that Wire takes: the first primary one, else the first.
    fn address_entry(&self) -> Option<&'d str> {
        let primary = self.emails().find(|(_, entry)| is_primary(*entry));
        let (_, entry) = primary.or_else(|| self.emails().next())?;
        entry.text(Name::Value)
    }

    fn judge_primary(&self, findings: &mut Findings<'_>) -> Result<(), Refusal> {
        let Some((second, _)) = self.emails().filter(|(_, entry)| is_primary(*entry)).nth(1) else {
            return Ok(());
        };
        let place = || Place::of(Some(Name::Emails)).index(second).child(Some(Name::Primary));
        findings.hit(Rule::UserEmailsPrimary, place, || {
            format!(
                "emails[{second}] is the second entry whose primary is true; a user has one primary address at \
                 most (RFC 7643 §2.4), and Wire refuses more from release 5.35. Mark one entry of emails as \
                 primary, or none: then the first one counts."
            )
        })
    }

    /// Whether the other kind of team would refuse the user that one kind accepts: by the name that
    /// Wire takes where displayName is absent, or for want of an email address.
    fn depends_on_identity(&self) -> bool {
        let external_id = self.object.text(Name::ExternalId);
        let no_address =
            self.address_entry().is_none() && external_id.is_some_and(|id| !email::is_address(id));
        let no_name =
            |mode| self.default_name(mode, external_id).is_some_and(|name| !is_name(&name));
        no_address
            || (self.object.text(Name::DisplayName).is_none()
                && (no_name(Mode::Email) || no_name(Mode::Saml)))
    }

    /// The name that Wire gives to a user without displayName.
    fn default_name<'a>(&self, mode: Mode, external_id: Option<&'a str>) -> Option<Cow<'a, str>> {
        match (mode, self.address_entry()) {
            (Mode::Email, Some(entry)) => email::canonical(entry).map(Cow::Owned),
            (Mode::Email, None) => external_id.and_then(email::canonical).map(Cow::Owned),
            (Mode::Saml, _) => {
                external_id.map(|id| email::canonical(id).map_or(Cow::Borrowed(id), Cow::Owned))
            }
        }
    }

    /// What Wire stores of an accepted user.
    pub fn reading(&self, mode: Mode) -> Reading {
        let external_id = self.object.text(Name::ExternalId);
        let address = self.address_entry().or(external_id).and_then(email::canonical);
        let name = match self.object.text(Name::DisplayName) {
            Some(display_name) => display_name.to_owned(),
            None => self.default_name(mode, external_id).unwrap_or_default().into_owned(),
        };
        let roles = self.object.value(Name::Roles).and_then(Value::as_array);
        Reading {
            handle: self.object.text(Name::UserName).unwrap_or_default().to_lowercase(),
            name,
            external_id: external_id.unwrap_or_default().to_owned(),
            emails: address.into_iter().collect(),
            role: roles.and_then(|roles| roles.elements().next()?.as_text()).map(str::to_owned),
            active: match self.object.value(Name::Active).map(Value::get) {
                Some(Type::Bool(active)) => active,
                Some(Type::Text(active)) => folds_alike(active, "true"),
                _ => true,
            },
            locale: self.object.text(Name::PreferredLanguage).and_then(language::read),
            rich_info: self
                .rich_info
                .merged()
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        }
    }
}

const EXTERNAL_ID_MISSING: &str = "externalId is missing. It must be the email address of the user (teams with passwords) or the \
     SAML NameID (teams with single sign-on). Map it from mail or from the attribute that the identity \
     provider sends as NameID (Entra ID: externalId from userPrincipalName or mail; Okta: turn on the \
     externalId mapping; ldap-scim-bridge: `externalId: mail`).";

const DISPLAY_NAME_MISSING: &str = "displayName is missing. Wire would show the email address or externalId in its place. Map it \
     from displayName of the directory (Entra ID and Okta: displayName; ldap-scim-bridge: \
     `displayName: displayName` or `displayName: cn`).";

/// Whether Wire takes an entry of emails as primary.
fn is_primary(entry: Object<'_>) -> bool {
    match entry.value(Name::Primary).map(Value::get) {
        Some(Type::Bool(primary)) => primary,
        Some(Type::Text(text)) => folds_alike(text, "true"),
        _ => false,
    }
}

/// Judges userName as the handle that Wire makes of it.
pub(super) fn judge_user_name(
    user_name: &str,
    at: impl IntoPlace,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    let handle = handle(user_name);
    let length = handle.chars().count();
    if HANDLE.contains(&length) && handle.bytes().all(is_handle_byte) {
        return Ok(());
    }
    findings.hit(Rule::UserUserName, at, || user_name_detail(user_name, length))
}

/// Judges whether userName is its own handle.
pub(super) fn judge_user_name_case(
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

fn judge_user_name_reserved(user_name: &str, findings: &mut Findings<'_>) -> Result<(), Refusal> {
    if !is_reserved(&handle(user_name)) {
        return Ok(());
    }
    findings.hit(Rule::UserUserNameReserved, Name::UserName, || {
        "userName is one of the names that Wire keeps for itself (such as admin, support or team), so no new \
         user can have it. Give the user another userName."
    })
}

/// The handle that Wire makes of a userName. Nearly every one is ASCII; of other letters U+212A
/// alone becomes ASCII in lower case.
fn handle(user_name: &str) -> Cow<'_, str> {
    if user_name.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        Cow::Owned(user_name.to_lowercase())
    } else {
        Cow::Borrowed(user_name)
    }
}

fn is_handle_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-')
}

/// `length` is that of the handle; what is wrong is told of userName as it was sent.
fn user_name_detail(user_name: &str, length: usize) -> String {
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

/// Judges a displayName that was sent.
pub(super) fn judge_display_name(
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

/// Whether Wire takes a string as the name of a user.
pub(super) fn is_name(name: &str) -> bool {
    NAME.contains(&name.chars().count())
}

/// Judges the name that Wire takes where displayName is absent.
pub(super) fn judge_default_name(
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
            "displayName is missing, and what Wire takes in its place (the email address or externalId) \
             has {length} characters; a name must have 1 to 128. Map displayName."
        )
    })
}

fn judge_external_id_email(
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
pub(super) fn judge_rich_info_size(
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

/// Judges roles, which Wire reads as texts.
pub(super) fn judge_roles<'a>(
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

/// What Wire reads at the top of a user.
#[rustfmt::skip]
pub(super) const ATTRIBUTES: NameSet = NameSet::new(&[
    Name::Schemas, Name::UserName, Name::ExternalId, Name::DisplayName, Name::NickName, Name::Title,
    Name::UserType, Name::PreferredLanguage, Name::Locale, Name::Password, Name::ProfileUrl,
    Name::Active, Name::Name, Name::Emails, Name::PhoneNumbers, Name::Ims, Name::X509Certificates,
    Name::Photos, Name::Addresses, Name::Roles, Name::Entitlements, Name::WireUser, Name::WireProfile,
]);
#[rustfmt::skip]
const NAME_PARTS: NameSet = NameSet::new(&[
    Name::Formatted, Name::FamilyName, Name::GivenName, Name::MiddleName, Name::HonorificPrefix,
    Name::HonorificSuffix,
]);
pub(super) const EMAIL: NameSet = NameSet::new(&[Name::Value, Name::Type, Name::Primary]);
const TYPED_TEXT: NameSet = NameSet::new(&[Name::Value, Name::Type]);
#[rustfmt::skip]
const ADDRESS: NameSet = NameSet::new(&[
    Name::Formatted, Name::StreetAddress, Name::Locality, Name::Region, Name::PostalCode, Name::Country,
    Name::Type, Name::Primary,
]);

/// The attribute that stands more than once where Wire reads it, if any does.
fn repetition(user: Object<'_>) -> Option<Repetition> {
    if !user.document_may_repeat() {
        // Only keys that are free to choose may still repeat.
        return repeated::in_rich_info(Name::WireUser, user.value(Name::WireUser)?);
    }
    if let Some(name) = repeated::name(user, ATTRIBUTES) {
        return Some(Repetition::folded(name.into_place()));
    }
    for member in user.members() {
        let Some(attribute) = member.name() else { continue };
        let parts = match attribute {
            Name::Name => NAME_PARTS,
            Name::Emails => EMAIL,
            Name::Addresses => ADDRESS,
            Name::PhoneNumbers | Name::Ims | Name::X509Certificates | Name::Photos => TYPED_TEXT,
            Name::WireUser | Name::WireProfile => {
                let repetition = repeated::in_rich_info(attribute, member.value);
                if repetition.is_some() {
                    return repetition;
                }
                continue;
            }
            _ => continue,
        };
        let repetition = match member.value.get() {
            Type::Object(object) => repeated::name(object, parts)
                .map(|part| Repetition::folded(attribute.into_place().child(Some(part)))),
            Type::Array(list) => repeated::in_list(list, &attribute.into_place(), parts),
            _ => None,
        };
        if repetition.is_some() {
            return repetition;
        }
    }
    None
}

/// The rules that faults against the schema belong to.
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
        // Wire asks for no other attribute.
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

/// The sentence for a fault against the schema, with what to change in the mapping.
fn detail_of(fault: &Fault) -> String {
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

fn rich_info_detail(fault: &rich_info::Fault) -> String {
    format!("{} {}. {RICH_INFO_FORMS}", fault.attribute.as_str(), fault.what)
}
