//! What the codec of an HTTP/2 connection holds of a head that has not come to its end: counted,
//! and bounded in time.
//!
//! SECURITY: the codec gathers up to `limits.header_bytes` of a head before anything of the guard
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
use crate::proxy::budget::{Connection, Kind, Place, Share};

/// How often it is looked whether there is room for more.
const AGAIN: Duration = Duration::from_millis(100);

/// The heads of one connection.
pub(in crate::proxy) struct H2Heads {
    frames: Frames,
    share: Share,
    header_timeout: Duration,
    under_way: Option<UnderWay>,
    digest: Option<Arc<ProxyDigest>>,
}

/// A head of which some is still to come.
struct UnderWay {
    deadline: Pin<Box<Sleep>>,
    place: Place,
    again: Option<Pin<Box<Sleep>>>,
}

impl H2Heads {
    pub(in crate::proxy) fn new(connection: &Arc<Connection>, header_timeout: Duration) -> Self {
        Self {
            frames: Frames::behind_preface(),
            share: Share::of_connection(connection),
            header_timeout,
            under_way: None,
            digest: digest(Arc::clone(connection)),
        }
    }

    /// The connection's account, in the form in which Pingora hands something on from a connection
    /// to the requests on it.
    pub(in crate::proxy) fn digest(&self) -> Option<Arc<ProxyDigest>> {
        self.digest.clone()
    }

    /// Whether more may be read; an error ends the connection.
    pub(in crate::proxy) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(head) = &mut self.under_way else { return Poll::Ready(Ok(())) };
        if head.deadline.as_mut().poll(cx).is_ready() || head.place.poll_gave_way(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        while self.share.lacks_room(Kind::Head) {
            let again = head.again.get_or_insert_with(|| Box::pin(tokio::time::sleep(AGAIN)));
            if again.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            head.again = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes note of bytes that came.
    pub(in crate::proxy) fn pass(&mut self, bytes: &[u8]) {
        self.frames.pass(bytes);
        let held = self.frames.held();
        self.share.set(Kind::Head, held);
        if held == 0 {
            self.under_way = None;
        } else if self.under_way.is_none() {
            self.under_way = Some(UnderWay {
                deadline: Box::pin(tokio::time::sleep(self.header_timeout)),
                place: self.share.stall(Instant::now()),
                again: None,
            });
        }
    }
}

fn digest(connection: Arc<Connection>) -> Option<Arc<ProxyDigest>> {
    // Pingora has it hold an answer, which nobody looks at.
    let answer = ResponseHeader::build_no_case(200, None).ok()?;
    Some(Arc::new(ProxyDigest::new(Box::new(answer), Some(Box::new(connection)))))
}
