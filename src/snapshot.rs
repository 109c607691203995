//! What was read and compiled, as one immutable value: the configuration, the compiled schemas, the
//! token registry and the certificates.
//!
//! A request takes the current [`Snapshot`] once and keeps it until its end, so that a change never
//! applies to half of a request. Nothing else keeps a copy of a setting that may change while the
//! process runs: a reload is one call of `Snapshots::publish`. State that outlives a snapshot
//! (refusal cache, rates, memory budget, connections, pools, health of servers, metrics) is kept
//! outside it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use crate::config::{Config, warnings};
use crate::deprovisioning::AllowanceChange;
use crate::fingerprint;
use crate::refusals::RefusalLimits;
use crate::registry::TokenRegistry;
use crate::registry::file::LoadError;
use crate::registry::watch::RegistryFile;
use crate::schema::{SchemaErrors, Schemas};
use crate::shared::SharedState;
use crate::tls::LoadedTls;

mod allowances;

use allowances::Auditor;

/// How often the registry file is checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Everything that the operator configured, read and compiled.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub config: Arc<Config>,
    pub schemas: Arc<Schemas>,
    /// `None`: Wire alone judges well-formed tokens.
    pub registry: Option<LoadedRegistry>,
    /// The certificates of the listeners that speak TLS.
    pub tls: Arc<LoadedTls>,
    /// What is shared with other replicas; `None`: nothing.
    pub(crate) shared: Option<Arc<SharedState>>,
    pub(crate) refusal_limits: RefusalLimits,
}

/// The registry and the file that it was read from.
#[derive(Debug, Clone)]
pub struct LoadedRegistry {
    pub tokens: Arc<TokenRegistry>,
    pub file: Arc<RegistryFile>,
}

/// Why a configuration cannot be used: all errors in the files that it names.
#[derive(Debug)]
pub struct LoadErrors {
    pub schemas: Option<SchemaErrors>,
    pub registry: Option<LoadError>,
    pub tls: Vec<LoadError>,
}

impl LoadErrors {
    /// Without those of certificates and keys that are missing.
    pub fn without_missing(mut self) -> Self {
        self.tls.retain(|error| match error {
            LoadError::Unreadable { path, .. } => path.exists(),
            _ => true,
        });
        self
    }
}

