//! A user: parsed completely first, then checked against Wire's rules.

use super::json::{Object, Raw, as_string, scan, text_of};
use super::{Fault, Mode, Reading, User, email, emails, rich_info, uri};
use crate::release::Release;

/// Parses a user.
pub fn user(body: &[u8]) -> Result<User, Fault> {
    let text = text_of(body)?;
    from_object(&Object::read(scan(&text)?, "user")?)
}

/// Parses an object whose names are folded.
pub(super) fn from_object(object: &Object<'_>) -> Result<User, Fault> {
    object.strings("schemas")?;
    let user_name = object.required_string("username")?;
    for name in ["nickname", "title", "usertype", "locale"] {
        object.string(name)?;
    }
    check_uri(object, "profileurl")?;
    if let Some(name) = object.some("name") {
        let name = Object::read(name, "name")?;
        let parts = [
            "formatted",
            "familyname",
            "givenname",
            "middlename",
            "honorificprefix",
            "honorificsuffix",
        ];
        check_texts(&name, &parts)?;
    }
    for list in ["phonenumbers", "ims", "x509certificates"] {
        each(object, list, |entry| check_texts(entry, &["type", "value"]))?;
    }
    each(object, "photos", |photo| {
        check_texts(photo, &["type"])?;
        check_uri(photo, "value")
    })?;
    each(object, "addresses", |address| {
        let parts =
            ["formatted", "streetaddress", "locality", "region", "postalcode", "country", "type"];
        check_texts(address, &parts)?;
        address.boolean("primary").map(drop)
    })?;
    let mut emails = Vec::new();
    each(object, "emails", |entry| {
        emails.push(emails::entry(entry)?);
        Ok(())
    })?;
    object.strings("entitlements")?;
    Ok(User {
        user_name,
        external_id: object.string("externalid")?,
        display_name: object.string("displayname")?,
        emails,
        active: object.boolean("active")?,
        preferred_language: object.string("preferredlanguage")?,
        roles: object.strings("roles")?,
        rich_info: rich_info::read(object)?,
        password: object.string("password")?,
    })
}

fn check_texts(object: &Object<'_>, names: &[&str]) -> Result<(), Fault> {
    names.iter().try_for_each(|name| object.string(name).map(drop))
}

fn check_uri(object: &Object<'_>, name: &str) -> Result<(), Fault> {
    let absolute = |raw: Raw<'_>| as_string(raw).is_some_and(|text| uri::is_absolute(&text));
    match object.some(name) {
        Some(raw) if !absolute(raw) => Fault::parse(name),
        _ => Ok(()),
    }
}

fn each(
    object: &Object<'_>,
    list: &str,
    mut check: impl FnMut(&Object<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    object.array(list)?.into_iter().try_for_each(|entry| check(&Object::read(entry, list)?))
}

/// Wire's rules, in Wire's order.
pub fn validate(user: &User, mode: Mode, release: Release) -> Result<Reading, Fault> {
    if user.password.is_some() {
        return Err(Fault::value("Setting user passwords is not supported"));
    }
    let primaries = user.emails.iter().filter(|email| email.primary == Some(true)).count();
    if release >= Release::R5_35 && primaries > 1 {
        return Err(Fault::value("More than one email is primary, see RFC 7643, section 2.4"));
    }
    let Some(external_id) = user.external_id.clone() else {
        return Err(Fault::value("externalId is required"));
    };
    let address = match user.kept_email() {
        Some(email) => Some(email.address.clone()),
        None => email::canonical(&external_id),
    };
    if address.is_none() && mode == Mode::Email {
        return Err(Fault::value("externalId is not an email address"));
    }
    let handle = user.user_name.to_lowercase();
    let in_handle = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '.' | '-');
    if !handle.chars().all(in_handle) || !(2..=256).contains(&handle.len()) {
        return Err(Fault::value("userName is not a valid Wire handle"));
    }
    let name = match (&user.display_name, mode) {
        (Some(name), _) => name.clone(),
        (None, Mode::Email) => address.clone().unwrap_or_default(),
        (None, Mode::Saml) => email::canonical(&external_id).unwrap_or_else(|| external_id.clone()),
    };
    if !(1..=128).contains(&name.chars().count()) {
        return Err(Fault::value("Name: outside range [1, 128]"));
    }
    let size: usize = user
        .rich_info
        .iter()
        .flat_map(|(key, value)| [key, value])
        .map(|t| t.chars().count())
        .sum();
    if size > 5000 {
        let detail = "rich info is too large".into();
        return Err(Fault::Rule { status: 413, scim_type: Some("invalidValue"), detail });
    }
    let locale = match user.preferred_language.as_deref().map(language) {
        Some(None) => return Err(Fault::value("preferredLanguage is not an ISO 639-1 code")),
        Some(code) => code,
        None => None,
    };
    if user.roles.len() > 1 {
        return Err(Fault::value("A user can have one role only"));
    }
    let role = user.roles.first().cloned();
    if role
        .as_ref()
        .is_some_and(|role| !["owner", "admin", "member", "partner"].contains(&role.as_str()))
    {
        return Err(Fault::value("The role is not valid"));
    }
    Ok(Reading {
        handle,
        name,
        external_id,
        emails: address.into_iter().collect(),
        role,
        active: user.active.unwrap_or(true),
        locale,
        rich_info: user.rich_info.clone(),
    })
}

/// The codes in Wire's list of ISO 639-1.
const LANGUAGES: &str = "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz \
     ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik \
     io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml \
     mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd \
     se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi \
     vo wa wo xh yi yo za zh zu";

/// The code of a string's first two characters: in lower case, looked up by their upper case.
fn language(text: &str) -> Option<String> {
    let two: Vec<char> = text.chars().take(2).collect();
    if two.len() < 2 || !two.iter().all(|c| c.is_lowercase()) {
        return None;
    }
    let upper: String = two.iter().flat_map(|c| c.to_uppercase()).collect();
    LANGUAGES.split(' ').find(|code| code.to_uppercase() == upper).map(str::to_owned)
}
