//! 420, with which Wire's nginx says that requests come too fast, becomes 429: the status that
//! clients know, and wait for.

use http::{StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

use crate::rule::Rule;
use crate::verdict::Refusal;

/// The status that nginx is configured to throttle with.
pub(super) const ENHANCE_YOUR_CALM: u16 = 420;

/// nginx lets 50 requests in every second, so that one second is enough for it to forget.
const WAIT: u32 = 1;

/// The error by which an answer without a body asks for one.
const THROTTLED: ErrorType = ErrorType::Custom("throttled by the backend");

/// Turns the head of a 420 into that of a 429. What nginx sends has no body, and nothing can be put
/// behind a head that said so: it is given up with an error, for which [`refusal`] has an answer.
pub(super) fn translate(head: &mut ResponseHeader) -> Result<()> {
    if head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0") {
        return Err(Error::new(THROTTLED));
    }
    head.set_status(StatusCode::TOO_MANY_REQUESTS)?;
    head.set_reason_phrase(None)?;
    if !head.headers.contains_key(header::RETRY_AFTER) {
        head.insert_header("Retry-After", WAIT)?;
    }
    Ok(())
}

/// Whether an answer was given up for want of a body.
pub(super) fn is_throttled(error: &Error) -> bool {
    error.etype() == &THROTTLED
}

/// The answer for a 420 without a body.
pub(super) fn refusal(error: &Error) -> Option<Refusal> {
    is_throttled(error).then(|| Refusal {
        retry_after: Some(WAIT),
        ..Refusal::new(
            Rule::UpstreamThrottled,
            "Wire gets more requests than it takes, from all clients behind this proxy together. Wait as \
             long as Retry-After says.",
        )
    })
}
