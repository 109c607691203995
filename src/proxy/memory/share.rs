//! The part of the shared memory that one request holds.

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::refusal::Refusal;

use super::stalled::{GaveWay, Place, Waiter, unless_short};
use super::{
    Address, Budget, Connection, Kind, MAX_WAITING, MAX_WAITING_OF_CONNECTION, MAX_WAITING_UNKNOWN,
    Shortage,
};

/// What a request with a body of common size holds, in bytes.
const SMALL_REQUEST: usize = 32 * 1024;

/// A head of common size, in bytes.
const SMALL_HEAD: usize = 4 * 1024;

/// How long a request waits for others to free memory.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The same for a body with a known token: it waits longer than all others.
const MAX_WAIT_KNOWN: Duration = Duration::from_secs(5);

/// How often a waiting request checks again, in addition to when memory is freed: others become
/// eligible to give way only after they have waited for their client for a while.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// The same for an answer; many of them may wait.
const RETRY_INTERVAL_OF_ANSWER: Duration = Duration::from_secs(1);

/// A request's part of the budget, returned when it is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Share {
    budget: Arc<Budget>,
    connection: Option<Arc<Connection>>,
    address: Option<Arc<Address>>,
    /// The client behind a proxy. Its address is looked up only when the request waits, so that
    /// requests that need not wait do not pay for it.
    client: Option<IpAddr>,
    unknown: bool,
    bytes: [usize; Kind::ALL.len()],
}

