//! Connections and memory in Prometheus. Their own counters are copied into metrics on each scrape.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts};

use super::Connections;
use super::memory::{Budget, Kind};

/// Collects the connections and buffered bytes of clients.
pub struct MemoryMetrics {
    budget: Arc<Budget>,
    connections: Arc<Connections>,
    families: Mutex<Families>,
    descs: Vec<Desc>,
}

/// Metrics that are filled on each scrape.
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
                    "Bytes buffered for clients, by purpose; stream: HTTP/2 requests with a body that are streamed without being judged.",
                ),
                &["kind"],
            )?,
            limit: IntGauge::new(
                "scim_guard_buffered_bytes_limit",
                "limits.buffered_bytes: the limit of all buffered bytes.",
            )?,
            refused: IntCounterVec::new(
                Opts::new(
                    "scim_guard_buffered_refused_total",
                    "Requests that were refused or aborted because of that limit, by purpose.",
                ),
                &["kind"],
            )?,
        };
        let descs = families.all().iter().flat_map(|family| family.desc()).cloned().collect();
        Ok(Self { budget, connections, families: Mutex::new(families), descs })
    }
}

impl Collector for MemoryMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Concurrent scrapes take turns to fill and read them.
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        families.connections.set(i64::try_from(self.connections.open()).unwrap_or(i64::MAX));
        families.limit.set(i64::try_from(self.budget.limit()).unwrap_or(i64::MAX));
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
