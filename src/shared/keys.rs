//! The names of keys and channels in the store, and the hashes in them.
//!
//! SECURITY: what can be read in the store names no token, no user and no address.

use hmac::Mac as _;

use super::slots::tag_of;
use crate::config::shared::Store;
use crate::digest::TokenDigest;
use crate::hash_key::HashKey;

/// The version of what the keys hold. Another version uses other keys, so that replicas of both can work side by side;
/// those of an older version expire.
const VERSION: &str = "v1";

/// A token as the store knows it.
pub type TokenHash = [u8; 32];

/// A user as the store knows it, for one token.
pub type UserHash = [u8; 16];

#[derive(Debug)]
pub struct Keys {
    prefix: String,
    key: HashKey,
    is_keyed: bool,
}

impl Keys {
    pub fn new(store: &Store) -> Self {
        Self {
            prefix: format!("{}{VERSION}:", store.prefix),
            key: store.key.clone().unwrap_or_else(HashKey::public),
            is_keyed: store.key.is_some(),
        }
    }

    pub fn token(&self, token: TokenDigest) -> TokenHash {
        self.hash("token", &[token.bytes()])
    }

    pub fn user(&self, token: TokenDigest, user: u128) -> UserHash {
        let hash = self.hash("user", &[token.bytes(), &user.to_be_bytes()]);
        // Half of a hash is enough to tell the users of a token apart.
        hash.first_chunk().copied().unwrap_or_default()
    }

    /// A network as the store knows it; `None`: it must not be shared.
    ///
    /// SECURITY: there are few addresses, so that an unkeyed hash of one could be found by trying. Tokens and the ids
    /// of users are random.
    pub fn address(&self, address: u128) -> Option<u128> {
        let hash = || self.hash("address", &[&address.to_be_bytes()]);
        self.is_keyed
            .then(|| u128::from_be_bytes(hash().first_chunk().copied().unwrap_or_default()))
    }

    /// The keys of a token's budgets. The braces make a Redis Cluster keep them in one place.
    pub fn of_budgets(&self, token: &TokenHash) -> String {
        format!("{}{{{}}}", self.prefix, tag_of(token))
    }

    /// Where replicas tell each other about tokens and addresses.
    pub fn channel(&self) -> String {
        format!("{}events", self.prefix)
    }

    /// A key that is written to find out whether the store can be written to.
    pub fn probe(&self, tag: &str) -> String {
        format!("{}{{{tag}}}:probe", self.prefix)
    }

    fn hash(&self, kind: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.key.mac().chain_update(kind);
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Server;
    use crate::config::shared::Location;

    fn keys(key: Option<&str>) -> Keys {
        Keys::new(&Store {
            location: Location::Server(Server::cleartext("a", 1)),
            database: 0,
            tls: false,
            ca: None,
            prefix: "p:".into(),
            key: key.map(|key| HashKey::read(key).unwrap()),
            username: None,
            password: None,
        })
    }

    #[test]
    fn hashes_depend_on_the_key_and_keys_on_the_version() {
        let (one, other) = (keys(Some(&"1".repeat(32))), keys(Some(&"2".repeat(32))));
        let token = TokenDigest::of(b"token");
        assert_eq!(one.token(token), one.token(token));
        assert_ne!(one.token(token), other.token(token));
        assert_ne!(one.user(token, 1), one.user(token, 2));
        assert_ne!(one.user(token, 1), one.user(TokenDigest::of(b"other"), 1));
        assert_ne!(one.address(1), other.address(1));
        let name = one.of_budgets(&[0xab; 32]);
        assert_eq!(name, format!("p:v1:{{{}}}", "ab".repeat(16)));
    }

    #[test]
    fn addresses_are_not_shared_without_a_key() {
        assert_eq!(keys(None).address(1), None);
    }
}
