//! TLS from the guard to the backend: certificates are always verified, against the authorities of
//! the platform or those that the configuration names.

use std::fmt;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use super::expiry::Expiry;
use super::file::Files;
use super::identity::Identity;
use super::{authorities, provider};
use crate::config::{Config, Server, UpstreamHost};

/// The only protocol that is spoken over it.
const ALPN: &[u8] = b"http/1.1";

/// The TLS settings of connections to one server.
pub struct Secured {
    id: NonZeroU64,
    name: ServerName<'static>,
    /// The Host that it receives; `None`: the client's.
    host: Option<Box<str>>,
    /// Shared by all servers of one configuration; sessions are resumed.
    config: Arc<ClientConfig>,
}

/// SECURITY: nothing of a key is shown.
impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Secured {
    /// Identifies connections with the same name, authorities and client certificate.
    pub fn id(&self) -> NonZeroU64 {
        self.id
    }

    /// The name that the server has to prove.
    pub fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }
}

/// The servers of `upstream.servers` that speak TLS, with their settings.
pub type SecuredServers = Vec<(Server, Arc<Secured>)>;

/// Reads and checks the files. `None`: the errors are in `files`.
pub(super) fn load(config: &Config, files: &mut Files) -> Option<(SecuredServers, Option<Expiry>)> {
    let settings = &config.upstream_tls;
    if !config.upstream.iter().any(|server| server.tls) {
        // A config whose servers are wrong comes here as well: its files are looked at all the same.
        settings.ca.as_ref().map(|path| authorities::load(path, files));
        settings.identity.as_ref().map(|paths| Identity::load(paths, files));
        return Some((Vec::new(), None));
    }
    let roots = match &settings.ca {
        Some(path) => authorities::load(path, files),
        None => platform("upstream.servers", "upstream.tls.ca", files),
    };
    let identity = match &settings.identity {
        Some(paths) => Some(Identity::load(paths, files)?),
        None => None,
    };
    let mut client = client_config(roots?, identity.as_ref(), files)?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    let client = Arc::new(client);
    let mut servers = Vec::new();
    for server in config.upstream.iter().filter(|server| server.tls) {
        let name = match &config.upstream_host {
            UpstreamHost::Name(name) => name,
            _ => &server.host,
        };
        // Brackets belong to an address in Host, but not to one in a certificate.
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let Ok(proved) = ServerName::try_from(bare.to_owned()) else {
            files.error(Path::new("upstream"), format!("no certificate can be issued for {name}"));
            return None;
        };
        let host = match &config.upstream_host {
            UpstreamHost::Keep => None,
            UpstreamHost::Name(name) => Some(name.as_str().into()),
            UpstreamHost::ByScheme => Some(server.authority().into()),
        };
        let secured = Secured { id: next_id(), name: proved, host, config: Arc::clone(&client) };
        servers.push((server.clone(), Arc::new(secured)));
    }
    let expiry = identity.zip(settings.identity.as_ref()).map(|(identity, paths)| Expiry {
        certificate: "upstream.tls".into(),
        path: paths.certificate.clone(),
        line: identity.own.line,
        not_after: identity.not_after,
    });
    Some((servers, expiry))
}

/// What connections to the store of `shared` are made with.
pub fn for_store(ca: Option<&Path>, files: &mut Files) -> Option<Arc<ClientConfig>> {
    let roots = match ca {
        Some(path) => authorities::load(path, files),
        None => platform("shared.redis", "shared.ca", files),
    };
    client_config(roots?, None, files).map(Arc::new)
}

fn client_config(
    roots: Arc<RootCertStore>,
    identity: Option<&Identity>,
    files: &mut Files,
) -> Option<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .inspect_err(|error| files.error(Path::new("upstream.tls"), error.to_string()))
        .ok()?
        .with_root_certificates(roots);
    Some(match identity {
        Some(identity) => {
            let key = SingleCertAndKey::from(Arc::clone(&identity.certified));
            builder.with_client_cert_resolver(Arc::new(key))
        }
        None => builder.with_no_client_auth(),
    })
}

fn next_id() -> NonZeroU64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX)
}

/// The authorities of the platform, which are loaded until there are some. `key`: the config key
/// that needs them; `ca`: the key that names a file instead.
fn platform(key: &str, ca: &str, files: &mut Files) -> Option<Arc<RootCertStore>> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Some(Arc::clone(roots));
    }
    let loaded = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(loaded.certs);
    if added == 0 {
        let why = loaded.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        let why = format!(
            "the server's certificate cannot be verified, as this machine has no authorities{why}: install \
             its package ca-certificates, or name a file with {ca}"
        );
        files.error(Path::new(key), why);
        return None;
    }
    Some(Arc::clone(ROOTS.get_or_init(|| Arc::new(store))))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rcgen::generate_simple_self_signed;

    use super::*;
    use crate::config::UpstreamTls;

    #[test]
    fn connections_are_shared_only_for_the_same_configuration_and_name() {
        let own = generate_simple_self_signed(vec!["wire.example".to_owned()]).unwrap();
        let path = std::env::temp_dir().join(format!("client-tls-{}.pem", std::process::id()));
        std::fs::write(&path, own.cert.pem()).unwrap();
        let server = |host: &str, tls| Server { host: host.into(), port: 443, tls };
        let servers = vec![server("a", true), server("b", true), server("c", false)];
        let mut config = Config::new(Vec::new(), servers.clone());
        config.upstream_tls = UpstreamTls { ca: Some(path.clone()), identity: None };
        let loaded = || {
            let (servers, expiry) = load(&config, &mut Files::new(SystemTime::now())).unwrap();
            assert!(expiry.is_none());
            servers
        };
        let (first, again) = (loaded(), loaded());
        assert_eq!(
            first.iter().map(|(server, _)| server.clone()).collect::<Vec<_>>(),
            servers[..2]
        );
        let mut ids: Vec<_> = first.iter().chain(&again).map(|(_, secured)| secured.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4);
        assert_eq!(first[0].1.host(), Some("a"));
        std::fs::remove_file(path).unwrap();
    }
}
