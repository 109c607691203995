//! The memory that clients can make the guard hold: bounded for all of them together, for each
//! address and for each connection.
//!
//! A `Share` is what one request holds. When memory is short, the requests that have waited longest
//! for their client give way first (`stalled`), so that clients that hold memory without using it
//! cannot deny service to others.

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

/// Memory that an HTTP/2 request itself takes, and that each of its headers takes in addition to
/// its text, in bytes: measured and rounded up.
const STREAM: usize = 16 * 1024;
const HEADER: usize = 128;

/// The most memory that one request takes in addition to its body: its head, a piece of the answer,
/// and the buffer of the answer's reader.
const ONE_REQUEST: usize = 256 * 1024;

/// The text of a header is held by both the codec and the parsed request.
const COPIES: usize = 2;

/// How many refused HTTP/2 streams may wait at a time for their client to take the answer. Further
/// ones are reset immediately if their client takes no answer.
const LINGERING: usize = 256;

/// Limits on requests that wait for memory after their head or body has arrived: in total, of those
/// with an unknown token or an unfinished head, and for each connection.
const MAX_WAITING: usize = 1024;
const MAX_WAITING_UNKNOWN: usize = MAX_WAITING / 2;
const MAX_WAITING_OF_CONNECTION: usize = 4;

/// What memory is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Request heads, and the memory of each HTTP/2 stream.
    Head,
    Body,
    /// Parts of the backend's answers that the clients have not read yet.
    Answer,
    /// HTTP/2 requests with a body that is forwarded without being judged; Pingora buffers them.
    Stream,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Head, Self::Body, Self::Answer, Self::Stream];

    pub fn as_str(self) -> &'static str {
        ["head", "body", "answer", "stream"][self as usize]
    }
}

/// The memory of an HTTP/2 request without its body, in bytes.
pub(super) fn of_stream(head: &RequestHeader) -> usize {
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        HEADER + COPIES * (name.as_str().len() + value.len())
    };
    STREAM + head.headers.iter().map(header).sum::<usize>()
}

/// The bounds of what may be held, in bytes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    total: usize,
    /// Everything except heads, so that a request without a body is not refused because of other
    /// requests' bodies.
    data: usize,
    /// The same for requests whose token is not known to be valid.
    unknown_data: usize,
    /// The part of it that bodies may take.
    unknown_bodies: usize,
    /// [`Kind::Stream`].
    streams: usize,
    /// For each address: unknown tokens together with all heads, and known tokens.
    address: usize,
    /// Heads of common size may exceed `address` by this much.
    address_reserve: usize,
    unknown_address: usize,
    connection: usize,
}

impl Bounds {
    fn of(limits: &Limits) -> Self {
        let total = limits.buffered_bytes;
        // Every bound has room for one request of the largest size.
        let one = limits.body.saturating_add(ONE_REQUEST);
        let share = |bytes: usize| bytes.max(one).min(total);
        Self {
            total,
            data: share(total / 4 * 3),
            unknown_data: share(total / 16 * 9),
            unknown_bodies: share(total / 8 * 3),
            streams: share(total / 4),
            address: share(total / 2),
            address_reserve: total / 16,
            unknown_address: share(total / 16 * 3),
            connection: share(total / 8),
        }
    }
}

/// The memory that all requests may hold together.
///
/// SECURITY: without it, connections times the body limit is what clients can make the guard hold.
/// Only bytes that have arrived count, so that announcing a body takes nothing from other clients.
#[derive(Debug)]
pub struct Budget {
    bounds: ArcSwap<Bounds>,
    used: [AtomicUsize; Kind::ALL.len()],
    unknown_bodies: AtomicUsize,
    addresses: Addresses,
    stalled: Stalled,
    /// Requests that wait for memory.
    waiting: AtomicUsize,
    /// Those of them whose head or body has arrived.
    waiting_received: AtomicUsize,
    waiting_unknown: AtomicUsize,
    freed: Notify,
    lingering: AtomicUsize,
    refused: [AtomicU64; Kind::ALL.len()],
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            bounds: ArcSwap::from_pointee(Bounds::of(limits)),
            used: Default::default(),
            unknown_bodies: AtomicUsize::new(0),
            addresses: Addresses::default(),
            stalled: Stalled::default(),
            waiting: AtomicUsize::new(0),
            waiting_received: AtomicUsize::new(0),
            waiting_unknown: AtomicUsize::new(0),
            freed: Notify::new(),
            lingering: AtomicUsize::new(0),
            refused: Default::default(),
        })
    }

    /// The account of a new connection. `address`: whose memory it is; none if the peer is a proxy
    /// for many clients.
    pub(super) fn connection(self: &Arc<Self>, address: Option<IpAddr>) -> Arc<Connection> {
        let address = address.map(|address| self.addresses.get(address));
        let (used, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Connection { budget: Arc::clone(self), address, used, waiting })
    }

    /// Applies the limits of another configuration. Memory that is already held stays held.
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

    /// How many requests were refused or aborted because there was no memory for them.
    pub fn refused(&self, kind: Kind) -> u64 {
        self.refused[kind as usize].load(Ordering::Relaxed)
    }

    /// A place for a refused stream that waits for its client to read the answer.
    pub(super) fn linger(self: &Arc<Self>) -> Option<Lingering> {
        let lingering = Lingering(Arc::clone(self));
        (self.lingering.fetch_add(1, Ordering::Relaxed) < LINGERING).then_some(lingering)
    }

    /// Counts a request for which there is no memory.
    pub(super) fn refuse(&self, kind: Kind) -> Refusal {
        self.refused[kind as usize].fetch_add(1, Ordering::Relaxed);
        refusal()
    }
}

/// The refusal of a request for which there is no memory.
pub(super) fn refusal() -> Refusal {
    Refusal::new(
        Rule::LimitsBufferedBytes,
        "The guard holds as much of requests and answers as it may (limits.buffered_bytes), for all clients, for \
         this address or for this connection; or the client kept it waiting while others needed the memory. Try \
         again later.",
    )
}

/// The error of a request for which there is no memory, when it was forwarded already or is about
/// to be.
const SHORT: ErrorType = ErrorType::Custom("no memory for the request");

pub(super) fn is_short(error: &Error) -> bool {
    error.etype() == &SHORT
}

pub(super) fn short() -> BError {
    Error::new(SHORT)
}

/// A refused stream that waits for its client to read the answer.
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
    /// Requests that wait for memory after their head or body has arrived.
    waiting: AtomicUsize,
}

impl Connection {
    /// Registers the connection as waiting for its client, which reads nothing.
    pub(super) fn stall(self: &Arc<Self>) -> Place {
        self.budget.stalled.enter(stalled::Waiter::of_connection(self))
    }
}

/// Which bound was reached.
#[derive(Debug)]
enum Shortage {
    Total,
    Data,
    Streams,
    UnknownBodies,
    Address(Arc<Address>),
    KnownAddress(Arc<Address>),
    UnknownAddress(Arc<Address>),
    Connection(Arc<Connection>),
}
