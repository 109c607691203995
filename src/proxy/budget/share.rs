//! What one request holds of the memory for all.

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::refusal::Refusal;

use super::stalled::{GaveWay, Place, Waiter, unless_short};
use super::{
    Address, Budget, Connection, Kind, Shortage, WAITING, WAITING_OF_CONNECTION, WAITING_STRANGERS,
};

/// What a request with a body of common size holds, in bytes.
const LITTLE: usize = 32 * 1024;

/// A head of common size, in bytes.
const SMALL_HEAD: usize = 4 * 1024;

/// How long a request waits for others to give way.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same for a body with a token that is known to be good: it outlasts whoever else waits.
const PATIENCE_OF_KNOWN: Duration = Duration::from_secs(5);

/// How often it looks again, beside when memory is freed: others have to wait for their client for
/// a while before they give way.
const AGAIN: Duration = Duration::from_millis(250);

/// The same for an answer, of which many may wait.
const AGAIN_FOR_ANSWER: Duration = Duration::from_secs(1);

/// A request's part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Share {
    budget: Arc<Budget>,
    connection: Option<Arc<Connection>>,
    address: Option<Arc<Address>>,
    /// The client behind a proxy. Its address is looked up only when the request waits, so that
    /// requests that are served at once do not pay for it.
    client: Option<IpAddr>,
    stranger: bool,
    bytes: [usize; Kind::ALL.len()],
}

