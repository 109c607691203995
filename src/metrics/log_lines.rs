//! Dropped log lines in Prometheus. `logging` counts them; the count is read on each scrape.

use std::sync::Mutex;

use prometheus::IntCounter;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::logging;

pub(super) struct DroppedLines {
    counter: Mutex<IntCounter>,
    descs: Vec<Desc>,
}

impl DroppedLines {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let counter = IntCounter::new(
            "scim_guard_log_lines_dropped_total",
            "Log lines that standard error did not accept, or not fast enough.",
        )?;
        let descs = counter.desc().into_iter().cloned().collect();
        Ok(Self { counter: Mutex::new(counter), descs })
    }
}

impl Collector for DroppedLines {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Concurrent scrapes take turns, so that no line is counted twice.
        let counter = self.counter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let dropped = u64::try_from(logging::dropped_lines()).unwrap_or(u64::MAX);
        counter.inc_by(dropped.saturating_sub(counter.get()));
        counter.collect()
    }
}
