//! The backend servers in Prometheus. Their states are read on each scrape, so that the series of
//! an address that a name no longer resolves to disappears.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

/// The state of a backend server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerState {
    Healthy,
    /// Skipped after failures.
    Unhealthy {
        why: String,
    },
    /// Its name has not been resolved so far.
    Unresolved,
}

/// Reports the backend servers and their states.
#[derive(Clone)]
pub struct ListServers(Arc<dyn Fn() -> Vec<(String, ServerState)> + Send + Sync>);

impl ListServers {
    pub fn new(list: impl Fn() -> Vec<(String, ServerState)> + Send + Sync + 'static) -> Self {
        Self(Arc::new(list))
    }

    pub fn list(&self) -> Vec<(String, ServerState)> {
        self.0()
    }
}

impl fmt::Debug for ListServers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.list()).finish()
    }
}

pub(super) struct Servers {
    servers: ListServers,
    /// Filled on each scrape.
    in_rotation: Mutex<IntGaugeVec>,
    descs: Vec<Desc>,
}

impl Servers {
    pub(super) fn new(servers: ListServers) -> Result<Self, prometheus::Error> {
        let in_rotation = IntGaugeVec::new(
            Opts::new(
                "scim_guard_upstream_in_rotation",
                "1 if the backend server is in rotation; 0 if it is skipped after failures, or its name is not \
                 resolved so far.",
            ),
            &["server"],
        )?;
        let descs = in_rotation.desc().into_iter().cloned().collect();
        Ok(Self { servers, in_rotation: Mutex::new(in_rotation), descs })
    }
}

impl Collector for Servers {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Concurrent scrapes take turns to fill and read it.
        let in_rotation = self.in_rotation.lock().unwrap_or_else(PoisonError::into_inner);
        in_rotation.reset();
        for (server, state) in self.servers.list() {
            let value = i64::from(state == ServerState::Healthy);
            in_rotation.with_label_values(&[&server]).set(value);
        }
        in_rotation.collect()
    }
}
