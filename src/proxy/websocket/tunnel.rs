//! A connection that has switched to WebSocket: bytes are copied in both directions without being
//! inspected.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep};

use crate::config::Limits;
use crate::logging::{self, AccessLog};
use crate::proxy::memory::Kind;
use crate::proxy::upstream::conn::BackendConn;
use crate::proxy::upstream::io::Io;

use super::pipe::{Broken, Pipe};
use super::{Slot, Switched};

/// How long a tunnel may continue while the process is stopping; half of `limits.shutdown_timeout`
/// if that is less.
const DRAIN: Duration = Duration::from_secs(5);

/// How long one direction may continue after the other has ended.
const HALF_CLOSED: Duration = Duration::from_secs(5);

/// How long closing the connection to the backend may take.
const CLOSING: Duration = Duration::from_secs(1);

/// A connection to the backend that has switched, for the client's connection to continue with.
pub(in crate::proxy) struct Tunnel {
    backend: Io,
    to_backend: Pipe,
    to_client: Pipe,
    request: Switched,
    _slot: Slot,
}

/// SECURITY: the buffers contain messages of users.
impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("request", &self.request).finish_non_exhaustive()
    }
}

/// Who or what ended a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndedBy {
    Client,
    Backend,
    /// No byte arrived within `limits.upgrade_idle_timeout`.
    Idle,
    /// The process is stopping.
    Stopping,
    /// Others needed the memory of data that one side did not read.
    Memory,
}

impl EndedBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Idle => "idle",
            Self::Stopping => "stopping",
            Self::Memory => "memory",
        }
    }
}

impl Tunnel {
    /// `first`: what the client receives first, which is the backend's answer.
    pub(super) fn new(
        backend: BackendConn,
        mut first: BytesMut,
        request: Switched,
        slot: Slot,
    ) -> Self {
        let (backend, rest) = backend.into_stream();
        first.unsplit(rest);
        let (to_backend, to_client) = (Pipe::default(), Pipe::new(first));
        Self { backend, to_backend, to_client, request, _slot: slot }
    }

    /// Copies until one side, a limit or the end of the process ends it, and logs that.
    pub(in crate::proxy) async fn run<C>(
        mut self: Box<Self>,
        client: &mut C,
        limits: &Limits,
        access: &AccessLog,
        stopping: ShutdownWatch,
    ) where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let began = Instant::now();
        let ended_by = tokio::select! {
            biased;
            ended_by = self.copy(client, limits.upgrade_idle_timeout) => ended_by,
            () = drained(stopping, limits) => EndedBy::Stopping,
        };
        let _ = tokio::time::timeout(CLOSING, self.backend.shutdown()).await;
        access.write_tunnel(&logging::Tunnel {
            level: "Info",
            msgs: ["tunnel"],
            request_id: self.request.request_id.to_str().unwrap_or("-"),
            ended_by: ended_by.as_str(),
            duration: began.elapsed(),
            bytes_in: self.to_backend.copied(),
            bytes_out: self.to_client.copied(),
            client: self.request.client,
            upstream: self.request.upstream,
        });
    }

    async fn copy<C>(&mut self, client: &mut C, idle: Duration) -> EndedBy
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let mut watch = Watch { idle, copied: 0, moved: Instant::now(), half_closed: None };
        let mut timer = pin!(tokio::time::sleep(idle));
        let mut stalled = None;
        poll_fn(|cx| {
            let Self { backend, to_backend, to_client, request, .. } = self;
            let up = to_backend.poll_copy(cx, client, backend);
            let down = to_client.poll_copy(cx, backend, client);
            let ended_by = match (&up, &down) {
                (Poll::Ready(Err(Broken::Reader)), _) | (_, Poll::Ready(Err(Broken::Writer))) => {
                    return Poll::Ready(EndedBy::Client);
                }
                (Poll::Ready(Err(Broken::Writer)), _) | (_, Poll::Ready(Err(Broken::Reader))) => {
                    return Poll::Ready(EndedBy::Backend);
                }
                (Poll::Pending, Poll::Pending) => None,
                (Poll::Ready(_), _) => Some(EndedBy::Client),
                (_, Poll::Ready(_)) => Some(EndedBy::Backend),
            };
            watch.note(to_backend.copied() + to_client.copied(), ended_by);
            if let (true, Some((_, ended_by))) =
                (up.is_ready() && down.is_ready(), watch.half_closed)
            {
                return Poll::Ready(ended_by);
            }
            let held = to_backend.held() + to_client.held();
            request.share.set(Kind::Answer, held);
            if held == 0 {
                stalled = None;
            } else {
                let stalled =
                    stalled.get_or_insert_with(|| request.share.stall(std::time::Instant::now()));
                if stalled.poll_gave_way(cx).is_ready() {
                    return Poll::Ready(EndedBy::Memory);
                }
            }
            watch.poll_over(cx, timer.as_mut())
        })
        .await
    }
}

/// How long a tunnel has been in its current state.
struct Watch {
    idle: Duration,
    copied: u64,
    /// When a byte was copied last.
    moved: Instant,
    /// When one side ended, and which.
    half_closed: Option<(Instant, EndedBy)>,
}

impl Watch {
    fn note(&mut self, copied: u64, ended_by: Option<EndedBy>) {
        if copied != self.copied {
            self.copied = copied;
            self.moved = Instant::now();
        }
        if let (None, Some(ended_by)) = (self.half_closed, ended_by) {
            self.half_closed = Some((Instant::now(), ended_by));
        }
    }

    /// Ready when the tunnel has been idle, or closed in one direction, for too long.
    fn poll_over(&self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<EndedBy> {
        let (end, ended_by) = match self.half_closed {
            Some((since, ended_by)) => (since + HALF_CLOSED, ended_by),
            None => (self.moved + self.idle, EndedBy::Idle),
        };
        // The timer is moved only when it fires, so that copied bytes do not reset it.
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(ended_by);
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

/// Waits until the process is stopping, and then a while longer.
async fn drained(mut stopping: ShutdownWatch, limits: &Limits) {
    // The sender lives as long as the process serves.
    let _ = stopping.wait_for(|stop| *stop).await;
    tokio::time::sleep(DRAIN.min(limits.shutdown_timeout / 2)).await;
}
