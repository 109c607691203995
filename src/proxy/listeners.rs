//! The listening sockets, which open and close while the guard runs.
//!
//! Workers accept from the same sockets, and learn here which ones exist. A connection belongs to
//! the socket that accepted it: it is asked to end when that socket is closed.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pingora::server::ShutdownWatch;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

use crate::snapshot::Snapshot;

/// The length of the accept queue: a burst of clients is not rejected.
pub(super) const BACKLOG: i32 = 4096;

/// Whether workers accept from a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepting {
    Yes,
    /// Closed. Connections that the kernel has accepted already are served, as they would be reset
    /// otherwise.
    Draining,
    /// Not any more: another process accepts from the same socket.
    HandedOver,
}

/// The last snapshot whose configuration has a listener, once there is a later one: connections
/// that were accepted before are served by it.
pub(super) type LastSnapshot = Arc<OnceLock<Arc<Snapshot>>>;

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listening {
    /// The address as configured; the port may be 0.
    address: SocketAddr,
    /// `None`: it is closed, and stays open only while a worker takes the rest of its queue.
    /// Otherwise the kernel would go on accepting connections that are never served.
    socket: Mutex<Option<TcpListener>>,
    accepting: watch::Sender<Accepting>,
    /// Becomes true when the connections of this socket are to end; replaced when that applies only
    /// to connections that are open now.
    closing: Mutex<watch::Sender<bool>>,
    last: LastSnapshot,
}

impl Listening {
    pub(super) fn new(address: SocketAddr, socket: TcpListener) -> Arc<Self> {
        let (accepting, closing) = (watch::Sender::new(Accepting::Yes), watch::Sender::new(false));
        let closing = Mutex::new(closing);
        let socket = Mutex::new(Some(socket));
        Arc::new(Self { address, socket, accepting, closing, last: LastSnapshot::default() })
    }

    /// Binds a new socket.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Arc<Self>> {
        Ok(Self::new(address, bind(address)?))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket()?.local_addr()
    }

    /// The same socket, for a worker that accepts from it.
    pub(super) fn socket(&self) -> io::Result<TcpListener> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket.as_ref().ok_or(io::ErrorKind::NotConnected)?.try_clone()
    }

    pub(super) fn accepting(&self) -> watch::Receiver<Accepting> {
        self.accepting.subscribe()
    }

    /// Becomes true when a connection that begins now is to end. It has to be taken before the
    /// connection takes its snapshot, so that a later snapshot that ends connections ends this one
    /// as well.
    pub(super) fn closing(&self) -> ShutdownWatch {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).subscribe()
    }

    /// Ends the connections that are open, after their current requests.
    pub(super) fn end_connections(&self) {
        let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *closing, watch::Sender::new(false)).send_replace(true);
    }

    /// For connections that begin when the current snapshot may no longer have this listener.
    pub(super) fn last(&self) -> LastSnapshot {
        Arc::clone(&self.last)
    }

    fn close(&self, how: Accepting) {
        drop(self.socket.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.accepting.send_replace(how);
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).send_replace(true);
    }
}

/// All listening sockets.
#[derive(Debug)]
pub(super) struct Listeners {
    open: watch::Sender<Vec<Arc<Listening>>>,
    /// The process is stopping: nothing is opened any more.
    closed: AtomicBool,
}

impl Listeners {
    pub(super) fn new(open: Vec<Arc<Listening>>) -> Self {
        Self { open: watch::Sender::new(open), closed: AtomicBool::new(false) }
    }

    pub(super) fn open(&self) -> Vec<Arc<Listening>> {
        self.open.borrow().clone()
    }

    /// Changes whenever a socket is opened or closed.
    pub(super) fn subscribe(&self) -> watch::Receiver<Vec<Arc<Listening>>> {
        self.open.subscribe()
    }

