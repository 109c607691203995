//! Applies changed files while the process runs: all or nothing.
//!
//! A reload reads the config and every file that it names anew. If anything in them is wrong, or cannot be
//! changed while the process runs, nothing changes: the last good configuration stays in use, and the log,
//! the metrics and `/i/ready` say why. The token registry has a watcher of its own (`registry::watch`), and so
//! have certificates: a faulty config on disk never keeps a revoked token or an expired certificate in use.

mod certificates;
mod contents;
mod fixed;
mod source;
mod status;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

pub use source::ConfigFile;
pub use status::{Outcome, ReloadStatus};

use crate::config::Config;
use crate::service_manager;
use crate::snapshot::{Snapshot, Snapshots};
use crate::tls::LoadedTls;
use certificates::Certificates;
use contents::{Contents, Files};
use watch::Looks;

pub(crate) use fixed::changed_keys;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Everything that prevents a reload, one entry for each line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    pub(crate) fn new(mistakes: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        let lines = mistakes.into_iter().map(|mistake| mistake.to_string());
        Self(lines.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

/// Puts what was loaded into use.
pub(crate) trait Apply: Send {
    /// Uses this snapshot from now on, or says everything that prevents it. Then nothing has changed.
    fn apply(&self, next: Snapshot) -> Result<(), Mistakes>;

    /// Uses these certificates with the configuration in use.
    fn apply_tls(&self, tls: LoadedTls);
}

/// Reads files and applies them, on a thread of its own.
pub(crate) struct Reloader {
    /// `None`: the configuration comes from the program that embeds the guard.
    source: Option<ConfigFile>,
    snapshots: Arc<Snapshots>,
    status: Arc<ReloadStatus>,
    apply: Box<dyn Apply>,
    /// The contents that are in use.
    in_use: Contents,
    looks: Looks,
    certificates: Certificates,
}

/// Asks the reloader's thread for a reload. The thread ends when all of these are dropped.
#[derive(Debug, Clone)]
pub(crate) struct ReloadRequests(SyncSender<()>);

impl ReloadRequests {
    /// Returns at once. Requests that come while one is waiting are one request.
    pub(crate) fn reload(&self) {
        if let Err(TrySendError::Disconnected(())) = self.0.try_send(()) {
            tracing::error!("the config cannot be reloaded: the thread that does it has ended");
        }
    }
}

impl Reloader {
    pub(crate) fn new(
        source: Option<ConfigFile>,
        snapshots: Arc<Snapshots>,
        status: Arc<ReloadStatus>,
        apply: Box<dyn Apply>,
    ) -> Self {
        let read = source.as_ref().map(|source| source.first().clone()).unwrap_or_default();
        let looks = Looks::new(read.files, read.contents, read.others);
        let certificates = Certificates::new(&snapshots.current().tls);
        Self { source, snapshots, status, apply, in_use: read.contents, looks, certificates }
    }

    /// Starts the thread.
    pub(crate) fn start(mut self) -> std::io::Result<ReloadRequests> {
        let (requests, requested) = sync_channel(1);
        let thread = std::thread::Builder::new().name("reload".into());
        thread.spawn(move || self.run(&requested))?;
        Ok(ReloadRequests(requests))
    }

    fn run(&mut self, requested: &Receiver<()>) {
        loop {
            match requested.recv_timeout(LOOK_INTERVAL) {
                Ok(()) => self.reload(),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Looks at all files once. Certificates are watched always, and applied to the configuration in use.
    fn look(&mut self) {
        let current = self.snapshots.current();
        if self.certificates.have_changed(&current.tls) {
            let loaded = LoadedTls::load(&current.config).map(|tls| {
                self.apply.apply_tls(tls);
                tracing::info!("changed certificates are in use");
            });
            self.status.note_certificates(loaded.map_err(Mistakes::new));
        }
        if self.source.is_some() && current.config.reload_watch {
            let failed = self.status.failure().is_some();
            if self.looks.have_changed(failed) {
                self.reload();
            }
        }
    }

    fn reload(&mut self) {
        let is_service = self.source.is_some();
        if is_service {
            service_manager::reloading();
        }
        let outcome = self.try_reload();
        self.status.note(outcome);
        if is_service {
            service_manager::ready(false);
        }
    }

    fn try_reload(&mut self) -> Result<Outcome, Mistakes> {
        let Some(source) = &self.source else {
            return Err(Mistakes::new(["the config does not come from a file"]));
        };
        let Read { files, contents, others } = source.read();
        let is_unchanged = contents == self.in_use;
        self.looks.set_tried(files, contents, others);
        let next = source.load()?;
        if is_unchanged && self.others_are_current(&next) {
            return Ok(Outcome::Unchanged);
        }
        let certificates = Certificates::new(&next.tls);
        self.apply.apply(next)?;
        self.in_use = contents;
        self.certificates = certificates;
        self.status.note_certificates(Ok(()));
        Ok(Outcome::Applied)
    }

    /// Whether the files that have watchers of their own, and those that hold secrets, are in use already.
    fn others_are_current(&self, next: &Snapshot) -> bool {
        let current = self.snapshots.current();
        let secrets =
            |config: &Config| (config.admin_token, config.audit.clone(), config.shared.clone());
        if current.tls.files() != next.tls.files()
            || secrets(&current.config) != secrets(&next.config)
        {
            return false;
        }
        match (&current.registry, &next.registry) {
            (Some(current), Some(_)) => current.file.is_current(),
            (None, None) => true,
            _ => false,
        }
    }
}

/// What was found of the files before they were loaded.
#[derive(Debug, Clone, Default)]
struct Read {
    files: Files,
    contents: Contents,
    /// The contents of files that have watchers of their own.
    others: Contents,
}
