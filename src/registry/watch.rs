//! The registry's file: read at start, and again whenever it has changed.
//!
//! The file is checked every second. It is read when it has not changed between two checks, or
//! after three checks at the latest, so that a file that an editor or a script writes in pieces is
//! not read before it is complete. A check compares inode, size and times, through all symbolic
//! links, so that replacing a link, as Kubernetes does to change a mounted secret, counts as a
//! change; file system events would miss it, and network file systems send none.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::TokenRegistry;
use super::file::{self, LoadError};

/// How many checks in a row may find a file changed before it is read anyway.
const MAX_CHANGING_CHECKS: u32 = 3;

/// The file that a registry comes from.
pub struct RegistryFile {
    path: PathBuf,
    state: Mutex<State>,
}

/// The state of the file.
#[derive(Debug, Clone)]
pub struct State {
    /// When the registry in use was read.
    pub read: SystemTime,
    /// Why the file in its present form is not in use.
    pub failure: Option<Arc<str>>,
    /// The file when it was last read, in use or not.
    tried: Option<Stamp>,
    /// It could not be read then, for a reason that may pass without a change of the file, such as a
    /// lack of descriptors.
    again: bool,
    /// The file when it was last checked.
    seen: Option<Stamp>,
    /// How many checks in a row have found it changed.
    changing: u32,
}

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl RegistryFile {
    /// Reads the file for the first time.
    pub fn open(path: &Path) -> Result<(Self, TokenRegistry), LoadError> {
        let stamp = Stamp::of(path);
        let registry = file::load(path)?;
        let state = State {
            read: SystemTime::now(),
            failure: None,
            tried: stamp,
            again: false,
            seen: stamp,
            changing: 0,
        };
        Ok((Self { path: path.into(), state: Mutex::new(state) }, registry))
    }

    pub fn state(&self) -> State {
        self.lock().clone()
    }

    /// Whether the file is the one that was read last, and is in use.
    pub fn is_current(&self) -> bool {
        let state = self.lock();
        state.failure.is_none() && state.tried.is_some() && state.tried == Stamp::of(&self.path)
    }

    /// Records that what was read last is in use now.
    pub fn set_in_use(&self) {
        let mut state = self.lock();
        state.read = SystemTime::now();
        state.failure = None;
    }

    /// Records why the file in its present form is not in use.
    pub fn set_failure(&self, why: &str) {
        self.lock().failure = Some(why.into());
    }

    /// Checks the file once, and reads it if it has changed and is no longer being written. An error
    /// is logged and kept in the state: the last good registry stays in use.
    pub fn check(&self) -> Option<TokenRegistry> {
        let stamp = Stamp::of(&self.path);
        let is_new = {
            let mut state = self.lock();
            state.changing = if state.seen == stamp { 0 } else { state.changing + 1 };
            state.seen = stamp;
            let is_changing = (1..MAX_CHANGING_CHECKS).contains(&state.changing);
            if (state.tried == stamp && !state.again) || is_changing {
                return None;
            }
            let is_new = state.tried != stamp;
            state.tried = stamp;
            state.again = false;
            state.changing = 0;
            is_new
        };
        match file::load(&self.path) {
            Ok(registry) => Some(registry),
            Err(error) => {
                self.failed(&error, is_new);
                None
            }
        }
    }

    /// `is_new`: the file has changed since the last time.
    fn failed(&self, error: &LoadError, is_new: bool) {
        let failure: Arc<str> = error.to_string().into();
        let mut state = self.lock();
        state.again = matches!(error, LoadError::Unreadable { .. });
        let is_known = !is_new && state.failure.as_ref() == Some(&failure);
        state.failure = Some(Arc::clone(&failure));
        drop(state);
        if !is_known {
            tracing::error!(
                "the token registry was changed and cannot be used; the last good one stays in use: {failure}"
            );
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RegistryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Stamp {
    /// `None`: there is no such file, or it cannot be examined.
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

    /// A file, and the registry that was last read from it.
    struct Watched {
        file: RegistryFile,
        tokens: TokenRegistry,
    }

    impl Watched {
        fn open(path: &Path) -> Self {
            let (file, tokens) = RegistryFile::open(path).unwrap();
            Self { file, tokens }
        }

        fn check(&mut self) {
            if let Some(tokens) = self.file.check() {
                self.tokens = tokens;
                self.file.set_in_use();
            }
        }

        fn label(&self) -> &str {
            self.tokens.entries()[0].label.as_str()
        }

        fn failure(&self) -> Option<Arc<str>> {
            self.file.state().failure
        }
    }

    #[test]
    fn a_change_is_read_when_the_file_is_no_longer_written() {
        let folder = folder("rest");
        let path = folder.join("tokens.yaml");
        write(&path, "a");
        let mut watched = Watched::open(&path);
        watched.check();
        write(&path, "bb");
        watched.check();
        assert_eq!(watched.label(), "a");
        watched.check();
        assert_eq!(watched.label(), "bb");
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
        // As in Kubernetes: the file is a link through `..data`, which is replaced as a whole.
        let link = |to: &str| {
            std::os::unix::fs::symlink(to, folder.join("new")).unwrap();
            std::fs::rename(folder.join("new"), folder.join("..data")).unwrap();
        };
        link("one");
        std::os::unix::fs::symlink("..data/tokens.yaml", folder.join("tokens.yaml")).unwrap();
        let mut watched = Watched::open(&folder.join("tokens.yaml"));
        link("two");
        watched.check();
        watched.check();
        assert_eq!(watched.label(), "b");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_invalid_and_a_missing_file_leave_the_last_good_one_in_use() {
        let folder = folder("bad");
        let path = folder.join("tokens.yaml");
        write(&path, "a");
        let mut watched = Watched::open(&path);
        std::fs::write(&path, "tokens: [{label: a}]").unwrap();
        watched.check();
        watched.check();
        assert_eq!(watched.label(), "a");
        assert!(watched.failure().unwrap().contains("hash is missing"));
        std::fs::remove_file(&path).unwrap();
        watched.check();
        watched.check();
        assert_eq!(watched.label(), "a");
        assert!(watched.failure().unwrap().contains("cannot be read"));
        write(&path, "c");
        watched.check();
        watched.check();
        assert_eq!((watched.label(), watched.failure()), ("c", None));
        // This pipe has no writer.
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        watched.check();
        watched.check();
        assert!(
            watched
                .failure()
                .unwrap()
                .contains("this is a pipe (FIFO), and only regular files are read")
        );
        std::fs::remove_file(&path).unwrap();
        write(&path, "d");
        watched.check();
        watched.check();
        assert_eq!((watched.label(), watched.failure()), ("d", None));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_could_not_be_read_is_retried_though_it_is_unchanged() {
        let folder = folder("again");
        let path = folder.join("tokens.yaml");
        write(&path, "a");
        let mut watched = Watched::open(&path);
        std::fs::remove_file(&path).unwrap();
        watched.check();
        watched.check();
        assert!(watched.file.state().again);
        // As if it had existed all the time.
        write(&path, "b");
        watched.file.lock().tried = Stamp::of(&path);
        watched.check();
        watched.check();
        assert_eq!((watched.label(), watched.failure()), ("b", None));
        assert!(!watched.file.state().again);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
