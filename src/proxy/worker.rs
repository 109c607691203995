//! One thread of the running guard: it accepts from the shared listening sockets and keeps its
//! connections, with their backend connections, to itself, so that nothing of a request is handed
//! between threads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::server::ShutdownWatch;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::snapshot::Snapshots;

use super::Downstream;

/// A worker: a runtime of its own, and what it accepts and serves with.
pub(super) struct Worker<A> {
    runtime: Runtime,
    listeners: Vec<(SocketAddr, TcpListener)>,
    downstream: Arc<Downstream<A>>,
    stopping: ShutdownWatch,
    snapshots: Arc<Snapshots>,
}

impl<A> Worker<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// A worker that accepts from the same sockets as others, given with their configured addresses. Whatever it needs of the system is taken
    /// here, so that the start fails without.
    pub(super) fn new(
        listeners: &[(SocketAddr, std::net::TcpListener)],
        downstream: Downstream<A>,
        stopping: ShutdownWatch,
        snapshots: Arc<Snapshots>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let in_runtime = runtime.enter();
        let listeners = listeners
            .iter()
            .map(|(address, listener)| {
                Ok((*address, TcpListener::from_std(listener.try_clone()?)?))
            })
            .collect::<io::Result<_>>()?;
        drop(in_runtime);
        Ok(Self { runtime, listeners, downstream: Arc::new(downstream), stopping, snapshots })
    }

    /// Serves until the process is to stop and the last request is finished, or
    /// `limits.shutdown_timeout` is over.
    pub(super) fn run(self) {
        let Self { runtime, listeners, downstream, stopping, snapshots } = self;
        runtime.block_on(serve(listeners, downstream, stopping, &snapshots));
    }
}

async fn serve<A>(
    listeners: Vec<(SocketAddr, TcpListener)>,
    downstream: Arc<Downstream<A>>,
    stopping: ShutdownWatch,
    snapshots: &Snapshots,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    let (streams, mut accepted) = tokio::sync::mpsc::channel::<Accepted>(1);
    for (address, listener) in listeners {
        tokio::spawn(accept_all(listener, address, streams.clone(), stopping.clone()));
    }
    // The channel ends when every listener has stopped.
    drop(streams);
    loop {
        tokio::select! {
            stream = accepted.recv() => match stream {
                Some((stream, listener)) => {
                    let (downstream, stopping) = (Arc::clone(&downstream), stopping.clone());
                    connections.spawn(async move {
                        downstream.serve_accepted(stream, listener, &stopping).await;
                    });
                }
                None => break,
            },
            // Ended connections are let go.
            Some(_) = connections.join_next() => {}
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    let drain = snapshots.current().config.limits.shutdown_timeout;
    if tokio::time::timeout(drain, drained).await.is_err() {
        tracing::warn!("requests in flight were cut off at limits.shutdown_timeout");
    }
}

/// A connection, and the configured address of its listener.
type Accepted = (TcpStream, SocketAddr);

/// Accepts until the process is to stop.
async fn accept_all(
    listener: TcpListener,
    address: SocketAddr,
    streams: tokio::sync::mpsc::Sender<Accepted>,
    mut stopping: ShutdownWatch,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                if streams.send((stream, address)).await.is_err() {
                    return;
                }
            }
            // Most likely out of descriptors: the only remedy is to wait until some are freed.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // The kernel has accepted these already, and would reset them.
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, _)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream
                && streams.send((stream, address)).await.is_err()
            {
                return;
            }
        }
    }
}
