//! The queue of the audit log, and the thread that writes it.
//!
//! Unlike other lines, these are not dropped: a line that cannot be written is retried, and the
//! queue fills meanwhile.

use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::logging::AccessLog;

use super::allowance::AllowanceLine;
use super::line::AuditLine;

/// Lines that wait to be written, and requests in progress that will have one.
const MAX_LINES: usize = 1024;

/// How long to wait after a line could not be written.
const RETRY: Duration = Duration::from_millis(200);

/// How long the end of the process waits for lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Lines that are queued and not yet written to standard error.
static UNWRITTEN: AtomicUsize = AtomicUsize::new(0);

/// Waits until all lines are written, but for a limited time.
pub fn flush() {
    let end = Instant::now() + FLUSH_TIMEOUT;
    while UNWRITTEN.load(Ordering::Acquire) > 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One line.
pub(super) enum Queued {
    Request(AuditLine),
    Allowance(AllowanceLine),
}

#[derive(Clone)]
pub(super) struct Queue(mpsc::Sender<Queued>);

/// Room in the queue for one line.
pub(super) struct Slot(mpsc::OwnedPermit<Queued>);

impl Queue {
    /// Starts the thread, which ends with the last sender. Without a thread the queue has no room
    /// for any line.
    pub(super) fn start(access: &AccessLog) -> Self {
        let (sender, mut lines) = mpsc::channel(MAX_LINES);
        let access = access.clone();
        let thread = std::thread::Builder::new().name("audit".into());
        let started = thread.spawn(move || {
            while let Some(line) = lines.blocking_recv() {
                match &line {
                    Queued::Request(line) => access.write_certainly(line, write),
                    Queued::Allowance(line) => access.write_certainly(line, write),
                }
                UNWRITTEN.fetch_sub(1, Ordering::Release);
            }
        });
        if let Err(error) = started {
            tracing::error!(%error, "nothing can be audited, so changes are refused: no thread could be started");
        }
        Self(sender)
    }

    pub(super) fn reserve(&self) -> Option<Slot> {
        self.0.clone().try_reserve_owned().ok().map(Slot)
    }

    /// Adds a line that has no slot: a thread waits with it if there is no room now.
    pub(super) fn push(&self, line: Queued) {
        UNWRITTEN.fetch_add(1, Ordering::AcqRel);
        let line = match self.0.try_send(line) {
            Ok(()) => return,
            Err(TrySendError::Full(line)) => line,
            Err(TrySendError::Closed(_)) => return lost(),
        };
        let sender = self.0.clone();
        let thread = std::thread::Builder::new().name("audit-wait".into());
        let wait = move || {
            if sender.blocking_send(line).is_err() {
                lost();
            }
        };
        if let Err(error) = thread.spawn(wait) {
            lost();
            tracing::error!(%error, "a line of the audit log is lost: no thread could be started");
        }
    }
}

/// Nobody waits for a line that will not be written.
fn lost() {
    UNWRITTEN.fetch_sub(1, Ordering::Release);
}

impl Slot {
    pub(super) fn write(self, line: AuditLine) {
        UNWRITTEN.fetch_add(1, Ordering::AcqRel);
        self.0.send(Queued::Request(line));
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

/// Writes a line to standard error, until that succeeds.
fn write(line: &[u8]) {
    let mut is_begun = false;
    loop {
        let mut out = std::io::stderr().lock();
        // A part of the line that was written before must not run into another line.
        let ended = if is_begun { out.write_all(b"\n") } else { Ok(()) };
        if ended.and_then(|()| out.write_all(line)).is_ok() {
            return;
        }
        is_begun = true;
        drop(out);
        std::thread::sleep(RETRY);
    }
}