impl fmt::Display for LoadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemas = self.schemas.iter().map(ToString::to_string);
        let files = self.registry.iter().chain(&self.tls).map(ToString::to_string);
        f.write_str(&schemas.chain(files).collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for LoadErrors {}

impl Snapshot {
    /// Reads and compiles the files that the configuration names.
    pub fn load(config: Config) -> Result<Self, LoadErrors> {
        let schemas = match &config.schemas {
            Some(folder) => Schemas::load(folder),
            None => Ok(Schemas::built_in()),
        };
        let registry = config.tokens.as_deref().map(RegistryFile::open).transpose();
        let tls = LoadedTls::load(&config);
        let (schemas, registry, tls) = match (schemas, registry, tls) {
            (Ok(schemas), Ok(registry), Ok(tls)) => (schemas, registry, Arc::new(tls)),
            (schemas, registry, tls) => {
                return Err(LoadErrors {
                    schemas: schemas.err(),
                    registry: registry.err(),
                    tls: tls.err().unwrap_or_default(),
                });
            }
        };
        let registry = registry
            .map(|(file, tokens)| LoadedRegistry { file: Arc::new(file), tokens: tokens.into() });
        let shared = config.shared.clone().map(|settings| Arc::new(SharedState::new(settings)));
        let refusal_limits = RefusalLimits::of(&config, shared.as_ref());
        let (config, schemas) = (Arc::new(config), Arc::new(schemas));
        Ok(Self { config, schemas, registry, tls, shared, refusal_limits })
    }

    /// The same, with the store that is in use if its settings are the same.
    pub(crate) fn sharing_with(mut self, current: &Self) -> Self {
        if let (Some(new), Some(old)) = (&self.shared, &current.shared) {
            let shared = match new.settings() == old.settings() {
                true => Arc::clone(old),
                false => Arc::new(SharedState::new(new.settings().clone()).counting_on(old)),
            };
            self.refusal_limits = RefusalLimits::of(&self.config, Some(&shared));
            self.shared = Some(shared);
        }
        self
    }
}

impl Snapshot {
    /// A number that differs between replicas whose config files, own schemas or token registries differ. What replicas may
    /// each have for themselves is not part of it: certificates, and files with keys and tokens, which no number must be of.
    pub fn fingerprint(&self) -> u64 {
        let schemas = self.config.schemas.as_ref().map(|_| self.schemas.fingerprint());
        let registry = self.registry.as_ref().map(|registry| registry.tokens.fingerprint);
        let parts = schemas.into_iter().chain(registry);
        parts.fold(self.config.fingerprint, |all, part| {
            fingerprint::of([all.to_le_bytes(), part.to_le_bytes()])
        })
    }

    /// What the files contain although it is probably unintended, and which certificates expire
    /// soon; in addition to the warnings of the configuration.
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let mut warnings = self.tls.warnings(now);
        let listeners = self.config.listen.iter().filter_map(|listener| listener.tls.as_ref());
        let asks = listeners.into_iter().any(|tls| tls.client_auth.is_some());
        let certified = self.registry.iter().flat_map(|registry| registry.tokens.entries());
        let label = certified.into_iter().find(|entry| entry.client_certificate.is_some());
        if let (Some(entry), Some(path), false) = (label, &self.config.tokens, asks) {
            warnings.push(format!(
                "{}: warning: the token {} may be used with a client certificate only, and no listener requests one: \
                 give the listener tls: {{client_auth: {{ca: FILE}}}}",
                path.display(),
                entry.label.as_str()
            ));
        }
        let limited = self.registry.iter().flat_map(|registry| registry.tokens.entries());
        let limited = limited.into_iter().find(|entry| entry.deprovisioning.is_some());
        if let (Some(entry), Some(path), Some(why)) =
            (limited, &self.config.tokens, warnings::why_no_limit(&self.config))
        {
            warnings.push(format!(
                "{}: warning: deprovisioning of the token {}: {why}",
                path.display(),
                entry.label.as_str()
            ));
        }
        warnings
    }
}

/// The current snapshot.
#[derive(Debug)]
pub struct Snapshots {
    current: ArcSwap<Snapshot>,
    /// Held while a new snapshot is made from the current one.
    publishing: Mutex<()>,
    /// The registry is to be kept up to date.
    watching: AtomicBool,
    /// A thread that does so is running.
    watched: AtomicBool,
    auditor: Auditor,
}

