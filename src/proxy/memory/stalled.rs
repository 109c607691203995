//! Requests and connections that hold memory while they wait for their client: to send more of a
//! head or a body, or to read more of an answer. When memory is short, those that have waited
//! longest give way.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{Address, Connection, Kind, Shortage};

/// How long a client may make the guard wait before it has to give way to others that need memory.
const GRACE: Duration = Duration::from_secs(1);

/// All waiters, in the order in which they began to wait.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Stalled {
    waiters: Arc<Mutex<Waiters>>,
    next: AtomicU64,
}

type Waiters = BTreeMap<u64, Arc<Waiter>>;

/// The waiter has to give way to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) struct GaveWay;

/// What one waiter would free.
#[derive(Debug)]
pub(in crate::proxy) struct Waiter {
    pub(super) since: Instant,
    pub(super) bytes: [usize; Kind::ALL.len()],
    pub(super) unknown: bool,
    /// A connection, on which both known and unknown tokens may be used.
    whole_connection: bool,
    /// It waits for memory, not for its client.
    pub(super) for_memory: bool,
    pub(super) connection: Option<Arc<Connection>>,
    pub(super) address: Option<Arc<Address>>,
    state: Mutex<Option<Waker>>,
    gave_way: AtomicBool,
}

impl Waiter {
    pub(super) fn new(since: Instant, bytes: [usize; Kind::ALL.len()]) -> Self {
        Self {
            since,
            bytes,
            unknown: false,
            whole_connection: false,
            for_memory: false,
            connection: None,
            address: None,
            state: Mutex::new(None),
            gave_way: AtomicBool::new(false),
        }
    }

    /// A whole connection, with the answers buffered in it.
    pub(super) fn of_connection(connection: &Arc<Connection>) -> Self {
        let mut bytes = [0; Kind::ALL.len()];
        bytes[Kind::Answer as usize] = connection.used.load(Ordering::Relaxed);
        Self {
            connection: Some(Arc::clone(connection)),
            address: connection.address.clone(),
            whole_connection: true,
            ..Self::new(Instant::now(), bytes)
        }
    }

    /// How much of what is short it would free.
    fn frees(&self, shortage: &Shortage) -> usize {
        let all: usize = self.bytes.iter().sum();
        let data = all - self.bytes[Kind::Head as usize];
        let body = self.bytes[Kind::Body as usize];
        let if_same = |same: bool, bytes: usize| if same { bytes } else { 0 };
        let address =
            |of: &Arc<Address>| self.address.as_ref().is_some_and(|own| Arc::ptr_eq(own, of));
        match shortage {
            Shortage::Total => all,
            Shortage::Data => data,
            Shortage::Streams => self.bytes[Kind::Stream as usize],
            Shortage::UnknownBodies => if_same(self.unknown, body),
            Shortage::Address(of) => {
                let is_known = !self.unknown && !self.whole_connection;
                if_same(address(of), if is_known { all - data } else { all })
            }
            Shortage::KnownAddress(of) => {
                if_same(address(of) && (!self.unknown || self.whole_connection), data)
            }
            Shortage::UnknownAddress(of) => if_same(self.unknown && address(of), body),
            Shortage::Connection(of) => {
                if_same(self.connection.as_ref().is_some_and(|own| Arc::ptr_eq(own, of)), all)
            }
        }
    }

    fn give_way(&self) {
        self.gave_way.store(true, Ordering::Release);
        if let Some(waker) = lock(&self.state).take() {
            waker.wake();
        }
    }
}

impl Stalled {
    pub(super) fn enter(&self, waiter: Waiter) -> Place {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let waiter = Arc::new(waiter);
        lock(&self.waiters).insert(number, Arc::clone(&waiter));
        Place { waiters: Arc::clone(&self.waiters), number, waiter }
    }

    /// Has those that have waited longest give way, until `bytes` of what is short are freed or no
    /// waiter is left. Requests that wait for memory themselves are spared unless `all`. Returns
    /// whether any gives way.
    pub(super) fn make_room(&self, shortage: &Shortage, bytes: usize, all: bool) -> bool {
        let now = Instant::now();
        let mut freed = 0;
        let mut waiters = lock(&self.waiters);
        let mut gone = Vec::new();
        for (number, waiter) in waiters.iter() {
            if freed >= bytes {
                break;
            }
            if (waiter.for_memory && !all) || now.duration_since(waiter.since) < GRACE {
                continue;
            }
            let frees = waiter.frees(shortage);
            if frees > 0 {
                freed += frees;
                waiter.give_way();
                gone.push(*number);
            }
        }
        for number in gone {
            waiters.remove(&number);
        }
        freed > 0
    }
}

/// A waiter's entry, for as long as it waits.
#[derive(Debug)]
pub(in crate::proxy) struct Place {
    waiters: Arc<Mutex<Waiters>>,
    number: u64,
    waiter: Arc<Waiter>,
}

impl Place {
    /// Ready when the holder has to give way.
    pub(in crate::proxy) fn poll_gave_way(&self, cx: &mut Context<'_>) -> Poll<GaveWay> {
        let mut waker = lock(&self.waiter.state);
        if self.waiter.gave_way.load(Ordering::Acquire) {
            return Poll::Ready(GaveWay);
        }
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.waiters).remove(&self.number);
    }
}

/// Runs `work`, which waits for a client, unless it has to give way. `enter` is called only if the
/// work is not ready immediately.
pub(super) async fn unless_short<T>(
    mut work: Pin<&mut impl Future<Output = T>>,
    enter: impl FnOnce() -> Place,
) -> Result<T, GaveWay> {
    let mut enter = Some(enter);
    let mut place = None;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if let Some(enter) = enter.take() {
            place = Some(enter());
        }
        match &place {
            Some(place) => place.poll_gave_way(cx).map(Err),
            None => Poll::Pending,
        }
    })
    .await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
