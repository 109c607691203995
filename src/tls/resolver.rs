//! Selects the certificate for the name that the client requests.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::identity::Identity;
use super::subject::SubjectName;

/// The certificates of a listener, by their names.
#[derive(Debug)]
pub struct Resolver {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By the part after `*.`, which matches one label.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// All, in the order of the configuration: the first is the default.
    all: Vec<Arc<CertifiedKey>>,
}

impl Resolver {
    pub fn new(identities: &[Identity]) -> Self {
        let mut resolver =
            Self { exact: HashMap::new(), wildcard: HashMap::new(), all: Vec::new() };
        for identity in identities {
            let key = &identity.certified;
            for name in &identity.own.names {
                let SubjectName::Dns(name) = name else { continue };
                let name = name.to_ascii_lowercase();
                let of_name = match name.strip_prefix("*.") {
                    Some(parent) => resolver.wildcard.entry(parent.into()),
                    None => resolver.exact.entry(name),
                };
                of_name.or_default().push(Arc::clone(key));
            }
            resolver.all.push(Arc::clone(key));
        }
        resolver
    }

    /// The certificates for a name; those of the default certificate's names if none matches.
    fn of(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let name = name.map(str::to_ascii_lowercase);
        let found = name.as_deref().and_then(|name| {
            let parent = name.split_once('.').map(|(_, parent)| parent);
            self.exact.get(name).or_else(|| self.wildcard.get(parent?))
        });
        found.unwrap_or(&self.all)
    }
}

impl ResolvesServerCert for Resolver {
    /// A name may have certificates with several kinds of key: the first one that the client can
    /// verify.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let of_name = self.of(hello.server_name());
        let fits =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        of_name.iter().find(fits).or_else(|| of_name.first()).cloned()
    }
}
