//! The config file, and everything that it names, read into a snapshot.

use std::path::PathBuf;

use super::contents::{Contents, Files};
use super::{Mistakes, Read};
use crate::config::file::{self, Overrides};
use crate::snapshot::Snapshot;

/// Where the configuration comes from, at start and at each reload.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    path: PathBuf,
    overrides: Overrides,
}

impl ConfigFile {
    pub fn new(path: impl Into<PathBuf>, overrides: Overrides) -> Self {
        Self { path: path.into(), overrides }
    }

    /// Reads and compiles everything, or reports all mistakes in all files at once.
    pub fn load(&self) -> Result<Snapshot, Mistakes> {
        let (config, wrong) = file::load(&self.path, self.overrides);
        let snapshot = config.map(Snapshot::load).transpose();
        match (wrong, snapshot) {
            (None, Ok(Some(snapshot))) => Ok(snapshot),
            (wrong, snapshot) => {
                let wrong = wrong.map(|error| error.to_string());
                let within = snapshot.err().map(|errors| errors.to_string());
                Err(Mistakes::new(wrong.into_iter().chain(within)))
            }
        }
    }

    /// What the files contain now. A change after this is noticed later, whether or not the next
    /// [`ConfigFile::load`] reads it.
    pub(super) fn read(&self) -> Read {
        let (config, _) = file::load(&self.path, self.overrides);
        let files = Files::new(&self.path, config.as_ref());
        let (contents, others) = (Contents::of(&files), Contents::of_others(&files));
        Read { files, contents, others }
    }
}
