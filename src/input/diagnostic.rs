//! What is wrong with a file, and where.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::secret;

/// A position in the text, as editors count: from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub line: usize,
    pub column: usize,
}

impl At {
    pub const START: Self = Self { line: 1, column: 1 };

    /// The position of the byte `index`, at which a character begins.
    pub fn of(text: &str, index: usize) -> Self {
        let before = text.get(..index).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let begin = before.rfind('\n').map_or(0, |end| end + 1);
        Self { line, column: before[begin..].chars().count() + 1 }
    }
}

/// One error in a file, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl Diagnostic {
    pub fn new(at: At, message: impl Into<String>) -> Self {
        // SECURITY: messages quote the file, and a token may have been pasted into it.
        let message = secret::redacted(&message.into());
        Self { line: at.line, column: at.column, message }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// What is allowed but probably unintended, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning(Diagnostic);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { line, column, message } = &self.0;
        write!(f, "{line}:{column}: warning: {message}")
    }
}

/// How many errors are reported; nobody reads more.
pub(super) const MAX_REPORTED: usize = 200;

/// The errors and warnings collected while a file is read, and the files that it names.
#[derive(Debug, Default)]
pub struct Diagnostics {
    errors: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Warning>>,
    /// How many more there are.
    more: Cell<usize>,
    files: RefCell<Vec<PathBuf>>,
}

impl Diagnostics {
    pub fn error(&self, at: At, message: impl Into<String>) {
        if self.errors.borrow().len() < MAX_REPORTED {
            self.errors.borrow_mut().push(Diagnostic::new(at, message));
        } else {
            self.more.set(self.more.get() + 1);
        }
    }

    pub fn warn(&self, at: At, message: impl Into<String>) {
        if self.warnings.borrow().len() < MAX_REPORTED {
            self.warnings.borrow_mut().push(Warning(Diagnostic::new(at, message)));
        }
    }

    /// Notes a file that is read with the text.
    pub fn note_file(&self, path: &Path) {
        self.files.borrow_mut().push(path.into());
    }

    /// The files that were read with the text.
    pub fn files(&self) -> Vec<PathBuf> {
        self.files.borrow().clone()
    }

    /// The warnings so far, in the order of the file.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.warnings.borrow().clone();
        warnings.sort();
        warnings.dedup();
        warnings
    }

    pub fn add(&self, errors: Vec<Diagnostic>) {
        self.errors.borrow_mut().extend(errors);
    }

    /// The errors in the order of the file.
    pub fn into_errors(self) -> Vec<Diagnostic> {
        let mut errors = self.errors.into_inner();
        errors.sort();
        errors.dedup();
        if let (more @ 1.., Some(last)) = (self.more.get(), errors.last()) {
            let at = At { line: last.line, column: last.column };
            errors.push(Diagnostic::new(at, format!("and so on: {more} more errors")));
        }
        errors
    }
}
