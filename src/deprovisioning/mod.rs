//! Limits how many users a token may delete or deactivate in a time, so that a wrong filter in a
//! client, or a directory that returns only some of its entries, does not remove everyone's
//! account: in Wire, a deleted account is gone with its keys and conversations.
//!
//! Different users are counted for each token: a user who is counted already costs nothing again. A
//! place is reserved before the request is forwarded, released if Wire refuses the request, and
//! kept if Wire carries it out, or may have. All state belongs to this process and ends with it;
//! what several replicas share is in `shared`.

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
    /// The effect of setting `active`.
    pub fn of_active(active: bool) -> Self {
        if active { Self::Activates } else { Self::Deactivates }
    }

    /// Whether it removes a user.
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

/// More users than the limit that a token may delete or deactivate, for a planned change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How many in total, however long the time is.
    pub count: u32,
    pub until: SystemTime,
}

/// What a token may do beyond its limit from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowanceChange {
    /// The token's label in the registry.
    pub label: String,
    /// `None`: nothing any more.
    pub allowance: Option<Allowance>,
}

/// The registry's settings for one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimit {
    /// Replaces the configured limit.
    pub limit: Option<Limit>,
    pub allow: Option<Allowance>,
}

/// The outcome of a request that removes a user.
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
