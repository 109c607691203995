//! Memory that the requests of one client address hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::refusals;

/// The addresses that have a connection, or a request through a proxy.
#[derive(Debug, Default)]
pub(super) struct Addresses(Arc<Mutex<Entries>>);

type Entries = HashMap<IpAddr, Weak<Address>>;

impl Addresses {
    /// SECURITY: a client with one IPv6 address usually has a whole /64.
    pub(super) fn get(&self, address: IpAddr) -> Arc<Address> {
        let network = refusals::network_of(address);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = entries.get(&network).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::new(Address {
            network,
            used: AtomicUsize::new(0),
            known: AtomicUsize::new(0),
            unknown_bodies: AtomicUsize::new(0),
            entries: Arc::clone(&self.0),
        });
        entries.insert(network, Arc::downgrade(&new));
        new
    }
}

/// One IPv4 address, or one /64 network of IPv6.
#[derive(Debug)]
pub(super) struct Address {
    network: IpAddr,
    /// Request heads, and what requests with unknown tokens hold.
    pub(super) used: AtomicUsize,
    /// Bodies and answers of requests with known tokens. They are counted separately, so that other
    /// clients at the same address cannot deny service to them.
    pub(super) known: AtomicUsize,
    /// The part of `used` that is bodies with unknown tokens.
    pub(super) unknown_bodies: AtomicUsize,
    entries: Arc<Mutex<Entries>>,
}

impl Drop for Address {
    fn drop(&mut self) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // Another entry may have replaced it already.
        if entries.get(&self.network).is_some_and(|entry| entry.strong_count() == 0) {
            entries.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_for_as_long_as_somebody_uses_it() {
        let addresses = Addresses::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = addresses.get(ip("2001:db8::1"));
        let same = addresses.get(ip("2001:db8::2"));
        let other = addresses.get(ip("2001:db8:0:1::1"));
        assert!(Arc::ptr_eq(&first, &same));
        assert!(!Arc::ptr_eq(&first, &other));
        drop((first, same, other));
        assert!(addresses.0.lock().unwrap().is_empty());
    }
}
