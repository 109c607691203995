//! Upgrades by SIGUSR2.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// The number of upgrades, by outcome. A process that was replaced shows its last one until it
/// ends.
#[derive(Debug)]
pub struct Upgrades {
    pub done: IntCounter,
    pub failed: IntCounter,
    pub refused: IntCounter,
}

impl Upgrades {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let total = super::register(
            registry,
            IntCounterVec::new(
                Opts::new(
                    "scim_guard_program_upgrades_total",
                    "Upgrades (SIGUSR2), by outcome: done, failed, or refused as one was under way.",
                ),
                &["outcome"],
            )?,
        )?;
        let outcome = |name: &str| total.with_label_values(&[name]);
        Ok(Self { done: outcome("done"), failed: outcome("failed"), refused: outcome("refused") })
    }
}
