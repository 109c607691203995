//! What keeps useless requests away from Wire: tokens that it has just refused are answered by the
//! guard for a short time, and addresses from which such requests keep coming are slowed.
//!
//! All state is bounded, belongs to this process alone, and is gone when it ends: several guards
//! each learn for themselves.

mod generations;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use generations::Generations;

use crate::config::RefusalCacheSettings;
use crate::digest::TokenDigest;
use crate::rate::{self, Rate};

/// Refused tokens, accepted tokens and failing addresses that are remembered: in each of two
/// generations. An entry takes some 85 bytes, so that all of them full take 4 MiB.
const MOST: usize = 8192;

/// How long a token that Wire accepted is beyond suspicion.
const ACCEPTED_FOR: Duration = Duration::from_secs(3600);

/// After how long the time of an acceptance is worth writing down again.
const ACCEPTED_AGAIN: Duration = Duration::from_secs(60);

/// What was learnt from the answers of Wire.
pub struct RefusalCache {
    refused_for: u64,
    /// Whether failures are counted by address at all.
    by_address: bool,
    failures: Rate,
    /// When Wire refused a token.
    refused: Mutex<Generations<TokenDigest, u64>>,
    /// When Wire accepted a token.
    accepted: Mutex<Generations<TokenDigest, u64>>,
    /// How much of the rate of failures an address has used.
    addresses: Mutex<Generations<IpAddr, u64>>,
}

/// How much is remembered, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    pub refused: usize,
    pub accepted: usize,
    pub addresses: usize,
}

impl RefusalCache {
    /// SECURITY: `by_address` only where a request's address is known to be its client's, or one client could
    /// have all others refused that share its address.
    pub fn new(settings: &RefusalCacheSettings, by_address: bool) -> Self {
        let window = nanoseconds(settings.window);
        Self {
            refused_for: nanoseconds(settings.refused_for),
            by_address,
            failures: Rate::new(settings.failures, settings.window),
            refused: Mutex::new(Generations::new(MOST, nanoseconds(settings.refused_for))),
            accepted: Mutex::new(Generations::new(MOST, nanoseconds(ACCEPTED_FOR))),
            addresses: Mutex::new(Generations::new(MOST, window)),
        }
    }

    /// Learns from Wire's answer to a request with this token.
    pub fn answered(&self, token: TokenDigest, client: Option<IpAddr>, status: u16) {
        self.answered_at(token, client, status, rate::now());
    }

    fn answered_at(&self, token: TokenDigest, client: Option<IpAddr>, status: u16, now: u64) {
        match status {
            // Only an answer with what was asked for shows that the token was looked at and found
            // good: other errors may come from before that.
            200..=299 => self.accept(token, now),
            401 => {
                // SECURITY: a token that works is never shut out because of one odd answer.
                if self.refused_for > 0 && !self.is_accepted(token, now) {
                    lock(&self.refused).put(token, now, now);
                }
                self.fail(client, now);
            }
            _ => {}
        }
    }

    fn accept(&self, token: TokenDigest, now: u64) {
        let mut accepted = lock(&self.accepted);
        if accepted
            .find(&token)
            .is_none_or(|at| now.saturating_sub(at) >= nanoseconds(ACCEPTED_AGAIN))
        {
            accepted.put(token, now, now);
            drop(accepted);
            lock(&self.refused).remove(&token);
        }
    }

    /// Whether Wire accepted the token within the last hour.
    pub fn accepts(&self, token: TokenDigest) -> bool {
        self.is_accepted(token, rate::now())
    }

    fn is_accepted(&self, token: TokenDigest, now: u64) -> bool {
        let at = lock(&self.accepted).find(&token);
        at.is_some_and(|at| now.saturating_sub(at) < nanoseconds(ACCEPTED_FOR))
    }

    /// Whether Wire refused the token a moment ago.
    pub fn refuses(&self, token: TokenDigest) -> bool {
        self.is_refused(token, rate::now())
    }

    fn is_refused(&self, token: TokenDigest, now: u64) -> bool {
        let at = lock(&self.refused).find(&token);
        at.is_some_and(|at| now.saturating_sub(at) < self.refused_for)
    }

    /// Notes that a request from this address came with a token that is good for nothing.
    pub fn failed(&self, client: Option<IpAddr>) {
        self.fail(client, rate::now());
    }

    fn fail(&self, client: Option<IpAddr>, now: u64) {
        let Some(client) = client.filter(|_| self.by_address).map(network_of) else { return };
        let mut addresses = lock(&self.addresses);
        let used = addresses.find(&client).unwrap_or(0);
        // More failures than the rate (of requests that were under way) do not make the wait longer.
        if self.failures.wait(used, now).is_none() {
            addresses.put(client, self.failures.after(used, now), now);
        }
    }

    /// How long an address that has failed too often has to wait.
    pub fn slows(&self, client: Option<IpAddr>) -> Option<Duration> {
        self.wait(client, rate::now())
    }

    fn wait(&self, client: Option<IpAddr>, now: u64) -> Option<Duration> {
        let used = lock(&self.addresses).find(&network_of(client?))?;
        self.failures.wait(used, now)
    }

    /// How much is remembered now.
    pub fn remembered(&self) -> Remembered {
        Remembered {
            refused: lock(&self.refused).len(),
            accepted: lock(&self.accepted).len(),
            addresses: lock(&self.addresses).len(),
        }
    }
}

impl fmt::Debug for RefusalCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").field("remembered", &self.remembered()).finish_non_exhaustive()
    }
}

/// The network that a client is counted by, as its first address.
///
/// SECURITY: whoever has one IPv6 address has a whole /64 of them.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
