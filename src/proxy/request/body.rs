//! Reading a request body as a whole, within limits of size, time and memory, before any byte of
//! the request leaves for a backend.

use std::pin::pin;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use pingora::protocols::http::ServerSession;
use pingora::{BError, ErrorType};

use crate::config::Limits;
use crate::refusal::Refusal;
use crate::rule::Rule;

use crate::proxy::memory::{GaveWay, Kind, Share};

/// Why a body was not read.
#[derive(Debug)]
pub(in crate::proxy) enum Unread {
    /// The client gets an answer; the connection is closed after it.
    Refused(Refusal),
    /// The client has gone.
    Gone(BError),
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Reads the whole body. With `keep` off the bytes are read and discarded.
pub(in crate::proxy) async fn read(
    session: &mut ServerSession,
    limits: &Limits,
    share: &mut Share,
    keep: bool,
) -> Result<Bytes, Unread> {
    let reading = pin!(read_all(session, limits.body, share, keep));
    match tokio::time::timeout(limits.body_timeout.min(limits.request_timeout), reading).await {
        Ok(read) => read,
        Err(_) => Err(too_slow().into()),
    }
}

async fn read_all(
    session: &mut ServerSession,
    limit: usize,
    share: &mut Share,
    keep: bool,
) -> Result<Bytes, Unread> {
    let mut only = Bytes::new();
    let mut gathered = BytesMut::new();
    let mut total = 0;
    let mut began = Instant::now();
    loop {
        let next = share.unless_short(Some(began), pin!(next_chunk(session))).await;
        let next = next.map_err(|GaveWay| share.refuse(Kind::Body))?;
        let Some(chunk) = next? else { break };
        total += chunk.len();
        if total > limit {
            return Err(crate::body::too_large(limit).into());
        }
        if keep {
            // Time spent waiting for memory does not count against the client.
            began += share.grow(Kind::Body, chunk.len()).await?;
            // A body that arrives in one piece, as most do, is not copied.
            if total == chunk.len() {
                only = chunk;
            } else {
                if gathered.is_empty() {
                    gathered.reserve((2 * total).min(limit));
                    gathered.extend_from_slice(&std::mem::take(&mut only));
                }
                gathered.extend_from_slice(&chunk);
            }
        }
        if session.is_body_done() {
            break;
        }
    }
    Ok(if gathered.is_empty() { only } else { gathered.freeze() })
}

async fn next_chunk(session: &mut ServerSession) -> Result<Option<Bytes>, Unread> {
    session.read_request_body().await.map_err(|error| match error.etype() {
        ErrorType::ReadError | ErrorType::ConnectionClosed | ErrorType::H2Error => {
            Unread::Gone(error)
        }
        ErrorType::ReadTimedout => too_slow().into(),
        _ => misframed().into(),
    })
}

/// The body of a request did not arrive, or not to its end.
pub(in crate::proxy) fn too_slow() -> Refusal {
    Refusal::new(
        Rule::BodyTimeout,
        "The request body did not arrive to its end in time (limits.body_timeout, \
         limits.request_timeout). Send it again at once, or in smaller requests.",
    )
}

pub(in crate::proxy) fn misframed() -> Refusal {
    Refusal::new(
        Rule::FramingMessage,
        "The request body is not framed as its head says (chunked coding, RFC 9112 §7.1).",
    )
}
