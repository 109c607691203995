//! Logs: one JSON object a line on standard error, in the form that Wire's services write.
//!
//! SECURITY: no log line at any level holds a query, a header value, a body, a token or a user's
//! data. Pingora's own lines could (its errors quote the bytes that it failed to read), so what
//! other crates log is capped at warnings, and the proxy suppresses the lines that describe a
//! request and writes its own access line instead.
//!
//! Writing never blocks a request: lines go through a bounded queue to a thread of their own, and
//! are dropped and counted when standard error cannot take them fast enough.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Serialize, Serializer};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Log;

/// Lines that wait to be written, at most. The queue's memory is taken at the start.
const MOST_LINES: usize = 16 * 1024;

/// The process's one way to standard error; kept for as long as the process lives.
struct Sink {
    writer: NonBlocking,
    dropped: ErrorCounter,
    /// Writes out what is queued when it is dropped.
    worker: Mutex<Option<WorkerGuard>>,
}

static SINK: OnceLock<Sink> = OnceLock::new();

fn sink() -> &'static Sink {
    SINK.get_or_init(|| {
        let queue = NonBlockingBuilder::default().buffered_lines_limit(MOST_LINES);
        let (writer, worker) = queue.finish(Counted(io::stderr()));
        let dropped = writer.error_counter();
        Sink { writer, dropped, worker: Mutex::new(Some(worker)) }
    })
}

/// Starts logging; later calls change nothing.
pub fn init(log: &Log) {
    let filter = Targets::new()
        .with_default(LevelFilter::WARN.min(LevelFilter::from_level(log.level)))
        .with_target(env!("CARGO_CRATE_NAME"), log.level)
        // SECURITY: it warns of each odd frame, and a client can send many.
        .with_target("h2", LevelFilter::ERROR);
    let lines =
        tracing_subscriber::fmt::layer().event_format(WireJson).with_writer(sink().writer.clone());
    // An embedding service may have set up its own logging; then that one is used.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

/// Lines that standard error did not take.
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// A writer of which it is counted what could not be written, such as to a full disk.
struct Counted<W>(W);

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.write_all(line).is_err() {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// How many lines were dropped because standard error could not take them, or not so fast.
pub fn dropped_lines() -> usize {
    let queued_out = SINK.get().map_or(0, |sink| sink.dropped.dropped_lines());
    queued_out + REFUSED.load(Ordering::Relaxed)
}

/// Writes out what is queued. Nothing is logged afterwards.
pub fn flush() {
    if let Some(sink) = SINK.get() {
        drop(sink.worker.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// `{"level":"Info","msgs":["..", "key=value"]}`, as Wire's services write it.
struct WireJson;

impl<S, N> FormatEvent<S, N> for WireJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        #[derive(Serialize)]
        struct Line<'a> {
            level: &'a str,
            msgs: &'a [String],
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line { level: level_name(*event.metadata().level()), msgs: &fields.msgs };
        writeln!(writer, "{}", serde_json::to_string(&line).map_err(|_| std::fmt::Error)?)
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "Error",
        Level::WARN => "Warn",
        Level::INFO => "Info",
        Level::DEBUG => "Debug",
        Level::TRACE => "Trace",
    }
}

/// The message first, then every other field as `key=value`.
#[derive(Default)]
struct Fields {
    msgs: Vec<String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        match field.name() {
            "message" => {
                let _ = write!(text, "{value:?}");
                self.msgs.insert(0, text);
            }
            name if name.starts_with("log.") => {}
            name => {
                let _ = write!(text, "{name}={value:?}");
                self.msgs.push(text);
            }
        }
    }
}

/// What the access log says of one request, in the order of the line.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Access<'a> {
    /// `Info`, and the one word by which these lines are found: what every line of Wire's services has.
    pub level: &'static str,
    pub msgs: [&'static str; 1],
    #[serde(rename = "request")]
    pub request_id: &'a str,
    pub handler: &'static str,
    pub method: &'static str,
    pub status: u16,
    pub verdict: &'static str,
    /// The rule that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// Rules that were hit and only reported.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub reported: &'a [&'static str],
    /// Where the request hit each of `reported`, and then `rule`; null where that is no part of
    /// the request.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub at: &'a [Option<&'a str>],
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    #[serde(rename = "validation_ms", serialize_with = "millis")]
    pub validation: Duration,
    #[serde(
        rename = "upstream_ms",
        skip_serializing_if = "Option::is_none",
        serialize_with = "some_millis"
    )]
    pub upstream_duration: Option<Duration>,
    /// Bytes of the request body that were read.
    pub bytes_in: usize,
    /// Bytes of the answer's body.
    pub bytes_out: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// The token's name in the register.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<SocketAddr>,
}

