//! Logs: one JSON object per line on standard error, in the format of Wire's services.
//!
//! SECURITY: no log line at any level holds a query, a header value, a body, a token or a user's
//! data. Pingora's own lines could (its errors quote the bytes that it failed to parse), so other
//! crates log warnings and errors only, and the proxy suppresses the lines that describe a request and
//! writes its own access line instead.
//!
//! Writing never blocks a request: lines go through a bounded queue to a separate thread, and are dropped
//! and counted when standard error does not accept them fast enough.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::audit;
use crate::config::Log;

use self::event::Events;

pub use self::access::AccessLog;
pub(crate) use self::limited::Limited;
pub use self::lines::{Access, Disagreement, Tunnel};
pub use self::style::Line;

mod access;
mod event;
mod limited;
mod lines;
mod style;

/// The maximum number of queued lines; the memory for them is allocated at the start.
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
    event::set_style(log);
    let (filter, handle) = reload::Layer::new(filter(log));
    let lines =
        tracing_subscriber::fmt::layer().event_format(Events).with_writer(sink().writer.clone());
    // If an embedding service has set up logging already, that is used.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Applies the level and the format of another configuration.
pub fn configure(log: &Log) {
    event::set_style(log);
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
    audit::flush();
    if let Some(sink) = SINK.get() {
        drop(sink.worker.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
