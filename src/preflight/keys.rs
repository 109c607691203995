//! Finds people who share what must be unique: the handle, the externalId or the address.
//!
//! For each value a keyed hash of 8 bytes and the number of its record are kept: 16 bytes for each
//! of the three, and for each conflict the names of the entries involved.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use serde::Serialize;

use super::candidate::Candidate;
use crate::wire::email;

/// What two entries have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum On {
    #[serde(rename = "handle")]
    Handle,
    #[serde(rename = "externalId")]
    ExternalId,
    #[serde(rename = "email")]
    Email,
}

impl On {
    pub const ALL: [Self; 3] = [Self::Handle, Self::ExternalId, Self::Email];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handle => "handle",
            Self::ExternalId => "externalId",
            Self::Email => "email",
        }
    }
}

/// The maximum number of records of a source.
pub const MAX_RECORDS: u32 = FLAG;

/// A flag in the number of a record: for an externalId that only a leaver has, or an address that
/// comes from externalId.
const FLAG: u32 = 1 << 31;

/// The values of all records so far, as hashes.
#[derive(Debug, Default)]
pub struct Keys {
    hasher: RandomState,
    /// By the number of [`On`].
    keys: [Vec<(u64, u32)>; 3],
}

impl Keys {
    /// Adds what one record has.
    pub fn add(&mut self, index: u32, candidate: &Candidate) {
        let known = &candidate.identifiers;
        let id = known.external_id.as_deref();
        if let Some(id) = id {
            let flag = if candidate.to_keep { 0 } else { FLAG };
            self.push(On::ExternalId, id, index | flag);
        }
        if !candidate.to_keep {
            return;
        }
        if let Some(name) = &known.user_name {
            self.push(On::Handle, &name.to_lowercase(), index);
        }
        // Wire takes the address from externalId if there is no other.
        match (&known.email, id.and_then(email::canonical)) {
            (Some(email), _) => self.push(On::Email, &email.to_lowercase(), index),
            (None, Some(email)) => self.push(On::Email, &email.to_lowercase(), index | FLAG),
            (None, None) => {}
        }
    }

    fn push(&mut self, on: On, text: &str, member: u32) {
        self.keys[on as usize].push((self.hasher.hash_one(text), member));
    }

    /// Finds the values that several records have.
    pub fn into_conflicts(self) -> Conflicts {
        let mut conflicts = Conflicts::default();
        for (on, mut keys) in On::ALL.into_iter().zip(self.keys) {
            keys.sort_unstable_by_key(|(hash, member)| (*hash, member & !FLAG));
            for group in keys.chunk_by(|(one, _), (other, _)| one == other) {
                // Leavers do not conflict with each other.
                let all_leave = on == On::ExternalId && group.iter().all(|(_, m)| m & FLAG != 0);
                if group.len() > 1 && !all_leave {
                    let begin = conflicts.members.len();
                    conflicts.members.extend(group.iter().map(|(_, member)| *member));
                    let group = (begin, conflicts.members.len());
                    let members = &conflicts.members[begin..];
                    conflicts.of.extend(members.iter().map(|member| (member & !FLAG, on, group)));
                }
            }
        }
        conflicts.of.sort_unstable();
        conflicts
    }
}

/// Which records conflict with which others.
#[derive(Debug, Default)]
pub struct Conflicts {
    /// The records of all groups, group by group, with their flags.
    members: Vec<u32>,
    /// The groups of each record.
    of: Vec<(u32, On, (usize, usize))>,
}

/// How many others are listed for one entry and one kind of conflict.
const MAX_LISTED: usize = 100;

impl Conflicts {
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The records with any conflict, in the order of the source.
    pub fn records(&self) -> Vec<u32> {
        let mut records: Vec<u32> = self.of.iter().map(|(record, ..)| *record).collect();
        records.dedup();
        records
    }

    /// The records that have the same handle, group by group.
    pub fn same_handle(&self) -> impl Iterator<Item = &[u32]> {
        let first_of = |(record, on, (begin, end)): &(u32, On, (usize, usize))| {
            (*on == On::Handle && self.members[*begin] == *record)
                .then(|| &self.members[*begin..*end])
        };
        self.of.iter().filter_map(first_of)
    }

