//! Short hashes that tell whether replicas have read the same.

use sha2::{Digest as _, Sha256};

/// A part of the hash of these parts, as large as a metric can show exactly.
pub fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no bytes move from one part to the next unnoticed.
        hash.update((part.as_ref().len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
