//! The guard's own answers: SCIM errors, over Pingora's session or as raw HTTP/1.1 where no session
//! was made (RFC 7644 §3.12, RFC 6750 §3).

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::{ServerSession, date};
use pingora::{Error, ErrorType, Result};

use crate::refusal::{Refusal, SCIM_JSON};
use crate::rule::Rule;

use crate::proxy::upstream::forward::{SCIM_GUARD_RULE, X_REQUEST_ID};

/// Writes a refusal as the answer to the session's request. Returns the size of its body.
///
/// `close` ends the connection afterwards, as the request was not read. `timeout`: how long an
/// HTTP/2 stream waits for its client to read the answer.
pub(in crate::proxy) async fn send(
    session: &mut ServerSession,
    refusal: &Refusal,
    request_id: &HeaderValue,
    close: bool,
    timeout: Duration,
) -> Result<usize> {
    let http2 = session.is_http2();
    let write = write(session, refusal, request_id, close);
    // SECURITY: a stream whose client reads nothing holds memory, and there may be as many as
    // connections times streams. A stream for which there is no place is not waited for at all,
    // even if the connection's window is used up only for a moment: then the head of the answer has
    // to suffice.
    let written = match refusal.rule {
        _ if !http2 => return write.await,
        Rule::LimitsBufferedBytes => at_once(write).await,
        _ => tokio::time::timeout(timeout, write).await.ok(),
    };
    written.unwrap_or_else(|| Err(Error::new(ErrorType::WriteTimedout)))
}

/// The result of a future, if it is ready immediately.
async fn at_once<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn write(
    session: &mut ServerSession,
    refusal: &Refusal,
    request_id: &HeaderValue,
    close: bool,
) -> Result<usize> {
    let body = refusal.to_json();
    let mut head = ResponseHeader::build(refusal.status(), Some(8))?;
    head.insert_header(header::CONTENT_TYPE, SCIM_JSON)?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(SCIM_GUARD_RULE, refusal.rule.id())?;
    head.insert_header(X_REQUEST_ID, request_id.clone())?;
    if let Some(challenge) = refusal.challenge() {
        head.insert_header("WWW-Authenticate", challenge)?;
    }
    if let Some(allow) = refusal.allow {
        head.insert_header("Allow", allow)?;
    }
    if let Some(seconds) = retry_after(refusal) {
        head.insert_header("Retry-After", seconds)?;
    }
    if close {
        session.set_keepalive(None);
    }
    // The answer to a HEAD has the length that the one to a GET would have, without the body.
    let body = if session.req_header().method == Method::HEAD { Vec::new() } else { body };
    let length = body.len();
    session.write_response_header(Box::new(head)).await?;
    session.write_response_body(Bytes::from(body), true).await?;
    Ok(length)
}

/// A refusal as HTTP/1.1 bytes, for requests without a session. The connection is closed
/// afterwards. Returns the length of the body as well.
pub(in crate::proxy) fn raw(
    refusal: &Refusal,
    request_id: &str,
    method: &[u8],
) -> (Vec<u8>, usize) {
    use std::io::Write as _;
    let body = refusal.to_json();
    let status = http::StatusCode::from_u16(refusal.status()).unwrap_or_default();
    let mut out = Vec::with_capacity(512 + body.len());
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "HTTP/1.1 {} {}\r\nContent-Type: {SCIM_JSON}\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nScim-Guard-Rule: {}\r\nX-Request-Id: {request_id}\r\nDate: {}\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or(""),
        body.len(),
        refusal.rule,
        date::get_cached_date().to_str().unwrap_or_default(),
    );
    if let Some(challenge) = refusal.challenge() {
        let _ = write!(out, "WWW-Authenticate: {challenge}\r\n");
    }
    if let Some(allow) = refusal.allow {
        let _ = write!(out, "Allow: {allow}\r\n");
    }
    if let Some(seconds) = retry_after(refusal) {
        let _ = write!(out, "Retry-After: {seconds}\r\n");
    }
    out.extend_from_slice(b"Connection: close\r\n\r\n");
    let body = if method == b"HEAD" { &[][..] } else { &body };
    out.extend_from_slice(body);
    (out, body.len())
}

/// After how many seconds another attempt makes sense.
fn retry_after(refusal: &Refusal) -> Option<u32> {
    let room = matches!(
        refusal.rule,
        Rule::LimitsConnections
            | Rule::LimitsAddress
            | Rule::LimitsBufferedBytes
            | Rule::LimitsDescriptors
            | Rule::LimitsGroupPatches
            | Rule::LimitsAudit
            | Rule::LimitsUpgrades
    );
    refusal.retry_after.or(room.then_some(5))
}
