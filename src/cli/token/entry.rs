//! A new entry in a register file that people edit by hand: everything else in the file is kept as it is, comments
//! included.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Failure;
use crate::digest::StoredHash;
use crate::input::load::{LoadError, read_file};
use crate::registry::{TokenRegistry, file};
use crate::tls::subject::SubjectName;

/// An entry that can be added as soon as its hash is known.
pub struct Addition {
    path: PathBuf,
    label: String,
    expires: Option<String>,
    client_certificate: Option<SubjectName>,
}

impl Addition {
    /// Checks that the entry can be written.
    pub fn prepare(
        path: &Path,
        label: &str,
        expires: Option<&str>,
        client_certificate: Option<&SubjectName>,
    ) -> Result<Self, Failure> {
        let addition = Self {
            // The file itself, so that a symbolic link to it is not replaced.
            path: path.canonicalize().unwrap_or_else(|_| path.into()),
            label: label.into(),
            expires: expires.map(Into::into),
            client_certificate: client_certificate.cloned(),
        };
        let end = addition.expires.as_deref().and_then(|when| file::read_time(when).ok());
        if end.is_some_and(|end| end <= SystemTime::now()) {
            return Err(Failure::Unusable("--expires is in the past".into()));
        }
        let before = addition.read()?;
        let placeholder = StoredHash::wire(label.as_bytes());
        addition.with(&before, &placeholder)?;
        addition.new_file().and_then(|(_, new)| std::fs::remove_file(new)).map_err(|error| {
            Failure::Unusable(format!(
                "{}: cannot be written with its owner and its mode: {error}",
                path.display()
            ))
        })?;
        Ok(addition)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the entry. The file is replaced atomically, so that no reader sees half of it.
    pub fn write(&self, hash: &StoredHash) -> Result<(), Failure> {
        let by_hand = |why: String| {
            Failure::Running(format!(
                "{}: {why}; the token was created, add its entry by hand:\n{}",
                self.path.display(),
                self.lines("", hash)
            ))
        };
        // Concurrent commands wait for each other. (On file systems without locks, such as some network file
        // systems, they do not.)
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        let _lock = folder.map(|folder| folder.lock().map(|()| folder));
        let after = self.read().and_then(|before| self.with(&before, hash));
        let after = after.map_err(|failure| match failure {
            Failure::Running(why) | Failure::Unusable(why) => by_hand(why),
            failure => failure,
        })?;
        self.replace(&after).map_err(|error| by_hand(format!("cannot be written: {error}")))
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
    fn read(&self) -> Result<String, Failure> {
        match read_file(&self.path, file::MAX_FILE, |text| Ok(text.to_owned())) {
            Err(LoadError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(String::new())
            }
            read => read.map_err(|error| Failure::Unusable(error.to_string())),
        }
    }

    /// The text with the entry added after the last one. The result is parsed: it must be a register with exactly one
    /// more entry.
    fn with(&self, before: &str, hash: &StoredHash) -> Result<String, Failure> {
        let unusable = |why: &str| Failure::Unusable(format!("{}: {why}", self.path.display()));
        let count = self.parse(before, "")?.entries().len();
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
        if text.len() as u64 > file::MAX_FILE {
            let error = LoadError::TooLarge { path: self.path.clone(), most: file::MAX_FILE };
            return Err(Failure::Unusable(error.to_string()));
        }
        let after = self.parse(&text, " (with the new entry)")?;
        let label = after.entries().last().map(|entry| entry.label.as_str());
        if after.entries().len() != count + 1 || label != Some(&self.label) {
            return Err(unusable("no entry can be added after the existing ones"));
        }
        Ok(text)
    }

    fn parse(&self, text: &str, when: &str) -> Result<TokenRegistry, Failure> {
        file::parse(text).map_err(|mistakes| {
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
        let certificate = self
            .client_certificate
            .iter()
            .map(|name| format!("{indent}  client_certificate: {:?}\n", name.to_string()))
            .collect::<String>();
        // The hash, which every entry must have, is last: an entry that is cut off is an error, and not an entry that
        // allows more.
        format!(
            "{indent}- label: {}\n{expires}{certificate}{indent}  hash: \"{hash}\"\n",
            self.label
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn added(before: &str, label: &str, expires: Option<&str>) -> Result<String, Failure> {
        let addition = Addition {
            path: "tokens.yaml".into(),
            label: label.into(),
            expires: expires.map(Into::into),
            client_certificate: None,
        };
        addition.with(before, &StoredHash::short(label.as_bytes()))
    }

    #[test]
    fn an_entry_is_added_after_the_others_and_nothing_else_changes() {
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
    fn the_name_of_a_client_certificate_is_read_back_as_it_was_given() {
        for name in ["dns:idp.example", "uri:urn:a\"b\\c#d", "email:idp@example.com"] {
            let name = SubjectName::parse(name).unwrap();
            let addition = Addition {
                path: "tokens.yaml".into(),
                label: "a".into(),
                expires: None,
                client_certificate: Some(name.clone()),
            };
            let text = addition.with("", &StoredHash::short(b"a")).ok().unwrap();
            let register = file::parse(&text).unwrap();
            assert_eq!(register.entries()[0].client_certificate, Some(name), "{text}");
        }
    }

    #[test]
    fn concurrent_additions_are_all_kept() {
        let folder = std::env::temp_dir().join(format!("entries-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("tokens.yaml");
        let labels = ["a", "b", "c", "d", "e", "f"];
        std::thread::scope(|scope| {
            for label in labels {
                let addition = Addition {
                    path: path.clone(),
                    label: label.into(),
                    expires: None,
                    client_certificate: None,
                };
                scope.spawn(move || {
                    addition.write(&StoredHash::short(label.as_bytes())).ok().unwrap();
                });
            }
        });
        let register = file::load(&path).unwrap();
        assert_eq!(register.entries().len(), labels.len());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_register_keeps_its_mode_and_a_new_one_has_the_default_mode() {
        let folder = std::env::temp_dir().join(format!("modes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [path, any] = ["tokens.yaml", "any"].map(|name| folder.join(name));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        let add = |label: &str| {
            let addition = Addition {
                path: path.clone(),
                label: label.into(),
                expires: None,
                client_certificate: None,
            };
            addition.write(&StoredHash::short(label.as_bytes())).ok().unwrap();
        };
        std::fs::write(&any, "").unwrap();
        add("a");
        assert_eq!(mode(&path), mode(&any));
        for (label, kept) in [("b", 0o640), ("c", 0o604)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(kept)).unwrap();
            add(label);
            assert_eq!(mode(&path), kept);
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "nothing remains");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_too_large_is_not_truncated() {
        let path = std::env::temp_dir().join(format!("large-{}.yaml", std::process::id()));
        let first = added("", "a", None).ok().unwrap();
        let rest = "# ours\n".repeat(file::MAX_FILE as usize / 7);
        std::fs::write(&path, first + &rest).unwrap();
        let before = std::fs::metadata(&path).unwrap().len();
        assert!(before > file::MAX_FILE);
        assert!(Addition::prepare(&path, "b", None, None).is_err());
        let addition = Addition {
            path: path.clone(),
            label: "b".into(),
            expires: None,
            client_certificate: None,
        };
        assert!(addition.write(&StoredHash::short(b"b")).is_err());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), before);
        std::fs::remove_file(path).unwrap();
        let nearly =
            format!("tokens: []\n{}", "# ours\n".repeat((file::MAX_FILE as usize - 20) / 7));
        assert!(added(&nearly, "b", None).is_err());
    }

    #[test]
    fn an_expired_entry_is_not_prepared() {
        let path = std::env::temp_dir().join(format!("expired-{}.yaml", std::process::id()));
        assert!(Addition::prepare(&path, "a", Some("2020-01-01"), None).is_err());
        assert!(Addition::prepare(&path, "a", Some("9999-12-31"), None).is_ok());
        assert!(!path.exists());
    }

    #[test]
    fn a_result_that_is_not_a_register_is_not_written() {
        let text = added("", "a", None).ok().unwrap();
        for (before, label, expires) in [
            (text.as_str(), "a", None),
            (text.as_str(), "b c", None),
            (text.as_str(), "b", Some("soon")),
            ("tokens: {", "b", None),
            (&format!("tokens: [{{label: x, hash: \"{}\"}}]", StoredHash::short(b"x")), "b", None),
            ("", "a\n  rate: 1/s", None),
            ("", "a # b", None),
        ] {
            assert!(added(before, label, expires).is_err(), "{before} {label}");
        }
    }
}
