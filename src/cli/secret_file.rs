//! Files that contain one secret, such as a token or a password.

use std::path::Path;

use super::Failure;
use crate::input::load::read_any;
use crate::secret::Secret;

/// The first line of a file that contains a secret.
pub fn first_line(path: &Path) -> Result<Secret, Failure> {
    /// Bytes: more than any password has.
    const MAX_BYTES: u64 = 64 * 1024;
    let text = read_any(path, MAX_BYTES, |text| Ok(text.to_owned()))
        .map_err(|error| Failure::Unusable(error.to_string()))?;
    match text.trim_start_matches('\u{feff}').lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(Failure::Unusable(format!("{}: the first line is empty", path.display()))),
    }
}
