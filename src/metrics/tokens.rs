//! The token registry and the refusal cache in Prometheus. The numbers are read where they are
//! counted when metrics are collected: the series of a token disappear with its entry, and there
//! are never more labels than entries.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use crate::refusals::RefusalCache;
use crate::snapshot::{LoadedRegistry, Snapshots};
use crate::verdict::VerdictLabel;

/// Collects the metrics of tokens.
pub(super) struct Tokens {
    snapshots: Arc<Snapshots>,
    refusals: Arc<RefusalCache>,
    families: Mutex<Families>,
    descs: Vec<Desc>,
}

/// Metrics that are filled on each scrape.
struct Families {
    requests: IntCounterVec,
    entries: IntGauge,
    failed: IntGauge,
    read: Gauge,
    next_expiry: Gauge,
    remembered: IntGaugeVec,
}

impl Tokens {
    pub(super) fn new(
        snapshots: Arc<Snapshots>,
        refusals: Arc<RefusalCache>,
    ) -> Result<Self, prometheus::Error> {
        let families = Families {
            requests: IntCounterVec::new(
                Opts::new(
                    "scim_guard_token_requests_total",
                    "Requests with a token of the registry, by its label there.",
                ),
                &["token", "verdict"],
            )?,
            entries: IntGauge::new(
                "scim_guard_register_entries",
                "Tokens in the registry in use.",
            )?,
            failed: IntGauge::new(
                "scim_guard_register_failed",
                "1 if the registry's file is invalid and its last valid version is in use.",
            )?,
            read: Gauge::new(
                "scim_guard_register_read_timestamp_seconds",
                "When the registry in use was read.",
            )?,
            next_expiry: Gauge::new(
                "scim_guard_register_next_expiry_timestamp_seconds",
                "When the next token of the registry expires; +Inf if none will.",
            )?,
            remembered: IntGaugeVec::new(
                Opts::new(
                    "scim_guard_shield_remembered",
                    "Refused tokens, accepted tokens, and addresses with failures that are remembered.",
                ),
                &["what"],
            )?,
        };
        let mut descs = families.remembered.desc();
        descs.extend(families.of_registry().iter().flat_map(|family| family.desc()));
        let descs = descs.into_iter().cloned().collect();
        Ok(Self { snapshots, refusals, families: Mutex::new(families), descs })
    }
}

impl Families {
    fn of_registry(&self) -> [&dyn Collector; 5] {
        [&self.requests, &self.entries, &self.failed, &self.read, &self.next_expiry]
    }

    fn fill(&self, registry: &LoadedRegistry) {
        let LoadedRegistry { tokens, file } = registry;
        let state = file.state();
        self.requests.reset();
        for entry in tokens.entries() {
            for verdict in VerdictLabel::ALL {
                let counted = entry.label.counted(verdict);
                // One series always exists; the others appear with their first request.
                if counted > 0 || verdict == VerdictLabel::Forwarded {
                    let labels = [entry.label.as_str(), verdict.as_str()];
                    self.requests.with_label_values(&labels).inc_by(counted);
                }
            }
        }
        self.entries.set(i64::try_from(tokens.entries().len()).unwrap_or(i64::MAX));
        self.failed.set(i64::from(state.failure.is_some()));
        self.read.set(seconds(state.read));
        let now = SystemTime::now();
        let expiries = tokens.entries().iter().filter_map(|entry| entry.expires);
        let next = expiries.filter(|expiry| *expiry > now).min();
        self.next_expiry.set(next.map_or(f64::INFINITY, seconds));
    }
}

impl Collector for Tokens {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Concurrent scrapes take turns to fill and read them.
        let metrics = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = self.refusals.remembered();
        for (what, count) in [
            ("refused_tokens", remembered.refused),
            ("accepted_tokens", remembered.accepted),
            ("addresses", remembered.addresses),
        ] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            metrics.remembered.with_label_values(&[what]).set(count);
        }
        let mut families = metrics.remembered.collect();
        if let Some(registry) = &self.snapshots.current().registry {
            metrics.fill(registry);
            families.extend(metrics.of_registry().iter().flat_map(|family| family.collect()));
        }
        families
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