    /// The other records that conflict with this one, at most a hundred of each kind.
    pub fn of(&self, record: u32) -> Vec<(On, u32)> {
        let begin = self.of.partition_point(|(known, ..)| *known < record);
        let own: Vec<_> =
            self.of[begin..].iter().take_while(|(known, ..)| *known == record).collect();
        let same_id =
            own.iter().find(|(_, on, _)| *on == On::ExternalId).map(|(_, _, group)| *group);
        let mut found = Vec::new();
        for (_, on, (begin, end)) in own {
            let group = &self.members[*begin..*end];
            let mark = |member: u32| {
                let at = group.partition_point(|known| known & !FLAG < member);
                group.get(at).is_some_and(|known| known & FLAG != 0)
            };
            let own_mark = mark(record);
            let others = group.iter().filter(|member| {
                let other = **member & !FLAG;
                let both = own_mark && **member & FLAG != 0;
                other != record
                    && match on {
                        On::Handle => true,
                        On::ExternalId => !both,
                        // The same externalId was reported already.
                        On::Email => !(both && same_id.is_some_and(|group| self.has(group, other))),
                    }
            });
            found.extend(others.take(MAX_LISTED).map(|member| (*on, member & !FLAG)));
        }
        found
    }

    fn has(&self, (begin, end): (usize, usize), record: u32) -> bool {
        let group = &self.members[begin..end];
        group.binary_search_by_key(&record, |member| member & !FLAG).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::candidate::{Class, Identifiers, Name};

    fn candidate(to_keep: bool, user: &str, id: &str, email: Option<&str>) -> Candidate {
        Candidate {
            name: Name::Row(1),
            class: if to_keep { Class::Keep } else { Class::Leave },
            body: None,
            reason: None,
            stage: None,
            to_keep,
            lacks_user_name: false,
            identifiers: Identifiers {
                user_name: Some(user.into()),
                external_id: Some(id.into()),
                email: email.map(Into::into),
                display_name: None,
            },
        }
    }

    fn conflicts(all: &[Candidate]) -> Conflicts {
        let mut keys = Keys::default();
        for (index, candidate) in all.iter().enumerate() {
            keys.add(u32::try_from(index).expect("few"), candidate);
        }
        keys.into_conflicts()
    }

    #[test]
    fn handles_and_addresses_are_compared_without_case_and_external_ids_with() {
        let all = [
            candidate(true, "Jane", "1", Some("A@x.org")),
            candidate(true, "jane", "2", Some("b@x.org")),
            candidate(true, "joe", "1", Some("a@x.org")),
            candidate(true, "jim", "ID", Some("c@x.org")),
            candidate(true, "jon", "id", Some("d@x.org")),
        ];
        let conflicts = conflicts(&all);
        assert_eq!(conflicts.of(0), [(On::Handle, 1), (On::ExternalId, 2), (On::Email, 2)]);
        assert_eq!(conflicts.of(1), [(On::Handle, 0)]);
        assert_eq!(conflicts.of(3), []);
        assert_eq!(conflicts.records(), [0, 1, 2]);
        assert_eq!(conflicts.same_handle().collect::<Vec<_>>(), [[0, 1]]);
    }

    #[test]
    fn leavers_count_by_their_external_id_and_not_among_themselves() {
        let all = [
            candidate(true, "a", "x", None),
            candidate(false, "a", "x", None),
            candidate(false, "b", "x", None),
            candidate(false, "c", "y", None),
            candidate(false, "d", "y", None),
        ];
        let conflicts = conflicts(&all);
        assert_eq!(conflicts.of(0), [(On::ExternalId, 1), (On::ExternalId, 2)]);
        assert_eq!(conflicts.of(1), [(On::ExternalId, 0)]);
        assert_eq!(conflicts.of(3), []);
    }

    #[test]
    fn external_id_replaces_a_missing_address() {
        let all = [
            candidate(true, "a", "A@x.org", None),
            candidate(true, "b", "a@x.org", None),
            candidate(true, "c", "1", Some("a@x.org")),
            candidate(true, "d", "A@x.org", None),
        ];
        let conflicts = conflicts(&all);
        assert_eq!(conflicts.of(0), [(On::ExternalId, 3), (On::Email, 1), (On::Email, 2)]);
    }

    #[test]
    fn a_value_that_all_records_share_lists_a_limited_number_of_others() {
        let all: Vec<_> = (0..1000).map(|_| candidate(true, "a", "x", Some("a@x.org"))).collect();
        assert_eq!(conflicts(&all).of(500).len(), 3 * MAX_LISTED);
    }
}
