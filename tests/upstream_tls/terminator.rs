//! A TLS server in front of a backend in cleartext: one connection there for each one here.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use wire_scim_guard::config::{Config, Server, UpstreamHost, UpstreamTls};
use wire_scim_guard::tls::provider;

use crate::support::tls::{Authority, Issued, file};
use crate::support::{Backend, Guarded};

/// The name in the backends' certificates.
pub const NAME: &str = "localhost";

/// The parameters of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    pub server_name: Option<String>,
    pub protocol: Option<String>,
    pub resumed: bool,
    pub client_certificate: bool,
}

/// The server's certificate, and the clients that it accepts.
pub struct Identity<'a> {
    pub issued: &'a Issued,
    /// Clients need a certificate of this authority.
    pub clients: Option<&'a Authority>,
    pub versions: &'static [&'static SupportedProtocolVersion],
}

impl<'a> Identity<'a> {
    pub fn new(issued: &'a Issued) -> Self {
        Self { issued, clients: None, versions: rustls::ALL_VERSIONS }
    }

    fn config(&self) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(self.versions)
            .unwrap();
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate.der().clone()).unwrap();
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = CertificateDer::pem_slice_iter(self.issued.certificate.as_bytes());
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.issued.key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

/// The server.
pub struct Terminator {
    pub addr: SocketAddr,
    handshakes: Arc<Mutex<Vec<Handshake>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Terminator {
    pub fn start(backend: &Backend, identity: &Identity<'_>) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(identity.config()));
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let handshakes = Arc::<Mutex<Vec<Handshake>>>::default();
        let (seen, behind) = (Arc::clone(&handshakes), backend.addr);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let session = stream.get_ref().1;
                    let protocol =
                        session.alpn_protocol().map(|p| String::from_utf8_lossy(p).into());
                    seen.lock().unwrap().push(Handshake {
                        server_name: session.server_name().map(str::to_owned),
                        protocol,
                        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
                        client_certificate: session.peer_certificates().is_some(),
                    });
                    let mut backend = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut backend).await;
                });
            }
        });
        Self { addr, handshakes, _runtime: runtime }
    }

    /// The handshakes that have succeeded.
    pub fn handshakes(&self) -> Vec<Handshake> {
        self.handshakes.lock().unwrap().clone()
    }
}

/// Makes the guard speak TLS to this server, as `localhost`.
pub fn to(server: SocketAddr, authority: &Authority) -> impl FnOnce(&mut Config) {
    let tls = trusting(authority);
    move |config| {
        config.upstream = vec![Server { host: NAME.into(), port: server.port(), tls: true }];
        config.upstream_tls = tls;
        config.upstream_host = UpstreamHost::ByScheme;
        config.threads = 1;
    }
}

pub fn trusting(authority: &Authority) -> UpstreamTls {
    UpstreamTls { ca: Some(file(authority.certificate.pem())), identity: None }
}

/// A guard in front of a TLS server that is in front of a backend.
pub struct Chain {
    pub guarded: Guarded,
    pub terminator: Terminator,
    pub authority: Authority,
    pub backend: Backend,
}

impl Chain {
    pub fn new(backend: Backend) -> Self {
        Self::configured(backend, |_| {})
    }

    pub fn configured(backend: Backend, change: impl FnOnce(&mut Config)) -> Self {
        let authority = Authority::new("backend authority");
        let issued = authority.issue(&[&format!("dns:{NAME}")]);
        let terminator = Terminator::start(&backend, &Identity::new(&issued));
        let secured = to(terminator.addr, &authority);
        let guarded = Guarded::configured(&[], |config| {
            secured(config);
            change(config);
        });
        Self { guarded, terminator, authority, backend }
    }
}
