//! The limit of deletions and deactivations.

use std::time::Duration;

use crate::deprovisioning::Limit;
use crate::input::field::Field;
use crate::input::key::{Absent, Key, Kind};
use crate::input::section::Section;

/// The most users: each takes some 150 bytes as long as it counts.
pub const MOST_USERS: u64 = 1_000_000;

pub const AT_MOST: Key = Key::new(
    "at_most",
    Kind::Count(1, MOST_USERS),
    Absent::Refused("50"),
    "How many different users may be deleted or deactivated with one token in any interval of \
     the length `within`.",
);

/// At most 31 days.
pub const WITHIN: Key = Key::new(
    "within",
    Kind::Duration(Duration::from_secs(1), Duration::from_secs(31 * 24 * 3600)),
    Absent::Refused("1h"),
    "The length of the interval.",
);

pub const KEYS: &[Key] = &[AT_MOST, WITHIN];

/// Reads the limit of the config.
pub fn read(field: Field<'_, '_>) -> Option<Limit> {
    let mut section = field.section();
    let limit = read_limit(&mut section);
    section.close();
    limit
}

/// Reads both parts of a limit.
pub fn read_limit(section: &mut Section<'_, '_>) -> Option<Limit> {
    let at_most = section
        .required("at_most", "write how many users may be deleted or deactivated: at_most: 50");
    let at_most = at_most.and_then(|field| field.count());
    let within = section.required("within", "write in which time: within: 1h");
    let within = within.and_then(|field| field.duration());
    let at_most = at_most.and_then(|count| u32::try_from(count).ok());
    at_most.zip(within).map(|(at_most, within)| Limit { at_most, within })
}