    /// Opens sockets for those of these addresses that have none, or returns why that fails. No
    /// connection is accepted from them before [`Listeners::replace`].
    pub(super) fn prepare(
        &self,
        addresses: &[SocketAddr],
    ) -> Result<Vec<Arc<Listening>>, Vec<String>> {
        let open = self.open();
        let mut errors = Vec::new();
        let mut next = Vec::new();
        for address in addresses {
            match open.iter().find(|listening| listening.address == *address) {
                Some(listening) => next.push(Arc::clone(listening)),
                None => match Listening::bind(*address) {
                    Ok(listening) => next.push(listening),
                    Err(error) => errors.push(cannot_listen(*address, &error, &open)),
                },
            }
        }
        if errors.is_empty() { Ok(next) } else { Err(errors) }
    }

    /// Sets the last snapshot of the sockets that are about to be closed.
    pub(super) fn retire(&self, next: &[Arc<Listening>], last: &Arc<Snapshot>) {
        for closed in self.open().iter().filter(|old| lacks(next, old)) {
            let _ = closed.last.set(Arc::clone(last));
        }
    }

    /// Accepts from these sockets from now on, and closes the others.
    pub(super) fn replace(&self, next: &[Arc<Listening>]) {
        let mut before = Vec::new();
        let replaced = self.open.send_if_modified(|open| {
            let may_open = !self.closed.load(Ordering::Relaxed);
            if may_open {
                before = std::mem::replace(open, next.to_vec());
            }
            may_open
        });
        if !replaced {
            return;
        }
        for closed in before.iter().filter(|old| lacks(next, old)) {
            tracing::info!(address = %closed.address, "a listener is closed");
            closed.close(Accepting::Draining);
        }
        for opened in next.iter().filter(|new| lacks(&before, new)) {
            tracing::info!(address = %opened.address, "a listener is open");
        }
    }

    /// Closes all sockets for good.
    pub(super) fn close(&self, how: Accepting) {
        let mut before = Vec::new();
        self.open.send_modify(|open| {
            self.closed.store(true, Ordering::Relaxed);
            before = std::mem::take(open);
        });
        for listening in before {
            listening.close(how);
        }
    }
}

fn lacks(all: &[Arc<Listening>], one: &Arc<Listening>) -> bool {
    !all.iter().any(|other| Arc::ptr_eq(one, other))
}

fn cannot_listen(address: SocketAddr, error: &io::Error, open: &[Arc<Listening>]) -> String {
    let same_port = open.iter().find(|other| other.address.port() == address.port());
    let hint = match same_port {
        Some(other) if error.kind() == io::ErrorKind::AddrInUse => format!(
            "; {} is open in this process and may take the same port: a restart can replace one by the other",
            other.address
        ),
        _ => String::new(),
    };
    format!("listen: cannot listen on {address}: {error}{hint}")
}

/// Binds a listening socket so that it can be bound again immediately after a restart.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn only_connections_that_are_open_are_ended() {
        let listening = Listening::bind(any()).unwrap();
        let before = listening.closing();
        listening.end_connections();
        let after = listening.closing();
        assert_eq!((*before.borrow(), *after.borrow()), (true, false));
        listening.close(Accepting::Draining);
        assert!(*after.borrow() && *listening.closing().borrow());
    }

    #[test]
    fn an_address_that_cannot_be_bound_leaves_everything_open() {
        let first = Listening::bind(any()).unwrap();
        let listeners = Listeners::new(vec![Arc::clone(&first)]);
        let taken = bind(any()).unwrap().local_addr().unwrap();
        let holder = bind(taken).unwrap();
        let errors = listeners.prepare(&[first.address(), taken]).unwrap_err();
        assert!(
            errors[0].starts_with(&format!("listen: cannot listen on {taken}: ")),
            "{errors:?}"
        );
        drop(holder);
        let next = listeners.prepare(&[taken]).unwrap();
        assert_eq!(*first.accepting().borrow(), Accepting::Yes);
        listeners.replace(&next);
        assert_eq!(*first.accepting().borrow(), Accepting::Draining);
        assert_eq!(listeners.open()[0].address(), taken);
        listeners.close(Accepting::HandedOver);
        listeners.replace(&[first]);
        assert!(listeners.open().is_empty());
    }
}
