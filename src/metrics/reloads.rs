//! Reloads of the config.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The number of reloads, by outcome.
#[derive(Debug)]
pub struct Reloads {
    applied: IntCounter,
    failed: IntCounter,
    unchanged: IntCounter,
    last_failed: IntGauge,
}

impl Reloads {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let total = super::register(
            registry,
            IntCounterVec::new(
                Opts::new("scim_guard_reloads_total", "Reloads of the config, by outcome."),
                &["outcome"],
            )?,
        )?;
        let last_failed = super::register(
            registry,
            IntGauge::new(
                "scim_guard_reload_failed",
                "1 if the last reload failed: the files hold another config than the one in use.",
            )?,
        )?;
        Ok(Self {
            applied: total.with_label_values(&["applied"]),
            failed: total.with_label_values(&["failed"]),
            unchanged: total.with_label_values(&["unchanged"]),
            last_failed,
        })
    }

    pub fn applied(&self) {
        self.applied.inc();
        self.last_failed.set(0);
    }

    pub fn unchanged(&self) {
        self.unchanged.inc();
        self.last_failed.set(0);
    }

    pub fn failed(&self) {
        self.failed.inc();
        self.last_failed.set(1);
    }
}
