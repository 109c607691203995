//! Which answer a client gets when a request or its answer could not be forwarded.

use pingora::{Error, ErrorSource, ErrorType};

use crate::proxy::memory;
use crate::proxy::upstream::{lack, throttle, tls};
use crate::refusal::Refusal;
use crate::rule::Rule;

use super::body;

/// The answer for one of Pingora's errors; `None` when the client has disconnected and receives
/// none.
///
/// SECURITY: nothing of the error's own text is sent: it names addresses, and quotes bytes.
pub(in crate::proxy) fn answer(error: &Error) -> Option<Refusal> {
    use ErrorType as T;
    if let Some(refusal) = throttle::refusal(error) {
        return Some(refusal);
    }
    if let Some(refusal) = lack::refusal(error) {
        return Some(refusal);
    }
    if let Some(refusal) = tls::refusal(error) {
        return Some(refusal);
    }
    if memory::is_short(error) {
        return Some(memory::refusal());
    }
    let (rule, detail) = match (error.esource(), error.etype()) {
        (
            ErrorSource::Downstream,
            T::WriteError | T::ReadError | T::ConnectionClosed | T::H2Error | T::WriteTimedout,
        ) => return None,
        (ErrorSource::Downstream, T::ReadTimedout) => return Some(body::too_slow()),
        (ErrorSource::Downstream, _) => return Some(body::misframed()),
        (
            _,
            T::ConnectTimedout
            | T::ConnectRefused
            | T::ConnectNoRoute
            | T::ConnectError
            | T::BindError
            | T::SocketError
            | T::ConnectProxyFailure,
        ) => (
            Rule::UpstreamConnect,
            "Wire's server could not be reached. The request was not processed; try again later.",
        ),
        (_, T::ReadTimedout | T::WriteTimedout) => (
            Rule::UpstreamTimeout,
            "Wire's server did not answer in time. The request may have been processed.",
        ),
        _ => (
            Rule::UpstreamAnswer,
            "Wire's server gave no proper answer. The request may have been processed.",
        ),
    };
    Some(Refusal::new(rule, detail))
}
