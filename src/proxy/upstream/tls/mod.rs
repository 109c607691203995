//! TLS to a backend server: the handshake, and the errors that follow from it and from a mismatch
//! of TLS and cleartext.

use std::sync::Arc;

use pingora::{BError, Error, ErrorType, Result};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::refusal::Refusal;
use crate::rule::Rule;
use crate::tls::client::Secured;

use super::io::Io;
use super::lack;

mod fault;

const TLS: ErrorType = ErrorType::Custom("TLS to the backend");

/// What nginx answers over HTTP, with status 400, if TLS is the cause, and what that means.
const NGINX: [(&[u8], &str); 3] = [
    (b"The plain HTTP request was sent to HTTPS port", TLS_ON_CLEARTEXT),
    (b"No required SSL certificate was sent", fault::NO_CERTIFICATE),
    (b"The SSL certificate error", fault::REFUSED_CERTIFICATE),
];

/// The first record of a server that speaks TLS and received cleartext begins with these bytes: an
/// alert.
const ALERT: [u8; 2] = [0x15, 0x03];

const TLS_ON_CLEARTEXT: &str =
    "it speaks TLS, and the entry of upstream.servers does not say so: write https:// before it";

/// Opens TLS on a connection. The certificate has been verified then.
pub(super) async fn handshake(stream: TcpStream, secured: &Secured) -> Result<Io> {
    let connector = TlsConnector::from(Arc::clone(secured.config()));
    match connector.connect(secured.name().clone(), stream).await {
        Ok(stream) => Ok(Io::Tls(Box::new(stream))),
        Err(error) if lack::is_lack(&error) => Err(lack::error()),
        Err(error) => Err(failed(fault::of_handshake(&error, &secured.name().to_str()))),
    }
}

/// The error of a handshake that takes too long.
pub(super) fn too_slow() -> BError {
    failed("the TLS handshake takes longer than limits.upstream_connect_timeout: does this port speak TLS?".to_owned())
}

fn failed(why: String) -> BError {
    Error::explain(TLS, why).into_up()
}

/// The error for an answer that could not be read, if TLS is the cause. `alerted`: the server
/// received cleartext, and answered with an alert.
pub(in crate::proxy) fn of_answer(error: BError, alerted: bool) -> BError {
    if alerted {
        return failed(TLS_ON_CLEARTEXT.to_owned());
    }
    match fault::of_alert(&error) {
        Some(why) => failed(why),
        None => error,
    }
}

/// Whether an answer begins like the alert of a server that speaks TLS.
pub(super) fn is_alert(answer: &[u8]) -> bool {
    answer.starts_with(&ALERT)
}

/// The error for an answer with which nginx reports that TLS, or the lack of it, is wrong.
pub(in crate::proxy) fn of_body(status: u16, body: &[u8]) -> Option<BError> {
    if status != 400 {
        return None;
    }
    let (_, why) = NGINX.iter().find(|(text, _)| memchr::memmem::find(body, text).is_some())?;
    Some(failed((*why).to_owned()))
}

/// What is wrong, for the operator, if TLS is the cause.
pub(in crate::proxy) fn sentence(error: &Error) -> Option<&str> {
    let mut error = error;
    loop {
        if error.etype() == &TLS
            && let Some(why) = &error.context
        {
            return Some(why.as_str());
        }
        error = error.cause.as_deref()?.downcast_ref::<BError>()?;
    }
}

/// The answer for such an error, which names nothing of the backend.
pub(in crate::proxy) fn refusal(error: &Error) -> Option<Refusal> {
    sentence(error).map(|_| {
        Refusal::new(
            Rule::UpstreamTls,
            "No trusted connection to Wire's server could be made; the log of this proxy says why. The request was \
             not processed; try again later.",
        )
    })
}
