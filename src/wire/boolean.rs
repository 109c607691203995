//! Booleans, which Wire also reads from strings.

use crate::json::{Type, Value, folds_alike};

/// `true` or `false`, in any case.
pub fn read(text: &str) -> Option<bool> {
    if folds_alike(text, "true") {
        Some(true)
    } else if folds_alike(text, "false") {
        Some(false)
    } else {
        None
    }
}

/// A boolean, or a string that is read as one.
pub fn of(value: Value<'_>) -> Option<bool> {
    match value.get() {
        Type::Bool(value) => Some(value),
        Type::String(text) => read(text),
        _ => None,
    }
}
