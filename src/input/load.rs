//! Reads text files of bounded size, and says why one cannot be used.

use std::fmt;
use std::fs::FileType;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::diagnostic::{At, Diagnostic};
use super::value;
use crate::secret;

/// Why a file cannot be used.
#[derive(Debug)]
pub enum LoadError {
    Unreadable {
        path: PathBuf,
        source: io::Error,
    },
    TooLarge {
        path: PathBuf,
        most: u64,
    },
    /// Its content is not valid.
    Unread {
        path: PathBuf,
        why: String,
    },
    Invalid {
        path: PathBuf,
        errors: Vec<Diagnostic>,
    },
}

impl fmt::Display for LoadError {
    /// One line for each error, in the form that editors jump to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreadable { path, .. }
        | Self::TooLarge { path, .. }
        | Self::Unread { path, .. }
        | Self::Invalid { path, .. }) = self;
        // SECURITY: a token may have been written where a path belongs.
        let path = secret::redacted(&path.display().to_string());
        match self {
            Self::Unreadable { source, .. } => write!(f, "{path}: cannot be read: {source}"),
            Self::TooLarge { most, .. } => {
                let most = value::size_text(*most);
                write!(f, "{path}: is larger than {most}, the most that is read here")
            }
            Self::Unread { why, .. } => write!(f, "{path}: {why}"),
            Self::Invalid { errors, .. } => {
                for (index, error) in errors.iter().enumerate() {
                    let end = if index == 0 { "" } else { "\n" };
                    write!(f, "{end}{path}:{error}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads a whole text file of at most this size, and parses it. It has to be a regular file, or a
/// link to one.
pub(crate) fn read_file<T>(
    path: &Path,
    most: u64,
    parse: impl FnOnce(&str) -> Result<T, Vec<Diagnostic>>,
) -> Result<T, LoadError> {
    check_regular(path)?;
    read_any(path, most, parse)
}

/// As [`read_file`], but as bytes.
pub(crate) fn read_bytes(path: &Path, most: u64) -> Result<Vec<u8>, LoadError> {
    check_regular(path)?;
    read_all(path, most)
}

fn check_regular(path: &Path) -> Result<(), LoadError> {
    // SECURITY: reading a pipe or a terminal blocks until data is written to it, and a device may
    // have no end.
    let unreadable = |source| LoadError::Unreadable { path: path.into(), source };
    let kind = std::fs::metadata(path).map_err(unreadable)?.file_type();
    let Some(what) = irregular(kind) else { return Ok(()) };
    let why = format!("this is {what}, and only regular files are read");
    Err(LoadError::Unread { path: path.into(), why })
}

/// As [`read_file`], but pipes and other special files are read too.
pub(crate) fn read_any<T>(
    path: &Path,
    most: u64,
    parse: impl FnOnce(&str) -> Result<T, Vec<Diagnostic>>,
) -> Result<T, LoadError> {
    let bytes = read_all(path, most)?;
    let errors = |errors| LoadError::Invalid { path: path.into(), errors };
    let text = String::from_utf8(bytes).map_err(|error| errors(vec![not_text(&error)]))?;
    parse(&text).map_err(errors)
}

fn read_all(path: &Path, most: u64) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.into(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(LoadError::TooLarge { path: path.into(), most });
    }
    Ok(bytes)
}

/// The type of a file that is not a regular one.
fn irregular(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("a folder"),
        kind if kind.is_fifo() => Some("a pipe (FIFO)"),
        kind if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}

fn not_text(error: &std::string::FromUtf8Error) -> Diagnostic {
    let valid = error.utf8_error().valid_up_to();
    let before = String::from_utf8_lossy(&error.as_bytes()[..valid]);
    Diagnostic::new(At::of(&before, valid), "this is not UTF-8; save the file as UTF-8")
}
