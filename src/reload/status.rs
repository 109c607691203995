//! How the last reload ended: in the log, in the metrics and for `/i/ready`.

use std::sync::{Arc, Mutex, PoisonError};
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
}

#[derive(Debug, Clone)]
struct Last {
    at: SystemTime,
    outcome: Result<Outcome, Mistakes>,
}

impl ReloadStatus {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, last: Mutex::default() }
    }

    /// Why what the files hold is not in use.
    pub fn failure(&self) -> Option<Mistakes> {
        self.last().and_then(|last| last.outcome.err())
    }

    /// One line for people, or more if the last reload failed.
    pub fn text(&self) -> String {
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
        *self.lock() = Some(Last { at: SystemTime::now(), outcome });
    }

    fn last(&self) -> Option<Last> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
