//! Applies another configuration while the guard runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;

use super::RESOLVE_TIMEOUT;
use crate::config::ClientAuth;
use crate::logging;
use crate::proxy::listeners::Listeners;
use crate::proxy::request::RequestFilter;
use crate::proxy::upstream::Upstreams;
use crate::reload::{Apply, ReloadErrors, changed_keys};
use crate::snapshot::Snapshot;
use crate::tls::LoadedTls;
use crate::tls::file::TlsFile;

/// The parts that keep settings outside the snapshot, and follow each new one.
pub(super) struct Live {
    pub filter: Arc<RequestFilter>,
    pub upstreams: Arc<Upstreams>,
    pub listeners: Arc<Listeners>,
    /// Where names are resolved.
    pub control: Handle,
}

impl Apply for Live {
    fn apply(&self, next: Snapshot) -> Result<(), ReloadErrors> {
        let snapshots = self.filter.snapshots();
        let current = snapshots.current();
        let next = next.sharing_with(&current);
        let mut errors = changed_keys(&current.config, &next.config);
        errors.extend(self.resolve(&current, &next));
        // Sockets that turn out not to be needed are closed again before anything accepts from
        // them.
        let addresses: Vec<_> =
            next.config.listen.iter().map(|listener| listener.address).collect();
        let listeners = self.listeners.prepare(&addresses).unwrap_or_else(|unbound| {
            errors.extend(unbound);
            Vec::new()
        });
        let errors = ReloadErrors::new(errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        if let Some(shared) = &next.shared {
            self.filter.evaluator().share(shared);
        }
        let config = Arc::clone(&next.config);
        let warnings = next.warnings(SystemTime::now());
        self.filter.budget().configure(&config.limits);
        self.listeners.retire(&listeners, &current);
        snapshots.publish(|_| Some(next));
        self.upstreams.adopt(&config);
        self.listeners.replace(&listeners);
        self.end_connections(&current, &snapshots.current());
        logging::configure(&config.log);
        self.filter.recorder().access.configure(&config.log);
        for warning in &config.warnings {
            tracing::warn!("config: {warning}");
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(())
    }

    fn apply_tls(&self, tls: LoadedTls) {
        let snapshots = self.filter.snapshots();
        let current = snapshots.current();
        let tls = Arc::new(tls);
        snapshots.publish(|current| Some(Snapshot { tls: Arc::clone(&tls), ..current.clone() }));
        self.end_connections(&current, &snapshots.current());
    }
}

impl Live {
    /// Resolves the servers of the next configuration before a request needs them. It is an error
    /// that none has an address only if the servers were changed: names that temporarily fail keep
    /// their last addresses.
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

    /// Ends the connections of listeners that now admit other clients.
    ///
    /// SECURITY: a connection whose client certificate was issued by an authority that is no longer
    /// trusted must not continue.
    fn end_connections(&self, before: &Snapshot, after: &Snapshot) {
        for listening in self.listeners.open() {
            let address = listening.address();
            let was_there = before.config.listener(address).is_some();
            if was_there && admission(before, address) != admission(after, address) {
                tracing::info!(%address, "a listener admits other clients now: its open connections end");
                listening.end_connections();
            }
        }
    }
}

/// Which clients a listener admits.
#[derive(PartialEq, Eq)]
enum Admission<'s> {
    Cleartext,
    AnyOverTls,
    /// Those with certificates of the authorities in this file.
    Certified(&'s ClientAuth, Option<&'s TlsFile>),
}

fn admission(snapshot: &Snapshot, address: SocketAddr) -> Admission<'_> {
    let listener = snapshot.config.listener(address);
    let Some(tls) = listener.and_then(|listener| listener.tls.as_ref()) else {
        return Admission::Cleartext;
    };
    match &tls.client_auth {
        None => Admission::AnyOverTls,
        Some(auth) => {
            let mut files = snapshot.tls.files().iter();
            Admission::Certified(auth, files.find(|file| file.path == auth.ca))
        }
    }
}
