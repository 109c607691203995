//! Notes about the bridge's config, each with its position.

use serde::Serialize;

use crate::input::diagnostic::{At, Diagnostic};

/// The severity of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The bridge cannot parse its config: it ends immediately.
    Unreadable,
    /// The bridge parses it, and fails later.
    Error,
    Warning,
}

/// One note, as one sentence.
#[derive(Debug, Clone, Serialize)]
pub struct Note {
    pub line: usize,
    pub column: usize,
    pub severity: Severity,
    pub message: String,
}

impl Note {
    pub fn new(at: At, severity: Severity, message: impl Into<String>) -> Self {
        // A message must not show what looks like a token.
        let Diagnostic { line, column, message } = Diagnostic::new(at, message);
        Self { line, column, severity, message }
    }

    pub fn warning(at: At, message: impl Into<String>) -> Self {
        Self::new(at, Severity::Warning, message)
    }

    /// The note after the name of the file, in the form that editors jump to.
    pub fn shown(&self, file: &str) -> String {
        let Self { line, column, severity, message } = self;
        let word = if *severity == Severity::Warning { "warning: " } else { "" };
        format!("{file}:{line}:{column}: {word}{message}")
    }
}
