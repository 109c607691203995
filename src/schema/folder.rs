//! Loads the schemas of an operator's folder.

use std::path::Path;

use super::{FILES, Schema, Schemas, file};
use crate::input::load::LoadError;
use crate::input::near;

/// All errors of the schemas of a folder, one per line.
#[derive(Debug)]
pub struct SchemaErrors(Vec<LoadError>);

impl std::error::Error for SchemaErrors {}

impl std::fmt::Display for SchemaErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if at > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl Schemas {
    /// The schemas of a folder. Files that do not exist are replaced by the built-in ones; all
    /// errors in the others are returned at once.
    pub fn load(folder: &Path) -> Result<Self, SchemaErrors> {
        let mut errors = misplaced(folder);
        let built_in = Self::built_in();
        let mut load = |name: &str, wires: Schema| {
            let path = folder.join(name);
            if !path.exists() {
                return Some(wires);
            }
            file::load(&path, wires).map_err(|error| errors.push(error)).ok()
        };
        let Self { user, patch, group } = built_in;
        let [user_file, patch_file, group_file] = FILES.map(|(name, _)| name);
        let read = (load(user_file, user), load(patch_file, patch), load(group_file, group));
        match read {
            (Some(user), Some(patch), Some(group)) if errors.is_empty() => {
                Ok(Self { user, patch, group })
            }
            _ => Err(SchemaErrors(errors)),
        }
    }
}

/// Errors of a folder before any schema is read: it contains none, or files that look like one and
/// would be ignored.
fn misplaced(folder: &Path) -> Vec<LoadError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) => return vec![LoadError::Unreadable { path: folder.to_owned(), source }],
    };
    let files = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let files: Vec<String> = files.filter(|name| name.ends_with(".json")).collect();
    let known = FILES.map(|(name, _)| name);
    if files.is_empty() {
        let why = format!("there is none of {} in this folder", known.join(", "));
        return vec![LoadError::Unread { path: folder.to_owned(), why }];
    }
    let foreign = files.iter().filter(|name| !known.contains(&name.as_str()));
    foreign
        .map(|name| {
            let hint = near::hint(name, known);
            let why = format!("no schema of this name is read{hint}");
            LoadError::Unread { path: folder.join(name), why }
        })
        .collect()
}
