//! Repairs of requests that well-known clients send and Wire refuses, each switched on by name.
//!
//! A repair may only turn a request into one that means the same to its sender; if it cannot, it
//! leaves the request unchanged. The result is judged like any other request. A repair matches
//! exactly what Wire refuses, so that a request that needs none passes byte for byte;
//! `display_name`, `external_id` and `patch.pathless` also apply to requests that Wire would serve
//! with another result than the client means.

use std::fmt;

use strum::{IntoStaticStr, VariantArray};

pub use body::{Judged, Repaired, repair_body};

pub mod ascii;
mod body;
mod edit;
mod empty;
pub mod error_answer;
mod group;
pub mod group_document;
pub mod group_patch;
pub mod group_search;
pub mod head;
pub mod hint;
mod language;
mod patch;
pub mod preset;
pub mod provider_config;
mod roles;
mod search_query;
mod unsupported;
mod user;
pub mod user_name;
pub mod user_search;
pub mod work;

/// A repair, in the order in which repairs are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[repr(u8)]
pub enum Repair {
    Accept,
    ContentType,
    #[strum(serialize = "patch.pathless")]
    PatchPathless,
    #[strum(serialize = "patch.unsupported")]
    PatchUnsupported,
    Roles,
    EmptyValues,
    Language,
    Password,
    DisplayName,
    ExternalId,
    #[strum(serialize = "user_name.lower")]
    UserNameLower,
    #[strum(serialize = "user_name.local_part")]
    UserNameLocalPart,
    #[strum(serialize = "user_name.ascii")]
    UserNameAscii,
    #[strum(serialize = "groups.members")]
    GroupsMembers,
    #[strum(serialize = "groups.filter")]
    GroupsFilter,
    #[strum(serialize = "groups.patch")]
    GroupsPatch,
    Answers,
    Discovery,
}

impl Repair {
    pub const ALL: &[Self] = <Self as VariantArray>::VARIANTS;

    /// The name in configuration, metrics, logs and the `Scim-Guard-Repaired` header.
    pub fn name(self) -> &'static str {
        self.into_str()
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|repair| repair.name() == name)
    }

    /// What it does, as a sentence without its full stop.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Accept => {
                "An Accept that is empty, or asks for JSON in a way that Wire does not serve, becomes application/scim+json"
            }
            Self::ContentType => {
                "A body with a missing or malformed JSON media type is judged as JSON and sent as application/scim+json"
            }
            Self::PatchPathless => {
                "PATCH of users: an add or replace without a path becomes one operation for each key of its value"
            }
            Self::PatchUnsupported => {
                "PATCH of users: operations on attributes that Wire does not store are dropped, as in a PUT"
            }
            Self::Roles => {
                "roles and entitlements as objects, as JSON in a string or under roles[primary eq \"True\"].value become strings"
            }
            Self::EmptyValues => {
                "POST and PUT of users: empty profileUrl and preferredLanguage, unusable photos, empty phoneNumbers and ims, and emails without a value are left out"
            }
            Self::Language => {
                "preferredLanguage: capitals in the language code become lower case; iw, in, ji become he, id, yi"
            }
            Self::Password => "password is left out, in users and PATCHes",
            Self::DisplayName => {
                "POST and PUT of users: a missing displayName is filled from name.formatted, or from givenName and familyName"
            }
            Self::ExternalId => {
                "POST of users: a missing externalId is filled from the primary, or only, email address"
            }
            Self::UserNameLower => {
                "userName: capitals become lower case, in users, PATCHes and filters"
            }
            Self::UserNameLocalPart => {
                "userName: an address or UPN becomes its part before the @, in the letters of handles"
            }
            Self::UserNameAscii => {
                "userName: letters that handles do not allow are transliterated, every other character becomes a dot; addresses stay"
            }
            Self::GroupsMembers => {
                "Members of groups get the type and $ref that they lack; a POST without members gets an empty array"
            }
            Self::GroupsFilter => {
                "A search for groups by displayName eq is asked as co, and the client gets the groups with exactly this name"
            }
            Self::GroupsPatch => {
                "A PATCH of a group becomes a GET and a PUT: members are added, removed and replaced, displayName is replaced"
            }
            Self::Answers => {
                "Errors of Wire and its nginx that are not SCIM errors become SCIM errors of the same status"
            }
            Self::Discovery => {
                "ServiceProviderConfig describes what Wire supports through this guard"
            }
        }
    }
}

/// A set of repairs.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs(u32);

impl Repairs {
    pub const NONE: Self = Self(0);

    pub const fn of(repairs: &[Repair]) -> Self {
        let mut set = Self::NONE;
        let mut at = 0;
        while at < repairs.len() {
            set = set.with(repairs[at]);
            at += 1;
        }
        set
    }

    /// All repairs.
    pub const fn all() -> Self {
        Self::of(Repair::ALL)
    }

    pub const fn with(self, repair: Repair) -> Self {
        Self(self.0 | 1 << repair as u8)
    }

    /// The repairs that change only the request. The others change Wire's answer, or take
    /// additional requests.
    pub const fn of_requests(self) -> Self {
        let others = Self::of(&[
            Repair::GroupsFilter,
            Repair::GroupsPatch,
            Repair::Answers,
            Repair::Discovery,
        ]);
        Self(self.0 & !others.0)
    }

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The repairs that are in both sets.
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn insert(&mut self, repair: Repair) {
        *self = self.with(repair);
    }

    pub const fn contains(self, repair: Repair) -> bool {
        self.0 & 1 << repair as u8 != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The repairs of the set, in order.
    pub fn iter(self) -> impl Iterator<Item = Repair> {
        Repair::ALL.iter().copied().filter(move |repair| self.contains(*repair))
    }

    /// The names in order, as in `accept, roles`.
    pub fn names(self) -> String {
        self.iter().map(Repair::name).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Debug for Repairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Repair::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_what_was_added_and_has_room_for_every_repair() {
        assert!(Repair::ALL.len() <= 32);
        let mut set = Repairs::of(&[Repair::GroupsMembers]);
        assert!(!set.is_empty() && !set.contains(Repair::Accept));
        set.insert(Repair::Accept);
        assert_eq!(set.names(), "accept, groups.members");
        assert_eq!(Repairs::all().iter().count(), Repair::ALL.len());
        for repair in Repair::ALL {
            assert_eq!(Repair::from_name(repair.name()), Some(*repair));
        }
    }
}
