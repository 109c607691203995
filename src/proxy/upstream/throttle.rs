//! Answers with which Wire's nginx reports that requests come too fast: 420, or 429 if its operator
//! configured that. Clients receive 429 with Retry-After, which they know and wait for.

use http::{StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::{BError, Error, ErrorType, Result};

use crate::refusal::Refusal;
use crate::rule::Rule;

/// Whether the backend throttles with this status.
pub(in crate::proxy) fn is_throttling(status: u16) -> bool {
    matches!(status, 420 | 429)
}

/// nginx admits 50 requests in every second, so one second is enough for its counter to drain.
const WAIT: u32 = 1;

/// The error with which an answer without a body requests one. Its context is how long to wait.
const THROTTLED: ErrorType = ErrorType::Custom("throttled by the backend");

/// Turns the head of a throttling answer into that of a 429. nginx's answer has no body, and none
/// can follow a head that announced none: it is replaced by an error, for which [`refusal`] has an
/// answer.
pub(in crate::proxy) fn translate(head: &mut ResponseHeader) -> Result<()> {
    if head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0") {
        return Err(without_body(head));
    }
    head.set_status(StatusCode::TOO_MANY_REQUESTS)?;
    head.set_reason_phrase(None)?;
    if !head.headers.contains_key(header::RETRY_AFTER) {
        head.insert_header("Retry-After", WAIT)?;
    }
    Ok(())
}

/// Abandons an answer that turned out to have no body.
pub(in crate::proxy) fn without_body(head: &ResponseHeader) -> BError {
    let wait = head.headers.get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok());
    Error::explain(THROTTLED, wait.unwrap_or_default().to_owned())
}

/// Whether an answer was abandoned because it has no body.
pub(in crate::proxy) fn is_throttled(error: &Error) -> bool {
    error.etype() == &THROTTLED
}

/// The answer that replaces one without a body.
pub(in crate::proxy) fn refusal(error: &Error) -> Option<Refusal> {
    let wait = error.context.as_ref().and_then(|wait| wait.as_str().parse().ok());
    is_throttled(error).then(|| Refusal {
        retry_after: Some(wait.unwrap_or(WAIT)),
        ..Refusal::new(
            Rule::UpstreamThrottled,
            "Wire gets more requests than it takes, from all clients behind this proxy together. Wait as \
             long as Retry-After says.",
        )
    })
}
