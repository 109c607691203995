//! Which of the bridge's two searches returns an entry.

use super::config::{BridgeConfig, Search};
use crate::preflight::dn::{Base, folded};
use crate::preflight::entry::Entry;

/// Which searches return an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Membership {
    /// `search`
    pub search: bool,
    /// `deleteFromDirectory`
    pub delete: bool,
}

/// Both searches, ready to be applied to the entries of an export as the server would apply them.
///
/// The server's schema is not known: values are compared without regard to case and to repeated blanks.
#[derive(Debug)]
pub struct Searches {
    search: Ready,
    delete: Option<Ready>,
}

#[derive(Debug)]
struct Ready {
    base: Base,
    filters: Vec<(String, String)>,
}

impl Searches {
    pub fn new(config: &BridgeConfig) -> Self {
        Self {
            search: Ready::new(&config.search),
            delete: config.delete_from.as_ref().map(Ready::new),
        }
    }

    /// Which of them return this entry.
    pub fn of(&self, entry: &Entry) -> Membership {
        let matches = |search: &Ready| search.filters_match(entry);
        let (search, delete) = (matches(&self.search), self.delete.as_ref().is_some_and(matches));
        if !search && !delete {
            return Membership::default();
        }
        let dn = entry.dn_text();
        let within = |ready: &Ready| ready.base.holds(&dn);
        Membership {
            search: search && within(&self.search),
            delete: delete && self.delete.as_ref().is_some_and(within),
        }
    }

    /// The attributes that the filters use.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        let all = std::iter::once(&self.search).chain(&self.delete);
        all.flat_map(|ready| ready.filters.iter().map(|(name, _)| &**name))
    }
}

impl Ready {
    fn new(search: &Search) -> Self {
        let filters = search.filters.iter();
        Self {
            base: Base::new(&search.base),
            filters: filters.map(|(name, value)| (name.value.clone(), folded(value))).collect(),
        }
    }

    fn filters_match(&self, entry: &Entry) -> bool {
        self.filters
            .iter()
            .all(|(name, wanted)| entry.values_at_server(name).any(|value| is_equal(value, wanted)))
    }
}

/// Whether a server would consider the value equal to `wanted`, which is folded.
fn is_equal(value: &[u8], wanted: &str) -> bool {
    if value.iter().all(u8::is_ascii_graphic) {
        return value.eq_ignore_ascii_case(wanted.as_bytes());
    }
    folded(&String::from_utf8_lossy(value)) == wanted
}
