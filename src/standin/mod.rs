//! An embedded stand-in for a Wire backend: its SCIM API and what provisioning needs of the rest
//! (login, tokens), in memory, with Wire's quirks.
//!
//! For trying and testing only: it keeps nothing, trusts everybody who knows the demo password, and
//! serves one team. It shares no code with the guard in front of it, so that the two readings of the
//! same contract can be held against each other.

mod discovery;
mod http;
mod login;
pub mod reading;
mod render;
mod router;
mod scim;
mod store;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::release::Release;

pub use http::{Request, Response};
pub use login::{ADMIN_EMAIL, ADMIN_PASSWORD};
pub use store::{GROUP_ID, USER_ID};

/// A SCIM token of the demo team, which knows its users by their email address.
pub const TOKEN: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A SCIM token that is associated with an identity provider.
pub const SAML_TOKEN: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// The stand-in without a network: requests in, responses out.
#[derive(Debug)]
pub struct Wire(Mutex<store::Store>);

impl Wire {
    /// A backend of the newest release with one user ([`USER_ID`]) and one group ([`GROUP_ID`]).
    pub fn new() -> Self {
        Self::of_release(Release::NEWEST)
    }

    /// The same, reading as a release does.
    pub fn of_release(release: Release) -> Self {
        Self(Mutex::new(store::Store::with_samples(release)))
    }

    /// Adds a user with this id, for requests that name one.
    pub fn add_user(&self, id: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add_sample(id);
    }

    /// Answers one request.
    pub fn handle(&self, request: &Request) -> Response {
        // A panic in another request leaves the store as it was before or after one change.
        let mut store = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        router::answer(&mut store, request)
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self::new()
    }
}

/// A stand-in that listens, on a thread of its own. It stops when it is dropped.
#[derive(Debug)]
pub struct Standin {
    addr: SocketAddr,
    wire: Arc<Wire>,
    connections: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Standin {
    /// Starts to listen, reading as the newest release does; port 0 takes a free port.
    pub fn start(listen: SocketAddr) -> io::Result<Self> {
        Self::of_release(listen, Release::NEWEST)
    }

    /// The same, reading as a release does.
    pub fn of_release(listen: SocketAddr, release: Release) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(listen))?;
        let addr = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let wire = Arc::new(Wire::of_release(release));
        let (counter, served) = (Arc::clone(&connections), Arc::clone(&wire));
        let thread = std::thread::Builder::new().name("standin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = http::listen(listener, served, counter) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { addr, wire, connections, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves for as long as the process lives.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// What answers there.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
