//! Handles for people who cannot have theirs.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use unicode::germanised;

use super::candidate::{Identifiers, Name};
use crate::scim::user::is_reserved;

mod unicode;

/// The maximum length of a handle in Wire, and to how many characters a longer one is shortened.
const LONGEST: usize = 256;
const SHORTENED: usize = 32;

/// The length that leaves room for a number.
const NUMBERED: usize = 246;

/// A person who needs a handle.
#[derive(Debug)]
struct Contender {
    index: u32,
    name: Name,
    /// The handle as it would be in Wire now, if it is what was proposed first.
    keeps: bool,
    base: String,
}

/// All handles, and who needs another one.
#[derive(Debug, Default)]
pub struct Proposals {
    hasher: RandomState,
    /// The handles of all records.
    held: Vec<(u64, u32)>,
    contenders: Vec<Contender>,
    asking: HashSet<u32>,
}

impl Proposals {
    /// Records the handle that a record has now, whether it belongs to a person or not.
    pub fn hold(&mut self, index: u32, user_name: &str) {
        self.held.push((self.hasher.hash_one(user_name.to_lowercase()), index));
    }

    /// Requests a handle for one record.
    pub fn ask(&mut self, index: u32, name: Name, known: &Identifiers) {
        let base = base(known);
        let keeps = known.user_name.as_ref().is_some_and(|now| now.to_lowercase() == base);
        self.contenders.push(Contender { index, name, keeps, base });
        self.asking.insert(index);
    }

    pub fn has_asked(&self, index: u32) -> bool {
        self.asking.contains(&index)
    }

    /// Assigns each a handle that no other has. The result depends on the names of the entries, not
    /// on their order.
    pub fn assign(self) -> HashMap<u32, String> {
        let Self { hasher, held, mut contenders, asking } = self;
        let all: HashSet<u64> = held.iter().map(|(hash, _)| *hash).collect();
        let others = held.iter().filter(|(_, index)| !asking.contains(index));
        let kept: HashSet<u64> = others.map(|(hash, _)| *hash).collect();
        contenders.sort_by(|one, other| {
            let key = |contender: &Contender| (contender.keeps, contender.index);
            let ((keeps, index), (other_keeps, other_index)) = (key(one), key(other));
            (&one.base, !keeps, &one.name, index).cmp(&(
                &other.base,
                !other_keeps,
                &other.name,
                other_index,
            ))
        });
        let mut given: HashSet<u64> = HashSet::new();
        let mut next: HashMap<String, u32> = HashMap::new();
        let mut proposals = HashMap::new();
        for Contender { index, keeps, base, .. } in contenders {
            let number = next.entry(base.clone()).or_insert(1);
            let proposal = loop {
                let handle = match *number {
                    1 => base.clone(),
                    number => format!("{}{number}", &base[..base.len().min(NUMBERED)]),
                };
                let hash = hasher.hash_one(&handle);
                let own = keeps && *number == 1;
                let taken = if own { kept.contains(&hash) } else { all.contains(&hash) };
                *number += 1;
                if handle.len() > 1 && !taken && !is_reserved(&handle) && given.insert(hash) {
                    break handle;
                }
            };
            proposals.insert(index, proposal);
        }
        proposals
    }
}

/// The first candidate for a handle: from userName, or else the address, or else the name.
fn base(known: &Identifiers) -> String {
    let local = |text: &str| text.split('@').next().unwrap_or_default().to_string();
    let sources = [
        known.user_name.as_deref().map(local),
        known.email.as_deref().map(local),
        known.external_id.as_deref().filter(|id| id.contains('@')).map(local),
        known.display_name.clone(),
    ];
    let handles = sources.into_iter().flatten().map(|source| handle(&source));
    let mut shortest = String::new();
    for candidate in handles {
        if candidate.len() > 1 {
            return candidate;
        }
        if shortest.is_empty() {
            shortest = candidate;
        }
    }
    if shortest.is_empty() { "user".into() } else { shortest }
}

/// A string in the characters of a handle.
fn handle(text: &str) -> String {
    let plain = deunicode::deunicode(&germanised(text)).to_lowercase();
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            'a'..='z' | '0'..='9' | '_' | '.' | '-' => out.push(c),
            ' ' | '/' | '\\' | ',' | '+' | ':' | ';' | '|' if !out.ends_with('.') => out.push('.'),
            _ => {}
        }
    }
    // A blank at an end became a dot; dots that were written stay.
    if !text.starts_with('.') {
        out = out.trim_start_matches('.').to_string();
    }
    if !text.ends_with('.') {
        out.truncate(out.trim_end_matches('.').len());
    }
    if out.len() > LONGEST {
        out.truncate(SHORTENED);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_derived_as_people_expect() {
        for (text, wanted) in [
            ("Jörg.Müller", "joerg.mueller"),
            ("Ju\u{308}rgen", "juergen"),
            ("Groß", "gross"),
            ("Øystein Łukasz", "oystein.lukasz"),
            ("Наталья", "natalia"),
            ("O'Neill", "oneill"),
            ("a..b", "a..b"),
            (".x.", ".x."),
            (" Jane  Doe ", "jane.doe"),
            ("山田", "shan.tian"),
            ("ÄÖÜ", "aeoeue"),
        ] {
            assert_eq!(handle(text), wanted, "{text}");
        }
    }

    fn known(user_name: &str, email: &str) -> Identifiers {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_string());
        Identifiers { user_name: some(user_name), email: some(email), ..Identifiers::default() }
    }

    fn assigned(people: &[(&str, &str, bool)]) -> Vec<Option<String>> {
        let mut proposals = Proposals::default();
        for (index, (user_name, email, asks)) in people.iter().enumerate() {
            let index = u32::try_from(index).expect("few");
            proposals.hold(index, user_name);
            if *asks {
                proposals.ask(index, Name::Dn(email.to_string()), &known(user_name, email));
            }
        }
        let assigned = proposals.assign();
        (0..people.len())
            .map(|index| assigned.get(&u32::try_from(index).expect("few")).cloned())
            .collect()
    }

    #[test]
    fn no_handle_is_assigned_twice() {
        let people = [
            ("jane@example.com", "1@x", true),
            ("jane", "2@x", false),
            ("jane2", "3@x", false),
            ("JOE", "4@x", true),
            ("joe@example.com", "5@x", true),
            ("x", "xaver@x", true),
            ("admin", "6@x", true),
            ("", "@", true),
            ("long", "7@x", true),
        ];
        let wanted = [
            Some("jane3"),
            None,
            None,
            Some("joe"),
            Some("joe2"),
            Some("xaver"),
            Some("admin2"),
            Some("user2"),
            Some("long"),
        ];
        let assigned = assigned(&people);
        assert_eq!(assigned.iter().map(Option::as_deref).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn the_order_of_the_source_does_not_matter() {
        let people = [
            ("Jane", "b@x", true),
            ("JANE", "a@x", true),
            ("jane@x", "c@x", true),
            ("jane4", "d@x", false),
        ];
        let mut turned = people;
        turned.reverse();
        let mut back = assigned(&turned);
        back.reverse();
        assert_eq!(assigned(&people), back);
        assert_eq!(back[1].as_deref(), Some("jane"));
    }
}
