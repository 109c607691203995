//! The repairs `user_name.*`: userName as the handle that Wire makes of it.

use std::borrow::Cow;

use super::edit::string;
use super::{Repair, Repairs, ascii};
use crate::json::Name;
use crate::scim::user::{handle, is_handle};
use crate::wire::filter::{self, Comparison, Literal, Operator};

/// The userName in place of one that Wire refuses, and what changed it; `None`: it stays. `case`: capitals are
/// refused, although Wire itself folds them.
pub fn repaired(user_name: &str, on: Repairs, case: bool) -> Option<(String, Repair)> {
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

/// The handle in the letters that Wire has, unless fewer than two characters of the name are left in it.
fn spelled(name: &str) -> Option<String> {
    let (spelled, kept) = ascii::spelled(name);
    (kept >= 2 && is_handle(&spelled)).then_some(spelled)
}

/// A filter for a userName with capitals in lower case.
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
    // Nothing but blanks follows the literal.
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
    fn other_letters_are_spelled_with_those_that_wire_has() {
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
