//! The files that are read for TLS: each with a digest of its contents, so that a change is
//! detected however the file was replaced.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::input::LoadError;
use crate::input::diagnostic::{At, Diagnostic};
use crate::input::load::read_bytes;

/// The maximum size of a file, in bytes: a system's authorities take a quarter of it.
const MAX_FILE: u64 = 1024 * 1024;

/// A file, and the digest of the contents that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFile {
    pub path: PathBuf,
    /// `None`: it could not be read.
    pub digest: Option<[u8; 32]>,
}

impl TlsFile {
    /// The file as it is now.
    pub fn of(path: &Path) -> Self {
        let digest = read_bytes(path, MAX_FILE).ok().map(|bytes| digest(&bytes));
        Self { path: path.into(), digest }
    }
}

/// Reads the files of one configuration, and collects the errors in them.
pub struct Files {
    now: SystemTime,
    read: Vec<TlsFile>,
    errors: Vec<LoadError>,
    warnings: Vec<String>,
}

impl Files {
    /// Certificates are to be valid at this time.
    pub fn new(now: SystemTime) -> Self {
        Self { now, read: Vec::new(), errors: Vec::new(), warnings: Vec::new() }
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        let since = self.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    /// The contents of a file.
    pub fn read(&mut self, path: &Path) -> Option<Vec<u8>> {
        match read_bytes(path, MAX_FILE) {
            Ok(bytes) => {
                if !self.read.iter().any(|file| file.path == path) {
                    self.read.push(TlsFile { path: path.into(), digest: Some(digest(&bytes)) });
                }
                Some(bytes)
            }
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }

    /// Records an error of a file as a whole.
    pub fn error(&mut self, path: &Path, why: impl Into<String>) {
        self.errors.push(LoadError::Unread { path: path.into(), why: why.into() });
    }

    /// Records an error in the block that begins on this line.
    pub fn error_at(&mut self, path: &Path, line: usize, why: impl Into<String>) {
        let errors = vec![Diagnostic::new(At { line, column: 1 }, why)];
        self.errors.push(LoadError::Invalid { path: path.into(), errors });
    }

    /// Records what is allowed but probably unintended.
    pub fn warn_at(&mut self, path: &Path, line: usize, why: &str) {
        self.warnings.push(format!("{}:{line}:1: warning: {why}", path.display()));
    }

    /// The files that were read, and the warnings about them, unless there was an error.
    pub fn finish(self) -> Result<(Vec<TlsFile>, Vec<String>), Vec<LoadError>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        Ok((self.read, self.warnings))
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
