//! Keys for keyed hashes: equal values have equal hashes, but a hash cannot be reversed by trying
//! values.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::secret;

/// The minimum length of a key, in bytes.
pub const MIN_KEY: usize = 32;

/// A key for HMAC-SHA256.
///
/// SECURITY: an unkeyed hash of an email address or of an IP address could be reversed by trying
/// values.
#[derive(Clone, PartialEq, Eq)]
pub struct HashKey(Arc<[u8]>);

impl HashKey {
    /// Reads the key from a file, without surrounding white space. The error is the end of a sentence
    /// about the file.
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

    /// A publicly known key, for values that cannot be found by trying anyway.
    pub(crate) fn public() -> Self {
        Self((*b"wire-scim-guard").into())
    }

    /// HMAC-SHA256 with this key, to be updated with the value.
    pub(crate) fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).expect("HMAC takes keys of every length")
    }

    /// The hash of a string, in hexadecimal digits.
    pub fn hash(&self, text: &str) -> String {
        let digits = self.mac().chain_update(text).finalize().into_bytes();
        digits.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        secret::hidden(f, "HashKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_hmac_sha256() {
        let key = HashKey::read("0123456789abcdef0123456789abcdef\n").unwrap();
        // printf alice@example.com | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        assert_eq!(
            key.hash("alice@example.com"),
            "841240d2a5b6654b3ae21fc4499db7b7867077cdd67c3e16cef1f9843e27d1fa"
        );
        assert!(HashKey::read("short").is_err());
        assert_eq!(format!("{key:?}"), "HashKey(hidden)");
    }
}
