//! The memory that clients can make the guard hold: bounded for all of them together, for one
//! address and for one connection.
//!
//! A `Share` is what one request holds. When memory is short, requests that have waited for
//! their client longest give way first (`stalled`), so that those who hold memory without using
//! it cannot deny service to the others.

mod address;
mod share;
mod stalled;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use pingora::http::RequestHeader;
use pingora::{BError, Error, ErrorType};
use tokio::sync::Notify;

use crate::config::Limits;
use crate::refusal::Refusal;
use crate::rule::Rule;

use address::{Address, Addresses};
pub(super) use share::Share;
use stalled::Stalled;
pub(super) use stalled::{GaveWay, Place};

/// What a request of HTTP/2 takes of memory by itself, and each of its headers beside its text, in
/// bytes: measured, and rounded up.
const STREAM: usize = 16 * 1024;
const HEADER: usize = 128;

/// What one request takes beside its body, at most: its head, a piece of the answer, and what the
/// reader of the answer holds.
const ONE_REQUEST: usize = 256 * 1024;

/// The text of a header is held by the codec and by the parsed request.
const COPIES: usize = 2;

/// Refused HTTP/2 streams whose answer is waited for at one time; the rest are reset at once if
/// their client takes no answer.
const LINGERING: usize = 256;

/// Requests that wait for memory at one time with a head or a body that has come, how many of them may have
/// an unknown token or an unfinished head, and how many may be of one connection.
const WAITING: usize = 1024;
const WAITING_STRANGERS: usize = WAITING / 2;
const WAITING_OF_CONNECTION: usize = 4;

/// What memory is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Request heads, and what a stream of HTTP/2 takes by itself.
    Head,
    Body,
    /// What came of the backend's answers and was not taken by the clients yet.
    Answer,
    /// Requests of HTTP/2 with a body that pass unjudged; Pingora buffers for them.
    Stream,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Head, Self::Body, Self::Answer, Self::Stream];

    pub fn as_str(self) -> &'static str {
        ["head", "body", "answer", "stream"][self as usize]
    }
}

/// What a request of HTTP/2 takes without its body, in bytes.
pub(super) fn of_stream(head: &RequestHeader) -> usize {
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        HEADER + COPIES * (name.as_str().len() + value.len())
    };
    STREAM + head.headers.iter().map(header).sum::<usize>()
}

/// How much may be held, in bytes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    total: usize,
    /// All but heads, so that a request without a body is not refused for others' bodies.
    data: usize,
    /// The same for requests whose token is not known to be good.
    stranger_data: usize,
    /// Of that, bodies.
    strangers: usize,
    /// [`Kind::Stream`].
    streams: usize,
    /// Both for unknown tokens, with all heads, and for known ones.
    address: usize,
    /// Heads of common size may exceed `address` by so much.
    address_reserve: usize,
    stranger_address: usize,
    connection: usize,
}

impl Bounds {
    fn of(limits: &Limits) -> Self {
        let total = limits.buffered_bytes;
        // Every share has room for one request of any size.
        let one = limits.body.saturating_add(ONE_REQUEST);
        let share = |bytes: usize| bytes.max(one).min(total);
        Self {
            total,
            data: share(total / 4 * 3),
            stranger_data: share(total / 16 * 9),
            strangers: share(total / 8 * 3),
            streams: share(total / 4),
            address: share(total / 2),
            address_reserve: total / 16,
            stranger_address: share(total / 16 * 3),
            connection: share(total / 8),
        }
    }
}

