//! What is kept of a token instead of the token itself: its hash, in Wire's own form or in a short
//! one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use crate::secret;

/// The key for remembering tokens: SHA-256, which takes some fifty nanoseconds.
///
/// A token is 32 random bytes, so a plain hash cannot be reversed, with or without salt.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl TokenDigest {
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for TokenDigest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        secret::hidden(f, "TokenDigest")
    }
}

/// A token's hash as written in the registry.
#[derive(Clone, Copy)]
pub enum StoredHash {
    /// `sha512:` and base64: what Wire keeps in its database.
    Sha512([u8; 64]),
    /// `sha256:` and hexadecimal digits: what `sha256sum` prints.
    Sha256([u8; 32]),
}

impl StoredHash {
    /// The hash of a token in Wire's own form.
    pub fn wire(token: &[u8]) -> Self {
        Self::Sha512(Sha512::digest(token).into())
    }

    /// The hash of a token in the short form.
    pub fn short(token: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(token).into())
    }

    /// Reads either form. The error is the end of a sentence that begins with the key's name.
    ///
    /// SECURITY: it does not repeat the value, which may be a token that was pasted here.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(encoded) = text.strip_prefix("sha512:") {
            let bytes = STANDARD.decode(encoded).ok().and_then(|bytes| bytes.try_into().ok());
            return bytes
                .map(Self::Sha512)
                .ok_or("88 characters of base64 must follow `sha512:`, as in Wire's database");
        }
        if let Some(digits) = text.strip_prefix("sha256:") {
            return hexadecimal(digits)
                .map(Self::Sha256)
                .ok_or("64 hexadecimal digits must follow `sha256:`");
        }
        if secret::redacted(text) != text {
            return Err(
                "this looks like a token itself, which does not belong in a file; delete it in \
                        Wire and write the hash of a new one (`wire-scim-guard token hash`)",
            );
        }
        Err(
            "this is not a hash; write sha512:BASE64 or sha256:HEX, as `wire-scim-guard token hash` \
             prints them",
        )
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha512(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }

    /// Whether both are the same hash, in constant time.
    pub fn is(&self, other: &Self) -> bool {
        self.bytes().ct_eq(other.bytes()).into()
    }
}

impl From<TokenDigest> for StoredHash {
    fn from(digest: TokenDigest) -> Self {
        Self::Sha256(digest.0)
    }
}

impl fmt::Display for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha512(bytes) => write!(f, "sha512:{}", STANDARD.encode(bytes)),
            Self::Sha256(bytes) => {
                f.write_str("sha256:")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        secret::hidden(f, "StoredHash")
    }
}

fn hexadecimal(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &[u8] = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn both_forms_are_read_as_they_are_written() {
        for hash in [StoredHash::wire(TOKEN), StoredHash::short(TOKEN)] {
            assert!(StoredHash::parse(&hash.to_string()).unwrap().is(&hash));
        }
        assert!(!StoredHash::wire(TOKEN).is(&StoredHash::short(TOKEN)));
        assert!(!StoredHash::wire(TOKEN).is(&StoredHash::wire(b"another")));
        let short = StoredHash::short(TOKEN).to_string();
        assert!(StoredHash::parse(&short.to_uppercase().replace("SHA256", "sha256")).is_ok());
    }

    /// `printf %s TOKEN | sha512sum`, and the same in base64.
    #[test]
    fn the_hashes_are_those_of_other_tools() {
        assert_eq!(
            StoredHash::short(b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            StoredHash::wire(b"abc").to_string(),
            "sha512:3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="
        );
    }

    #[test]
    fn a_string_that_is_not_a_hash_is_refused_without_being_repeated() {
        let token = std::str::from_utf8(TOKEN).unwrap();
        for text in ["", "sha512:", "sha256:", "sha256:zz", "sha512:AAAA", "md5:00", token] {
            let error = StoredHash::parse(text).unwrap_err();
            assert!(text.len() < 8 || !error.contains(text), "{error}");
        }
        assert!(StoredHash::parse(&format!("sha256:{}", "é".repeat(32))).is_err());
    }

    #[test]
    fn debug_output_shows_no_digit() {
        assert_eq!(format!("{:?}", TokenDigest::of(TOKEN)), "TokenDigest(hidden)");
        assert_eq!(format!("{:?}", StoredHash::wire(TOKEN)), "StoredHash(hidden)");
    }
}
