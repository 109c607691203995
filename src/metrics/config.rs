//! Settings of the current config in Prometheus: for alerts that compare them with other metrics.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntGauge};

use crate::snapshot::Snapshots;

pub(super) struct Settings {
    snapshots: Arc<Snapshots>,
    /// Filled on each scrape.
    families: Mutex<Families>,
    descs: Vec<Desc>,
}

struct Families {
    fingerprint: Gauge,
    connections: IntGauge,
}

impl Families {
    fn all(&self) -> [&dyn Collector; 2] {
        [&self.fingerprint, &self.connections]
    }
}

impl Settings {
    pub(super) fn new(snapshots: Arc<Snapshots>) -> Result<Self, prometheus::Error> {
        let families = Families {
            fingerprint: Gauge::new(
                "scim_guard_config_fingerprint",
                "A number that differs between replicas whose config files, own schemas or token registries differ; certificates and files with keys and tokens are not part of it.",
            )?,
            connections: IntGauge::new(
                "scim_guard_connections_limit",
                "limits.connections: the limit of open client connections.",
            )?,
        };
        let descs = families.all().iter().flat_map(|family| family.desc()).cloned().collect();
        Ok(Self { snapshots, families: Mutex::new(families), descs })
    }
}

impl Collector for Settings {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Concurrent scrapes take turns to fill and read them.
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.snapshots.current();
        families.fingerprint.set(snapshot.fingerprint() as f64);
        let connections = i64::try_from(snapshot.config.limits.connections).unwrap_or(i64::MAX);
        families.connections.set(connections);
        families.all().iter().flat_map(|family| family.collect()).collect()
    }
}
