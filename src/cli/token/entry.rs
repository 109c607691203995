//! A new entry in a register file that people keep by hand: everything that stands there stays as it
//! is, comments included.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::config::file::Mistake;
use crate::digest::StoredHash;
use crate::register::{Register, file};

/// An entry that has a place, and waits for its hash.
pub struct Addition {
    path: PathBuf,
    label: String,
    expires: Option<String>,
}

impl Addition {
    /// Checks that the entry can be written.
    pub fn prepare(path: &Path, label: &str, expires: Option<&str>) -> Result<Self, Failure> {
        let addition = Self {
            // The file itself: a symbolic link to it stays one.
            path: path.canonicalize().unwrap_or_else(|_| path.into()),
            label: label.into(),
            expires: expires.map(Into::into),
        };
        let before = addition.read()?;
        let placeholder = StoredHash::wire(label.as_bytes());
        addition.with(&before, &placeholder)?;
        let folder = addition.path.parent().unwrap_or(Path::new("."));
        let probe = folder.join(format!(".{}.{}", env!("CARGO_PKG_NAME"), std::process::id()));
        std::fs::write(&probe, "").and_then(|()| std::fs::remove_file(&probe)).map_err(
            |error| Failure::Unusable(format!("{}: cannot be written: {error}", path.display())),
        )?;
        Ok(addition)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the entry; the file is replaced as a whole, so that nobody reads half of it.
    pub fn write(&self, hash: &StoredHash) -> Result<(), Failure> {
        let by_hand = |why: String| {
            Failure::Running(format!(
                "{}: {why}; the token is there, add its entry by hand:\n{}",
                self.path.display(),
                self.lines("", hash)
            ))
        };
        let after = self.read().and_then(|before| self.with(&before, hash));
        let after = after.map_err(|failure| match failure {
            Failure::Running(why) | Failure::Unusable(why) => by_hand(why),
            failure => failure,
        })?;
        self.replace(&after).map_err(|error| by_hand(format!("cannot be written: {error}")))
    }

    fn replace(&self, text: &str) -> std::io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{}", std::process::id()));
        let new = PathBuf::from(name);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&new)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| {
            // Whoever reads the old file, a guard with rights of its own, has to read this one.
            if let Ok(old) = std::fs::metadata(&self.path) {
                file.set_permissions(old.permissions())?;
                let own = file.metadata()?;
                if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
                    std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
                }
            }
            file.sync_all()?;
            std::fs::rename(&new, &self.path)
        });
        if written.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        written
    }

    /// What stands there; nothing if there is no file yet.
    fn read(&self) -> Result<String, Failure> {
        match std::fs::read_to_string(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            other => other.map_err(|error| {
                Failure::Unusable(format!("{}: cannot be read: {error}", self.path.display()))
            }),
        }
    }

    /// The text with the entry behind the last one. What comes out is read again: it has to be a
    /// register with exactly one more entry.
    fn with(&self, before: &str, hash: &StoredHash) -> Result<String, Failure> {
        let unusable = |why: &str| Failure::Unusable(format!("{}: {why}", self.path.display()));
        let count = self.count(file::parse(before), "")?;
        let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        let text = if count == 0 {
            let is_empty_list = |line: &str| {
                line.split(" #").next().is_some_and(|line| line.trim() == "tokens: []")
            };
            let kept: String = before
                .lines()
                .filter(|line| !is_empty_list(line))
                .fold(String::new(), |kept, line| kept + line + "\n");
            format!("{kept}tokens:\n{}", self.lines("  ", hash))
        } else {
            let first = before.lines().find(|line| line.trim_start().starts_with("- "));
            let indent = first.map_or("", |line| &line[..line.len() - line.trim_start().len()]);
            format!("{before}{gap}{}", self.lines(indent, hash))
        };
        let after = self.count(file::parse(&text), " (with the new entry)")?;
        if after != count + 1 {
            return Err(unusable("no entry can be added behind what stands there"));
        }
        Ok(text)
    }

    fn count(&self, read: Result<Register, Vec<Mistake>>, when: &str) -> Result<usize, Failure> {
        read.map(|register| register.entries().len()).map_err(|mistakes| {
            let path = self.path.display();
            let lines: Vec<String> =
                mistakes.iter().map(|mistake| format!("{path}:{mistake}{when}")).collect();
            Failure::Unusable(lines.join("\n"))
        })
    }

    fn lines(&self, indent: &str, hash: &StoredHash) -> String {
        let expires = self
            .expires
            .iter()
            .map(|when| format!("{indent}  expires: {when}\n"))
            .collect::<String>();
        format!("{indent}- label: {}\n{indent}  hash: \"{hash}\"\n{expires}", self.label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(before: &str, label: &str, expires: Option<&str>) -> Result<String, Failure> {
        let addition = Addition {
            path: "tokens.yaml".into(),
            label: label.into(),
            expires: expires.map(Into::into),
        };
        addition.with(before, &StoredHash::short(label.as_bytes()))
    }

    #[test]
    fn an_entry_is_added_behind_the_others_and_nothing_else_changes() {
        let mut text = String::new();
        for label in ["a", "b", "c"] {
            let with = added(&text, label, Some("2027-06-30")).ok().unwrap();
            assert!(with.starts_with(&text));
            text = with;
        }
        assert_eq!(file::parse(&text).unwrap().entries().len(), 3);
        let by_hand = format!(
            "# ours\ntokens:\n- label: x # the first\n  hash: \"{}\"",
            StoredHash::short(b"x")
        );
        let with = added(&by_hand, "y", None).ok().unwrap();
        assert!(with.starts_with(&by_hand));
        let example = include_str!("../../../conf/tokens.yaml");
        assert!(added(example, "another", None).is_ok());
        assert!(added("# none yet\ntokens: []\n", "a", None).is_ok());
        assert!(added("tokens: []  # none yet\n", "a", None).is_ok());
    }

    #[test]
    fn what_would_not_be_a_register_is_not_written() {
        let text = added("", "a", None).ok().unwrap();
        for (before, label, expires) in [
            (text.as_str(), "a", None),
            (text.as_str(), "b c", None),
            (text.as_str(), "b", Some("soon")),
            ("tokens: {", "b", None),
            (&format!("tokens: [{{label: x, hash: \"{}\"}}]", StoredHash::short(b"x")), "b", None),
            ("", "a\n  rate: 1/s", None),
        ] {
            assert!(added(before, label, expires).is_err(), "{before} {label}");
        }
    }
}
