//! How the last reload ended: in the log, in the metrics and for `/i/ready`.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Mistakes;
use crate::metrics::Metrics;

/// How a reload ended that found no mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// The files hold what is in use already.
    Unchanged,
}

/// How the last reload ended.
#[derive(Debug)]
pub struct ReloadStatus {
    metrics: Arc<Metrics>,
    last: Mutex<Option<Last>>,
    /// When a reload last changed what is in use.
    applied: Mutex<Option<SystemTime>>,
    /// Why the certificates as they are now are not in use.
    certificates: Mutex<Option<Mistakes>>,
}

#[derive(Debug, Clone)]
struct Last {
    at: SystemTime,
    outcome: Result<Outcome, Mistakes>,
}

impl ReloadStatus {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            last: Mutex::default(),
            applied: Mutex::default(),
            certificates: Mutex::default(),
        }
    }

    /// Why what the files hold is not in use.
    pub fn failure(&self) -> Option<Mistakes> {
        self.last().and_then(|last| last.outcome.err())
    }

    /// Why changed certificates are not in use.
    pub fn certificates_failure(&self) -> Option<Mistakes> {
        lock(&self.certificates).clone()
    }

    /// When a reload last changed what is in use.
    pub fn applied(&self) -> Option<SystemTime> {
        *lock(&self.applied)
    }

    /// When the last reload was, whatever its outcome.
    pub fn last_at(&self) -> Option<SystemTime> {
        self.last().map(|last| last.at)
    }

    /// Lines for people: how the last reload ended, and what is wrong with certificates that have changed since.
    pub fn text(&self) -> String {
        let mut text = self.last_text();
        if let Some(mistakes) = &*lock(&self.certificates) {
            let _ = writeln!(
                text,
                "certificates: the files as they are now are not in use, and the last good ones stay in use:\n{mistakes}"
            );
        }
        text
    }

    fn last_text(&self) -> String {
        let Some(Last { at, outcome }) = self.last() else {
            return "config: in use since the start\n".into();
        };
        let at = OffsetDateTime::from(at).replace_nanosecond(0).ok();
        let at = at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
        match outcome {
            Ok(Outcome::Applied) => format!("config: reloaded at {at}\n"),
            Ok(Outcome::Unchanged) => format!("config: unchanged at the reload at {at}\n"),
            Err(mistakes) => format!(
                "config: the reload at {at} failed, and the last good config stays in use:\n{mistakes}\n"
            ),
        }
    }

    pub(super) fn note(&self, outcome: Result<Outcome, Mistakes>) {
        match &outcome {
            Ok(Outcome::Applied) => {
                self.metrics.reloads().applied();
                *lock(&self.applied) = Some(SystemTime::now());
                tracing::info!("the config was reloaded");
            }
            Ok(Outcome::Unchanged) => {
                self.metrics.reloads().unchanged();
                tracing::info!("the config was not reloaded: no file has changed");
            }
            Err(Mistakes(mistakes)) => {
                self.metrics.reloads().failed();
                tracing::error!(
                    mistakes = mistakes.len(),
                    "the config was not reloaded, and the last good one stays in use"
                );
                for mistake in mistakes {
                    tracing::error!("reload: {mistake}");
                }
            }
        }
        *lock(&self.last) = Some(Last { at: SystemTime::now(), outcome });
    }

    /// Notes how changed certificates were loaded, or that a reload has replaced them.
    pub(super) fn note_certificates(&self, outcome: Result<(), Mistakes>) {
        match &outcome {
            Ok(()) => {}
            Err(Mistakes(mistakes)) => {
                tracing::error!(
                    mistakes = mistakes.len(),
                    "certificates were changed and cannot be used; the last good ones stay in use"
                );
                for mistake in mistakes {
                    tracing::error!("certificates: {mistake}");
                }
            }
        }
        *lock(&self.certificates) = outcome.err();
    }

    fn last(&self) -> Option<Last> {
        lock(&self.last).clone()
    }
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
