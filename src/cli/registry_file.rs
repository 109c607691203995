//! The token registry's file, as commands change it: it is replaced as a whole, so that no reader sees half of it,
//! and keeps its owner and its mode.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::input::load::{LoadError, read_file};
use crate::registry::{TokenRegistry, file};

pub struct RegistryFile {
    path: PathBuf,
}

impl RegistryFile {
    pub fn at(path: &Path) -> Self {
        // The file itself, so that a symbolic link to it is not replaced.
        Self { path: path.canonicalize().unwrap_or_else(|_| path.into()) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes the text of the file. Concurrent commands wait for each other. (On file systems without locks, such as
    /// some network file systems, they do not.)
    pub fn change(
        &self,
        change: impl FnOnce(&str) -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        let _lock = folder.map(|folder| folder.lock().map(|()| folder));
        let after = self.read().and_then(|before| change(&before))?;
        self.replace(&after).map_err(|error| {
            Failure::Running(format!("{}: cannot be written: {error}", self.path.display()))
        })
    }

    /// Checks that the file can be replaced.
    pub fn check_replaceable(&self) -> Result<(), Failure> {
        self.new_file().and_then(|(_, new)| std::fs::remove_file(new)).map_err(|error| {
            Failure::Unusable(format!(
                "{}: cannot be written with its owner and its mode: {error}",
                self.path.display()
            ))
        })
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let (mut file, new) = self.new_file()?;
        let written = file.write_all(text.as_bytes()).and_then(|()| {
            file.sync_all()?;
            match std::fs::rename(&new, &self.path) {
                // A file that is itself a mount point, as in containers, cannot be replaced.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::fs::write(&self.path, text)?;
                    std::fs::remove_file(&new)
                }
                other => other,
            }
        });
        if written.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        written
    }

    /// An empty file that can replace the old one: it has the same owner and mode, because a user who can read the old
    /// one, such as a guard that runs as another user, must be able to read the new one.
    fn new_file(&self) -> io::Result<(File, PathBuf)> {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{}", uuid::Uuid::new_v4().simple()));
        let new = PathBuf::from(name);
        let old = std::fs::metadata(&self.path).ok();
        // SECURITY: nobody else must be able to open it before it has the owner and mode of the old one.
        let mode = if old.is_some() { 0o600 } else { 0o666 };
        let file = File::options().write(true).create_new(true).mode(mode).open(&new)?;
        let copy_owner_and_mode = || {
            let Some(old) = old else { return Ok(()) };
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
                std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(old.permissions())
        };
        let copied = copy_owner_and_mode();
        if copied.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        copied.map(|()| (file, new))
    }

    /// The contents of the file; empty if it does not exist yet.
    pub fn read(&self) -> Result<String, Failure> {
        match read_file(&self.path, file::MAX_FILE, |text| Ok(text.to_owned())) {
            Err(LoadError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(String::new())
            }
            read => read.map_err(|error| Failure::Unusable(error.to_string())),
        }
    }

    /// Reads a text that is, or is to be, in this file; `when` says which, in the errors.
    pub fn parse(&self, text: &str, when: &str) -> Result<TokenRegistry, Failure> {
        file::parse(text).map_err(|errors| {
            let path = self.path.display();
            let lines: Vec<String> =
                errors.iter().map(|error| format!("{path}:{error}{when}")).collect();
            Failure::Unusable(lines.join("\n"))
        })
    }

    /// Refuses a text that would be too large to be read again.
    pub fn check_size(&self, text: &str) -> Result<(), Failure> {
        if text.len() as u64 > file::MAX_FILE {
            let error = LoadError::TooLarge { path: self.path.clone(), most: file::MAX_FILE };
            return Err(Failure::Unusable(error.to_string()));
        }
        Ok(())
    }
}
