//! The handle that Wire derives from userName: its form, reserved handles, and what is wrong with
//! one.

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// The shortest and the longest handle, in characters.
pub(super) const HANDLE: RangeInclusive<usize> = 2..=256;

/// Handles that Wire's user service reserves.
#[rustfmt::skip]
const RESERVED: [&str; 35] = [
    "account", "admin", "administrator", "all", "android", "anna", "avs", "backend", "bot", "cs",
    "design", "dev", "developer", "development", "everyone", "help", "helpdesk", "hr", "info", "ios",
    "legal", "management", "news", "otto", "payment", "product", "purchase", "qa", "support", "team",
    "user", "web", "wire", "wirebot", "wireteam",
];

/// Whether Wire's user service reserves this handle.
pub fn is_reserved(handle: &str) -> bool {
    RESERVED.contains(&handle)
}

/// Whether Wire accepts the form of a handle.
pub(crate) fn is_handle(handle: &str) -> bool {
    HANDLE.contains(&handle.len()) && handle.bytes().all(is_handle_byte)
}

/// The handle that Wire derives from a userName. Nearly every one is ASCII; of other letters only
/// U+212A becomes ASCII in lower case.
pub(crate) fn handle(user_name: &str) -> Cow<'_, str> {
    if user_name.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        Cow::Owned(user_name.to_lowercase())
    } else {
        Cow::Borrowed(user_name)
    }
}

pub(super) fn is_handle_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-')
}

/// The message for a userName whose handle, of this length, has another form.
pub(super) fn detail(user_name: &str, length: usize) -> String {
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
