//! Detects when files have changed and are no longer being written.

use super::contents::{Contents, Files};

/// What was seen of the files.
///
/// A change counts when two checks in a row find the same, so that a file that is being written is
/// not loaded before it is complete.
#[derive(Debug)]
pub(super) struct ChangeDetector {
    files: Files,
    /// The contents when they were last loaded, with or without success; second, of those with
    /// their own watchers.
    tried: (Contents, Contents),
    seen: (Contents, Contents),
}

impl ChangeDetector {
    pub(super) fn new(files: Files, contents: Contents, others: Contents) -> Self {
        let found = (contents, others);
        Self { files, tried: found, seen: found }
    }

    /// Records what is about to be loaded.
    pub(super) fn set_tried(&mut self, files: Files, contents: Contents, others: Contents) {
        *self = Self::new(files, contents, others);
    }

    /// Checks once. `failed`: the last reload failed, and the others may be the reason; otherwise
    /// their own watchers apply their changes.
    pub(super) fn have_changed(&mut self, failed: bool) -> bool {
        let others = if failed { Contents::of_others(&self.files) } else { self.tried.1 };
        let now = (Contents::of(&self.files), others);
        let is_settled = self.seen == now;
        self.seen = now;
        is_settled && self.tried != now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_and_only_when_two_checks_agree() {
        let folder = std::env::temp_dir().join(format!("changes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("config.yaml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("a");
        let files = Files::new(&path, None);
        let mut changes =
            ChangeDetector::new(files.clone(), Contents::of(&files), Contents::default());
        assert!(!changes.have_changed(false));
        write("b");
        assert!(!changes.have_changed(false));
        write("bc");
        assert!(!changes.have_changed(false));
        assert!(changes.have_changed(false));
        changes.set_tried(files.clone(), Contents::of(&files), Contents::default());
        assert!(!changes.have_changed(false));
        // A deleted file is a change, and so is one that reappears.
        std::fs::remove_file(&path).unwrap();
        assert!(!changes.have_changed(false));
        assert!(changes.have_changed(false));
        changes.set_tried(files.clone(), Contents::of(&files), Contents::default());
        write("bc");
        assert!(!changes.have_changed(false));
        assert!(changes.have_changed(false));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
