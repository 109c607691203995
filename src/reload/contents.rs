//! The contents of files, as a hash.
//!
//! Contents are compared instead of times or events: Kubernetes changes mounted files by replacing
//! a symbolic link in their path, editors by renaming a new file over the old one, and network file
//! systems and bind mounts send no events. A file that cannot be read has a hash as well, so that
//! becoming readable is a change.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::schema::FILES;
use crate::tls;

/// The most that is read of one file: more than any of them may have.
const MAX_FILE: u64 = 2 * 1024 * 1024;

/// The files that a reload reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    config: PathBuf,
    schemas: Option<PathBuf>,
    /// Keys, tokens and passwords.
    secrets: Vec<PathBuf>,
    /// Files with their own watchers: the token registry, and those of TLS.
    others: Vec<PathBuf>,
}

impl Files {
    /// `config`: what could be read of the config file.
    pub(super) fn new(path: &Path, config: Option<&Config>) -> Self {
        Self {
            config: path.into(),
            schemas: config.and_then(|config| config.schemas.clone()),
            secrets: config.map(|config| config.secret_files.clone()).unwrap_or_default(),
            others: config
                .map(|config| config.tokens.iter().cloned().chain(tls::paths(config)).collect())
                .unwrap_or_default(),
        }
    }
}

/// The contents of some files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Contents([u8; 32]);

impl Contents {
    /// The contents of files without a watcher of their own.
    pub(super) fn of(files: &Files) -> Self {
        let mut hash = Sha256::new();
        add_file(&mut hash, &files.config);
        for path in &files.secrets {
            add_file(&mut hash, path);
        }
        if let Some(folder) = &files.schemas {
            for name in schema_names(folder) {
                add(&mut hash, name.as_bytes());
            }
            for (name, _) in FILES {
                add_file(&mut hash, &folder.join(name));
            }
        }
        Self(hash.finalize().into())
    }

    /// The contents of the others.
    pub(super) fn of_others(files: &Files) -> Self {
        let mut hash = Sha256::new();
        for path in &files.others {
            add_file(&mut hash, path);
        }
        Self(hash.finalize().into())
    }
}

/// All `.json` files of the folder: an unknown one is an error.
fn schema_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
    names.sort_unstable();
    names
}

fn add_file(hash: &mut Sha256, path: &Path) {
    match content(path) {
        Ok(content) => add(hash, &content),
        Err(kind) => add(hash, format!("unreadable: {kind:?}").as_bytes()),
    }
}

/// With its length, so that bytes cannot move from one part to the next unnoticed.
fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part);
}

fn content(path: &Path) -> Result<Vec<u8>, std::io::ErrorKind> {
    let read = || {
        // SECURITY: reading a pipe blocks until data is written to it.
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::ErrorKind::Unsupported.into());
        }
        let mut content = Vec::new();
        std::fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut content)?;
        Ok(content)
    };
    read().map_err(|error: std::io::Error| error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;

    #[test]
    fn a_changed_password_of_the_store_is_another_content() {
        let folder = std::env::temp_dir().join(format!("contents-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("config.yaml");
        let text = "listen: [\"127.0.0.1:8080\"]\nupstream: {servers: [\"127.0.0.1:8088\"]}\n\
                    shared: {redis: \"redis://a\", password_file: password}\n";
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.join("password"), "one").unwrap();
        let (config, _) = file::load(&path, file::Overrides::default());
        let files = Files::new(&path, config.as_ref());
        let before = Contents::of(&files);
        std::fs::write(folder.join("password"), "two").unwrap();
        assert_ne!(Contents::of(&files), before);
        std::fs::write(folder.join("password"), "one").unwrap();
        assert_eq!(Contents::of(&files), before);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
