//! Traces over OTLP: a span for each sampled request, with one for judging and one for the backend.
//!
//! Spans go through a bounded queue to a separate thread, which sends them. A collector that is
//! slow or down costs nothing but its spans: they are dropped and counted.
//!
//! SECURITY: a span has the method, the template of the route, the verdict, rules and the token's
//! label, and nothing that a client chose: no path, no query, no header, no address.

#![cfg_attr(not(feature = "otlp"), allow(dead_code, reason = "nothing sends spans then"))]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use uuid::Uuid;

use crate::config::Tracing;
use crate::fraction::Fraction;

mod context;
#[cfg(feature = "otlp")]
mod encode;
#[cfg(feature = "otlp")]
mod export;
mod span;

pub use context::{Context, TRACEPARENT};
pub use span::{Backend, Details, Request};

/// The maximum number of requests whose spans wait to be sent.
const MAX_QUEUED: usize = 2048;

/// Samples requests, and sends their spans.
#[derive(Debug)]
pub struct Tracer {
    sample: Fraction,
    queue: SyncSender<Message>,
    counts: Arc<Counts>,
}

/// How many requests had their spans sent or dropped.
#[derive(Debug, Default)]
pub struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
}

enum Message {
    Request(Box<Request>),
    /// Acknowledged when everything before it was sent.
    Flush(SyncSender<()>),
}

/// The trace of one request in progress.
#[derive(Debug)]
pub struct Trace {
    context: Context,
    /// The span of the client's own request.
    parent: Option<u64>,
    /// The span of this request.
    span: u64,
    started: SystemTime,
    /// How long judging took, with the time to receive the body.
    pub judged: Option<Duration>,
    /// The client speaks TLS.
    pub is_tls: bool,
    /// The client's `tracestate` does not belong to this trace.
    pub is_new: bool,
}

impl Tracer {
    /// Starts the sending thread.
    pub fn start(settings: &Tracing) -> std::io::Result<Self> {
        let (queue, messages) = sync_channel(MAX_QUEUED);
        let counts = Arc::new(Counts::default());
        send(&settings.otlp, Arc::clone(&counts), messages)?;
        Ok(Self { sample: settings.sample, queue, counts })
    }

    /// The trace of a new request: the one that its headers name, or a new one.
    ///
    /// SECURITY: whether to sample is decided here, unless a trusted proxy sends the request: otherwise every client
    /// could have all of its requests traced.
    pub fn begin(&self, headers: &HeaderMap, is_trusted: bool) -> Box<Trace> {
        let (random, low) = Uuid::new_v4().as_u64_pair();
        let sampled = self.sample.includes(random);
        let sent = Context::of(headers);
        let context = match sent {
            Some(sent) if is_trusted => Context { span: low, ..sent },
            Some(sent) => Context { span: low, sampled, ..sent },
            None => Context { trace: Uuid::new_v4().as_u128(), span: low, sampled },
        };
        Box::new(Trace {
            context,
            parent: sent.map(|sent| sent.span),
            span: Uuid::new_v4().as_u64_pair().1,
            started: SystemTime::now(),
            judged: None,
            is_tls: false,
            is_new: sent.is_none(),
        })
    }

    /// Queues the spans of a request to be sent, if it was sampled. `request` describes it.
    pub fn end(&self, trace: &Trace, request: impl FnOnce() -> Details) {
        if !trace.context.sampled {
            return;
        }
        let request = Request::new(trace, request());
        match self.queue.try_send(Message::Request(Box::new(request))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counts.add_dropped(1);
            }
        }
    }

    /// Waits until the queued spans were sent, for a limited time.
    pub fn flush(&self, timeout: Duration) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(timeout);
        }
    }

    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

#[cfg(feature = "otlp")]
fn send(otlp: &str, counts: Arc<Counts>, messages: Receiver<Message>) -> std::io::Result<()> {
    let exporter = export::Exporter::new(otlp, counts);
    let thread = std::thread::Builder::new().name("spans".into());
    thread.spawn(move || exporter.run(&messages)).map(drop)
}

/// The config reader reports that tracing is not available.
#[cfg(not(feature = "otlp"))]
fn send(_: &str, _: Arc<Counts>, _: Receiver<Message>) -> std::io::Result<()> {
    Err(std::io::Error::other("the program was built without tracing (feature otlp)"))
}

impl Trace {
    /// The header for the backend: the span of the backend's part as its parent.
    pub fn traceparent(&self) -> String {
        self.context.to_string()
    }
}

impl Counts {
    fn add_sent(&self, requests: u64) {
        self.sent.fetch_add(requests, Ordering::Relaxed);
    }

    fn add_dropped(&self, requests: u64) {
        self.dropped.fetch_add(requests, Ordering::Relaxed);
    }

    /// Requests whose spans were sent, and those whose were dropped.
    pub fn sent_and_dropped(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(sample: &str) -> Tracer {
        let sample = Fraction::parse(sample).unwrap();
        Tracer::start(&Tracing { otlp: "http://127.0.0.1:9".into(), sample }).unwrap()
    }

    fn headers(traceparent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", traceparent.parse().unwrap());
        headers
    }

    #[test]
    fn only_a_trusted_proxy_decides_what_is_sampled() {
        let sampled = headers("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let unsampled = headers("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
        for (sample, headers, is_trusted, flag) in [
            ("0", &sampled, true, "01"),
            ("0", &sampled, false, "00"),
            ("1", &unsampled, true, "00"),
            ("1", &unsampled, false, "01"),
        ] {
            let trace = tracer(sample).begin(headers, is_trusted);
            let sent = trace.traceparent();
            assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{sent}");
            assert!(!sent.contains("b7ad6b7169203331") && sent.ends_with(flag), "{sent}");
            assert!(!trace.is_new);
        }
        let new = tracer("1").begin(&HeaderMap::new(), true);
        assert!(new.is_new && new.traceparent().ends_with("-01"));
    }
}
