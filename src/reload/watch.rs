//! Finds out when files have changed and are no longer being written.

use super::contents::{Contents, Files};

/// What was seen of the files.
///
/// A change counts when two looks in a row find the same, so that a file which is being written is not
/// loaded half-way.
#[derive(Debug)]
pub(super) struct Looks {
    files: Files,
    /// What they contained when they were last loaded, with or without success; second, those that have watchers of
    /// their own.
    tried: (Contents, Contents),
    seen: (Contents, Contents),
}

impl Looks {
    pub(super) fn new(files: Files, contents: Contents, others: Contents) -> Self {
        let found = (contents, others);
        Self { files, tried: found, seen: found }
    }

    /// Notes what is about to be loaded.
    pub(super) fn set_tried(&mut self, files: Files, contents: Contents, others: Contents) {
        *self = Self::new(files, contents, others);
    }

    /// Looks once. `failed`: the last reload failed, and the others may be the reason; otherwise their own
    /// watchers apply their changes.
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
    fn a_change_counts_once_and_only_when_two_looks_in_a_row_find_the_same() {
        let folder = std::env::temp_dir().join(format!("looks-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("config.yaml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("a");
        let files = Files::new(&path, None);
        let mut looks = Looks::new(files.clone(), Contents::of(&files), Contents::default());
        assert!(!looks.have_changed(false));
        write("b");
        assert!(!looks.have_changed(false));
        write("bc");
        assert!(!looks.have_changed(false));
        assert!(looks.have_changed(false));
        looks.set_tried(files.clone(), Contents::of(&files), Contents::default());
        assert!(!looks.have_changed(false));
        // A file that is gone is a change, and so is one that is back.
        std::fs::remove_file(&path).unwrap();
        assert!(!looks.have_changed(false));
        assert!(looks.have_changed(false));
        looks.set_tried(files.clone(), Contents::of(&files), Contents::default());
        write("bc");
        assert!(!looks.have_changed(false));
        assert!(looks.have_changed(false));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
