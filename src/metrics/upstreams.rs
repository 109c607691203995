//! The backend servers in Prometheus. Their states are read when somebody asks, so that an address that a
//! name no longer resolves to takes its series with it.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

use crate::proxy::upstream::Upstreams;

pub(super) struct Servers {
    upstreams: Arc<Upstreams>,
    /// Filled anew for each answer.
    in_rotation: Mutex<IntGaugeVec>,
    descs: Vec<Desc>,
}

impl Servers {
    pub(super) fn new(upstreams: Arc<Upstreams>) -> Result<Self, prometheus::Error> {
        let in_rotation = IntGaugeVec::new(
            Opts::new(
                "scim_guard_upstream_in_rotation",
                "1 if the backend server takes its turns; 0 if it is skipped after failures, or its name is not \
                 resolved so far.",
            ),
            &["server"],
        )?;
        let descs = in_rotation.desc().into_iter().cloned().collect();
        Ok(Self { upstreams, in_rotation: Mutex::new(in_rotation), descs })
    }
}

impl Collector for Servers {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Filled and read by one at a time.
        let in_rotation = self.in_rotation.lock().unwrap_or_else(PoisonError::into_inner);
        in_rotation.reset();
        for server in self.upstreams.unresolved() {
            in_rotation.with_label_values(&[&server.to_string()]).set(0);
        }
        for (address, awake) in self.upstreams.states() {
            in_rotation.with_label_values(&[&address.to_string()]).set(i64::from(awake));
        }
        in_rotation.collect()
    }
}
