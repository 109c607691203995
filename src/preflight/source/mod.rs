//! Sources of people. Every source can be read several times, and yields the same each time.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use super::bridge::note::Note;
use super::candidate::Candidate;

pub mod directory;
pub mod live;
pub mod scim;
pub mod table;

/// One record of a source.
#[derive(Debug)]
pub enum Item {
    Candidate(Box<Candidate>),
    /// An entry that no search returns, with its userName if it has one.
    Outside {
        user_name: Option<String>,
    },
    /// A change of the directory instead of an entry.
    Change,
    /// Something that could not be read, as a sentence.
    Unread(String),
    /// A referral and the like.
    Nothing,
}

/// Receives each record with its number, from 0.
pub type Visit<'v> = dyn FnMut(u32, Item) -> io::Result<()> + 'v;

pub trait Source {
    /// Reads everything once.
    fn pass(&self, bar: &ProgressBar, visit: &mut Visit<'_>) -> io::Result<()>;

    /// How many bytes one pass reads.
    fn size(&self) -> u64;

    /// The notes about the config after a pass.
    fn notes(&self) -> Vec<Note> {
        Vec::new()
    }
}

/// A file that can be read again: the named one, or a copy of what can be read only once.
#[derive(Debug)]
pub struct Input {
    name: PathBuf,
    copy: Option<File>,
    size: u64,
}

impl Input {
    /// Opens the file at `path`, or copies standard input for `-`. Errors are sentences.
    pub fn open(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let failed = |error: io::Error| format!("{shown}: cannot be read: {error}");
        if path == Path::new("-") {
            return Self::copied(&mut io::stdin().lock()).map_err(|error| {
                format!("standard input cannot be copied to a temporary file: {error}")
            });
        }
        let data = File::open(path).and_then(|file| file.metadata()).map_err(failed)?;
        if data.is_dir() {
            return Err(format!("{shown}: is a folder"));
        }
        if !data.is_file() {
            // The content of a pipe can be read only once.
            return File::open(path).and_then(|mut file| Self::copied(&mut file)).map_err(failed);
        }
        Ok(Self { name: path.into(), copy: None, size: data.len() })
    }

    /// Copies what can be read only once to a temporary file.
    fn copied(source: &mut dyn Read) -> io::Result<Self> {
        let mut file = scratch()?;
        let size = io::copy(source, &mut file)?;
        Ok(Self::of(file, size))
    }

    /// What was written to a file of [`scratch`].
    pub fn of(file: File, size: u64) -> Self {
        Self { name: PathBuf::from("-"), copy: Some(file), size }
    }

    pub fn name(&self) -> String {
        if self.copy.is_some() { "standard input".into() } else { self.name.display().to_string() }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Begins at the start.
    pub fn read(&self) -> io::Result<File> {
        match &self.copy {
            Some(file) => {
                let mut file = file.try_clone()?;
                file.seek(SeekFrom::Start(0))?;
                Ok(file)
            }
            None => File::open(&self.name)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.name()))),
        }
    }
}

/// A file that no other user can read and that disappears with the process.
///
/// SECURITY: it contains personal data. It has mode 0600 and is removed as soon as it is open.
pub fn scratch() -> io::Result<File> {
    tempfile::tempfile()
}
