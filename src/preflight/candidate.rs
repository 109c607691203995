//! What a source contains about one person, before the guard has judged it.

use serde::{Serialize, Serializer};

/// The name of an entry in the output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    Dn(String),
    /// The number of the row, from 1.
    Row(u64),
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dn(dn) => f.write_str(dn),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Dn(dn) => serializer.serialize_str(dn),
            Self::Row(row) => serializer.serialize_u64(*row),
        }
    }
}

/// What happens to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Written.
    Keep,
    /// Deleted, perhaps after it was written.
    Leave,
    /// Skipped with a log line.
    Skip,
    /// Ends the whole run.
    Stop,
}

impl Class {
    pub const ALL: [Self; 4] = [Self::Keep, Self::Leave, Self::Skip, Self::Stop];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Leave => "leave",
            Self::Skip => "skip",
            Self::Stop => "stop",
        }
    }
}

/// The stages of a run at which an entry can end it, in the order of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// All entries to keep are translated, before anything is sent.
    Translation,
    /// They are rendered for the log.
    Rendering,
    /// They are looked up and written, one after the other.
    ExternalId,
    /// Leavers are translated: those marked by the attribute first.
    LeaverTranslation { directory: bool },
    /// Leavers are looked up and deleted, one after the other.
    LeaverExternalId { directory: bool },
}

impl Stage {
    pub fn leaver_translation(marked: bool) -> Self {
        Self::LeaverTranslation { directory: !marked }
    }

    pub fn leaver_external_id(marked: bool) -> Self {
        Self::LeaverExternalId { directory: !marked }
    }
}

/// The identifiers that distinguish people, as far as they are known.
#[derive(Debug, Clone, Default)]
pub struct Identifiers {
    pub user_name: Option<String>,
    pub external_id: Option<String>,
    /// In canonical form.
    pub email: Option<String>,
    pub display_name: Option<String>,
}

/// One person of the source.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub name: Name,
    pub class: Class,
    /// What would be sent: a JSON document, or what the source has instead.
    pub body: Option<Vec<u8>>,
    /// Why nothing is sent, or what else happens.
    pub reason: Option<String>,
    pub stage: Option<Stage>,
    /// The entry is not a leaver, or not only one.
    pub to_keep: bool,
    /// There is no userName, which on its own ends the run.
    pub lacks_user_name: bool,
    pub identifiers: Identifiers,
}
