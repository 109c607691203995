//! Puts another configuration into use while the guard runs.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::RESOLVE_TIMEOUT;
use crate::logging;
use crate::proxy::listeners::Listeners;
use crate::proxy::request::RequestFilter;
use crate::proxy::upstream::Upstreams;
use crate::reload::{Mistakes, changed_keys};
use crate::snapshot::Snapshot;

/// What keeps settings beside the snapshot, and follows each new one.
pub(super) struct Live {
    pub filter: Arc<RequestFilter>,
    pub upstreams: Arc<Upstreams>,
    pub listeners: Arc<Listeners>,
    /// Where names are resolved.
    pub control: Handle,
}

impl Live {
    /// Uses this snapshot from now on, or says everything that prevents it. Then nothing has changed.
    pub(super) fn apply(&self, next: Snapshot) -> Result<(), Mistakes> {
        let snapshots = self.filter.snapshots();
        let current = snapshots.current();
        let mut mistakes = changed_keys(&current.config, &next.config);
        mistakes.extend(self.resolve(&current, &next));
        // Sockets that are opened in vain are closed again before anybody accepts from them.
        let listeners = self.listeners.prepare(&next.config.listen);
        let listeners = listeners.unwrap_or_else(|errors| {
            mistakes.extend(errors);
            Vec::new()
        });
        let mistakes = Mistakes::new(mistakes);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let config = Arc::clone(&next.config);
        self.filter.budget().configure(&config.limits);
        snapshots.publish(|_| Some(next));
        self.upstreams.adopt(&config);
        self.listeners.replace(listeners);
        logging::configure(&config.log);
        self.filter.recorder().access.configure(&config.log);
        for warning in &config.warnings {
            tracing::warn!("config: {warning}");
        }
        Ok(())
    }

    /// Finds the servers of the next configuration before a request needs them. None that has an address is an
    /// error only if the servers were changed: names that fail meanwhile keep their last addresses.
    fn resolve(&self, current: &Snapshot, next: &Snapshot) -> Option<String> {
        let found = self.upstreams.prepare(&next.config, RESOLVE_TIMEOUT);
        let is_found = self.control.block_on(found);
        let is_new = current.config.upstream != next.config.upstream;
        (is_new && !is_found).then(|| {
            let servers: Vec<String> =
                next.config.upstream.iter().map(ToString::to_string).collect();
            format!(
                "upstream.servers: {} cannot be resolved to an address; correct the name, or its entry in the DNS",
                servers.join(", ")
            )
        })
    }
}
