//! Certificates that are created when a test runs, and the client's side of TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use time::OffsetDateTime;
use wire_scim_guard::config::{CertificateFiles, ListenerTls};
use wire_scim_guard::tls::provider;

/// The name in the certificate of guards that are tested over TLS.
pub const NAME: &str = "guard.example";

/// An authority that issues certificates.
pub struct Authority {
    pub certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        Self::new_with(name, |_| {})
    }

    pub fn new_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = authority(name);
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// An intermediate authority that this one has signed.
    pub fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| {})
    }

    pub fn intermediate_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = authority(name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate with these names, written as `dns:NAME`, `ip:ADDRESS`, `uri:URI` or `email:ADDRESS`.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    pub fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        self.issue_for(&KeyPair::generate().unwrap(), names, change)
    }

    pub fn issue_for(
        &self,
        key: &KeyPair,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "issued");
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect();
        change(&mut params);
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn alternative(name: &str) -> SanType {
    match name.split_once(':').unwrap() {
        ("dns", name) => SanType::DnsName(name.try_into().unwrap()),
        ("uri", name) => SanType::URI(name.try_into().unwrap()),
        ("ip", address) => SanType::IpAddress(address.parse().unwrap()),
        ("email", name) => SanType::Rfc822Name(name.try_into().unwrap()),
        _ => panic!("{name}"),
    }
}

/// A time this many days from now.
pub fn days(days: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc() + time::Duration::days(days)
}

/// A new file with this text.
pub fn file(text: impl AsRef<[u8]>) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{number}.pem"));
    std::fs::write(&path, text).unwrap();
    path
}

impl Issued {
    /// The files of this certificate and its key.
    pub fn files(&self) -> CertificateFiles {
        CertificateFiles { certificate: file(&self.certificate), key: file(&self.key) }
    }

    /// A listener's settings with this certificate alone.
    pub fn listener(&self) -> ListenerTls {
        ListenerTls { certificates: vec![self.files()], client_auth: None }
    }
}

/// What clients trust, and the certificate of guards that are tested over TLS.
struct Shared {
    authority: Authority,
    listener: ListenerTls,
    /// The ports of these guards.
    ports: Mutex<Vec<u16>>,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let authority = Authority::new("tests");
        let listener = authority.issue(&[&format!("dns:{NAME}")]).listener();
        Shared { authority, listener, ports: Mutex::default() }
    })
}

/// The settings of a guard that is tested over TLS.
pub fn listener() -> ListenerTls {
    shared().listener.clone()
}

/// Records that a guard speaks TLS on one address, and cleartext on the other, whose port may have
/// been another guard's.
pub fn note(tls: SocketAddr, cleartext: SocketAddr) {
    let mut ports = shared().ports.lock().unwrap();
    ports.retain(|port| *port != cleartext.port());
    ports.push(tls.port());
}

pub fn is_noted(addr: SocketAddr) -> bool {
    shared().ports.lock().unwrap().contains(&addr.port())
}

/// What a client trusts and presents.
pub fn client_config(
    authority: &Authority,
    own: Option<&Issued>,
    protocols: &[&str],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = CertificateDer::pem_slice_iter(own.certificate.as_bytes());
            let chain = chain.collect::<Result<_, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// What clients of guards that are tested over TLS trust.
pub fn shared_config(protocols: &[&str]) -> Arc<ClientConfig> {
    client_config(&shared().authority, None, protocols)
}

pub fn server_name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).unwrap()
}

/// A connection of a client, over cleartext or TLS.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// Over TLS if the guard on this address speaks it.
    pub fn new(stream: TcpStream, addr: SocketAddr) -> Self {
        if is_noted(addr) {
            Self::tls(stream, shared_config(&[]), NAME)
        } else {
            Self::Plain(stream)
        }
    }

    pub fn tls(stream: TcpStream, config: Arc<ClientConfig>, name: &str) -> Self {
        let session = ClientConnection::new(config, server_name(name)).unwrap();
        Self::Tls(Box::new(StreamOwned::new(session, stream)))
    }

    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Signals that nothing more will be sent.
    pub fn end(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    pub fn set_read_timeout(&self, timeout: Duration) {
        self.socket().set_read_timeout(Some(timeout)).unwrap();
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buf),
            Self::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buf),
            Self::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
