//! The limit of deletions and deactivations.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::deprovisioning::Limit;
use crate::input::field::Field;
use crate::input::section::Section;

/// Users: each takes some 150 bytes as long as it counts.
pub const COUNT: RangeInclusive<u64> = 1..=1_000_000;
const WITHIN: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(31 * 24 * 3600);

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
    let at_most = at_most.and_then(|field| field.count(COUNT));
    let within = section.required("within", "write in which time: within: 1h");
    let within = within.and_then(|field| field.duration(WITHIN));
    let at_most = at_most.and_then(|count| u32::try_from(count).ok());
    at_most.zip(within).map(|(at_most, within)| Limit { at_most, within })
}
