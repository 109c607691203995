//! The config file, and everything that it names, read into a snapshot.

use std::path::{Path, PathBuf};

use super::contents::{Contents, Files};
use super::{Read, ReloadErrors};
use crate::config::file::{self, Overrides};
use crate::snapshot::Snapshot;

/// Where the configuration comes from, at start and at each reload.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    path: PathBuf,
    overrides: Overrides,
    /// What the files contained before they were loaded for the first time.
    first: Read,
}

impl ConfigFile {
    /// To be created before the files are loaded for the first time, so that a change meanwhile is
    /// noticed.
    pub fn new(path: impl Into<PathBuf>, overrides: Overrides) -> Self {
        let path = path.into();
        let first = read(&path, overrides);
        Self { path, overrides, first }
    }

    /// Reads and compiles everything, or reports all errors in all files at once.
    pub fn load(&self) -> Result<Snapshot, ReloadErrors> {
        let (config, wrong) = file::load(&self.path, self.overrides);
        let snapshot = config.map(Snapshot::load).transpose();
        match (wrong, snapshot) {
            (None, Ok(Some(snapshot))) => Ok(snapshot),
            (wrong, snapshot) => {
                let wrong = wrong.map(|error| error.to_string());
                // The config's reader has named the missing files, with their places in it.
                let within = snapshot.err().map(|errors| match wrong {
                    Some(_) => errors.without_missing().to_string(),
                    None => errors.to_string(),
                });
                let within = within.filter(|errors| !errors.is_empty());
                Err(ReloadErrors::new(wrong.into_iter().chain(within)))
            }
        }
    }

    /// The current contents of the files. A change after this is noticed later, whether or not the
    /// next [`ConfigFile::load`] reads it.
    pub(super) fn read(&self) -> Read {
        read(&self.path, self.overrides)
    }

    pub(super) fn first(&self) -> &Read {
        &self.first
    }
}

fn read(path: &Path, overrides: Overrides) -> Read {
    let (config, _) = file::load(path, overrides);
    let files = Files::new(path, config.as_ref());
    let (contents, others) = (Contents::of(&files), Contents::of_others(&files));
    Read { files, contents, others }
}
