//! The register of a running guard: read at start, and again whenever the file has changed.
//!
//! The file is looked at every second, and read when it has rested for one, or after three: a text
//! editor or a script that writes it in pieces is not caught half-way. Looking is asking for its inode, size
//! and times, through all symbolic links, so that the swap of a link by which Kubernetes changes a
//! mounted secret is a change like any other; file system events would miss it, and network file
//! systems send none.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use super::TokenRegistry;
use super::file::{self, LoadError};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// How many looks in a row may find a file that goes on changing, before it is read as it is.
const RESTLESS: u32 = 3;

/// A register and the file that it comes from.
pub struct Source {
    path: PathBuf,
    current: ArcSwap<TokenRegistry>,
    state: Mutex<State>,
    watched: AtomicBool,
}

/// What became of the file.
#[derive(Debug, Clone)]
pub struct State {
    /// When the register in use was read.
    pub read: SystemTime,
    /// Why the file as it is now is not in use.
    pub failure: Option<Arc<str>>,
    /// The file when it was last read, in use or not.
    tried: Option<Stamp>,
    /// It could not be read then, for a reason that may pass without a change of the file, such as a want
    /// of descriptors.
    again: bool,
    /// The file when it was last looked at.
    seen: Option<Stamp>,
    /// How many looks in a row have found it changed.
    restless: u32,
}

/// What changes when a file is written or another is put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Source {
    /// Reads the register for the first time.
    pub fn open(path: &Path) -> Result<Arc<Self>, LoadError> {
        let stamp = Stamp::of(path);
        let register = file::load(path)?;
        Ok(Arc::new(Self {
            path: path.into(),
            current: ArcSwap::from_pointee(register),
            state: Mutex::new(State {
                read: SystemTime::now(),
                failure: None,
                tried: stamp,
                again: false,
                seen: stamp,
                restless: 0,
            }),
            watched: AtomicBool::new(false),
        }))
    }

    /// The register in use.
    pub fn current(&self) -> arc_swap::Guard<Arc<TokenRegistry>> {
        self.current.load()
    }

    pub fn state(&self) -> State {
        self.lock().clone()
    }

    /// Keeps the register up to date on a thread of its own, for as long as anybody uses it. Later
    /// calls change nothing.
    pub fn watch(self: &Arc<Self>) {
        if self.watched.swap(true, Ordering::Relaxed) {
            return;
        }
        let source = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("register".into());
        let started = thread.spawn(move || {
            loop {
                std::thread::sleep(EVERY);
                let Some(source) = source.upgrade() else { return };
                source.look();
            }
        });
        if let Err(error) = started {
            tracing::error!(%error, "the register of tokens is not watched: no thread to be had");
            self.lock().failure = Some(format!("it is not watched: {error}").into());
        }
    }

    /// Looks at the file once, and reads it when it has changed and come to rest.
    fn look(&self) {
        let stamp = Stamp::of(&self.path);
        let is_new = {
            let mut state = self.lock();
            state.restless = if state.seen == stamp { 0 } else { state.restless + 1 };
            state.seen = stamp;
            if (state.tried == stamp && !state.again) || (1..RESTLESS).contains(&state.restless) {
                return;
            }
            let is_new = state.tried != stamp;
            state.tried = stamp;
            state.again = false;
            state.restless = 0;
            is_new
        };
        self.read(is_new);
    }

    /// `is_new`: not the same file as the last time.
    fn read(&self, is_new: bool) {
        match file::load(&self.path) {
            Ok(mut register) => {
                register.inherit(&self.current.load());
                let entries = register.entries().len();
                self.current.store(Arc::new(register));
                let mut state = self.lock();
                state.read = SystemTime::now();
                state.failure = None;
                drop(state);
                tracing::info!(entries, "the register of tokens was read again");
            }
            Err(error) => {
                let failure: Arc<str> = error.to_string().into();
                let mut state = self.lock();
                state.again = matches!(error, LoadError::Unreadable { .. });
                let is_known = !is_new && state.failure.as_ref() == Some(&failure);
                state.failure = Some(Arc::clone(&failure));
                drop(state);
                if !is_known {
                    tracing::error!(
                        "the register of tokens was changed and cannot be used; the last good one stays \
                         in use: {failure}"
                    );
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Stamp {
    /// `None`: there is no such file, or it cannot be looked at.
    fn of(path: &Path) -> Option<Self> {
        let metadata: Metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn write(path: &Path, label: &str) {
        std::fs::write(path, format!("tokens:\n- {{label: {label}, hash: \"{FIRST}\"}}\n"))
            .unwrap();
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("register-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn label(source: &Source) -> String {
        source.current().entries()[0].label.as_str().to_owned()
    }

    #[test]
    fn a_change_is_taken_when_it_has_come_to_rest() {
        let folder = folder("rest");
        let path = folder.join("tokens.yaml");
        write(&path, "a");
        let source = Source::open(&path).unwrap();
        source.look();
        write(&path, "bb");
        source.look();
        assert_eq!(label(&source), "a");
        source.look();
        assert_eq!(label(&source), "bb");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_swapped_link_is_a_change_even_if_size_and_time_are_the_same() {
        let folder = folder("link");
        let time = SystemTime::now();
        for (name, label) in [("one", "a"), ("two", "b")] {
            std::fs::create_dir(folder.join(name)).unwrap();
            let path = folder.join(name).join("tokens.yaml");
            write(&path, label);
            std::fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
        // As Kubernetes does it: the file is a link through `..data`, which is replaced as a whole.
        let link = |to: &str| {
            std::os::unix::fs::symlink(to, folder.join("new")).unwrap();
            std::fs::rename(folder.join("new"), folder.join("..data")).unwrap();
        };
        link("one");
        std::os::unix::fs::symlink("..data/tokens.yaml", folder.join("tokens.yaml")).unwrap();
        let source = Source::open(&folder.join("tokens.yaml")).unwrap();
        link("two");
        source.look();
        source.look();
        assert_eq!(label(&source), "b");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_bad_file_and_a_missing_one_leave_the_last_good_one_in_use() {
        let folder = folder("bad");
        let path = folder.join("tokens.yaml");
        write(&path, "a");
        let source = Source::open(&path).unwrap();
        std::fs::write(&path, "tokens: [{label: a}]").unwrap();
        source.look();
        source.look();
        assert_eq!(label(&source), "a");
        assert!(source.state().failure.unwrap().contains("hash is missing"));
        std::fs::remove_file(&path).unwrap();
        source.look();
        source.look();
        assert_eq!(label(&source), "a");
        assert!(source.state().failure.unwrap().contains("cannot be read"));
        write(&path, "c");
        source.look();
        source.look();
        assert_eq!((label(&source).as_str(), source.state().failure), ("c", None));
        // Nobody writes into this pipe.
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        source.look();
        source.look();
        assert!(
            source
                .state()
                .failure
                .unwrap()
                .contains("this is a pipe (FIFO), and only regular files are read")
        );
        std::fs::remove_file(&path).unwrap();
        write(&path, "d");
        source.look();
        source.look();
        assert_eq!((label(&source).as_str(), source.state().failure), ("d", None));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_could_not_be_read_is_tried_again_though_the_file_is_the_same() {
        let folder = folder("again");
        let path = folder.join("tokens.yaml");
        write(&path, "a");
        let source = Source::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        source.look();
        source.look();
        assert!(source.state().again);
        // As if it had been there all the time.
        write(&path, "b");
        source.lock().tried = Stamp::of(&path);
        source.look();
        source.look();
        assert_eq!((label(&source).as_str(), source.state().failure), ("b", None));
        assert!(!source.state().again);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
