//! The open client connections of a process, counted in total and by address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many connections that do not count receive an answer at a time; the others are just closed.
const LINGERING: usize = 64;

/// How many connections there are.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    /// Rejected connections that are waiting for the client to read the answer.
    lingering: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Connections {
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a connection, for its address if one is given.
    pub(in crate::proxy) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Open {
        let of_all = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        let mut of_address = 0;
        if let Some(address) = address {
            let mut by_address = self.by_address();
            let count = by_address.entry(address).or_default();
            *count += 1;
            of_address = *count;
        }
        Open { connections: Arc::clone(self), address, of_all, of_address }
    }

    /// A place for a connection that is rejected with an answer, if one is free.
    pub(in crate::proxy) fn linger(&self) -> Option<Lingering<'_>> {
        let lingering = Lingering(&self.lingering);
        (self.lingering.fetch_add(1, Ordering::Relaxed) < LINGERING).then_some(lingering)
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection.
pub(in crate::proxy) struct Open {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
    /// How many there were, including this one.
    pub of_all: usize,
    /// How many its address had, including this one.
    pub of_address: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(address) = self.address
            && let Entry::Occupied(mut count) = self.connections.by_address().entry(address)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A rejected connection whose client reads the answer.
pub(in crate::proxy) struct Lingering<'c>(&'c AtomicUsize);

impl Drop for Lingering<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_lingering_connections_is_limited() {
        let connections = Connections::default();
        let mut places: Vec<_> = (0..LINGERING).map(|_| connections.linger().unwrap()).collect();
        assert!(connections.linger().is_none());
        places.pop();
        let last = connections.linger();
        assert!(last.is_some());
        assert!(connections.linger().is_none());
    }

    #[test]
    fn closed_connections_are_not_counted() {
        let connections = Arc::new(Connections::default());
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        let first = connections.enter(address);
        let second = connections.enter(None);
        let third = connections.enter(address);
        assert_eq!([first.of_all, second.of_all, third.of_all], [1, 2, 3]);
        assert_eq!((first.of_address, third.of_address), (1, 2));
        drop((first, third));
        assert_eq!(connections.open(), 1);
        assert_eq!(connections.enter(address).of_address, 1);
    }
}
