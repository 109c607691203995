//! The TLS configuration of a listener.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::Ticketer;
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};

use super::expiry::Expiry;
use super::file::Files;
use super::identity::Identity;
use super::resolver::Resolver;
use super::subject::SubjectName;
use super::{authorities, provider};
use crate::config::{ClientAuth, ListenerTls};

/// The compiled settings of a listener that speaks TLS.
pub struct ServerTls {
    config: Arc<ServerConfig>,
    settings: ListenerTls,
    /// In the order of the configuration.
    identities: Vec<Identity>,
}

impl ServerTls {
    /// Reads and checks the files of a listener. `None`: the errors are in `files`.
    pub fn load(settings: &ListenerTls, files: &mut Files) -> Option<Self> {
        let read: Vec<Option<Identity>> = settings
            .certificates
            .iter()
            .map(|paths| {
                let identity = Identity::load(paths, files)?;
                let own = &identity.own;
                let is_host = |name: &SubjectName| matches!(name, SubjectName::Dns(_));
                if !own.has_addresses && !own.names.iter().any(is_host) {
                    let why = "the certificate has no host name and no address as a subject alternative name (SAN), and \
                               no client accepts one without; have it issued with the names that clients connect to";
                    files.error_at(&paths.certificate, own.line, why);
                    return None;
                }
                Some(identity)
            })
            .collect();
        let verifier = settings.client_auth.as_ref().map(|auth| verifier(auth, files));
        let identities: Vec<Identity> = read.into_iter().collect::<Option<_>>()?;
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = match builder.with_protocol_versions(&[&TLS13, &TLS12]) {
            Ok(builder) => builder,
            Err(error) => {
                let path = settings.certificates.first().map(|paths| paths.certificate.as_path());
                files.error(path.unwrap_or(Path::new("tls")), error.to_string());
                return None;
            }
        };
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Resolver::new(&identities)));
        config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
        // All ciphers are strong; scanners object to a server that does not impose its preference.
        config.ignore_client_order = true;
        // Sessions are stored in the clients' tickets; nothing is stored here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if settings.client_auth.is_none() {
            if let Ok(ticketer) = Ticketer::new() {
                config.ticketer = ticketer;
            }
        } else {
            // SECURITY: a resumed session would continue with a client certificate that may have
            // expired since.
            config.send_tls13_tickets = 0;
        }
        Some(Self { config: Arc::new(config), settings: settings.clone(), identities })
    }

    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// When its certificates expire.
    pub(super) fn expiries(&self, address: SocketAddr) -> Vec<Expiry> {
        let files = self.settings.certificates.iter();
        let numbered = self.identities.iter().zip(files).enumerate();
        numbered
            .map(|(index, (identity, files))| Expiry {
                certificate: format!("{address}/{}", index + 1),
                path: files.certificate.clone(),
                line: identity.own.line,
                not_after: identity.not_after,
            })
            .collect()
    }
}

/// SECURITY: the rustls configuration contains keys.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

type Verifier = Arc<dyn rustls::server::danger::ClientCertVerifier>;

fn verifier(auth: &ClientAuth, files: &mut Files) -> Option<Verifier> {
    let roots = authorities::load(&auth.ca, files)?;
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if auth.required { builder } else { builder.allow_unauthenticated() };
    match builder.build() {
        Ok(verifier) => Some(verifier),
        Err(error) => {
            files.error(&auth.ca, format!("client certificates cannot be verified by it: {error}"));
            None
        }
    }
}
