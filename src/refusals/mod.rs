//! Keeps useless requests away from Wire: tokens that it has just refused are answered here for a
//! short time, and addresses that keep sending such requests are throttled.
//!
//! All state is bounded, belongs to this process and ends with it. Several replicas notify each
//! other of what they learn if they share a store (`shared`); then tokens and addresses are
//! identified by hashes that the replicas have in common. The limits are passed with every call,
//! from the snapshot of the current request.

mod generations;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use generations::Generations;

use crate::config::Config;
use crate::digest::TokenDigest;
use crate::rate::{self, Rate};
use crate::shared::{Event, SharedState};

/// Refused tokens, accepted tokens and failing addresses that are remembered: in each of two
/// generations. An entry takes some 85 bytes, so that all of them full take 4 MiB.
const MAX_REMEMBERED: usize = 8192;

/// How long a token that Wire accepted is trusted.
const ACCEPTED_FOR: Duration = Duration::from_secs(3600);

/// How old an acceptance has to be for its time to be updated.
const ACCEPTED_UPDATE_INTERVAL: Duration = Duration::from_secs(60);

/// What was learned from the answers of Wire.
#[derive(Default)]
pub struct RefusalCache {
    /// When Wire refused a token.
    refused: Mutex<Generations<TokenDigest, u64>>,
    /// When Wire accepted a token.
    accepted: Mutex<Generations<TokenDigest, u64>>,
    /// How much of the failure rate an address has used.
    addresses: Mutex<Generations<u128, u64>>,
}

/// How long refusals count, and how many failures an address may cause.
#[derive(Debug, Clone)]
pub struct RefusalLimits {
    /// Nanoseconds for which a token that Wire refused is refused here.
    refused_for: u64,
    /// Whether failures are counted by address.
    by_address: bool,
    failures: Rate,
    /// Nanoseconds in which the failures of an address are counted.
    window: u64,
    /// Where other replicas learn of it.
    shared: Option<Arc<SharedState>>,
}

impl RefusalLimits {
    /// SECURITY: failures are counted by address only if a request's address is known to be its
    /// client's; otherwise one client could cause all others that share its address to be refused.
    pub fn of(config: &Config, shared: Option<&Arc<SharedState>>) -> Self {
        let settings = &config.shield;
        Self {
            refused_for: nanoseconds(settings.refused_for),
            by_address: config.counts_by_address(),
            failures: Rate::new(settings.failures, settings.window),
            window: nanoseconds(settings.window),
            shared: shared.cloned(),
        }
    }

    /// By what a token is remembered.
    fn token_key(&self, token: TokenDigest) -> TokenDigest {
        match &self.shared {
            None => token,
            Some(shared) => shared.keys().token(token).into(),
        }
    }

    /// By what a network is remembered, and whether the other replicas know it by the same.
    fn network_key(&self, network: u128) -> (u128, bool) {
        let shared = self.shared.as_ref().and_then(|shared| shared.keys().address(network));
        shared.map_or((network, false), |hash| (hash, true))
    }

    fn publish(&self, event: Event) {
        if let Some(shared) = &self.shared {
            shared.publish(event);
        }
    }
}

/// The number of entries, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    pub refused: usize,
    pub accepted: usize,
    pub addresses: usize,
}

impl RefusalCache {
    /// Learns from Wire's answer to a request with this token.
    pub fn answered(
        &self,
        limits: &RefusalLimits,
        token: TokenDigest,
        client: Option<IpAddr>,
        status: u16,
    ) {
        self.answered_at(limits, token, client, status, rate::now());
    }

    fn answered_at(
        &self,
        limits: &RefusalLimits,
        token: TokenDigest,
        client: Option<IpAddr>,
        status: u16,
        now: u64,
    ) {
        match status {
            // Only a successful answer shows that the token was checked and is valid: other errors
            // may be answered before that.
            200..=299 => {
                let key = limits.token_key(token);
                if self.accept(key, now) {
                    limits.publish(Event::Accepted(*key.bytes()));
                }
            }
            401 => {
                let key = limits.token_key(token);
                if self.refuse(limits, key, now) {
                    limits.publish(Event::Refused(*key.bytes()));
                }
                self.fail(limits, client, now);
            }
            _ => {}
        }
    }

