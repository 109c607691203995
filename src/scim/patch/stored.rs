//! The outcome of a PATCH of addresses for every possible stored user. The guard does not know the stored user,
//! so it tries the changes on users of every kind that makes a difference to them: only what is refused
//! for all of them is certain to be refused.

use std::collections::HashMap;

use super::emails::{Change, Entry, Filter};
use crate::wire::email;

/// The maximum number of strings in filters from which stored entries are generated, for each of
/// type and value.
const MAX_STRINGS: usize = 4;
/// The maximum number of kinds of stored entries that are tried.
const MAX_KINDS: usize = 24;
/// Up to this many kinds, combinations of three stored entries are tried; above it, of two.
const FEW_KINDS: usize = 12;
/// The longest address that Wire uses as a name.
const MAX_NAME: usize = 128;

/// Whether every stored user ends with entries of which `holds` is true after these changes.
pub fn for_every_user(changes: &[Change], holds: impl Fn(&[Entry]) -> bool) -> bool {
    if changes.is_empty() {
        return false;
    }
    let holds_after = |stored: &[&Entry]| {
        let mut entries: Vec<Entry> = stored.iter().map(|entry| (*entry).clone()).collect();
        for change in changes {
            change.apply(&mut entries);
        }
        holds(&entries)
    };
    // For nearly every PATCH a user without addresses already shows that nothing is certain.
    if !holds_after(&[]) {
        return false;
    }
    let Some(kinds) = kinds(changes) else { return false };
    let at_most_one_primary =
        |stored: &[&Entry]| stored.iter().filter(|entry| entry.primary == Some(true)).count() < 2;
    let holds_for = |stored: &[&Entry]| !at_most_one_primary(stored) || holds_after(stored);
    kinds.iter().all(|one| holds_for(&[one]))
        && kinds.iter().all(|one| kinds.iter().all(|two| holds_for(&[one, two])))
        && (kinds.len() > FEW_KINDS
            || kinds.iter().enumerate().all(|(at, one)| {
                let rest = &kinds[at..];
                rest.iter()
                    .enumerate()
                    .all(|(at, two)| rest[at..].iter().all(|three| holds_for(&[one, two, three])))
            }))
}

/// One stored entry of each kind that the changes treat differently; `None` if there are too many.
fn kinds(changes: &[Change]) -> Option<Vec<Entry>> {
    let (types, addresses) = strings(changes);
    let candidates = types.iter().flat_map(|kind| {
        addresses.iter().flat_map(move |address| {
            [None, Some(false), Some(true)].map(|primary| (kind, address, primary))
        })
    });
    let mut kinds = HashMap::new();
    for (kind, address, primary) in candidates {
        let entry = Entry { address: address.clone(), kind: kind.clone(), primary };
        let mut matching = 0_u32;
        let mut entries = vec![entry.clone()];
        for (at, change) in changes.iter().enumerate() {
            if entries.first().is_some_and(|entry| change.filter.matches(entry)) {
                matching |= 1 << at;
                change.apply(&mut entries);
            }
        }
        let end = entries.pop().map(|entry| (entry.address.len() > MAX_NAME, entry.primary));
        kinds.entry((entry.primary, matching, end)).or_insert(entry);
        if kinds.len() > MAX_KINDS {
            return None;
        }
    }
    Some(kinds.into_values().collect())
}

/// Types and addresses that may match the filters, or barely do not.
fn strings(changes: &[Change]) -> (Vec<String>, Vec<String>) {
    let mut kinds = vec![String::new(), "work".to_owned()];
    let mut addresses = vec!["user@example.com".to_owned(), "!@0".to_owned(), "~@z".to_owned()];
    let strings = |pick: fn(&Filter) -> Option<&String>| {
        let mut strings: Vec<&String> =
            changes.iter().filter_map(|change| pick(&change.filter)).collect();
        strings.sort_unstable();
        strings.dedup();
        strings.truncate(MAX_STRINGS);
        strings
    };
    let kind_strings = strings(|filter| match filter {
        Filter::Kind(_, text) => Some(text),
        _ => None,
    });
    for text in &kind_strings {
        kinds.extend([
            (*text).clone(),
            format!("{text}~"),
            format!("~{text}"),
            format!("\0{text}"),
        ]);
        let mut shorter = (*text).clone();
        shorter.pop();
        kinds.push(shorter);
        kinds.extend(kind_strings.iter().flat_map(|other| [format!("{text}{other}")]));
    }
    let address_texts = strings(|filter| match filter {
        Filter::Address(_, text) => Some(text),
        _ => None,
    });
    for text in &address_texts {
        for (before, after) in [
            ("", ""),
            ("a", ""),
            ("", "b"),
            ("", "@b"),
            ("a@", ""),
            ("a", "@b"),
            ("a@b.", ""),
            ("~", ""),
        ] {
            addresses.push(format!("{before}{text}{after}"));
        }
        for other in &address_texts {
            addresses.extend([format!("{text}{other}"), format!("{text}@{other}")]);
        }
    }
    addresses.retain(|address| email::canonical(address).as_ref() == Some(address));
    (kinds, addresses)
}
