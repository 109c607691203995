//! What a request asks the store, and what becomes of the answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::clock::microseconds;
use super::keys::{TokenHash, UserHash};
use super::queue::{Back, Message};
use crate::deprovisioning::{AccountChange, Allowance, Fate, Limit};
use crate::rate::Rate;

/// What one request needs of the budgets of its token.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    pub token: TokenHash,
    pub rate: Option<RateClaim>,
    pub removal: Option<RemovalClaim>,
}

/// One request of a rate.
#[derive(Debug, Clone, Copy)]
pub struct RateClaim {
    pub rate: Rate,
    /// Nothing more is taken if the rate is exceeded.
    pub is_enforced: bool,
}

/// A user that the request takes away.
#[derive(Debug, Clone, Copy)]
pub struct RemovalClaim {
    pub user: UserHash,
    pub change: AccountChange,
    pub limit: Limit,
    pub allowance: Option<Allowance>,
    /// How long a request may take.
    pub hold: Duration,
}

/// What the store says of a claim. What it has taken is given back when this is dropped, unless it is kept.
#[derive(Debug)]
pub struct Answer {
    /// How long to wait, where the rate is exceeded.
    pub rate_wait: Option<Duration>,
    pub removal: Option<Removed>,
    pub(super) claim: Claim,
    /// `None`: it is kept.
    pub(super) back: Option<Back>,
}

/// What the store says of a user that is to be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It counts from now on. With the number of its record.
    Counted(i64),
    /// It counted before.
    Again(i64),
    /// It is inactive, as the client repeats.
    Free,
    /// No more users may be taken away for this time.
    Full(Duration),
}

/// What became of a request that took a user away.
#[derive(Debug, Clone, Copy)]
pub struct Settlement {
    pub token: TokenHash,
    pub removal: RemovalClaim,
    pub record: i64,
    pub fate: Fate,
}

impl Answer {
    /// Keeps what was taken. The closure is to be called with what becomes of the user, if it has a place.
    pub fn keep(mut self) -> Option<impl FnOnce(Fate) + Send + Sync + 'static> {
        let back = self.back.take()?;
        let (token, removal) = (self.claim.token, self.claim.removal?);
        let record = self.removal?.record()?;
        Some(move |fate| {
            back.give(Message::Settle(Settlement { token, removal, record, fate }));
        })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Some(back) = self.back.take() else { return };
        let Claim { token, rate, removal } = self.claim;
        if let (Some(claim), None) = (rate, self.rate_wait) {
            back.give(Message::Refund(token, claim.rate));
        }
        if let (Some(removal), Some(record)) = (removal, self.removal.and_then(Removed::record)) {
            let fate = Fate::Refused;
            back.give(Message::Settle(Settlement { token, removal, record, fate }));
        }
    }
}

impl Removed {
    fn record(self) -> Option<i64> {
        match self {
            Self::Counted(record) | Self::Again(record) => Some(record),
            Self::Free | Self::Full(_) => None,
        }
    }
}

impl Claim {
    /// The arguments of the script. `deadline`: the store's time after which nothing is to be taken.
    pub(super) fn arguments(&self, deadline: i64) -> Vec<Vec<u8>> {
        let (interval, tolerance) = self.rate.map_or((0.0, 0.0), |claim| claim.rate.microseconds());
        let is_enforced = self.rate.is_some_and(|claim| claim.is_enforced);
        let mut arguments = vec![
            b"take".to_vec(),
            number(deadline),
            format!("{interval:.3}").into_bytes(),
            format!("{tolerance:.3}").into_bytes(),
            number(is_enforced.into()),
        ];
        let Some(removal) = &self.removal else {
            arguments.push(Vec::new());
            return arguments;
        };
        let Limit { at_most, within } = removal.limit;
        let (count, until) = removal.allowance.map_or((0, 0), |allowance| {
            (i64::from(allowance.count), milliseconds(allowance.until))
        });
        arguments.extend([
            removal.user.to_vec(),
            number(change(removal.change)),
            number(at_most.into()),
            number(microseconds(within)),
            number(microseconds(removal.hold)),
            removal.allowance_name().into_bytes(),
            number(count),
            number(until),
        ]);
        arguments
    }
}

impl RemovalClaim {
    /// Tells allowances apart.
    pub(super) fn allowance_name(&self) -> String {
        let allowance = self.allowance;
        allowance.map_or("-".into(), |Allowance { count, until }| {
            format!("{count}.{}", milliseconds(until))
        })
    }
}

impl Settlement {
    pub(super) fn arguments(&self) -> Vec<Vec<u8>> {
        let fate = match self.fate {
            Fate::Refused => 0,
            Fate::Unknown => 1,
            Fate::Done => 2,
        };
        vec![
            b"settle".to_vec(),
            self.removal.user.to_vec(),
            number(self.record),
            number(change(self.removal.change)),
            number(fate),
            number(microseconds(self.removal.limit.within)),
            number(microseconds(self.removal.hold)),
            self.removal.allowance_name().into_bytes(),
        ]
    }
}

fn change(change: AccountChange) -> i64 {
    match change {
        AccountChange::Deletes => 2,
        AccountChange::Deactivates => 1,
        AccountChange::None | AccountChange::Activates => 0,
    }
}

fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn number(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}
