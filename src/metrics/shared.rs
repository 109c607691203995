//! The store that replicas share, in Prometheus. The series exist while one is configured.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::shared::{Counts, SECONDS, SharedState};
use crate::snapshot::Snapshots;

const UP: &str = "scim_guard_shared_up";
const UP_HELP: &str = "1 if the store that replicas share answers in time, and requests ask it.";
const LISTENING: &str = "scim_guard_shared_listening";
const LISTENING_HELP: &str = "1 if what other replicas learn about tokens and addresses arrives.";
const LOOKUPS: &str = "scim_guard_shared_lookups_total";
const LOOKUPS_HELP: &str = "Requests that a budget in the store concerns: answered, given up as there was no answer in time (timeout), or not \
                            looked up as the store does not answer (unavailable).";
const SECONDS_NAME: &str = "scim_guard_shared_lookup_duration_seconds";
const SECONDS_HELP: &str = "How long requests waited for the store's answer.";
const EVENTS: &str = "scim_guard_shared_events_total";
const EVENTS_HELP: &str = "Events about tokens and addresses: sent to other replicas, received from them, or dropped, as the store did not \
                           take them; dropped also counts what became of requests, if the store was not told.";

/// Collects the numbers of the store in use.
pub(super) struct Shared {
    snapshots: Arc<Snapshots>,
    descs: Vec<Desc>,
}

impl Shared {
    pub(super) fn new(snapshots: Arc<Snapshots>) -> Result<Self, prometheus::Error> {
        let desc = |name: &str, help: &str, labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(name.into(), help.into(), labels, HashMap::new())
        };
        let descs = vec![
            desc(UP, UP_HELP, &[])?,
            desc(LISTENING, LISTENING_HELP, &[])?,
            desc(LOOKUPS, LOOKUPS_HELP, &["outcome"])?,
            desc(SECONDS_NAME, SECONDS_HELP, &[])?,
            desc(EVENTS, EVENTS_HELP, &["outcome"])?,
        ];
        Ok(Self { snapshots, descs })
    }
}

impl Collector for Shared {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let snapshot = self.snapshots.current();
        snapshot.shared.as_ref().map(|shared| families(shared)).unwrap_or_default()
    }
}

fn families(shared: &SharedState) -> Vec<MetricFamily> {
    let (status, counts) = (shared.status(), shared.counts());
    let gauge = |name, help, is_on: bool| {
        let mut value = Gauge::default();
        value.set_value(f64::from(u8::from(is_on)));
        let mut metric = Metric::default();
        metric.set_gauge(value);
        family(name, help, MetricType::GAUGE, vec![metric])
    };
    let counters = |name, help, values: [(&str, &AtomicU64); 3]| {
        let metrics = values.map(|(outcome, count)| {
            let mut value = Counter::default();
            value.set_value(count.load(Ordering::Relaxed) as f64);
            let mut label = LabelPair::default();
            label.set_name("outcome".into());
            label.set_value(outcome.into());
            let mut metric = Metric::default();
            metric.set_label(vec![label]);
            metric.set_counter(value);
            metric
        });
        family(name, help, MetricType::COUNTER, metrics.into())
    };
    vec![
        gauge(UP, UP_HELP, status.is_up()),
        gauge(LISTENING, LISTENING_HELP, status.is_listening()),
        counters(
            LOOKUPS,
            LOOKUPS_HELP,
            [
                ("answered", &counts.answered),
                ("timeout", &counts.timed_out),
                ("unavailable", &counts.unavailable),
            ],
        ),
        family(SECONDS_NAME, SECONDS_HELP, MetricType::HISTOGRAM, vec![durations(counts)]),
        counters(
            EVENTS,
            EVENTS_HELP,
            [("sent", &counts.sent), ("received", &counts.received), ("dropped", &counts.dropped)],
        ),
    ]
}

fn durations(counts: &Counts) -> Metric {
    let mut so_far = 0;
    let mut histogram = Histogram::default();
    let mut buckets = Vec::with_capacity(SECONDS.len());
    for (bound, count) in SECONDS.iter().zip(&counts.durations) {
        so_far += count.load(Ordering::Relaxed);
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(so_far);
        buckets.push(bucket);
    }
    so_far += counts.durations[SECONDS.len()].load(Ordering::Relaxed);
    histogram.set_bucket(buckets);
    histogram.set_sample_count(so_far);
    histogram.set_sample_sum(counts.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    metric
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}
