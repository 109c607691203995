//! The token registry: which tokens may provision, until when, from where, for what, and how fast.
//! It contains hashes, never tokens.
//!
//! [`mod@file`] reads it, and [`watch`] detects changes of its file.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use http::Method;
use ipnet::IpNet;

use crate::api::{Handler, Resource};
use crate::deprovisioning::TokenLimit;
use crate::digest::{StoredHash, TokenDigest};
use crate::policy::Identity;
use crate::rate::{Meter, Rate};
use crate::repair::Repairs;
use crate::tls::subject::SubjectName;
use crate::verdict::VerdictLabel;

mod deprovisioning;
pub mod file;
mod keys;
pub mod watch;

pub use keys::REGISTRY as KEYS;

/// All tokens that may be used.
#[derive(Debug, Default)]
pub struct TokenRegistry {
    entries: Vec<Entry>,
    /// Indexes into `entries` by the first eight bytes of the hash, one map for each form.
    by_sha256: HashMap<u64, Vec<usize>>,
    by_sha512: HashMap<u64, Vec<usize>>,
    has_repairs: bool,
    limits_removals: bool,
    /// A number that differs if the file's text differs; 0 without a file.
    pub(crate) fingerprint: u64,
}

/// One token.
#[derive(Debug, Clone)]
pub struct Entry {
    pub label: TokenLabel,
    pub hash: StoredHash,
    /// The time from which it is refused.
    pub expires: Option<SystemTime>,
    /// Where it may be used from; `None`: anywhere.
    pub networks: Option<Vec<IpNet>>,
    /// A name that the certificate of the client must have; `None`: no certificate is needed.
    pub client_certificate: Option<SubjectName>,
    pub methods: Methods,
    pub resources: Resources,
    /// How the team of this token identifies its users; replaces the configured mode.
    pub identity: Option<Identity>,
    pub rate: Option<Rate>,
    /// The repairs of its requests; replace the configured ones.
    pub repairs: Option<Repairs>,
    /// How many users it may delete or deactivate.
    pub deprovisioning: Option<TokenLimit>,
    /// How much of the rate is used; shared by every version of the registry.
    pub meter: Arc<Meter>,
}

impl TokenRegistry {
    pub fn new(entries: Vec<Entry>) -> Self {
        let mut registry = Self::default();
        for (place, entry) in entries.iter().enumerate() {
            let index = match entry.hash {
                StoredHash::Sha256(_) => &mut registry.by_sha256,
                StoredHash::Sha512(_) => &mut registry.by_sha512,
            };
            index.entry(prefix(&entry.hash)).or_default().push(place);
        }
        let has_repairs = entries.iter().any(|entry| entry.repairs.is_some());
        let limits_removals = entries.iter().any(|entry| entry.deprovisioning.is_some());
        Self { entries, has_repairs, limits_removals, ..registry }
    }

    /// The entry of a token. `digest` is the token's own, if it is known already.
    ///
    /// A form of hash that no entry has is not computed.
    pub fn find(&self, token: &[u8], digest: Option<TokenDigest>) -> Option<&Entry> {
        let short = || digest.map_or_else(|| StoredHash::short(token), StoredHash::from);
        let among = |index: &HashMap<u64, Vec<usize>>, hash: &dyn Fn() -> StoredHash| {
            if index.is_empty() {
                return None;
            }
            let hash = hash();
            let places = index.get(&prefix(&hash))?;
            // SECURITY: the map is looked up by a part of the hash only; the whole hash is compared
            // in constant time.
            places.iter().map(|place| &self.entries[*place]).find(|entry| entry.hash.is(&hash))
        };
        among(&self.by_sha256, &short)
            .or_else(|| among(&self.by_sha512, &|| StoredHash::wire(token)))
    }

    /// Whether any entry has repairs of its own.
    pub fn has_repairs(&self) -> bool {
        self.has_repairs
    }

    /// Whether any entry limits deletions and deactivations.
    pub fn limits_removals(&self) -> bool {
        self.limits_removals
    }

    /// The entry that a label of this registry belongs to.
    pub fn labelled(&self, label: &TokenLabel) -> Option<&Entry> {
        self.entries.iter().find(|entry| Arc::ptr_eq(&entry.label.0, &label.0))
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The same registry, with the counters of the same labels and the rates already used, so that
    /// a change of the file resets no rate.
    pub(crate) fn continuing(&self, old: &Self) -> Self {
        let before: HashMap<&str, &Entry> =
            old.entries.iter().map(|entry| (entry.label.as_str(), entry)).collect();
        let continued = |entry: &Entry| {
            let mut entry = entry.clone();
            if let Some(before) = before.get(entry.label.as_str()) {
                entry.label = before.label.clone();
                if entry.rate == before.rate {
                    entry.meter = Arc::clone(&before.meter);
                }
            }
            entry
        };
        let entries = self.entries.iter().map(continued).collect();
        Self { fingerprint: self.fingerprint, ..Self::new(entries) }
    }
}

impl Entry {
    /// An entry that allows everything.
    pub fn new(label: &str, hash: StoredHash) -> Self {
        Self {
            label: TokenLabel::new(label),
            hash,
            expires: None,
            networks: None,
            client_certificate: None,
            methods: Methods::ALL,
            resources: Resources::ALL,
            identity: None,
            rate: None,
            repairs: None,
            deprovisioning: None,
            meter: Arc::default(),
        }
    }

    /// Whether a connection with a verified certificate of these names may use it.
    pub fn is_certified(&self, certificate: &[SubjectName]) -> bool {
        self.client_certificate.as_ref().is_none_or(|name| certificate.contains(name))
    }

    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| now >= end)
    }

    /// Whether it may be used from this address. An unknown address is in no network.
    pub fn admits(&self, client: Option<IpAddr>) -> bool {
        let Some(networks) = &self.networks else { return true };
        let Some(client) = client.map(|client| client.to_canonical()) else { return false };
        networks.iter().any(|network| network.contains(&client))
    }
}

