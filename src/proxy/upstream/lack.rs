//! A shortage of descriptors, ports or memory on this machine: no connection to the backend can be
//! opened, but the backend has not failed.

use std::io;

use nix::errno::Errno;
use pingora::{BError, Error, ErrorType};

use crate::logging::Limited;
use crate::refusal::Refusal;
use crate::rule::Rule;

const LACKING: ErrorType = ErrorType::Custom("out of descriptors, ports or memory");

/// Whether an error of the system reports such a shortage.
pub(in crate::proxy) fn is_lack(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(
        code,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::EADDRNOTAVAIL | Errno::ENOBUFS | Errno::ENOMEM)
    )
}

/// The same for a connection error, which wraps that of the system.
pub(in crate::proxy) fn caused(error: &Error) -> bool {
    error.etype() == &LACKING || system_error(error).is_some_and(is_lack)
}

fn system_error(error: &Error) -> Option<&io::Error> {
    let mut cause: &(dyn std::error::Error + 'static) = error.cause.as_deref()?;
    loop {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return Some(error);
        }
        cause = match cause.downcast_ref::<BError>() {
            Some(error) => error.cause.as_deref()?,
            None => cause.source()?,
        };
    }
}

/// The error that ends a request because of it. It is logged, but not for each request.
pub(in crate::proxy) fn error() -> BError {
    static LOGGED: Limited = Limited::new();
    if LOGGED.is_due() {
        tracing::warn!(
            "no connection to the backend can be opened: this machine is out of descriptors, ports or memory \
             for the guard; raise the limit of open files, or lower limits.connections"
        );
    }
    Error::explain(LACKING, "opening a connection to the backend").into_up()
}

/// The answer for such an error.
pub(in crate::proxy) fn refusal(error: &Error) -> Option<Refusal> {
    (error.etype() == &LACKING).then(|| {
        Refusal::new(
            Rule::LimitsDescriptors,
            "This proxy is out of descriptors, ports or memory, and cannot open another connection to Wire. The \
             request was not processed; try again later.",
        )
    })
}
