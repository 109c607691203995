//! Certificates, keys and authorities: PEM files, read and checked before anything uses them, and
//! the rustls configurations made of them.
//!
//! Every error in a file is reported with its line, and all files are read before any error is
//! returned. One TLS stack, rustls with ring, serves clients and connects to the backend. The
//! provider is given to each of its configurations: there is no process-wide default that an
//! embedding service could have set differently.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::server::ServerConfig;

use crate::config::{Config, Server};
use crate::input::LoadError;

pub mod authorities;
pub mod certificate;
pub mod client;
pub mod expiry;
pub mod file;
pub mod identity;
pub(crate) mod pem;
pub mod resolver;
pub mod server;
pub mod subject;

use client::{Secured, SecuredServers};
use expiry::Expiry;
use file::{Files, TlsFile};
use server::ServerTls;

/// Everything that a configuration names for TLS.
#[derive(Debug, Default)]
pub struct LoadedTls {
    listeners: Vec<(SocketAddr, Arc<ServerTls>)>,
    servers: SecuredServers,
    admin: Option<Arc<ServerConfig>>,
    files: Vec<TlsFile>,
    expiries: Vec<Expiry>,
    /// The state of the files when they were read.
    warnings: Vec<String>,
}

impl LoadedTls {
    /// Reads and checks all files; on failure, all errors in them.
    pub fn load(config: &Config) -> Result<Self, Vec<LoadError>> {
        let mut files = Files::new(SystemTime::now());
        let mut loaded = Self::default();
        for listener in &config.listen {
            let Some(settings) = &listener.tls else { continue };
            let Some(server) = ServerTls::load(settings, &mut files) else { continue };
            let of_listener = server.expiries(listener.address);
            loaded.expiries.extend(of_listener);
            loaded.listeners.push((listener.address, Arc::new(server)));
        }
        if let Some((servers, expiry)) = client::load(config, &mut files) {
            loaded.servers = servers;
            loaded.expiries.extend(expiry);
        }
        if let Some(shared) = config.shared.as_ref().filter(|shared| shared.store.tls) {
            // Read again for each connection; here what is wrong with them is found.
            let _ = client::for_store(shared.store.ca.as_deref(), &mut files);
        }
        if let Some(settings) = &config.admin_tls
            && let Some(server) = ServerTls::load(settings, &mut files)
        {
            loaded.expiries.extend(server.expiries(config.admin));
            let mut admin = ServerConfig::clone(server.config());
            // It supports no other protocol.
            admin.alpn_protocols = vec![b"http/1.1".into()];
            loaded.admin = Some(Arc::new(admin));
        }
        (loaded.files, loaded.warnings) = files.finish()?;
        Ok(loaded)
    }

    /// The TLS configuration of the listener with this configured address; `None`: it speaks
    /// cleartext.
    pub fn listener(&self, address: SocketAddr) -> Option<&Arc<ServerTls>> {
        self.listeners.iter().find(|(own, _)| *own == address).map(|(_, server)| server)
    }

    /// The TLS settings of connections to this backend server.
    pub fn server(&self, server: &Server) -> Option<&Arc<Secured>> {
        self.servers.iter().find(|(own, _)| own == server).map(|(_, secured)| secured)
    }

    /// Whether any server of the backend speaks TLS.
    pub fn has_servers(&self) -> bool {
        !self.servers.is_empty()
    }

    /// The TLS configuration of the admin listener; `None`: it speaks cleartext.
    pub fn admin(&self) -> Option<&Arc<ServerConfig>> {
        self.admin.as_ref()
    }

    /// The files, in the state in which they were read.
    pub fn files(&self) -> &[TlsFile] {
        &self.files
    }

    /// When the certificates of the listeners, and the one for the backend, expire.
    pub fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }

    /// What is allowed but probably unintended, and which certificates expire soon:
    /// FILE:LINE:COLUMN: warning: sentence.
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let expiring = self.expiries.iter().filter_map(|expiry| expiry.warning(now));
        self.warnings.iter().cloned().chain(expiring).collect()
    }
}

/// The files that [`LoadedTls::load`] reads.
pub(crate) fn paths(config: &Config) -> Vec<PathBuf> {
    let of_listeners = config.listen.iter().filter_map(|listener| listener.tls.as_ref());
    let servers = || of_listeners.clone().chain(&config.admin_tls);
    let certificates = servers().flat_map(|tls| &tls.certificates);
    let certificates = certificates.chain(&config.upstream_tls.identity);
    let authorities = servers().filter_map(|tls| Some(&tls.client_auth.as_ref()?.ca));
    let authorities = authorities
        .chain(&config.upstream_tls.ca)
        .chain(config.shared.iter().filter_map(|shared| shared.store.ca.as_ref()));
    certificates
        .flat_map(|files| [&files.certificate, &files.key])
        .chain(authorities)
        .cloned()
        .collect()
}

/// The cryptography that every rustls configuration here uses.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
