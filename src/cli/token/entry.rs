//! A new entry in a registry file that people edit by hand: everything else in the file is kept as it is, comments
//! included.

use std::path::Path;
use std::time::SystemTime;

use super::Failure;
use crate::cli::registry_file::RegistryFile;
use crate::digest::StoredHash;
use crate::registry::file;
use crate::tls::subject::SubjectName;

/// An entry that can be added as soon as its hash is known.
pub struct Addition {
    file: RegistryFile,
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
            file: RegistryFile::at(path),
            label: label.into(),
            expires: expires.map(Into::into),
            client_certificate: client_certificate.cloned(),
        };
        let end = addition.expires.as_deref().and_then(|when| file::read_time(when).ok());
        if end.is_some_and(|end| end <= SystemTime::now()) {
            return Err(Failure::Unusable("--expires is in the past".into()));
        }
        let before = addition.file.read()?;
        let placeholder = StoredHash::wire(label.as_bytes());
        addition.with(&before, &placeholder)?;
        addition.file.check_replaceable()?;
        Ok(addition)
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes the entry.
    pub fn write(&self, hash: &StoredHash) -> Result<(), Failure> {
        self.file.change(|before| self.with(before, hash)).map_err(|failure| match failure {
            Failure::Running(why) | Failure::Unusable(why) => Failure::Running(format!(
                "{why}; the token was created, add its entry by hand:\n{}",
                self.lines("", hash)
            )),
            failure => failure,
        })
    }

    /// The text with the entry added after the last one. The result is parsed: it must be a registry with exactly one
    /// more entry.
    fn with(&self, before: &str, hash: &StoredHash) -> Result<String, Failure> {
        let count = self.file.parse(before, "")?.entries().len();
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
        self.file.check_size(&text)?;
        let after = self.file.parse(&text, " (with the new entry)")?;
        let label = after.entries().last().map(|entry| entry.label.as_str());
        if after.entries().len() != count + 1 || label != Some(&self.label) {
            let path = self.path().display();
            return Err(Failure::Unusable(format!(
                "{path}: no entry can be added after the existing ones"
            )));
        }
        Ok(text)
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
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn added(before: &str, label: &str, expires: Option<&str>) -> Result<String, Failure> {
        let addition = Addition {
            file: RegistryFile::at(Path::new("tokens.yaml")),
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
                file: RegistryFile::at(Path::new("tokens.yaml")),
                label: "a".into(),
                expires: None,
                client_certificate: Some(name.clone()),
            };
            let text = addition.with("", &StoredHash::short(b"a")).ok().unwrap();
            let registry = file::parse(&text).unwrap();
            assert_eq!(registry.entries()[0].client_certificate, Some(name), "{text}");
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
                    file: RegistryFile::at(&path),
                    label: label.into(),
                    expires: None,
                    client_certificate: None,
                };
                scope.spawn(move || {
                    addition.write(&StoredHash::short(label.as_bytes())).ok().unwrap();
                });
            }
        });
        let registry = file::load(&path).unwrap();
        assert_eq!(registry.entries().len(), labels.len());
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
                file: RegistryFile::at(&path),
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
            file: RegistryFile::at(&path),
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