fn prefix(hash: &StoredHash) -> u64 {
    hash.bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The label of a token in logs and metrics, and the number of its requests by verdict.
#[derive(Clone)]
pub struct TokenLabel(Arc<Account>);

struct Account {
    label: Box<str>,
    verdicts: [AtomicU64; VerdictLabel::ALL.len()],
}

impl TokenLabel {
    fn new(label: &str) -> Self {
        Self(Arc::new(Account { label: label.into(), verdicts: Default::default() }))
    }

    pub fn as_str(&self) -> &str {
        &self.0.label
    }

    /// Counts a request with this token.
    pub fn count(&self, verdict: VerdictLabel) {
        self.0.verdicts[verdict as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests had this verdict.
    pub fn counted(&self, verdict: VerdictLabel) -> u64 {
        self.0.verdicts[verdict as usize].load(Ordering::Relaxed)
    }
}

impl PartialEq for TokenLabel {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for TokenLabel {}

impl fmt::Debug for TokenLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// A set of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// The methods that can be named.
    pub const NAMES: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    /// All methods, also those that Wire does not serve: a rule of its own says so.
    pub const ALL: Self = Self(u8::MAX);
    pub const NONE: Self = Self(0);
    /// GET and HEAD.
    pub const READ_ONLY: Self = Self(0b11);

    /// The method with this name alone. GET includes HEAD, which is the same without the answer's
    /// body.
    pub fn named(name: &str) -> Option<Self> {
        match Self::NAMES.iter().position(|known| *known == name)? {
            0 => Some(Self::READ_ONLY),
            place => Some(Self(1 << place)),
        }
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn allow(self, method: &Method) -> bool {
        match Self::NAMES.iter().position(|known| *known == method.as_str()) {
            Some(place) => self.0 & (1 << place) != 0,
            None => self == Self::ALL,
        }
    }
}

/// The parts of Wire's SCIM API that a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    pub users: bool,
    pub groups: bool,
}

impl Resources {
    pub const ALL: Self = Self { users: true, groups: true };

    pub fn allow(self, handler: Handler) -> bool {
        match handler.route().resource {
            Some(Resource::Users) => self.users,
            Some(Resource::Groups) => self.groups,
            // Discovery is available to every token.
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_either_form_of_its_hash_and_no_other_is() {
        let registry = TokenRegistry::new(vec![
            Entry::new("wire", StoredHash::wire(b"one")),
            Entry::new("short", StoredHash::short(b"two")),
        ]);
        let found = |token: &[u8]| registry.find(token, None).map(|entry| entry.label.as_str());
        assert_eq!(found(b"one"), Some("wire"));
        assert_eq!(found(b"two"), Some("short"));
        assert_eq!(found(b"three"), None);
        let digest = Some(TokenDigest::of(b"two"));
        assert_eq!(registry.find(b"two", digest).map(|e| e.label.as_str()), Some("short"));
        assert!(TokenRegistry::default().find(b"one", None).is_none());
    }

    #[test]
    fn hashes_with_the_same_prefix_are_distinguished() {
        let mut other = StoredHash::short(b"one");
        if let StoredHash::Sha256(bytes) = &mut other {
            bytes[31] ^= 1;
        }
        let registry = TokenRegistry::new(vec![
            Entry::new("other", other),
            Entry::new("one", StoredHash::short(b"one")),
        ]);
        assert_eq!(registry.find(b"one", None).map(|e| e.label.as_str()), Some("one"));
    }

    #[test]
    fn only_named_methods_and_resources_are_allowed() {
        let read_only = Methods::READ_ONLY;
        assert!(read_only.allow(&Method::GET) && read_only.allow(&Method::HEAD));
        assert!(!read_only.allow(&Method::POST) && !read_only.allow(&Method::OPTIONS));
        let delete = Methods::named("DELETE").unwrap();
        assert!(delete.allow(&Method::DELETE) && !delete.allow(&Method::GET));
        assert!(!delete.and(read_only).allow(&Method::PUT));
        assert!(Methods::ALL.allow(&Method::DELETE) && Methods::ALL.allow(&Method::OPTIONS));
        let users = Resources { users: true, groups: false };
        assert!(users.allow(Handler::User) && !users.allow(Handler::Groups));
    }

    #[test]
    fn an_entry_admits_its_networks_only() {
        let mut entry = Entry::new("a", StoredHash::short(b"a"));
        assert!(entry.admits(None));
        entry.networks =
            Some(vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
        for (address, admitted) in [
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("::ffff:192.0.2.1", true),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(entry.admits(Some(address.parse().unwrap())), admitted, "{address}");
        }
        assert!(!entry.admits(None));
    }

    #[test]
    fn a_new_version_keeps_counters_and_rates() {
        let with_rate = |rate| {
            let mut entry = Entry::new("a", StoredHash::short(b"a"));
            entry.rate = Some(Rate::new(rate, std::time::Duration::from_secs(1)));
            TokenRegistry::new(vec![entry])
        };
        let old = with_rate(1);
        let now = crate::rate::now();
        let take = |registry: &TokenRegistry| {
            let entry = &registry.entries[0];
            entry.rate.is_some_and(|rate| entry.meter.take(rate, now).is_ok())
        };
        old.entries[0].label.count(VerdictLabel::Refused);
        assert!(take(&old));
        let same = with_rate(1).continuing(&old);
        assert_eq!(same.entries[0].label.counted(VerdictLabel::Refused), 1);
        assert!(!take(&same));
        let faster = with_rate(2).continuing(&old);
        assert!(take(&faster));
    }
}
