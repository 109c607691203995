//! The settings of a registry entry about deletions and deactivations.

use super::file::read_time;
use crate::config::deprovisioning::read_limit;
use crate::deprovisioning::{Allowance, TokenLimit};
use crate::input::field::Field;
use crate::input::section::Section;

/// Reads the limit that replaces the configured one, and the allowance beyond it; either may be
/// left out.
pub fn read(field: Field<'_, '_>) -> Option<TokenLimit> {
    let mut section = field.section();
    let own = section.has("at_most") || section.has("within");
    let limit = if own || !section.has("allow") {
        read_limit(&mut section)
    } else {
        section.field("at_most");
        section.field("within");
        None
    };
    let allow = section.field("allow").map(|field| read_allowance(field.section()));
    section.close();
    Some(TokenLimit { limit, allow: allow.flatten() })
}

fn read_allowance(mut section: Section<'_, '_>) -> Option<Allowance> {
    let count = section.required("count", "write how many users more are allowed: count: 500");
    let count = count.and_then(|field| field.count());
    let until =
        section.required("until", "write how long they are allowed: until: 2027-06-30T18:00:00Z");
    let until = until.and_then(|field| field.parsed(read_time));
    section.close();
    let count = count.and_then(|count| u32::try_from(count).ok());
    count.zip(until).map(|(count, until)| Allowance { count, until })
}
