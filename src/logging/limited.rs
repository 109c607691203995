//! Limits how often a lasting condition is logged.

use std::sync::Mutex;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(10);

/// When a line was last logged.
pub(crate) struct Limited(Mutex<Option<Instant>>);

impl Limited {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether the line is to be logged now.
    pub(crate) fn is_due(&self) -> bool {
        // If it is locked, another thread logs the line.
        let Ok(mut logged) = self.0.try_lock() else { return false };
        let is_due = logged.is_none_or(|at| at.elapsed() >= INTERVAL);
        if is_due {
            *logged = Some(Instant::now());
        }
        is_due
    }
}
