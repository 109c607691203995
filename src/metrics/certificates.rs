//! When the certificates of the listeners expire, in Prometheus: those of the current snapshot.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

use crate::snapshot::Snapshots;

/// Collects the expiry times of certificates.
pub(super) struct Certificates {
    snapshots: Arc<Snapshots>,
    /// Filled on each scrape.
    expiry: Mutex<IntGaugeVec>,
    descs: Vec<Desc>,
}

impl Certificates {
    pub(super) fn new(snapshots: Arc<Snapshots>) -> Result<Self, prometheus::Error> {
        let expiry = IntGaugeVec::new(
            Opts::new(
                "scim_guard_certificate_expiry_timestamp_seconds",
                "When the first certificate of a chain expires, by the listener's address and the number in its list.",
            ),
            &["certificate"],
        )?;
        let descs = expiry.desc().into_iter().cloned().collect();
        Ok(Self { snapshots, expiry: Mutex::new(expiry), descs })
    }
}

impl Collector for Certificates {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Concurrent scrapes take turns to fill and read it.
        let expiry = self.expiry.lock().unwrap_or_else(PoisonError::into_inner);
        expiry.reset();
        for end in self.snapshots.current().tls.expiries() {
            expiry.with_label_values(&[&end.certificate]).set(end.not_after);
        }
        expiry.collect()
    }
}
