//! Keyed hashes, with which the same person can be followed through the audit log without being
//! named.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::secret;

/// The minimum length of a key, in bytes.
pub const MIN_KEY: usize = 32;

/// A key for HMAC-SHA256.
///
/// SECURITY: an unkeyed hash of an externalId, which usually is an email address, could be reversed
/// by trying addresses.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditKey(Arc<[u8]>);

impl AuditKey {
    /// Reads the key from a file, without surrounding white space. The error is the end of a
    /// sentence about the file.
    pub fn read(text: &str) -> Result<Self, String> {
        let key = text.trim();
        if key.len() < MIN_KEY {
            let length = key.len();
            return Err(format!(
                "has a key of {length} characters; write one of at least {MIN_KEY}: openssl rand -base64 32"
            ));
        }
        Ok(Self(key.as_bytes().into()))
    }

    /// The hash of a person's externalId, in hexadecimal digits.
    pub fn hash(&self, external_id: &str) -> String {
        // HMAC accepts keys of every length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(external_id.as_bytes());
        let digits = mac.finalize().into_bytes();
        digits.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        secret::hidden(f, "AuditKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_hmac_sha256() {
        let key = AuditKey::read("0123456789abcdef0123456789abcdef\n").unwrap();
        // printf alice@example.com | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        assert_eq!(
            key.hash("alice@example.com"),
            "841240d2a5b6654b3ae21fc4499db7b7867077cdd67c3e16cef1f9843e27d1fa"
        );
        assert!(AuditKey::read("short").is_err());
        assert_eq!(format!("{key:?}"), "AuditKey(hidden)");
    }
}