/// A line about a request on which Wire and the guard do not agree.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Disagreement<'a> {
    pub level: &'static str,
    pub msgs: [&'static str; 1],
    #[serde(rename = "request")]
    pub request_id: &'a str,
    pub handler: &'static str,
    pub method: &'static str,
    pub outcome: &'static str,
    /// The first reported rule; null for a request that the guard should have refused.
    pub rule: Option<&'static str>,
    /// Where the request hit the rule.
    pub at: Option<&'a str>,
    /// The status of Wire's answer.
    pub status: u16,
    /// The scimType of Wire's answer; null where it has none, or could not be read.
    #[serde(rename = "scimType")]
    pub scim_type: Option<&'static str>,
}

/// Where access lines go.
#[derive(Debug, Clone, Default)]
pub struct AccessLog {
    to: To,
    /// A line for each request is wanted.
    requests: bool,
    /// Warnings are wanted.
    warnings: bool,
}

#[derive(Debug, Clone, Default)]
enum To {
    #[default]
    Nowhere,
    Stderr,
    Memory(Arc<Mutex<Vec<u8>>>),
}

impl AccessLog {
    /// Standard error, for the lines that the configuration asks for.
    pub fn new(log: &Log) -> Self {
        Self { to: To::Stderr, requests: log.access, warnings: log.level >= Level::WARN }
    }

    /// Memory that the caller reads: for tests.
    pub fn memory() -> (Self, Arc<Mutex<Vec<u8>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        (Self { to: To::Memory(Arc::clone(&lines)), requests: true, warnings: true }, lines)
    }

    /// Whether a line for each request is wanted; saves the work of gathering the facts.
    pub fn is_on(&self) -> bool {
        self.requests
    }

    /// Writes the line of a request.
    pub fn write(&self, access: &Access<'_>) {
        self.write_line(access);
    }

    /// Writes that Wire and the guard do not agree on a request.
    pub fn write_disagreement(&self, disagreement: &Disagreement<'_>) {
        if self.warnings {
            self.write_line(disagreement);
        }
    }

    fn write_line(&self, line: &impl Serialize) {
        let mut bytes = Vec::with_capacity(512);
        if serde_json::to_writer(&mut bytes, line).is_err() {
            return;
        }
        bytes.push(b'\n');
        match &self.to {
            To::Nowhere => {}
            // Lossy: a full queue drops the line and counts it.
            To::Stderr => drop(sink().writer.clone().write_all(&bytes)),
            To::Memory(lines) => {
                lines.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes);
            }
        }
    }
}

/// Milliseconds with three digits behind the point.
fn millis<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_micros() as f64 / 1000.0)
}

fn some_millis<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    millis(&time.unwrap_or_default(), serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_line_is_one_json_object_in_wires_form() {
        let (log, lines) = AccessLog::memory();
        log.write(&Access {
            level: "Info",
            msgs: ["request"],
            request_id: "r-1",
            handler: "/scim/v2/Users",
            method: "POST",
            status: 400,
            verdict: "refused",
            rule: Some("user.user_name"),
            reported: &["user.roles"],
            at: &[Some("roles[0]"), Some("userName")],
            duration: Duration::from_micros(1500),
            validation: Duration::from_micros(3),
            upstream_duration: None,
            bytes_in: 10,
            bytes_out: 200,
            client: Some([192, 0, 2, 1].into()),
            token: Some("okta"),
            upstream: None,
        });
        let line = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
        assert!(line.ends_with("}\n"));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "Info");
        assert_eq!(line["request"], "r-1");
        assert_eq!(line["rule"], "user.user_name");
        assert_eq!(line["reported"][0], "user.roles");
        assert_eq!(line["at"], serde_json::json!(["roles[0]", "userName"]));
        assert_eq!(line["duration_ms"], 1.5);
        assert_eq!(line["client"], "192.0.2.1");
        assert_eq!(line["token"], "okta");
        assert!(line.get("upstream").is_none());
    }
}
