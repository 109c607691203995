//! The names that Wire reads, and the folding by which it compares them.
//!
//! Wire folds attribute names by full Unicode case folding, so `uſername` and a `nicKname` with a
//! Kelvin sign are attributes too; an ASCII comparison would let them pass unread.

use strum::{IntoStaticStr, VariantArray};
use unicase::UniCase;

/// A name that Wire reads in some object of a request; in camel case unless another spelling is
/// given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "camelCase", const_into_str)]
#[repr(u8)]
pub enum Name {
    Op,
    Ims,
    #[strum(serialize = "$ref")]
    Ref,
    Name,
    Path,
    Type,
    Roles,
    Title,
    Value,
    Active,
    Emails,
    Fields,
    Locale,
    Photos,
    Region,
    Country,
    Members,
    Primary,
    Schemas,
    Version,
    Locality,
    NickName,
    Password,
    RichInfo,
    UserName,
    UserType,
    Addresses,
    Formatted,
    GivenName,
    ExternalId,
    FamilyName,
    MiddleName,
    #[strum(serialize = "Operations")]
    Operations,
    PostalCode,
    ProfileUrl,
    DisplayName,
    Entitlements,
    PhoneNumbers,
    StreetAddress,
    HonorificPrefix,
    HonorificSuffix,
    #[strum(serialize = "x509Certificates")]
    X509Certificates,
    PreferredLanguage,
    #[strum(serialize = "urn:wire:scim:schemas:profile:1.0")]
    WireProfile,
    #[strum(serialize = "urn:ietf:params:scim:schemas:extension:wire:1.0:User")]
    WireUser,
}

/// Every name, in the order of [`Name`].
const ALL: &[Name] = <Name as VariantArray>::VARIANTS;

/// The usual spellings, in the same order.
const SPELLINGS: [&str; Name::COUNT] = {
    let mut spellings = [""; Name::COUNT];
    let mut at = 0;
    while at < Name::COUNT {
        spellings[at] = ALL[at].into_str();
        at += 1;
    }
    spellings
};

/// The longest spelling in bytes.
const MAX_LENGTH: usize = 52;

/// Where the look-up of a key begins, by [`slot`]: the index of the only name that the key can be,
/// or [`Name::COUNT`] if it can be none.
const SLOTS: [u8; 1 << SLOT_BITS] = {
    let mut slots = [Name::COUNT as u8; 1 << SLOT_BITS];
    let mut at = 0;
    while at < Name::COUNT {
        let slot = slot(SPELLINGS[at].as_bytes());
        assert!(slots[slot] as usize == Name::COUNT, "two names share a slot: change SLOT_FACTOR");
        slots[slot] = at as u8;
        at += 1;
    }
    slots
};

const SLOT_BITS: u32 = 7;

/// Found by trial: with it no two names share a slot.
const SLOT_FACTOR: u32 = 0x0b83_c705;

/// A number that ASCII spellings of one name share, computed from the length, the first and last
/// letter, and one between.
const fn slot(key: &[u8]) -> usize {
    let length = key.len();
    let letters = [key[0] | 0x20, key[length * 2 / 3] | 0x20, key[length - 1] | 0x20, length as u8];
    (u32::from_le_bytes(letters).wrapping_mul(SLOT_FACTOR) >> (32 - SLOT_BITS)) as usize
}

impl Name {
    pub const COUNT: usize = <Self as VariantArray>::VARIANTS.len();

    /// The name that `key` folds to, if Wire reads it anywhere.
    pub fn of(key: &str) -> Option<Self> {
        if key.is_ascii() {
            Self::of_ascii(key.as_bytes())
        } else if key.len() <= 3 * MAX_LENGTH {
            Self::of_ascii(fold(key).as_bytes())
        } else {
            None
        }
    }

    /// The same, for keys in ASCII; no other is found.
    pub(super) fn of_ascii(key: &[u8]) -> Option<Self> {
        if key.is_empty() || key.len() > MAX_LENGTH {
            return None;
        }
        let at = usize::from(SLOTS[slot(key)]);
        let spelling = SPELLINGS.get(at)?.as_bytes();
        (spelling == key || spelling.eq_ignore_ascii_case(key)).then(|| ALL[at])
    }

    /// The name at this index of all names.
    pub(super) fn at(index: usize) -> Option<Self> {
        ALL.get(index).copied()
    }

    /// The spelling in SCIM's and Wire's documentation.
    pub fn as_str(self) -> &'static str {
        SPELLINGS[self as usize]
    }

    /// The name's bit in a [`NameSet`].
    const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// A set of names: what Wire reads in one kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NameSet(u64);

impl NameSet {
    pub const fn new(names: &[Name]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < names.len() {
            bits |= names[at].bit();
            at += 1;
        }
        Self(bits)
    }

    pub const fn contains(self, name: Name) -> bool {
        self.0 & name.bit() != 0
    }

    /// Adds a name; false if it was there.
    pub const fn insert(&mut self, name: Name) -> bool {
        let fresh = self.0 & name.bit() == 0;
        self.0 |= name.bit();
        fresh
    }
}

/// Full Unicode case folding, as Wire folds names and rich info keys.
pub fn fold(text: &str) -> String {
    UniCase::unicode(text).to_folded_case()
}

/// Whether two strings fold to the same.
pub fn folds_alike(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        a.eq_ignore_ascii_case(b)
    } else {
        UniCase::unicode(a) == UniCase::unicode(b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for (at, spelling) in SPELLINGS.iter().enumerate() {
            assert_eq!(ALL[at] as usize, at);
            assert_eq!(Name::of(spelling), Some(ALL[at]), "{spelling}");
            assert_eq!(Name::of(&spelling.to_uppercase()), Some(ALL[at]), "{spelling}");
        }
        assert_eq!(SPELLINGS.iter().map(|s| s.len()).max(), Some(MAX_LENGTH));
    }

    #[test]
    fn names_fold_beyond_ascii() {
        assert_eq!(Name::of("u\u{17f}erName"), Some(Name::UserName));
        assert_eq!(Name::of("nic\u{212a}name"), Some(Name::NickName));
        assert_eq!(Name::of("userNam\u{e9}"), None);
        assert_eq!(Name::of(""), None);
        assert!(folds_alike("stra\u{df}e", "STRASSE"));
    }
}
