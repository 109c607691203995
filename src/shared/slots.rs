//! Which server of a cluster has the keys of a token.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use super::keys::TokenHash;

/// How many slots a cluster has.
const SLOTS: u16 = 16384;

/// The slots of one server.
pub type Slots = Vec<RangeInclusive<u16>>;

/// All slots, which a server outside of a cluster has.
pub fn all() -> Slots {
    vec![0..=SLOTS - 1]
}

/// The slot of what is between the braces of a key.
pub fn slot_of(tag: &str) -> u16 {
    let checksum = tag.bytes().fold(0_u16, |checksum, byte| {
        (0..8).fold(checksum ^ u16::from(byte) << 8, |checksum, _| {
            checksum << 1 ^ if checksum & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    });
    checksum % SLOTS
}

/// What is between the braces of the keys of a token.
pub fn tag_of(token: &TokenHash) -> String {
    let mut tag = String::with_capacity(32);
    for byte in &token[..16] {
        let _ = write!(tag, "{byte:02x}");
    }
    tag
}

/// A tag that belongs to one of these slots.
pub fn tag_within(slots: &Slots) -> String {
    let tags = (0..u32::from(SLOTS) * 8).map(|number| number.to_string());
    let mut tags = tags.filter(|tag| slots.iter().any(|range| range.contains(&slot_of(tag))));
    tags.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `CLUSTER KEYSLOT` says.
    #[test]
    fn slots_are_those_of_redis() {
        for (tag, slot) in [("123456789", 12739), ("foo", 12182), ("", 0), ("a", 15495)] {
            assert_eq!(slot_of(tag), slot, "{tag}");
        }
    }

    #[test]
    fn every_part_of_the_slots_has_a_tag() {
        for first in (0..SLOTS).step_by(97) {
            let slots = vec![first..=first + 3];
            assert!(slots[0].contains(&slot_of(&tag_within(&slots))), "{first}");
        }
    }
}
