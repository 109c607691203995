//! Deletions and deactivations in Prometheus, for the tokens whose number of them is limited.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use crate::deprovisioning::Counter;
use crate::removal::{self, LimitUse};
use crate::snapshot::{Snapshot, Snapshots};

/// The label for all tokens outside the registry together.
const OTHER: &str = "other";

/// Collects the usage of the limits.
pub(super) struct Deprovisioning {
    snapshots: Arc<Snapshots>,
    counter: Arc<Counter>,
    families: Mutex<Families>,
    descs: Vec<Desc>,
}

/// Metrics that are filled on each scrape.
struct Families {
    used: IntGaugeVec,
    at_most: IntGaugeVec,
    total: IntCounterVec,
}

impl Deprovisioning {
    pub(super) fn new(
        snapshots: Arc<Snapshots>,
        counter: Arc<Counter>,
    ) -> Result<Self, prometheus::Error> {
        let families = Families {
            used: IntGaugeVec::new(
                Opts::new(
                    "scim_guard_deprovisioning_used",
                    "Users that count against the limit of deletions and deactivations now, by the label of the token.",
                ),
                &["token"],
            )?,
            at_most: IntGaugeVec::new(
                Opts::new(
                    "scim_guard_deprovisioning_limit",
                    "The limit of deletions and deactivations, by the label of the token.",
                ),
                &["token"],
            )?,
            total: IntCounterVec::new(
                Opts::new(
                    "scim_guard_deprovisioned_total",
                    "Users that were deleted or deactivated, or may have been as Wire failed to answer; once for each \
                     time that the limit counts them.",
                ),
                &["token"],
            )?,
        };
        let descs = families.all().iter().flat_map(|family| family.desc()).cloned().collect();
        Ok(Self { snapshots, counter, families: Mutex::new(families), descs })
    }
}

impl Families {
    fn all(&self) -> [&dyn Collector; 3] {
        [&self.used, &self.at_most, &self.total]
    }

    fn fill(&self, snapshot: &Snapshot, counter: &Counter) {
        self.used.reset();
        self.at_most.reset();
        self.total.reset();
        for LimitUse { label, limit, used, total } in removal::uses(snapshot, counter) {
            let label = [label.as_deref().unwrap_or(OTHER)];
            self.used.with_label_values(&label).add(i64::try_from(used).unwrap_or(i64::MAX));
            self.at_most.with_label_values(&label).set(limit.at_most.into());
            self.total.with_label_values(&label).inc_by(total);
        }
    }
}

impl Collector for Deprovisioning {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        families.fill(&self.snapshots.current(), &self.counter);
        families.all().iter().flat_map(|family| family.collect()).collect()
    }
}
