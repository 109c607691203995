//! Authentication of requests to the admin listener.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::secret;

/// The minimum length of a token, in characters.
const MIN_TOKEN: usize = 16;

/// The token of the admin listener.
///
/// SECURITY: only its hash is kept, and compared in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Reads the token from a file, without surrounding white space. The error is the end of a
    /// sentence about the file.
    pub fn read(text: &str) -> Result<Self, String> {
        let token = text.trim();
        let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.len() < MIN_TOKEN || !is_plain {
            return Err(format!(
                "has no token of at least {MIN_TOKEN} visible ASCII characters; write one: openssl rand -hex 32"
            ));
        }
        Ok(Self(Sha256::digest(token).into()))
    }

    /// Whether a request carries the token: as a Bearer token, or as the password of any user.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let sent = credentials(line);
        sent.is_some_and(|sent| Sha256::digest(sent).ct_eq(&self.0).into())
    }
}

fn credentials(line: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, rest) = line.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim_start_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let user_and_password = STANDARD.decode(rest).ok()?;
    let colon = user_and_password.iter().position(|byte| *byte == b':')?;
    Some(user_and_password[colon + 1..].to_vec())
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        secret::hidden(f, "AdminToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_accepted_as_bearer_token_and_as_password_only() {
        let token = AdminToken::read("a-token-of-the-operator\n").unwrap();
        let admits = |line: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, line.parse().unwrap());
            token.admits(&headers)
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for good in [
            "Bearer a-token-of-the-operator",
            "bearer  a-token-of-the-operator",
            &basic(":a-token-of-the-operator"),
            &basic("me:a-token-of-the-operator"),
        ] {
            assert!(admits(good), "{good}");
        }
        for bad in [
            "a-token-of-the-operator",
            "Bearer a-token-of-the-operato",
            "Bearer ",
            "Digest a-token-of-the-operator",
            &basic("a-token-of-the-operator"),
            &basic("a-token-of-the-operator:x"),
            "Basic ***",
        ] {
            assert!(!admits(bad), "{bad}");
        }
        assert!(!token.admits(&HeaderMap::new()));
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(AUTHORIZATION, "Bearer a-token-of-the-operator".parse().unwrap());
        }
        assert!(!token.admits(&twice));
        for unusable in ["", "short", "with blanks in the middle"] {
            assert!(AdminToken::read(unusable).is_err(), "{unusable}");
        }
        assert_eq!(format!("{token:?}"), "AdminToken(hidden)");
    }
}
