//! Logs: one JSON object per line on standard error, in the format of Wire's services.
//!
//! SECURITY: no log line at any level holds a query, a header value, a body, a token or a user's
//! data. Pingora's own lines could (its errors quote the bytes that it failed to parse), so other
//! crates log warnings and errors only, and the proxy suppresses the lines that describe a request and
//! writes its own access line instead.
//!
//! Writing never blocks a request: lines go through a bounded queue to a separate thread, and are dropped
//! and counted when standard error does not accept them fast enough.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
use tracing_subscriber::{Registry, reload};

use crate::config::Log;

/// The most lines in the queue, whose memory is allocated at the start.
const MAX_QUEUED_LINES: usize = 16 * 1024;

/// The process's only writer to standard error; it lives as long as the process.
struct Sink {
    writer: NonBlocking,
    dropped: ErrorCounter,
    /// Writes the queued lines when it is dropped.
    worker: Mutex<Option<WorkerGuard>>,
}

static SINK: OnceLock<Sink> = OnceLock::new();

fn sink() -> &'static Sink {
    SINK.get_or_init(|| {
        let queue = NonBlockingBuilder::default().buffered_lines_limit(MAX_QUEUED_LINES);
        let (writer, worker) = queue.finish(CountingWriter(io::stderr()));
        let dropped = writer.error_counter();
        Sink { writer, dropped, worker: Mutex::new(Some(worker)) }
    })
}

/// Replaces the filter of the log lines.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts logging; later calls change nothing.
pub fn init(log: &Log) {
    let (filter, handle) = reload::Layer::new(filter(log));
    let lines =
        tracing_subscriber::fmt::layer().event_format(WireJson).with_writer(sink().writer.clone());
    // If an embedding service has set up logging already, that is used.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Takes the level of another configuration.
pub fn configure(log: &Log) {
    if let Some(handle) = FILTER.get() {
        // Fails only if the process no longer logs.
        let _ = handle.reload(filter(log));
    }
}

fn filter(log: &Log) -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN.min(LevelFilter::from_level(log.level)))
        .with_target(env!("CARGO_CRATE_NAME"), log.level)
        // SECURITY: it warns of each unusual frame, and a client can send many.
        .with_target("h2", LevelFilter::ERROR)
}

/// Lines that could not be written to standard error.
static FAILED_WRITES: AtomicUsize = AtomicUsize::new(0);

/// Counts the lines that could not be written, for instance to a full disk.
struct CountingWriter<W>(W);

impl<W: Write> Write for CountingWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.write_all(line).is_err() {
            FAILED_WRITES.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// How many lines were dropped because standard error did not accept them, or not fast enough.
pub fn dropped_lines() -> usize {
    let overflowed = SINK.get().map_or(0, |sink| sink.dropped.dropped_lines());
    overflowed + FAILED_WRITES.load(Ordering::Relaxed)
}

/// Writes the queued lines. Nothing is logged afterwards.
pub fn flush() {
    if let Some(sink) = SINK.get() {
        drop(sink.worker.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// `{"level":"Info","msgs":["..", "key=value"]}`, the format of Wire's services.
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

/// One line of the access log; the fields are in the order of the line.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Access<'a> {
    /// `Info`; with `msgs`, the word that identifies these lines, it is what every line of Wire's services has.
    pub level: &'static str,
    pub msgs: [&'static str; 1],
    #[serde(rename = "request")]
    pub request_id: &'a str,
    pub handler: &'static str,
    pub method: &'static str,
    pub status: u16,
    pub verdict: &'static str,
    /// The rule that refused the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// Rules that were hit and only reported.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub reported: &'a [&'static str],
    /// Where in the request each of `reported` was hit, and then `rule`; null if that is not in the body.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub at: &'a [Option<&'a str>],
    /// The repairs that changed the request before it was forwarded.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub repaired: &'a [&'static str],
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

/// A line about a request on which Wire and the guard disagree.
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
    /// The scimType of Wire's answer; null if it has none or could not be read.
    #[serde(rename = "scimType")]
    pub scim_type: Option<&'static str>,
}

/// The line of a connection that had switched to WebSocket, when it has ended.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Tunnel<'a> {
    pub level: &'static str,
    pub msgs: [&'static str; 1],
    /// The id of the request that switched.
    #[serde(rename = "request")]
    pub request_id: &'a str,
    /// Who or what ended it: client, backend, idle, stopping or memory.
    pub ended_by: &'static str,
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    /// Bytes from the client after the switch.
    pub bytes_in: u64,
    /// Bytes to the client after the switch.
    pub bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<SocketAddr>,
}

/// Where access lines go.
#[derive(Debug, Clone, Default)]
pub struct AccessLog {
    to: To,
    wanted: Arc<Wanted>,
}

/// Which lines the configuration asks for.
#[derive(Debug, Default)]
struct Wanted {
    /// One for each request.
    requests: AtomicBool,
    warnings: AtomicBool,
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
        let access = Self { to: To::Stderr, wanted: Arc::default() };
        access.configure(log);
        access
    }

    /// Takes another configuration, for all clones.
    pub fn configure(&self, log: &Log) {
        self.wanted.requests.store(log.access, Ordering::Relaxed);
        self.wanted.warnings.store(log.level >= Level::WARN, Ordering::Relaxed);
    }

    /// A buffer that the caller reads, for tests.
    pub fn memory() -> (Self, Arc<Mutex<Vec<u8>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let wanted = Wanted { requests: true.into(), warnings: true.into() };
        (Self { to: To::Memory(Arc::clone(&lines)), wanted: wanted.into() }, lines)
    }

    /// Whether a line is written for each request; if not, callers need not collect its fields.
    pub fn is_on(&self) -> bool {
        self.wanted.requests.load(Ordering::Relaxed)
    }

    /// Writes the line of a request.
    pub fn write(&self, access: &Access<'_>) {
        self.write_line(access);
    }

    /// Writes the line of a request on which Wire and the guard disagree.
    pub fn write_disagreement(&self, disagreement: &Disagreement<'_>) {
        if self.wanted.warnings.load(Ordering::Relaxed) {
            self.write_line(disagreement);
        }
    }

    /// Writes the line of a connection that had switched to WebSocket.
    pub fn write_tunnel(&self, tunnel: &Tunnel<'_>) {
        if self.is_on() {
            self.write_line(tunnel);
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
            // When the queue is full, the line is dropped and counted.
            To::Stderr => drop(sink().writer.clone().write_all(&bytes)),
            To::Memory(lines) => {
                lines.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes);
            }
        }
    }
}

/// Milliseconds with three decimal places.
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
    fn an_access_line_is_one_json_object_in_the_format_of_wires_services() {
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
            repaired: &["language"],
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
        assert_eq!(line["repaired"], serde_json::json!(["language"]));
        assert_eq!(line["duration_ms"], 1.5);
        assert_eq!(line["client"], "192.0.2.1");
        assert_eq!(line["token"], "okta");
        assert!(line.get("upstream").is_none());
    }
}
