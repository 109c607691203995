//! Connections and memory in Prometheus, read where they are counted when somebody asks.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts};

use super::budget::{Budget, Kind};
use super::connections::Connections;

/// What clients make the guard hold.
pub struct MemoryMetrics {
    budget: Arc<Budget>,
    connections: Arc<Connections>,
    families: Mutex<Families>,
    descs: Vec<Desc>,
}

/// Empty metrics, filled anew for each answer.
struct Families {
    connections: IntGauge,
    used: IntGaugeVec,
    limit: IntGauge,
    refused: IntCounterVec,
}

impl Families {
    fn all(&self) -> [&dyn Collector; 4] {
        [&self.connections, &self.used, &self.limit, &self.refused]
    }
}

impl MemoryMetrics {
    pub fn new(
        budget: Arc<Budget>,
        connections: Arc<Connections>,
    ) -> Result<Self, prometheus::Error> {
        let families = Families {
            connections: IntGauge::new("scim_guard_connections", "Open client connections.")?,
            used: IntGaugeVec::new(
                Opts::new(
                    "scim_guard_buffered_bytes",
                    "Bytes held for clients, by what they are held for.",
                ),
                &["kind"],
            )?,
            limit: IntGauge::new(
                "scim_guard_buffered_bytes_limit",
                "limits.buffered_bytes: how many bytes may be held together.",
            )?,
            refused: IntCounterVec::new(
                Opts::new(
                    "scim_guard_buffered_refused_total",
                    "Requests that were refused or given up for lack of memory, by what there was none for.",
                ),
                &["kind"],
            )?,
        };
        families.limit.set(i64::try_from(budget.limit()).unwrap_or(i64::MAX));
        let descs = families.all().iter().flat_map(|family| family.desc()).cloned().collect();
        Ok(Self { budget, connections, families: Mutex::new(families), descs })
    }
}

impl Collector for MemoryMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Filled and read by one at a time.
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        families.connections.set(i64::try_from(self.connections.open()).unwrap_or(i64::MAX));
        families.refused.reset();
        for kind in Kind::ALL {
            let used = i64::try_from(self.budget.used(kind)).unwrap_or(i64::MAX);
            families.used.with_label_values(&[kind.as_str()]).set(used);
            let refused = self.budget.refused(kind);
            families.refused.with_label_values(&[kind.as_str()]).inc_by(refused);
        }
        families.all().iter().flat_map(|family| family.collect()).collect()
    }
}
