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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
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

use crate::audit;
use crate::config::{AccessLines, Log};
use crate::fraction::Sampler;

mod style;

pub use style::Line;
use style::{Style, level_name};

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

/// The format of log lines; `None`: the default.
static STYLE: RwLock<Option<Style>> = RwLock::new(None);

/// Starts logging; later calls change nothing.
pub fn init(log: &Log) {
    set_style(log);
    let (filter, handle) = reload::Layer::new(filter(log));
    let lines =
        tracing_subscriber::fmt::layer().event_format(Lines).with_writer(sink().writer.clone());
    // If an embedding service has set up logging already, that is used.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Applies the level and the format of another configuration.
pub fn configure(log: &Log) {
    set_style(log);
    if let Some(handle) = FILTER.get() {
        // Fails only if the process no longer logs.
        let _ = handle.reload(filter(log));
    }
}

fn set_style(log: &Log) {
    *STYLE.write().unwrap_or_else(PoisonError::into_inner) = Some(Style::of(log));
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
    audit::flush();
    if let Some(sink) = SINK.get() {
        drop(sink.worker.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Events as lines: in JSON `{"level":"Info","msgs":["..", "key=value"]}`, the format of Wire's services.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = Message { level: level_name(*event.metadata().level()), msgs: &fields.msgs };
        let style = *STYLE.read().unwrap_or_else(PoisonError::into_inner);
        let style = style.unwrap_or_else(|| Style::of(&Log::default()));
        let line = style.line(&message).ok_or(std::fmt::Error)?;
        writer.write_str(&String::from_utf8_lossy(&line))
    }
}

/// An event.
#[derive(Serialize)]
struct Message<'a> {
    level: &'static str,
    msgs: &'a [String],
}

impl Line for Message<'_> {
    fn text(&self, out: &mut String) {
        let _ = write!(out, "{:<5} ", self.level);
        for (at, part) in self.msgs.iter().enumerate() {
            out.push_str(if at == 0 { "" } else { " " });
            out.push_str(part);
        }
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
    /// The token's label in the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<SocketAddr>,
}

impl Line for Access<'_> {
    fn text(&self, out: &mut String) {
        let Self { level, method, handler, status, verdict, .. } = self;
        let _ = write!(out, "{level:<5} {method} {handler} {status} {verdict}");
        if let Some(rule) = self.rule {
            let _ = write!(out, " by {rule}");
        }
        if !self.reported.is_empty() {
            let _ = write!(out, ", reported {}", self.reported.join(" "));
        }
        let places: Vec<&str> = self.at.iter().flatten().copied().collect();
        if !places.is_empty() {
            let _ = write!(out, " at {}", places.join(" "));
        }
        if !self.repaired.is_empty() {
            let _ = write!(out, ", repaired {}", self.repaired.join(" "));
        }
        let _ = write!(out, " in {:.1} ms", self.duration.as_secs_f64() * 1000.0);
        if let Some(client) = self.client {
            let _ = write!(out, " from {client}");
        }
        if let Some(token) = self.token {
            let _ = write!(out, " token {token}");
        }
        let _ = write!(out, " request {}", self.request_id);
    }
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

impl Line for Disagreement<'_> {
    fn text(&self, out: &mut String) {
        let Self { level, method, handler, outcome, status, .. } = self;
        let _ = write!(out, "{level:<5} {outcome}: {method} {handler}, Wire answered {status}");
        if let Some(scim_type) = self.scim_type {
            let _ = write!(out, " {scim_type}");
        }
        if let Some(rule) = self.rule {
            let _ = write!(out, ", reported {rule}");
        }
        if let Some(at) = self.at {
            let _ = write!(out, " at {at}");
        }
        let _ = write!(out, " request {}", self.request_id);
    }
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

impl Line for Tunnel<'_> {
    fn text(&self, out: &mut String) {
        let Self { level, ended_by, bytes_in, bytes_out, .. } = self;
        let _ = write!(
            out,
            "{level:<5} connection ended by {ended_by}, {bytes_in} bytes in, {bytes_out} out"
        );
        let _ = write!(out, " in {:.1} ms", self.duration.as_secs_f64() * 1000.0);
        if let Some(client) = self.client {
            let _ = write!(out, " from {client}");
        }
        let _ = write!(out, " request {}", self.request_id);
    }
}

/// Where access lines go.
#[derive(Debug, Clone)]
pub struct AccessLog {
    to: To,
    settings: Arc<ArcSwap<Settings>>,
    sampler: Arc<Sampler>,
}

/// The settings of the configuration.
#[derive(Debug, Clone, Copy)]
struct Settings {
    style: Style,
    /// For which requests to write a line.
    requests: AccessLines,
    /// Whether to write warnings.
    warnings: bool,
}

impl Settings {
    fn of(log: &Log) -> Self {
        let warnings = log.level >= Level::WARN;
        Self { style: Style::of(log), requests: log.access, warnings }
    }
}

impl Default for AccessLog {
    /// Writes nothing.
    fn default() -> Self {
        Self { to: To::Nowhere, ..Self::new(&Log::default()) }
    }
}

#[derive(Debug, Clone)]
enum To {
    Nowhere,
    Stderr,
    Memory(Arc<Mutex<Vec<u8>>>),
}

impl AccessLog {
    /// Writes to standard error the lines that the configuration selects.
    pub fn new(log: &Log) -> Self {
        let settings = Arc::new(ArcSwap::from_pointee(Settings::of(log)));
        Self { to: To::Stderr, settings, sampler: Arc::default() }
    }

    /// Applies another configuration, for all clones.
    pub fn configure(&self, log: &Log) {
        self.settings.store(Arc::new(Settings::of(log)));
    }

    /// A buffer that the caller reads, for tests.
    pub fn memory() -> (Self, Arc<Mutex<Vec<u8>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        (Self { to: To::Memory(Arc::clone(&lines)), ..Self::new(&Log::default()) }, lines)
    }

    /// The same with other settings.
    pub fn with(self, log: &Log) -> Self {
        Self { to: self.to, ..Self::new(log) }
    }

    /// Whether a line is written for this request; if not, callers need not collect its fields.
    /// `always`: the request is one that is logged even if only a fraction is.
    pub fn wants(&self, always: bool) -> bool {
        match self.settings.load().requests {
            AccessLines::None => false,
            AccessLines::All => true,
            AccessLines::Sample(share) => always || self.sampler.next(share),
        }
    }

    /// Writes the line of a request.
    pub fn write(&self, access: &Access<'_>) {
        self.write_line(access);
    }

    /// Writes the line of a request on which Wire and the guard disagree.
    pub fn write_disagreement(&self, disagreement: &Disagreement<'_>) {
        if self.settings.load().warnings {
            self.write_line(disagreement);
        }
    }

    /// Writes the line of a connection that had switched to WebSocket.
    pub fn write_tunnel(&self, tunnel: &Tunnel<'_>) {
        if self.wants(false) {
            self.write_line(tunnel);
        }
    }

    /// Writes a line to the same place as the others, but not through their queue; to standard
    /// error by `write`.
    pub(crate) fn write_certainly(&self, line: &impl Line, write: impl FnOnce(&[u8])) {
        let Some(bytes) = self.settings.load().style.line(line) else { return };
        match &self.to {
            To::Nowhere => {}
            To::Stderr => write(&bytes),
            To::Memory(lines) => {
                lines.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes);
            }
        }
    }

    fn write_line(&self, line: &impl Line) {
        let Some(bytes) = self.settings.load().style.line(line) else { return };
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
