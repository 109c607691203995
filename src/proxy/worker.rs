//! One thread of the running guard: it accepts from the shared listening sockets and serves its
//! connections, with their backend connections, itself, so that nothing of a request moves between
//! threads.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use pingora::apps::HttpServerApp;
use pingora::server::ShutdownWatch;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::accept::{LACK_INTERVAL, accept};
use crate::logging::Limited;
use crate::snapshot::Snapshots;

use super::Downstream;
use super::listeners::{Accepting, LastSnapshot, Listeners, Listening};

/// The maximum number of connections that are taken from the kernel's queue when a socket is
/// closed.
const MAX_QUEUED: usize = 4096;

/// A new connection.
struct Accepted {
    stream: TcpStream,
    /// The configured address of its listener.
    listener: SocketAddr,
    /// Becomes true when it is to end.
    closing: ShutdownWatch,
    last: LastSnapshot,
}

impl Accepted {
    fn new(stream: TcpStream, listening: &Listening) -> Self {
        let (closing, last) = (listening.closing(), listening.last());
        Self { stream, listener: listening.address(), closing, last }
    }
}

/// A worker: its runtime, and what it accepts and serves with.
pub(super) struct Worker<A> {
    runtime: Runtime,
    /// The sockets that are open at the start, for this worker.
    sockets: Vec<(Arc<Listening>, StdListener)>,
    open: watch::Receiver<Vec<Arc<Listening>>>,
    downstream: Arc<Downstream<A>>,
    stopping: ShutdownWatch,
    snapshots: Arc<Snapshots>,
}

impl<A> Worker<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// A worker that accepts from the same sockets as others, with the configured addresses of
    /// these. All system resources that it needs are acquired here, so that the start fails if they
    /// are lacking.
    pub(super) fn new(
        listeners: &Listeners,
        downstream: Downstream<A>,
        stopping: ShutdownWatch,
        snapshots: Arc<Snapshots>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut open = listeners.subscribe();
        let sockets = open.borrow_and_update().clone().into_iter();
        let sockets = sockets.map(|listening| Ok((Arc::clone(&listening), listening.socket()?)));
        let sockets = sockets.collect::<io::Result<_>>()?;
        let downstream = Arc::new(downstream);
        Ok(Self { runtime, sockets, open, downstream, stopping, snapshots })
    }

    /// Serves until the process is stopping and the last request is finished, or
    /// `limits.shutdown_timeout` is over.
    pub(super) fn run(self) {
        let Self { runtime, sockets, open, downstream, stopping, snapshots } = self;
        runtime.block_on(serve(sockets, open, downstream, stopping, &snapshots));
    }
}

async fn serve<A>(
    sockets: Vec<(Arc<Listening>, StdListener)>,
    open: watch::Receiver<Vec<Arc<Listening>>>,
    downstream: Arc<Downstream<A>>,
    stopping: ShutdownWatch,
    snapshots: &Snapshots,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    let (streams, mut accepted) = mpsc::channel::<Accepted>(1);
    tokio::spawn(keep_accepting(sockets, open, streams, stopping));
    loop {
        tokio::select! {
            stream = accepted.recv() => match stream {
                Some(accepted) => {
                    let downstream = Arc::clone(&downstream);
                    let Accepted { stream, listener, closing, last } = accepted;
                    connections.spawn(async move {
                        downstream.serve_accepted(stream, listener, &last, &closing).await;
                    });
                }
                // Nothing is accepted any more.
                None => break,
            },
            // Connections that have ended are removed.
            Some(_) = connections.join_next() => {}
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    let drain = snapshots.current().config.limits.shutdown_timeout;
    if tokio::time::timeout(drain, drained).await.is_err() {
        tracing::warn!("requests in flight were cut off at limits.shutdown_timeout");
    }
}

/// Accepts from all sockets that are open, and from those that are opened later, until the process
/// is stopping.
async fn keep_accepting(
    sockets: Vec<(Arc<Listening>, StdListener)>,
    mut open: watch::Receiver<Vec<Arc<Listening>>>,
    streams: mpsc::Sender<Accepted>,
    mut stopping: ShutdownWatch,
) {
    let mut known = Vec::with_capacity(sockets.len());
    for (listening, socket) in sockets {
        known.push(Arc::clone(&listening));
        tokio::spawn(accept_all(listening, Some(socket), streams.clone()));
    }
    loop {
        tokio::select! {
            changed = open.changed() => if changed.is_err() { return },
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let now = open.borrow_and_update().clone();
        for listening in &now {
            if !known.iter().any(|known| Arc::ptr_eq(known, listening)) {
                tokio::spawn(accept_all(Arc::clone(listening), None, streams.clone()));
            }
        }
        known = now;
    }
}

/// Accepts from one socket until it is closed.
async fn accept_all(
    listening: Arc<Listening>,
    socket: Option<StdListener>,
    streams: mpsc::Sender<Accepted>,
) {
    let mut accepting = listening.accepting();
    let Some(socket) = registered(&listening, socket, &mut accepting).await else { return };
    let how = loop {
        let stream = tokio::select! {
            stream = accept(&socket) => stream,
            how = accepting.wait_for(|accepting| *accepting != Accepting::Yes) => {
                break how.map_or(Accepting::Draining, |how| *how);
            }
        };
        if streams.send(Accepted::new(stream, &listening)).await.is_err() {
            return;
        }
    };
    if how == Accepting::Draining {
        for stream in queued(socket) {
            if streams.send(Accepted::new(stream, &listening)).await.is_err() {
                return;
            }
        }
    }
}

/// The socket, in this worker's runtime. `None`: it was closed before there were resources for it.
async fn registered(
    listening: &Listening,
    socket: Option<StdListener>,
    accepting: &mut watch::Receiver<Accepting>,
) -> Option<TcpListener> {
    static LOGGED: Limited = Limited::new();
    let mut socket = socket.map_or_else(|| listening.socket(), Ok);
    while *accepting.borrow_and_update() == Accepting::Yes {
        match socket.and_then(TcpListener::from_std) {
            Ok(socket) => return Some(socket),
            Err(error) => {
                if LOGGED.is_due() {
                    let address = listening.address();
                    tracing::warn!(%address, %error, "a worker cannot accept from a new listener yet");
                }
                tokio::time::sleep(LACK_INTERVAL).await;
            }
        }
        socket = listening.socket();
    }
    None
}

/// Connections that the kernel has accepted already, and would reset when the socket is closed.
///
/// All of them are taken before any is served: clients that are served meanwhile would connect
/// again, and the queue would not become empty as long as they do.
fn queued(socket: TcpListener) -> Vec<TcpStream> {
    let Ok(socket) = socket.into_std() else { return Vec::new() };
    let accept = || socket.accept().ok().map(|(stream, _)| stream);
    let streams: Vec<_> = std::iter::from_fn(accept).take(MAX_QUEUED).collect();
    drop(socket);
    let registered = streams.into_iter().map(|stream| {
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    });
    registered.filter_map(io::Result::ok).collect()
}
