//! The repairs `user_name.*`: userName as the handle that Wire derives from it.

use std::borrow::Cow;

use super::edit::string;
use super::{Repair, Repairs, ascii};
use crate::json::Name;
use crate::scim::user::{handle, is_handle};
use crate::wire::filter::{self, Comparison, Literal, Operator};

/// The userName that replaces one that Wire refuses, and what changed it; `None`: it stays. `case`:
/// capitals are refused, although Wire itself folds them.
pub fn repaired(user_name: &str, on: Repairs, case: bool) -> Option<(String, Repair)> {
    // Most userNames are valid.
    if is_handle(user_name) {
        return None;
    }
    let folded = handle(user_name);
    if is_handle(&folded) {
        let Cow::Owned(lower) = folded else { return None };
        let wanted = case && on.contains(Repair::UserNameLower) && lower != user_name;
        return wanted.then_some((lower, Repair::UserNameLower));
    }
    match user_name.split_once('@') {
        Some((local, domain)) if on.contains(Repair::UserNameLocalPart) => {
            let local = local_part(local, domain)?;
            Some((local, Repair::UserNameLocalPart))
        }
        None if on.contains(Repair::UserNameAscii) => {
            Some((spelled(user_name)?, Repair::UserNameAscii))
        }
        _ => None,
    }
}

/// The handle of an address or UPN.
fn local_part(local: &str, domain: &str) -> Option<String> {
    if domain.contains('@') { None } else { spelled(local) }
}

/// The longest name that is spelled in other letters, in bytes: Wire's handles have at most 256.
const MAX_NAME: usize = 1024;

/// The handle with only allowed letters, unless fewer than two characters of the name are left.
fn spelled(name: &str) -> Option<String> {
    if name.len() > MAX_NAME {
        return None;
    }
    let (spelled, kept) = ascii::spelled(name);
    (kept >= 2 && is_handle(&spelled)).then_some(spelled)
}

/// Whether a query may contain something for [`lowered_filter`], judging by its bytes.
pub fn may_have_capitals(query: &[u8]) -> bool {
    // The string begins with the first quote, encoded or not.
    let quote = memchr::memchr2(b'"', b'%', query).unwrap_or(query.len());
    let mut rest = &query[quote..];
    let mut quoted = false;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [b'2', b'2', after @ ..]) => (quoted, rest) = (true, after),
            // Another letter, a capital or a backslash, percent-encoded.
            (b'%', [b'0'..=b'3', _, after @ ..]) => rest = after,
            (b'%', _) | (b'A'..=b'Z' | b'\\' | 0x80.., _) if quoted => return true,
            (b'"', _) => quoted = true,
            _ => {}
        }
    }
    false
}

/// A filter for a userName in lower case.
pub fn lowered_filter(filter: &str) -> Option<String> {
    let Comparison { attribute, operator: Operator::Equal, literal } = filter::read(filter)? else {
        return None;
    };
    let Literal::String(written) = literal else { return None };
    let user_name =
        literal.to_text().filter(|_| Name::of(attribute.name) == Some(Name::UserName))?;
    let Cow::Owned(lower) = handle(&user_name) else { return None };
    if lower == user_name || !is_handle(&lower) {
        return None;
    }
    // Only blanks follow the literal.
    let start = filter.rfind(written)?;
    Some(format!("{}{}", &filter[..start], string(&lower)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(repairs: &[Repair]) -> impl Fn(&str) -> Option<String> {
        let on = Repairs::of(repairs);
        move |name| repaired(name, on, true).map(|(name, _)| name)
    }

    #[test]
    fn capitals_become_lower_case() {
        let lower = with(&[Repair::UserNameLower]);
        assert_eq!(lower("Alice.B").as_deref(), Some("alice.b"));
        assert_eq!(lower("\u{212a}arl").as_deref(), Some("karl"));
        for name in ["alice", "Alice@example.com", "Müller", "A"] {
            assert_eq!(lower(name), None, "{name}");
        }
        assert_eq!(repaired("Alice", Repairs::of(&[Repair::UserNameLower]), false), None);
    }

    #[test]
    fn capitals_in_filters_become_lower_case() {
        for (filter, expected) in [
            ("userName eq \"Alice\"", "userName eq \"alice\""),
            (" USERNAME Eq \"\\u0041lice\" ", " USERNAME Eq \"alice\""),
        ] {
            assert_eq!(lowered_filter(filter).as_deref(), Some(expected));
        }
        for filter in [
            "userName eq \"alice\"",
            "externalId eq \"A\"",
            "userName ne \"Al\"",
            "userName eq \"A@b\"",
        ] {
            assert_eq!(lowered_filter(filter), None, "{filter}");
        }
        for query in [
            &b"filter=userName+eq+%22Alice%22"[..],
            b"filter=userName%20eq%20\"aLice\"",
            b"filter=userName+eq+%22%41lice%22",
            b"filter=userName+eq+%22\\u0041lice%22",
            b"filter=userName+eq+%22%5Cu0041lice%22",
            b"filter=userName+eq+%22%e2%84%aaarl%22",
            b"filter=userName+eq+\"\xe2\x84\xaaarl\"",
            b"x=%20&filter=userName%20eq%20%22Al%22&a=b",
        ] {
            assert!(may_have_capitals(query), "{}", query.escape_ascii());
        }
        for query in [
            &b""[..],
            b"startIndex=1&count=2",
            b"filter=userName+eq+%22alice%22",
            b"filter=userName%20eq%20%22alice.example%2D1%22&count=100",
        ] {
            assert!(!may_have_capitals(query), "{}", query.escape_ascii());
        }
    }

    #[test]
    fn long_names_are_not_spelled_in_other_letters() {
        let ascii = with(&[Repair::UserNameAscii]);
        assert_eq!(ascii(&"\u{e9}".repeat(256)), Some("e".repeat(256)));
        assert_eq!(ascii(&"\u{e9}".repeat(257)), None);
        // Most of its characters have no spelling, and few would be left.
        assert_eq!(ascii(&format!("ab{}", "\u{4e00}".repeat(400))), None);
    }

    #[test]
    fn an_address_becomes_its_local_part() {
        let local = with(&[Repair::UserNameLocalPart]);
        for (name, expected) in [
            ("Bob.M@example.com", "bob.m"),
            ("bob@", "bob"),
            ("Jörg+x@example.com", "joerg.x"),
            ("o'brien@example.com", "o.brien"),
        ] {
            assert_eq!(local(name).as_deref(), Some(expected), "{name}");
        }
        let long = format!("{}@example.com", "a".repeat(257));
        for name in
            ["bob", "Bob", "a@b@c", "@example.com", "b@example.com", "漢字@example.com", &long]
        {
            assert_eq!(local(name), None, "{name}");
        }
    }

    #[test]
    fn other_letters_are_transliterated() {
        let ascii = with(&[Repair::UserNameAscii]);
        for (name, expected) in [
            ("Müller", "mueller"),
            ("Mu\u{308}ller", "mueller"),
            ("José", "jose"),
            ("Jose\u{301}", "jose"),
            ("Łukasz Żak", "lukasz.zak"),
            ("straße", "strasse"),
            ("a/b c", "a.b.c"),
        ] {
            assert_eq!(ascii(name).as_deref(), Some(expected), "{name}");
        }
        for name in ["muller", "Muller", "bob@example.com", "漢字", "é", ""] {
            assert_eq!(ascii(name), None, "{name}");
        }
    }
}
