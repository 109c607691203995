//! Requests that switch to WebSocket, which Wire's clients keep open: outside of SCIM only, where
//! `other_paths` forwards.
//!
//! The head was checked for it ([`downstream::upgrade`](super::downstream)). `handshake` asks the
//! backend, and if that agrees, Pingora's session ends without an answer and the connection
//! continues as a [`Tunnel`], which sends the backend's answer and copies bytes until one side, a
//! limit or the end of the process ends it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use http::HeaderValue;

use crate::refusal::Refusal;
use crate::rule::Rule;

use super::memory::Share;

mod handshake;
pub(super) mod metrics;
mod pipe;
mod tunnel;

pub(super) use tunnel::Tunnel;

/// The connections of a process that have switched, or ask the backend to.
#[derive(Debug, Default)]
pub struct Upgrades {
    open: AtomicUsize,
    switched: AtomicU64,
}

impl Upgrades {
    /// Room for one more, if there are fewer than `limit`.
    pub(super) fn enter(self: &Arc<Self>, limit: usize) -> Result<Slot, Refusal> {
        let slot = Slot(Arc::clone(self));
        if self.open.fetch_add(1, Ordering::Relaxed) < limit {
            return Ok(slot);
        }
        Err(Refusal::new(
            Rule::LimitsUpgrades,
            "The guard has as many connections switched to WebSocket as it may (limits.upgrades). Try again later.",
        ))
    }
}

/// Room for one of them.
#[derive(Debug)]
pub(super) struct Slot(Arc<Upgrades>);

impl Slot {
    /// Counts one that has switched.
    fn switched(&self) {
        self.0.switched.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a tunnel takes over from its request.
#[derive(Debug)]
pub(super) struct Switched {
    pub share: Share,
    pub request_id: HeaderValue,
    pub client: Option<IpAddr>,
    pub upstream: Option<SocketAddr>,
}
