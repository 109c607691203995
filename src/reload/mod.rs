//! Applies changed files while the process runs: all or nothing.
//!
//! A reload reads the config and every file that it names again. If anything in them is wrong, or
//! cannot be changed while the process runs, nothing changes: the last good configuration stays in
//! use, and the log, the metrics and `/i/ready` say why. The token registry has a watcher of its
//! own (`registry::watch`), and so have certificates: a faulty config on disk never keeps a revoked
//! token or an expired certificate in use.

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
use watch::ChangeDetector;

pub(crate) use fixed::changed_keys;

/// How often the files are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Everything that prevents a reload, one entry per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadErrors(Vec<String>);

impl ReloadErrors {
    pub(crate) fn new(errors: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        let lines = errors.into_iter().map(|error| error.to_string());
        Self(lines.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ReloadErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ReloadErrors {}

/// Puts what was loaded into use.
pub(crate) trait Apply: Send {
    /// Uses this snapshot from now on, or returns everything that prevents it. Then nothing has
    /// changed.
    fn apply(&self, next: Snapshot) -> Result<(), ReloadErrors>;

    /// Uses these certificates with the configuration in use.
    fn apply_tls(&self, tls: LoadedTls);
}

/// Reads files and applies them, on a separate thread.
pub(crate) struct Reloader {
    /// `None`: the configuration comes from the program that embeds the guard.
    source: Option<ConfigFile>,
    snapshots: Arc<Snapshots>,
    status: Arc<ReloadStatus>,
    apply: Box<dyn Apply>,
    /// The contents that are in use.
    in_use: Contents,
    changes: ChangeDetector,
    certificates: Certificates,
}

/// Requests reloads from the reloader's thread. The thread ends when all of these are dropped.
#[derive(Debug, Clone)]
pub(crate) struct ReloadRequests(SyncSender<()>);

impl ReloadRequests {
    /// Returns immediately. Requests that arrive while one is waiting are merged.
    pub(crate) fn reload(&self) {
        if let Err(TrySendError::Disconnected(())) = self.0.try_send(()) {
            tracing::error!("the config cannot be reloaded: its thread has ended");
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
        let changes = ChangeDetector::new(read.files, read.contents, read.others);
        let certificates = Certificates::new(&snapshots.current().tls);
        Self { source, snapshots, status, apply, in_use: read.contents, changes, certificates }
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
            match requested.recv_timeout(CHECK_INTERVAL) {
                Ok(()) => self.reload(),
                Err(RecvTimeoutError::Timeout) => self.check_files(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Checks all files once. Certificates are always watched, and applied to the configuration in
    /// use.
    fn check_files(&mut self) {
        let current = self.snapshots.current();
        if self.certificates.have_changed(&current.tls) {
            let loaded = LoadedTls::load(&current.config).map(|tls| {
                self.apply.apply_tls(tls);
                tracing::info!("changed certificates are in use");
            });
            self.status.note_certificates(loaded.map_err(ReloadErrors::new));
        }
        if self.source.is_some() && current.config.reload_watch {
            let failed = self.status.failure().is_some();
            if self.changes.have_changed(failed) {
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

    fn try_reload(&mut self) -> Result<Outcome, ReloadErrors> {
        let Some(source) = &self.source else {
            return Err(ReloadErrors::new(["the config does not come from a file"]));
        };
        let Read { files, contents, others } = source.read();
        let is_unchanged = contents == self.in_use;
        self.changes.set_tried(files, contents, others);
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

    /// Whether the files with their own watchers, and those that contain secrets, are in use
    /// already.
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

/// The state of the files before they were loaded.
#[derive(Debug, Clone, Default)]
struct Read {
    files: Files,
    contents: Contents,
    /// The contents of files with their own watchers.
    others: Contents,
}
