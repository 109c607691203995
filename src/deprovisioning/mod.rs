//! Limits how many users a token may delete or deactivate in a time, so that a wrong filter in a client, or a
//! directory that answers with a part of its entries, does not take everyone's account away: in Wire, a deleted
//! account is gone with its keys and conversations.
//!
//! Counted are different users, by the token that takes them away: who is counted already costs nothing again. A
//! place is taken before the request leaves, given back if Wire refuses the request, and kept if Wire carries it out,
//! or may have. All state belongs to this process and ends with it; what several replicas share is in `shared`.

mod counter;
mod place;
mod window;

use std::time::{Duration, SystemTime};

pub use counter::{Counter, Removal, Usage};
pub use place::Place;

/// What a request does to the account of the user that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum AccountChange {
    /// The account stays active or inactive, as it is.
    #[default]
    None,
    Activates,
    Deactivates,
    Deletes,
}

impl AccountChange {
    /// What setting `active` does.
    pub fn of_active(active: bool) -> Self {
        if active { Self::Activates } else { Self::Deactivates }
    }

    /// Whether it takes a user away.
    pub fn is_removal(self) -> bool {
        matches!(self, Self::Deactivates | Self::Deletes)
    }
}

/// How many users a token may delete or deactivate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Different users in any interval of the length `within`.
    pub at_most: u32,
    pub within: Duration,
}

impl Limit {
    /// The length of the interval in nanoseconds.
    fn within(self) -> u64 {
        u64::try_from(self.within.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// More users that a token may delete or deactivate, beyond its limit, for a planned change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How many in all, however long the time is.
    pub count: u32,
    pub until: SystemTime,
}

/// What the registry says of one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimit {
    /// In place of the configured one.
    pub limit: Option<Limit>,
    pub allow: Option<Allowance>,
}

/// What became of a request that takes a user away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It has changed nothing.
    Refused,
    /// Wire may have carried it out.
    Unknown,
    Done,
}

impl Fate {
    /// By the status of Wire's answer.
    fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Done,
            400..=499 => Self::Refused,
            _ => Self::Unknown,
        }
    }
}
