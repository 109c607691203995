//! What the codec of an HTTP/2 connection holds of an incomplete head: counted, and bounded in
//! time.
//!
//! SECURITY: the codec buffers up to `limits.header_bytes` of a head before any code of the guard
//! runs, and waits for its end without a deadline.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use tokio::time::Sleep;

use super::frames::Frames;
use crate::proxy::memory::{Connection, Kind, Place, Share};
use crate::tls::subject::SubjectName;

/// How often the connection checks whether memory has become available.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The heads of one connection.
pub(in crate::proxy) struct H2Heads {
    frames: Frames,
    share: Share,
    header_timeout: Duration,
    incomplete: Option<Incomplete>,
    digest: Option<Arc<ProxyDigest>>,
}

/// What requests can learn of the connection that they arrived on.
pub(in crate::proxy) struct H2Connection {
    /// Whose memory is taken.
    pub account: Arc<Connection>,
    /// Over TLS: the names of the client's verified certificate, none without one.
    pub tls: Option<Arc<[SubjectName]>>,
}

/// A head that has not arrived completely.
struct Incomplete {
    deadline: Pin<Box<Sleep>>,
    place: Place,
    again: Option<Pin<Box<Sleep>>>,
}

impl H2Heads {
    pub(in crate::proxy) fn new(
        connection: &Arc<Connection>,
        header_timeout: Duration,
        tls: Option<Arc<[SubjectName]>>,
    ) -> Self {
        let of_requests = H2Connection { account: Arc::clone(connection), tls };
        Self {
            frames: Frames::new(),
            share: Share::of_connection(connection),
            header_timeout,
            incomplete: None,
            digest: digest(of_requests),
        }
    }

    /// What requests can learn of the connection, in the form in which Pingora passes data from a
    /// connection to its requests.
    pub(in crate::proxy) fn digest(&self) -> Option<Arc<ProxyDigest>> {
        self.digest.clone()
    }

    /// Whether more may be read; an error ends the connection.
    pub(in crate::proxy) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(head) = &mut self.incomplete else { return Poll::Ready(Ok(())) };
        if head.deadline.as_mut().poll(cx).is_ready() || head.place.poll_gave_way(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        while self.share.lacks_room(Kind::Head) {
            let again =
                head.again.get_or_insert_with(|| Box::pin(tokio::time::sleep(RETRY_INTERVAL)));
            if again.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            head.again = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Processes bytes that were read.
    pub(in crate::proxy) fn pass(&mut self, bytes: &[u8]) {
        self.frames.pass(bytes);
        let held = self.frames.held();
        self.share.set(Kind::Head, held);
        if held == 0 {
            self.incomplete = None;
        } else if self.incomplete.is_none() {
            self.incomplete = Some(Incomplete {
                deadline: Box::pin(tokio::time::sleep(self.header_timeout)),
                place: self.share.stall(Instant::now()),
                again: None,
            });
        }
    }
}

fn digest(connection: H2Connection) -> Option<Arc<ProxyDigest>> {
    // Pingora requires a value here, but never reads it.
    let answer = ResponseHeader::build_no_case(200, None).ok()?;
    Some(Arc::new(ProxyDigest::new(Box::new(answer), Some(Box::new(connection)))))
}