impl Share {
    pub(in crate::proxy) fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            connection: None,
            address: None,
            client: None,
            stranger: false,
            bytes: [0; Kind::ALL.len()],
        }
    }

    pub(in crate::proxy) fn of_connection(connection: &Arc<Connection>) -> Self {
        let mut share = Self::of(&connection.budget);
        share.belong_to(connection, None);
        share
    }

    /// Says whose it is, before it holds anything. `client`: the client, where the connection's
    /// peer is a proxy.
    pub(in crate::proxy) fn belong_to(
        &mut self,
        connection: &Arc<Connection>,
        client: Option<IpAddr>,
    ) {
        self.address.clone_from(&connection.address);
        self.client = client.filter(|_| self.address.is_none());
        self.connection = Some(Arc::clone(connection));
    }

    /// The same where the connection is not known.
    pub(in crate::proxy) fn belong_to_client(&mut self, client: Option<IpAddr>) {
        self.client = client;
    }

    /// Says that the request's token is not known to be good, before a body is held. It has to leave places
    /// to others where it waits.
    pub(in crate::proxy) fn is_a_strangers(&mut self) {
        self.stranger = true;
    }

    pub(in crate::proxy) fn is_strangers(&self) -> bool {
        self.stranger
    }

    /// A share of the same client that holds nothing.
    pub(in crate::proxy) fn split_off(&mut self) -> Self {
        self.find_address();
        Self {
            budget: Arc::clone(&self.budget),
            connection: self.connection.clone(),
            address: self.address.clone(),
            client: None,
            stranger: self.stranger,
            bytes: [0; Kind::ALL.len()],
        }
    }

    pub(in crate::proxy) fn give_back(&mut self) {
        for kind in Kind::ALL {
            self.shrink_to(kind, 0);
        }
    }

    /// Gives back what is more than `bytes`.
    pub(in crate::proxy) fn shrink_to(&mut self, kind: Kind, bytes: usize) {
        let more = self.bytes[kind as usize].saturating_sub(bytes);
        if more > 0 {
            self.subtract(kind, more);
            if self.budget.waiting.load(Ordering::Relaxed) > 0 {
                self.budget.freed.notify_one();
            }
        }
    }

    /// Holds more, whether or not there is room: what is bounded by other means.
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
        let stranger = self.stranger && kind == Kind::Body;
        let address = self.address.as_ref();
        [
            Some(&self.budget.used[kind as usize]),
            self.connection.as_ref().map(|connection| &connection.used),
            address.map(|address| match self.is_known(kind) {
                true => &address.known,
                false => &address.used,
            }),
            stranger.then_some(&self.budget.strangers),
            address.filter(|_| stranger).map(|address| &address.strangers),
        ]
    }

    /// Whether it is counted as what a request with a known token holds. Heads are held before the token
    /// is looked up.
    fn is_known(&self, kind: Kind) -> bool {
        !self.stranger && kind != Kind::Head
    }

    /// Holds more if there is room.
    fn try_grow(&mut self, kind: Kind, bytes: usize) -> Result<(), Shortage> {
        self.add(kind, bytes);
        match self.shortage(kind) {
            None => Ok(()),
            Some(shortage) => {
                // Nobody is woken, or two that wait would wake one another for ever.
                self.subtract(kind, bytes);
                Err(shortage)
            }
        }
    }

    fn shortage(&self, kind: Kind) -> Option<Shortage> {
        let budget = &self.budget;
        let bounds = budget.bounds.load();
        // The last of each bound is for those that hold little, so that they need not wait behind many
        // that hold much. One that is alone may have all of it.
        let own = self.bytes.iter().sum::<usize>();
        let usable = |bound: usize| match own {
            ..=LITTLE => bound,
            _ => (bound - bound / 16).max(bound.min(own + LITTLE)),
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
                let stranger = self.stranger && kind == Kind::Body;
                if stranger && over(&address.strangers, bounds.stranger_address) {
                    return Some(Shortage::StrangerAddress(Arc::clone(address)));
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
            Kind::Body if self.stranger && over(&budget.strangers, bounds.strangers) => {
                Some(Shortage::Strangers)
            }
            Kind::Stream if stream > usable(bounds.streams) => Some(Shortage::Streams),
            // SECURITY: the rest is for known tokens, however many addresses the others come from.
            _ if self.stranger => (data > usable(bounds.stranger_data)).then_some(Shortage::Data),
            _ => (data > usable(bounds.data)).then_some(Shortage::Data),
        }
    }

    /// Holds more; if there is no room, those that keep the guard waiting give way, for which it
    /// is waited a little. Returns how long it was waited.
    pub(in crate::proxy) async fn grow(
        &mut self,
        kind: Kind,
        bytes: usize,
    ) -> Result<Duration, Refusal> {
        // What holds no more than before is not refused for what others hold.
        if bytes == 0 || self.try_grow(kind, bytes).is_ok() {
            return Ok(Duration::ZERO);
        }
        let budget = Arc::clone(&self.budget);
        // No room will ever be enough.
        if self.bytes.iter().sum::<usize>() + bytes > budget.limit() {
            return Err(budget.refuse(kind));
        }
        let connection = self.connection.clone();
        let _waiting = Count::up(&budget.waiting);
        // SECURITY: what waits has come already, but for answers: they wait with nothing, in any number, and
        // must not take the places of the others.
        let received = kind != Kind::Answer;
        let places = [
            (Some(&budget.waiting_received), WAITING),
            (self.stranger.then_some(&budget.waiting_strangers), WAITING_STRANGERS),
            (connection.as_ref().map(|connection| &connection.waiting), WAITING_OF_CONNECTION),
        ];
        let places = places.map(|(counter, max)| {
            counter.filter(|_| received).map(|counter| (Count::up(counter), max))
        });
        if places.iter().flatten().any(|(count, max)| count.before >= *max) {
            return Err(budget.refuse(kind));
        }
        // An answer waits until the deadline of its request.
        let (patience, again) = match kind {
            Kind::Answer => (Duration::MAX, AGAIN_FOR_ANSWER),
            Kind::Body if !self.stranger => (PATIENCE_OF_KNOWN, AGAIN),
            _ => (PATIENCE, AGAIN),
        };
        let began = Instant::now();
        while began.elapsed() < patience {
            let Err(shortage) = self.try_grow(kind, bytes) else { return Ok(began.elapsed()) };
            let make_room = |all| budget.stalled.make_room(&shortage, bytes, all);
            // An answer may wait longer, so that others that wait are spared for a while.
            let all = kind != Kind::Answer || began.elapsed() >= PATIENCE;
            let _ = make_room(false) || (all && make_room(true));
            let freed = tokio::time::timeout(again, budget.freed.notified());
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

    /// Does `work`, which waits for the client, unless the request has to give way to others. `since`:
    /// from when the client has kept it waiting; `None`: from now.
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

    /// Registers a holder that waits for its client.
    pub(in crate::proxy) fn stall(&self, since: Instant) -> Place {
        self.budget.stalled.enter(self.waiter(since))
    }

    /// Holds exactly so much from now on, whether or not there is room.
    pub(in crate::proxy) fn set(&mut self, kind: Kind, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes[kind as usize]);
        if more > 0 {
            self.add(kind, more);
        }
        self.shrink_to(kind, bytes);
    }

    /// Whether more is held than there is room for. Those that keep the guard waiting give way.
    pub(in crate::proxy) fn lacks_room(&self, kind: Kind) -> bool {
        let Some(shortage) = self.shortage(kind) else { return false };
        let make_room =
            |all| self.budget.stalled.make_room(&shortage, self.bytes[kind as usize], all);
        let _ = make_room(false) || make_room(true);
        true
    }

    /// Holds more; says whether there was room for it.
    pub(in crate::proxy) fn hold(&mut self, kind: Kind, bytes: usize) -> bool {
        self.add(kind, bytes);
        self.shortage(kind).is_none()
    }

    fn waiter(&self, since: Instant) -> Waiter {
        let mut waiter = Waiter::new(since, self.bytes);
        waiter.stranger = self.stranger;
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
        if self.stranger {
            address.strangers.fetch_add(self.bytes[Kind::Body as usize], Ordering::Relaxed);
        }
        self.address = Some(address);
    }

    /// Parts with some of what is held for an answer, which is given back when the bytes have been
    /// written.
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
        self.give_back();
    }
}

/// Bytes that are counted until the last reader of them is gone.
struct Counted {
    bytes: Bytes,
    _held: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// One more for as long as it lives.
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
