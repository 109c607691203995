//! The data that is sent about one request.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::api::Handler;
use crate::metrics::MethodLabel;
use crate::verdict::VerdictLabel;

use super::Trace;

/// A sampled request that has ended.
#[derive(Debug)]
pub struct Request {
    pub trace: u128,
    pub parent: Option<u64>,
    pub span: u64,
    /// The span of the backend's part, whose id was sent to the backend.
    pub backend_span: u64,
    pub started: SystemTime,
    pub judged: Option<Duration>,
    pub details: Details,
}

/// The details that are known at its end.
#[derive(Debug)]
pub struct Details {
    pub handler: Handler,
    pub method: MethodLabel,
    /// The status that the client received.
    pub status: u16,
    pub verdict: VerdictLabel,
    pub rule: Option<&'static str>,
    pub reported: Vec<&'static str>,
    pub repaired: Vec<&'static str>,
    pub token: Option<String>,
    pub is_tls: bool,
    pub took: Duration,
    pub backend: Option<Backend>,
}

/// The backend's part.
#[derive(Debug)]
pub struct Backend {
    pub server: Option<SocketAddr>,
    /// From the start of the request.
    pub after: Duration,
    pub took: Duration,
    /// The status of its answer.
    pub status: Option<u16>,
}

impl Request {
    pub(super) fn new(trace: &Trace, details: Details) -> Self {
        Self {
            trace: trace.context.trace,
            parent: trace.parent,
            span: trace.span,
            backend_span: trace.context.span,
            started: trace.started,
            judged: trace.judged,
            details,
        }
    }
}