impl Share {
    pub(in crate::proxy) fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            connection: None,
            address: None,
            client: None,
            unknown: false,
            bytes: [0; Kind::ALL.len()],
        }
    }

    pub(in crate::proxy) fn of_connection(connection: &Arc<Connection>) -> Self {
        let mut share = Self::of(&connection.budget);
        share.set_connection(connection, None);
        share
    }

    /// Sets the connection that it belongs to, before it holds anything. `client`: the client's
    /// address, if the connection's peer is a proxy.
    pub(in crate::proxy) fn set_connection(
        &mut self,
        connection: &Arc<Connection>,
        client: Option<IpAddr>,
    ) {
        self.address.clone_from(&connection.address);
        self.client = client.filter(|_| self.address.is_none());
        self.connection = Some(Arc::clone(connection));
    }

    /// The same if the connection is not known.
    pub(in crate::proxy) fn set_client(&mut self, client: Option<IpAddr>) {
        self.client = client;
    }

    /// Notes that the request's token is not known to be valid, before a body is held. Such
    /// requests have fewer places to wait.
    pub(in crate::proxy) fn mark_unknown(&mut self) {
        self.unknown = true;
    }

    pub(in crate::proxy) fn is_unknown(&self) -> bool {
        self.unknown
    }

    /// A share of the same client that holds nothing yet.
    pub(in crate::proxy) fn split_off(&mut self) -> Self {
        self.find_address();
        Self {
            budget: Arc::clone(&self.budget),
            connection: self.connection.clone(),
            address: self.address.clone(),
            client: None,
            unknown: self.unknown,
            bytes: [0; Kind::ALL.len()],
        }
    }

    pub(in crate::proxy) fn release(&mut self) {
        for kind in Kind::ALL {
            self.shrink_to(kind, 0);
        }
    }

    /// Releases what exceeds `bytes`.
    pub(in crate::proxy) fn shrink_to(&mut self, kind: Kind, bytes: usize) {
        let more = self.bytes[kind as usize].saturating_sub(bytes);
        if more > 0 {
            self.subtract(kind, more);
            if self.budget.waiting.load(Ordering::Relaxed) > 0 {
                self.budget.freed.notify_one();
            }
        }
    }

    /// Holds more, whether or not there is room: for what is bounded by other means.
    pub(in crate::proxy) fn add(&mut self, kind: Kind, bytes: usize) {
        self.bytes[kind as usize] += bytes;
        for counter in self.counters(kind).into_iter().flatten() {
            counter.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn subtract(&mut self, kind: Kind, bytes: usize) {
        self.bytes[kind as usize] -= bytes;
        for counter in self.counters(kind).into_iter().flatten() {
            counter.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn counters(&self, kind: Kind) -> [Option<&AtomicUsize>; 5] {
        let unknown = self.unknown && kind == Kind::Body;
        let address = self.address.as_ref();
        [
            Some(&self.budget.used[kind as usize]),
            self.connection.as_ref().map(|connection| &connection.used),
            address.map(|address| match self.is_known(kind) {
                true => &address.known,
                false => &address.used,
            }),
            unknown.then_some(&self.budget.unknown_bodies),
            address.filter(|_| unknown).map(|address| &address.unknown_bodies),
        ]
    }

    /// Whether it counts as memory of a request with a known token. Heads are held before the token
    /// is looked up.
    fn is_known(&self, kind: Kind) -> bool {
        !self.unknown && kind != Kind::Head
    }

    /// Holds more if there is room.
    fn try_grow(&mut self, kind: Kind, bytes: usize) -> Result<(), Shortage> {
        self.add(kind, bytes);
        match self.shortage(kind) {
            None => Ok(()),
            Some(shortage) => {
                // No waiter is notified here: two waiters would notify each other endlessly.
                self.subtract(kind, bytes);
                Err(shortage)
            }
        }
    }

    fn shortage(&self, kind: Kind) -> Option<Shortage> {
        let budget = &self.budget;
        let bounds = budget.bounds.load();
        // The last part of each bound is reserved for requests that hold little, so that they need
        // not wait for many that hold much. A request that is alone may use all of it.
        let own = self.bytes.iter().sum::<usize>();
        let usable = |bound: usize| match own {
            ..=SMALL_REQUEST => bound,
            _ => (bound - bound / 16).max(bound.min(own + SMALL_REQUEST)),
        };
        let over = |used: &AtomicUsize, bound| used.load(Ordering::Relaxed) > usable(bound);
        let [head, body, answer, stream] = Kind::ALL.map(|kind| budget.used(kind));
        let data = body + answer + stream;
        if let Some(connection) = &self.connection
            && over(&connection.used, bounds.connection)
        {
            return Some(Shortage::Connection(Arc::clone(connection)));
        }
        match &self.address {
            Some(address) if self.is_known(kind) && over(&address.known, bounds.address) => {
                return Some(Shortage::KnownAddress(Arc::clone(address)));
            }
            Some(address) if !self.is_known(kind) => {
                let unknown = self.unknown && kind == Kind::Body;
                if unknown && over(&address.unknown_bodies, bounds.unknown_address) {
                    return Some(Shortage::UnknownAddress(Arc::clone(address)));
                }
                let small_head = kind == Kind::Head && own <= SMALL_HEAD;
                let reserve = if small_head { bounds.address_reserve } else { 0 };
                if over(&address.used, bounds.address + reserve) {
                    return Some(Shortage::Address(Arc::clone(address)));
                }
            }
            Some(_) | None => {}
        }
        if head + data > usable(bounds.total) {
            return Some(Shortage::Total);
        }
        match kind {
            Kind::Head => None,
            Kind::Body if self.unknown && over(&budget.unknown_bodies, bounds.unknown_bodies) => {
                Some(Shortage::UnknownBodies)
            }
            Kind::Stream if stream > usable(bounds.streams) => Some(Shortage::Streams),
            // SECURITY: the rest is reserved for known tokens, from however many addresses the
            // others come.
            _ if self.unknown => (data > usable(bounds.unknown_data)).then_some(Shortage::Data),
            _ => (data > usable(bounds.data)).then_some(Shortage::Data),
        }
    }

    /// Holds more. If there is no room, requests that wait for their clients give way, and this
    /// request waits for a limited time. Returns how long it waited.
    pub(in crate::proxy) async fn grow(
        &mut self,
        kind: Kind,
        bytes: usize,
    ) -> Result<Duration, Refusal> {
        // A request that needs no more memory is not refused because of what others hold.
        if bytes == 0 || self.try_grow(kind, bytes).is_ok() {
            return Ok(Duration::ZERO);
        }
        let budget = Arc::clone(&self.budget);
        // It can never fit.
        if self.bytes.iter().sum::<usize>() + bytes > budget.limit() {
            return Err(budget.refuse(kind));
        }
        let connection = self.connection.clone();
        let _waiting = Count::up(&budget.waiting);
        // SECURITY: what waits for memory has arrived already, except for answers: they wait
        // without holding anything, in any number, and must not take the places of the others.
        let received = kind != Kind::Answer;
        let places = [
            (Some(&budget.waiting_received), MAX_WAITING),
            (self.unknown.then_some(&budget.waiting_unknown), MAX_WAITING_UNKNOWN),
            (connection.as_ref().map(|connection| &connection.waiting), MAX_WAITING_OF_CONNECTION),
        ];
        let places = places.map(|(counter, max)| {
            counter.filter(|_| received).map(|counter| (Count::up(counter), max))
        });
        if places.iter().flatten().any(|(count, max)| count.before >= *max) {
            return Err(budget.refuse(kind));
        }
        // An answer waits until the deadline of its request.
        let (max_wait, interval) = match kind {
            Kind::Answer => (Duration::MAX, RETRY_INTERVAL_OF_ANSWER),
            Kind::Body if !self.unknown => (MAX_WAIT_KNOWN, RETRY_INTERVAL),
            _ => (MAX_WAIT, RETRY_INTERVAL),
        };
        let began = Instant::now();
        while began.elapsed() < max_wait {
            let Err(shortage) = self.try_grow(kind, bytes) else { return Ok(began.elapsed()) };
            let make_room = |all| budget.stalled.make_room(&shortage, bytes, all);
            // An answer may wait longer, so other waiting requests are spared for a while.
            let all = kind != Kind::Answer || began.elapsed() >= MAX_WAIT;
            let _ = make_room(false) || (all && make_room(true));
            let freed = tokio::time::timeout(interval, budget.freed.notified());
            let place = || {
                let mut waiter = self.waiter(began);
                waiter.for_memory = true;
                budget.stalled.enter(waiter)
            };
            if unless_short(pin!(freed), place).await == Err(GaveWay) {
                break;
            }
        }
        Err(budget.refuse(kind))
    }

    /// Runs `work`, which waits for the client, unless the request has to give way to others.
    /// `since`: since when it has waited for the client; `None`: from now on.
    pub(in crate::proxy) async fn unless_short<T>(
        &mut self,
        since: Option<Instant>,
        work: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, GaveWay> {
        let budget = Arc::clone(&self.budget);
        unless_short(work, || {
            self.find_address();
            budget.stalled.enter(self.waiter(since.unwrap_or_else(Instant::now)))
        })
        .await
    }

    pub(in crate::proxy) fn held(&self, kind: Kind) -> usize {
        self.bytes[kind as usize]
    }

    pub(in crate::proxy) fn refuse(&self, kind: Kind) -> Refusal {
        self.budget.refuse(kind)
    }

    /// Registers a request that waits for its client.
    pub(in crate::proxy) fn stall(&self, since: Instant) -> Place {
        self.budget.stalled.enter(self.waiter(since))
    }

    /// Holds exactly this much from now on, whether or not there is room.
    pub(in crate::proxy) fn set(&mut self, kind: Kind, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes[kind as usize]);
        if more > 0 {
            self.add(kind, more);
        }
        self.shrink_to(kind, bytes);
    }

    /// Whether more is held than there is room for. If so, requests that wait for their clients
    /// give way.
    pub(in crate::proxy) fn lacks_room(&self, kind: Kind) -> bool {
        let Some(shortage) = self.shortage(kind) else { return false };
        let make_room =
            |all| self.budget.stalled.make_room(&shortage, self.bytes[kind as usize], all);
        let _ = make_room(false) || make_room(true);
        true
    }

    /// Holds more, and returns whether there was room for it.
    pub(in crate::proxy) fn hold(&mut self, kind: Kind, bytes: usize) -> bool {
        self.add(kind, bytes);
        self.shortage(kind).is_none()
    }

    fn waiter(&self, since: Instant) -> Waiter {
        let mut waiter = Waiter::new(since, self.bytes);
        waiter.unknown = self.unknown;
        waiter.connection.clone_from(&self.connection);
        waiter.address.clone_from(&self.address);
        waiter
    }

    /// Counts what is held for the client behind a proxy.
    fn find_address(&mut self) {
        let Some(client) = self.client.take() else { return };
        let address = self.budget.addresses.get(client);
        for kind in Kind::ALL {
            let counter = if self.is_known(kind) { &address.known } else { &address.used };
            counter.fetch_add(self.bytes[kind as usize], Ordering::Relaxed);
        }
        if self.unknown {
            address.unknown_bodies.fetch_add(self.bytes[Kind::Body as usize], Ordering::Relaxed);
        }
        self.address = Some(address);
    }

    /// Moves a part of what is held for an answer into the returned bytes; it is released when they
    /// have been written.
    pub(in crate::proxy) fn count(&mut self, bytes: Bytes) -> Bytes {
        let mut held = self.split_off();
        let size = bytes.len();
        held.add(Kind::Answer, size);
        let rest = self.bytes[Kind::Answer as usize].saturating_sub(size);
        self.shrink_to(Kind::Answer, rest);
        Bytes::from_owner(Counted { bytes, _held: held })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

/// Bytes that count as held until the last reference to them is dropped.
struct Counted {
    bytes: Bytes,
    _held: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A counter that is one higher while this lives.
struct Count<'c> {
    counter: &'c AtomicUsize,
    before: usize,
}

impl<'c> Count<'c> {
    fn up(counter: &'c AtomicUsize) -> Self {
        Self { counter, before: counter.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}
