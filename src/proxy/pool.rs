//! Connections to the backend servers: opened, kept while they rest, and used again.
//!
//! One pool belongs to one worker, so that nothing of it is handed between threads.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pingora::protocols::Stream;
use pingora::{BError, Error, ErrorType, Result};
use tokio::net::TcpStream;

use crate::config::Limits;

use super::backend_conn::BackendConn;

/// Connections that rest, at most, for each server.
const MOST_RESTING: usize = 128;

/// Connections to the backend that rest until the next request.
#[derive(Debug)]
pub(super) struct Pool {
    connect_timeout: Duration,
    rest_at_most: Duration,
    resting: Mutex<Resting>,
}

#[derive(Debug, Default)]
struct Resting {
    /// The one that rests shortest is last, and is used first.
    conns: HashMap<SocketAddr, Vec<Rested>>,
    /// A task closes what rests too long.
    swept: bool,
}

#[derive(Debug)]
struct Rested {
    conn: Box<BackendConn>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            connect_timeout: limits.upstream_connect_timeout,
            rest_at_most: limits.upstream_idle_timeout,
            resting: Mutex::default(),
        })
    }

    /// A connection to this server: one that rests and is still open, or a new one.
    pub(super) async fn get(&self, server: SocketAddr) -> Result<Box<BackendConn>> {
        match self.take(server) {
            Some(conn) => Ok(conn),
            None => self.open(server).await.map(Box::new),
        }
    }

    fn take(&self, server: SocketAddr) -> Option<Box<BackendConn>> {
        let mut resting = self.resting();
        let conns = resting.conns.get_mut(&server)?;
        while let Some(Rested { conn, since }) = conns.pop() {
            if since.elapsed() < self.rest_at_most && conn.is_quiet() {
                return Some(conn);
            }
        }
        None
    }

    async fn open(&self, server: SocketAddr) -> Result<BackendConn> {
        let opened = tokio::time::timeout(self.connect_timeout, TcpStream::connect(server)).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        opened.and_then(|stream| BackendConn::new(stream, server)).map_err(cannot_connect)
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(super) fn keep(self: &Arc<Self>, stream: Stream) {
        let Ok(conn) = stream.into_any().downcast::<BackendConn>() else { return };
        if !conn.is_reusable() {
            return;
        }
        let mut resting = self.resting();
        let conns = resting.conns.entry(conn.server()).or_default();
        if conns.len() < MOST_RESTING {
            conns.push(Rested { conn, since: Instant::now() });
        }
        if !resting.swept {
            resting.swept = true;
            tokio::spawn(Self::sweep(Arc::clone(self)));
        }
    }

    /// Closes what rests too long, until nothing rests.
    async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.rest_at_most).await;
            let mut resting = self.resting();
            resting.conns.retain(|_, conns| {
                conns.retain(|rested| {
                    rested.since.elapsed() < self.rest_at_most && rested.conn.is_quiet()
                });
                !conns.is_empty()
            });
            if resting.conns.is_empty() {
                resting.swept = false;
                return;
            }
        }
    }

    fn resting(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cannot_connect(error: io::Error) -> BError {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            ErrorType::ConnectNoRoute
        }
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, "connecting to the backend", error).into_up()
}
