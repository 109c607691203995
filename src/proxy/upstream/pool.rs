//! Connections to the backend servers: opened, kept while they are idle, and reused.
//!
//! Each worker has its own pool, so that no connection moves between threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pingora::Result;
use pingora::protocols::Stream;

use crate::config::Limits;

use super::conn::{Arrived, BackendConn};
use super::dial::{Destination, Key};

/// Idle connections to each server.
const MAX_IDLE: usize = 128;

/// A server that closes a connection this soon after its answer should have announced it.
const SOON: Duration = Duration::from_secs(1);

/// How long connections to a server are not reused after it was seen to misuse one.
const DISTRUST_TIME: Duration = Duration::from_secs(30);

/// Connections to the backend that are idle until the next request.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    /// The most recently used connection is last, and is used first.
    conns: HashMap<Key, Vec<IdleConn>>,
    /// Servers whose connections are not kept, and until when.
    distrusted: HashMap<Key, Instant>,
    /// A task that closes connections that are idle too long.
    swept: bool,
}

impl Idle {
    /// Closes the connections to a server, and keeps none for a while.
    ///
    /// SECURITY: an answer that arrives after another request has been sent is taken for the answer
    /// to that request. A server that has been seen to send such answers, or to close when a
    /// request may be in flight, can do so only if a connection is reused.
    fn distrust(&mut self, server: Key, why: &str) {
        self.conns.remove(&server);
        self.distrusted.retain(|_, until| Instant::now() < *until);
        self.distrusted.insert(server, Instant::now() + DISTRUST_TIME);
        tracing::warn!(
            server = %server.0,
            "connections to a backend server are not used again for {} seconds: {why}",
            DISTRUST_TIME.as_secs()
        );
    }

    fn distrusts(&self, server: Key) -> bool {
        self.distrusted.get(&server).is_some_and(|until| Instant::now() < *until)
    }
}

#[derive(Debug)]
struct IdleConn {
    conn: Box<BackendConn>,
    since: Instant,
    until: Instant,
}

impl Pool {
    /// A connection to this server: an idle one that is still open, or a new one.
    pub(in crate::proxy) async fn get(
        &self,
        server: &Destination,
        limits: &Limits,
    ) -> Result<Box<BackendConn>> {
        match self.take(server.key(), limits) {
            Some(conn) => Ok(conn),
            None => open(server, limits).await,
        }
    }

    fn take(&self, server: Key, limits: &Limits) -> Option<Box<BackendConn>> {
        let mut idle = self.idle();
        let conns = idle.conns.get_mut(&server)?;
        while let Some(IdleConn { mut conn, since, .. }) = conns.pop() {
            let age = since.elapsed();
            match conn.arrived() {
                Arrived::Nothing if age < limits.upstream_idle_timeout => return Some(conn),
                Arrived::Bytes => {
                    idle.distrust(server, "it sends bytes without a request");
                    return None;
                }
                Arrived::End if age < SOON => {
                    idle.distrust(server, "it closes connections without announcing it");
                    return None;
                }
                Arrived::Nothing | Arrived::End => {}
            }
        }
        None
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(in crate::proxy) fn keep(self: &Arc<Self>, stream: Stream, limits: &Limits) {
        let Ok(mut conn) = stream.into_any().downcast::<BackendConn>() else { return };
        if !conn.make_reusable() {
            return;
        }
        let mut idle = self.idle();
        if idle.distrusts(conn.server()) {
            return;
        }
        let conns = idle.conns.entry(conn.server()).or_default();
        if conns.len() < MAX_IDLE {
            let since = Instant::now();
            conns.push(IdleConn { conn, since, until: since + limits.upstream_idle_timeout });
        }
        if !idle.swept {
            idle.swept = true;
            tokio::spawn(Self::sweep(Arc::clone(self), limits.upstream_idle_timeout));
        }
    }

    /// Closes connections that are idle too long, until none is idle.
    async fn sweep(self: Arc<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let mut idle = self.idle();
            idle.conns.retain(|_, conns| {
                conns.retain_mut(|conn| {
                    Instant::now() < conn.until && conn.conn.arrived() == Arrived::Nothing
                });
                !conns.is_empty()
            });
            if idle.conns.is_empty() {
                idle.swept = false;
                return;
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new connection to this server.
pub(in crate::proxy) async fn open(
    server: &Destination,
    limits: &Limits,
) -> Result<Box<BackendConn>> {
    let io = server.connect(limits.upstream_connect_timeout).await?;
    Ok(Box::new(BackendConn::new(io, server.key())))
}
