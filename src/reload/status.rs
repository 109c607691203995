//! The outcome of the last reload: in the log, in the metrics and for `/i/ready`.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::ReloadErrors;
use crate::metrics::Metrics;

/// The outcome of a reload without errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// The files contain what is in use already.
    Unchanged,
}

/// The outcome of the last reload.
#[derive(Debug)]
pub struct ReloadStatus {
    metrics: Arc<Metrics>,
    last: Mutex<Option<Last>>,
    /// When a reload last changed what is in use.
    applied: Mutex<Option<SystemTime>>,
    /// Why the certificates in their present form are not in use.
    certificates: Mutex<Option<ReloadErrors>>,
}

#[derive(Debug, Clone)]
struct Last {
    at: SystemTime,
    outcome: Result<Outcome, ReloadErrors>,
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

    /// Why the files in their present form are not in use.
    pub fn failure(&self) -> Option<ReloadErrors> {
        self.last().and_then(|last| last.outcome.err())
    }

    /// Why changed certificates are not in use.
    pub fn certificates_failure(&self) -> Option<ReloadErrors> {
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

    /// Lines for people: the outcome of the last reload, and errors in certificates that have
    /// changed since.
    pub fn text(&self) -> String {
        let mut text = self.last_text();
        if let Some(errors) = &*lock(&self.certificates) {
            let _ = writeln!(
                text,
                "certificates: the files as they are now are not in use, and the last good ones stay in use:\n{errors}"
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
            Err(errors) => format!(
                "config: the reload at {at} failed, and the last good config stays in use:\n{errors}\n"
            ),
        }
    }

    pub(super) fn note(&self, outcome: Result<Outcome, ReloadErrors>) {
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
            Err(ReloadErrors(errors)) => {
                self.metrics.reloads().failed();
                tracing::error!(
                    errors = errors.len(),
                    "the config was not reloaded, and the last good one stays in use"
                );
                for error in errors {
                    tracing::error!("reload: {error}");
                }
            }
        }
        *lock(&self.last) = Some(Last { at: SystemTime::now(), outcome });
    }

    /// Records how changed certificates were loaded, or that a reload has replaced them.
    pub(super) fn note_certificates(&self, outcome: Result<(), ReloadErrors>) {
        match &outcome {
            Ok(()) => {}
            Err(ReloadErrors(errors)) => {
                tracing::error!(
                    errors = errors.len(),
                    "certificates were changed and cannot be used; the last good ones stay in use"
                );
                for error in errors {
                    tracing::error!("certificates: {error}");
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
