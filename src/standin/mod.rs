//! An embedded stand-in for a Wire backend: its SCIM API and the rest of the API that provisioning needs
//! (login, tokens), in memory, with Wire's peculiarities.
//!
//! For trials and tests only: it stores nothing on disk, accepts the demo password, and serves one team. It shares
//! no code with the guard in front of it, so that tests can compare two independent implementations of the same
//! contract.

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

/// A SCIM token of the demo team, whose users are identified by their email address.
pub const TOKEN: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A SCIM token that is associated with an identity provider.
pub const SAML_TOKEN: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// The stand-in without a network.
#[derive(Debug)]
pub struct Wire(Mutex<store::Store>);

impl Wire {
    /// A backend of the newest release with one user ([`USER_ID`]) and one group ([`GROUP_ID`]).
    pub fn new() -> Self {
        Self::of_release(Release::NEWEST)
    }

    /// The same, for a given release.
    pub fn of_release(release: Release) -> Self {
        Self(Mutex::new(store::Store::with_samples(release)))
    }

    /// Adds a user with this id.
    pub fn add_user(&self, id: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add_sample(id);
    }

    /// Answers one request.
    pub fn handle(&self, request: &Request) -> Response {
        // A poisoned lock is usable: a panic cannot leave a change half done.
        let mut store = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        router::answer(&mut store, request)
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self::new()
    }
}

/// A listening stand-in, on its own thread. It stops when it is dropped.
#[derive(Debug)]
pub struct Standin {
    addr: SocketAddr,
    wire: Arc<Wire>,
    connections: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Standin {
    /// Starts to listen, as the newest release; port 0 takes a free port.
    pub fn start(listen: SocketAddr) -> io::Result<Self> {
        Self::of_release(listen, Release::NEWEST)
    }

    /// The same, for a given release.
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

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// The stand-in that answers there.
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