    /// Learns from an event of another replica.
    pub fn heard(&self, limits: &RefusalLimits, event: Event) {
        let now = rate::now();
        match event {
            Event::Accepted(key) => {
                self.accept(key.into(), now);
            }
            Event::Refused(key) => {
                self.refuse(limits, key.into(), now);
            }
            Event::Failed(network) if limits.by_address => self.fail_network(limits, network, now),
            Event::Failed(_) | Event::Beat => {}
        }
    }

    /// Returns whether other replicas are to be notified.
    fn accept(&self, key: TokenDigest, now: u64) -> bool {
        let mut accepted = lock(&self.accepted);
        let is_recent = |at: u64| now.saturating_sub(at) < nanoseconds(ACCEPTED_UPDATE_INTERVAL);
        if accepted.find(&key).is_some_and(is_recent) {
            return false;
        }
        accepted.put(key, now, now, nanoseconds(ACCEPTED_FOR));
        drop(accepted);
        lock(&self.refused).remove(&key);
        true
    }

    /// Whether the token is refused from now on.
    ///
    /// SECURITY: a token that works is never refused because of a single inconsistent answer.
    fn refuse(&self, limits: &RefusalLimits, key: TokenDigest, now: u64) -> bool {
        if limits.refused_for == 0 || self.is_accepted(key, || now) {
            return false;
        }
        lock(&self.refused).put(key, now, now, limits.refused_for);
        true
    }

    /// Whether Wire accepted the token within the last hour.
    pub fn accepts(&self, limits: &RefusalLimits, token: TokenDigest) -> bool {
        self.is_accepted(limits.token_key(token), rate::now)
    }

    // The clock is read only if something is remembered: for most tokens nothing is.
    fn is_accepted(&self, key: TokenDigest, now: impl FnOnce() -> u64) -> bool {
        let at = lock(&self.accepted).find(&key);
        at.is_some_and(|at| now().saturating_sub(at) < nanoseconds(ACCEPTED_FOR))
    }

    /// Whether Wire refused the token a moment ago.
    pub fn refuses(&self, limits: &RefusalLimits, token: TokenDigest) -> bool {
        // For most requests nothing is remembered, and no hash has to be computed.
        !lock(&self.refused).is_empty()
            && self.is_refused(limits, limits.token_key(token), rate::now)
    }

    fn is_refused(
        &self,
        limits: &RefusalLimits,
        key: TokenDigest,
        now: impl FnOnce() -> u64,
    ) -> bool {
        let at = lock(&self.refused).find(&key);
        at.is_some_and(|at| now().saturating_sub(at) < limits.refused_for)
    }

    /// Counts a request with an invalid token from this address.
    pub fn failed(&self, limits: &RefusalLimits, client: Option<IpAddr>) {
        self.fail(limits, client, rate::now());
    }

    fn fail(&self, limits: &RefusalLimits, client: Option<IpAddr>, now: u64) {
        let Some(client) = client.filter(|_| limits.by_address) else { return };
        let (key, is_common) = limits.network_key(bits_of(client));
        self.fail_network(limits, key, now);
        if is_common {
            limits.publish(Event::Failed(key));
        }
    }

    fn fail_network(&self, limits: &RefusalLimits, key: u128, now: u64) {
        let mut addresses = lock(&self.addresses);
        let used = addresses.find(&key).unwrap_or(0);
        // More failures than the rate (of requests in flight) do not make the wait longer.
        if limits.failures.wait(used, now).is_none() {
            addresses.put(key, limits.failures.after(used, now), now, limits.window);
        }
    }

    /// How long an address with too many failures has to wait.
    pub fn retry_after(&self, limits: &RefusalLimits, client: Option<IpAddr>) -> Option<Duration> {
        self.wait(limits, client, rate::now)
    }

    fn wait(
        &self,
        limits: &RefusalLimits,
        client: Option<IpAddr>,
        now: impl FnOnce() -> u64,
    ) -> Option<Duration> {
        let client = client.filter(|_| limits.by_address)?;
        let (key, _) = limits.network_key(bits_of(client));
        let used = lock(&self.addresses).find(&key)?;
        limits.failures.wait(used, now())
    }

    /// The number of entries now.
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
        f.debug_struct("RefusalCache")
            .field("remembered", &self.remembered())
            .finish_non_exhaustive()
    }
}

/// The network by which a client is counted, as its first address.
///
/// SECURITY: a client with one IPv6 address usually has a whole /64.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

/// The same as a number.
fn bits_of(address: IpAddr) -> u128 {
    match network_of(address) {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
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
