//! The outcomes of spans in Prometheus. The numbers are read where they are counted.
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, Opts};

use crate::spans::Counts;

/// Collects how many sampled requests had their spans sent or dropped.
pub struct SpanMetrics {
    counts: Arc<Counts>,
    /// Filled on each scrape.
    requests: Mutex<IntCounterVec>,
    descs: Vec<Desc>,
}

impl SpanMetrics {
    pub fn new(counts: Arc<Counts>) -> Result<Self, prometheus::Error> {
        let opts = Opts::new(
            "scim_guard_traced_requests_total",
            "Requests that were sampled, by whether their spans were sent or dropped.",
        );
        let requests = IntCounterVec::new(opts, &["outcome"])?;
        let descs = requests.desc().into_iter().cloned().collect();
        Ok(Self { counts, requests: Mutex::new(requests), descs })
    }
}

impl Collector for SpanMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Concurrent scrapes take turns to fill and read it.
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.reset();
        let (sent, dropped) = self.counts.sent_and_dropped();
        requests.with_label_values(&["sent"]).inc_by(sent);
        requests.with_label_values(&["dropped"]).inc_by(dropped);
        requests.collect()
    }
}
