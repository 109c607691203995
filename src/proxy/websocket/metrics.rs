//! Switched connections in Prometheus, copied from their own counters on each scrape.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge};

use super::Upgrades;

/// Collects how many connections have switched.
pub(in crate::proxy) struct UpgradeMetrics {
    upgrades: Arc<Upgrades>,
    families: Mutex<(IntGauge, IntCounter)>,
    descs: Vec<Desc>,
}

impl UpgradeMetrics {
    pub(in crate::proxy) fn new(upgrades: Arc<Upgrades>) -> Result<Self, prometheus::Error> {
        let open = IntGauge::new(
            "scim_guard_upgrades_open",
            "Connections that have switched to WebSocket, or ask the backend to.",
        )?;
        let switched = IntCounter::new(
            "scim_guard_upgrades_total",
            "Connections that the backend has switched to WebSocket.",
        )?;
        let descs = open.desc().into_iter().chain(switched.desc()).cloned().collect();
        Ok(Self { upgrades, families: Mutex::new((open, switched)), descs })
    }
}

impl Collector for UpgradeMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Concurrent scrapes take turns to fill and read them.
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, switched) = &*families;
        open.set(i64::try_from(self.upgrades.open.load(Ordering::Relaxed)).unwrap_or(i64::MAX));
        switched.reset();
        switched.inc_by(self.upgrades.switched.load(Ordering::Relaxed));
        open.collect().into_iter().chain(switched.collect()).collect()
    }
}
