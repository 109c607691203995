//! `listen`: the addresses and protocols for clients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::file::named_or_missing;
use super::{forms, value};
use crate::input::field::Field;
use crate::input::key::{Absent, Key, Kind, MAX_ITEMS};
use crate::input::section::Section;
use crate::input::value::network;

/// One address on which clients are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub address: SocketAddr,
    /// `None`: cleartext HTTP/1.1, and HTTP/2 by prior knowledge.
    pub tls: Option<ListenerTls>,
    /// Peers whose connections begin with a PROXY protocol header.
    pub proxy_protocol: Vec<IpNet>,
}

/// The files of a listener that speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Selected by the name that the client requests; the first one is the default.
    pub certificates: Vec<CertificateFiles>,
    pub client_auth: Option<ClientAuth>,
}

/// A certificate chain, and the key of its first certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Which client certificates are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// The certificates of the authorities that issue them.
    pub ca: PathBuf,
    /// Clients without a certificate are rejected.
    pub required: bool,
}

impl Listener {
    /// Connections begin with HTTP immediately.
    pub fn is_plain(&self) -> bool {
        self.tls.is_none() && self.proxy_protocol.is_empty()
    }
}

impl From<SocketAddr> for Listener {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None, proxy_protocol: Vec::new() }
    }
}

/// The keys of an entry of `listen` that is a mapping.
pub(super) const KEYS: &[Key] = &[
    Key::new(
        "address",
        forms::ADDRESS,
        Absent::Refused("\"0.0.0.0:8443\""),
        "An address as above.",
    ),
    Key::new(
        "tls",
        Kind::Map(TLS),
        Absent::Otherwise("cleartext", ""),
        "TLS 1.2 and 1.3, with HTTP/1.1 and HTTP/2 (ALPN). docs/tls.md describes it.",
    ),
    Key::new(
        "proxy_protocol",
        forms::SOME_NETWORKS,
        Absent::Otherwise("no PROXY protocol", "[\"10.0.0.0/8\"]"),
        "Networks of load balancers that send a header of the PROXY protocol (version 1 or 2) \
         before anything else. From there the header is mandatory, from elsewhere it is an \
         error. Its address counts as the peer's.",
    ),
];

/// The keys of `tls` of a listener.
pub(super) const TLS: &[Key] = &[
    Key::new(
        "certificates",
        Kind::List(&Kind::Map(CERTIFICATE), 1, MAX_ITEMS),
        Absent::Refused(""),
        "The certificates, of which one is chosen by the name that the client asks for; the \
         first one is the default. Files are PEM.",
    ),
    Key::new(
        "client_auth",
        Kind::Map(CLIENT_AUTH),
        Absent::Otherwise("client certificates are not asked for", ""),
        "Which client certificates are accepted.",
    ),
];

const CERTIFICATE: &[Key] = &[
    Key::new(
        "certificate",
        forms::FILE,
        Absent::Refused("server.pem"),
        "The file with the server's own certificate first, then its issuers.",
    ),
    Key::new(
        "key",
        forms::FILE,
        Absent::Refused("server.key"),
        "The file with the private key of the certificate.",
    ),
];

const CLIENT_AUTH: &[Key] = &[
    Key::new(
        "ca",
        forms::FILE,
        Absent::Refused("clients-ca.pem"),
        "The file with the authorities by which client certificates are verified.",
    ),
    Key::new(
        "required",
        Kind::Flag,
        Absent::Otherwise("`true`", "false"),
        "`true`: without a certificate there is no connection. `false`: a client may connect \
         without one, and one that it presents is verified; SCIM tokens whose entry in the token \
         registry says `client_certificate` need one.",
    ),
];

/// An address, or a mapping with an address and more.
pub(super) fn read(field: &Field<'_, '_>, folder: Option<&Path>) -> Option<Listener> {
    if !field.is_mapping() {
        return field.parsed(value::listener).map(Listener::from);
    }
    let mut section = field.clone().section();
    let address = section.required("address", "write where clients connect: 0.0.0.0:8443");
    let address = address.and_then(|field| field.parsed(value::listener));
    let tls = section.field("tls").map(|field| read_tls(field.section(), folder));
    let networks = section.field("proxy_protocol").and_then(|field| {
        field.filled_list("leave it out if no load balancer sends PROXY headers", |item| {
            item.parsed(network)
        })
    });
    section.close();
    let proxy_protocol = networks.into_iter().flatten().map(|(_, network)| network).collect();
    address.map(|address| Listener { address, tls, proxy_protocol })
}

/// The section `tls` of a listener.
pub(super) fn read_tls(mut section: Section<'_, '_>, folder: Option<&Path>) -> ListenerTls {
    let certificates = section.required(
        "certificates",
        "name at least one: certificates: [{certificate: FILE, key: FILE}]",
    );
    let certificates = certificates.and_then(|field| {
        field.filled_list("give at least one certificate", |item| {
            let mut section = item.clone().section();
            let certificate =
                section.required("certificate", "name the file with the certificate and its chain");
            let key = section.required("key", "name the file with the certificate's private key");
            section.close();
            let certificate = certificate.and_then(|field| named_or_missing(&field, folder));
            let key = key.and_then(|field| named_or_missing(&field, folder));
            Some(CertificateFiles { certificate: certificate?, key: key? })
        })
    });
    let client_auth = section.field("client_auth").and_then(|field| {
        let mut section = field.section();
        let ca =
            section.required("ca", "name the file with the authorities of client certificates");
        let required = section.field("required").and_then(|field| field.flag());
        section.close();
        let ca = ca.and_then(|field| named_or_missing(&field, folder))?;
        Some(ClientAuth { ca, required: required.unwrap_or(true) })
    });
    section.close();
    let certificates = certificates.into_iter().flatten().map(|(_, files)| files).collect();
    ListenerTls { certificates, client_auth }
}