impl Snapshots {
    pub fn new(first: Snapshot) -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwap::from_pointee(first),
            publishing: Mutex::new(()),
            watching: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            auditor: Auditor::default(),
        })
    }

    /// The current snapshot, to be kept as long as one request or one decision takes.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Replaces `kept` if another snapshot has become the current one. Does not touch a reference
    /// count as long as nothing changes.
    pub(crate) fn refresh(&self, kept: &mut Arc<Snapshot>) {
        let current = self.current.load();
        if !Arc::ptr_eq(&current, kept) {
            *kept = Arc::clone(&current);
        }
    }

    /// Makes the next snapshot from the current one. Requests that have begun keep theirs. Tokens
    /// whose labels stay the same keep their counters and rates. `None` from `next` changes
    /// nothing. Returns whether there is a next one.
    pub(crate) fn publish(
        self: &Arc<Self>,
        next: impl FnOnce(&Snapshot) -> Option<Snapshot>,
    ) -> bool {
        let _one_at_a_time = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        let Some(mut next) = next(&current) else { return false };
        if let (Some(new), Some(old)) = (&mut next.registry, &current.registry)
            && !Arc::ptr_eq(&new.tokens, &old.tokens)
        {
            new.tokens = Arc::new(new.tokens.continuing(&old.tokens));
        }
        let next = Arc::new(next);
        self.current.store(Arc::clone(&next));
        self.auditor.note(&next, Some(&current));
        if self.watching.load(Ordering::Relaxed) {
            self.watch();
        }
        true
    }

    /// Has `audit` told what tokens may do beyond their limits of deprovisioning: now, and whenever that changes while the
    /// configuration has an audit log.
    pub(crate) fn audit_allowances(
        self: &Arc<Self>,
        audit: impl Fn(AllowanceChange) + Send + Sync + 'static,
    ) {
        self.auditor.set(Arc::new(audit));
        let _one_at_a_time = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        self.auditor.note(&self.current(), None);
    }

    /// Publishes a new snapshot whenever the registry file has changed, on a thread that runs as
    /// long as this is in use. A registry that is configured later is watched as well. Later calls
    /// change nothing.
    pub fn watch(self: &Arc<Self>) {
        self.watching.store(true, Ordering::Relaxed);
        let Some(registry) = self.current().registry.clone() else { return };
        if self.watched.swap(true, Ordering::Relaxed) {
            return;
        }
        let snapshots = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("registry".into());
        let started = thread.spawn(move || {
            loop {
                std::thread::sleep(CHECK_INTERVAL);
                let Some(snapshots) = snapshots.upgrade() else { return };
                snapshots.check_registry();
            }
        });
        if let Err(error) = started {
            tracing::error!(%error, "the token registry is not watched: no thread could be started");
            registry.file.set_failure(&format!("it is not watched: {error}"));
        }
    }

    /// Checks the registry file once, and publishes its content if it has changed.
    fn check_registry(self: &Arc<Self>) {
        let Some(LoadedRegistry { file, .. }) = self.current().registry.clone() else { return };
        let Some(tokens) = file.check() else { return };
        let entries = tokens.entries().len();
        let published = self.publish(|current| {
            let loaded = current.registry.as_ref()?;
            // Another file may have been configured meanwhile.
            Arc::ptr_eq(&loaded.file, &file).then(|| Snapshot {
                registry: Some(LoadedRegistry {
                    tokens: Arc::new(tokens),
                    file: Arc::clone(&file),
                }),
                ..current.clone()
            })
        });
        if published {
            file.set_in_use();
            tracing::info!(entries, "the token registry was reloaded");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::VerdictLabel;

    const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_changed_registry_file_is_a_new_snapshot_with_the_same_config_and_schemas() {
        let folder = std::env::temp_dir().join(format!("snapshot-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("tokens.yaml");
        let write = |more: &str| {
            let text = format!("tokens:\n- {{label: a, hash: \"{HASH}\"{more}}}\n");
            std::fs::write(&path, text).unwrap();
        };
        write("");
        let mut config = Config::new(Vec::new(), Vec::new());
        config.tokens = Some(path.clone());
        let snapshots = Snapshots::new(Snapshot::load(config).unwrap());
        let label = |snapshot: &Snapshot| {
            snapshot.registry.as_ref().unwrap().tokens.entries()[0].label.clone()
        };
        let before = snapshots.current();
        label(&before).count(VerdictLabel::Refused);
        let mut kept = Arc::clone(&before);
        snapshots.refresh(&mut kept);
        assert!(Arc::ptr_eq(&before, &kept));
        write(", methods: [GET]");
        snapshots.check_registry();
        snapshots.check_registry();
        let after = snapshots.current();
        assert!(!Arc::ptr_eq(&before, &after));
        assert!(Arc::ptr_eq(&before.config, &after.config));
        assert!(Arc::ptr_eq(&before.schemas, &after.schemas));
        assert_eq!(label(&after).counted(VerdictLabel::Refused), 1);
        snapshots.refresh(&mut kept);
        assert!(Arc::ptr_eq(&after, &kept));
        // A registry that another configuration has replaced meanwhile is not published.
        assert!(!snapshots.publish(|_| None));
        assert!(Arc::ptr_eq(&after, &snapshots.current()));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