/// The memory that all requests may take together.
///
/// SECURITY: without it, connections times the body limit is what clients can make the guard
/// hold. Only bytes that came count, so that announcing a body costs the others nothing.
#[derive(Debug)]
pub struct Budget {
    bounds: ArcSwap<Bounds>,
    used: [AtomicUsize; Kind::ALL.len()],
    strangers: AtomicUsize,
    addresses: Addresses,
    stalled: Stalled,
    /// Requests that wait for memory.
    waiting: AtomicUsize,
    /// Of those, requests that wait with a head or a body that has come.
    waiting_received: AtomicUsize,
    waiting_strangers: AtomicUsize,
    freed: Notify,
    lingering: AtomicUsize,
    refused: [AtomicU64; Kind::ALL.len()],
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            bounds: ArcSwap::from_pointee(Bounds::of(limits)),
            used: Default::default(),
            strangers: AtomicUsize::new(0),
            addresses: Addresses::default(),
            stalled: Stalled::default(),
            waiting: AtomicUsize::new(0),
            waiting_received: AtomicUsize::new(0),
            waiting_strangers: AtomicUsize::new(0),
            freed: Notify::new(),
            lingering: AtomicUsize::new(0),
            refused: Default::default(),
        })
    }

    /// The account of a new connection. `address`: whose memory it is, unless the peer is a proxy
    /// that stands for many clients.
    pub(super) fn connection(self: &Arc<Self>, address: Option<IpAddr>) -> Arc<Connection> {
        let address = address.map(|address| self.addresses.get(address));
        let (used, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Connection { budget: Arc::clone(self), address, used, waiting })
    }

    /// Takes the limits of another configuration. What is held already stays held.
    pub(super) fn configure(&self, limits: &Limits) {
        self.bounds.store(Arc::new(Bounds::of(limits)));
        self.freed.notify_waiters();
    }

    pub fn limit(&self) -> usize {
        self.bounds.load().total
    }

    pub fn used(&self, kind: Kind) -> usize {
        self.used[kind as usize].load(Ordering::Relaxed)
    }

    /// Requests that were refused, or given up, as there was no memory for them.
    pub fn refused(&self, kind: Kind) -> u64 {
        self.refused[kind as usize].load(Ordering::Relaxed)
    }

    /// A place for a refused stream that waits for its client to take the answer.
    pub(super) fn linger(self: &Arc<Self>) -> Option<Lingering> {
        let lingering = Lingering(Arc::clone(self));
        (self.lingering.fetch_add(1, Ordering::Relaxed) < LINGERING).then_some(lingering)
    }

    /// Counts a request that there is no memory for.
    pub(super) fn refuse(&self, kind: Kind) -> Refusal {
        self.refused[kind as usize].fetch_add(1, Ordering::Relaxed);
        refusal()
    }
}

/// The answer for a request that there is no memory for.
pub(super) fn refusal() -> Refusal {
    Refusal::new(
        Rule::LimitsBufferedBytes,
        "The guard holds as much of requests and answers as it may (limits.buffered_bytes), for all clients, for \
         this address or for this connection; or the client kept it waiting while others needed the memory. Try \
         again later.",
    )
}

/// The error of a request that was forwarded, or is about to be, and that there is no memory for.
const SHORT: ErrorType = ErrorType::Custom("no memory for the request");

pub(super) fn is_short(error: &Error) -> bool {
    error.etype() == &SHORT
}

pub(super) fn short() -> BError {
    Error::new(SHORT)
}

/// A refused stream whose answer is waited for.
pub(super) struct Lingering(Arc<Budget>);

impl Drop for Lingering {
    fn drop(&mut self) {
        self.0.lingering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one client connection holds.
#[derive(Debug)]
pub(super) struct Connection {
    budget: Arc<Budget>,
    address: Option<Arc<Address>>,
    used: AtomicUsize,
    /// Requests that wait for memory with a head or a body that has come.
    waiting: AtomicUsize,
}

impl Connection {
    /// Registers the connection as one that waits for its client, which takes nothing.
    pub(super) fn stall(self: &Arc<Self>) -> Place {
        self.budget.stalled.enter(stalled::Waiter::of_connection(self))
    }
}

/// Which bound was hit.
#[derive(Debug)]
enum Shortage {
    Total,
    Data,
    Streams,
    Strangers,
    Address(Arc<Address>),
    KnownAddress(Arc<Address>),
    StrangerAddress(Arc<Address>),
    Connection(Arc<Connection>),
}
