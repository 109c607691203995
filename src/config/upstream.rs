//! `upstream`: the backend servers, and how the guard connects to them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::named_or_missing;
use super::{CertificateFiles, forms, value};
use crate::input::diagnostic::At;
use crate::input::field::Field;
use crate::input::key::{Absent, Key, Kind, MAX_ITEMS};
use crate::input::section::{Section, set};
use crate::input::value::duration_text;

/// One backend server as written: a name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    pub host: String,
    pub port: u16,
    /// It speaks TLS.
    pub tls: bool,
}

impl Server {
    /// A server that speaks cleartext HTTP.
    pub fn cleartext(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, tls: false }
    }

    /// Its name over TLS; `None` in cleartext.
    pub fn tls_name(&self) -> Option<&str> {
        self.tls.then_some(&self.host)
    }

    /// Its name in Host and in URLs: without the port if it is that of https.
    pub fn authority(&self) -> String {
        let Self { host, port, tls } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if *tls && *port == 443 { host } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.tls { "https://" } else { "" }, self.authority())
    }
}

/// The Host that the backend receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamHost {
    /// Over TLS the server's own, as written in its entry; over cleartext the client's.
    ByScheme,
    /// The client's.
    Keep,
    /// This name. Over TLS the server's certificate has to be valid for it.
    Name(String),
}

/// How the guard speaks TLS to the backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The authorities that issue the backend's certificates; `None`: those of the platform.
    pub ca: Option<PathBuf>,
    /// The guard's own client certificate.
    pub identity: Option<CertificateFiles>,
}

/// How the health of servers is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamCheck {
    /// The path of a GET that a healthy server answers with a status below 400.
    pub path: String,
    pub every: Duration,
}

/// The content of the section.
pub(super) struct Upstream {
    pub servers: Option<Vec<(At, Server)>>,
    pub check: Option<UpstreamCheck>,
    pub host: UpstreamHost,
    pub tls: UpstreamTls,
}

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "servers",
        Kind::List(&forms::SERVER, 1, MAX_ITEMS),
        Absent::Refused("[\"127.0.0.1:8088\"]"),
        "nginz, spar itself, or Wire Cloud: `host:port` or `http://host[:port]` in cleartext, \
         `https://host[:port]` over TLS (1.2 and 1.3); IPv6 addresses in brackets. Names are \
         resolved at start and every 30 seconds, sooner when servers fail, and each keeps its \
         last successful result. Requests are balanced over several servers round-robin; one \
         that refuses a connection, or fails three consecutive requests, is skipped for 5 \
         seconds while others are available. The certificate of an `https://` entry is always \
         verified, for the entry's own name or address.",
    ),
    Key::new(
        "check",
        Kind::Map(CHECK),
        Absent::Otherwise("only failing requests show that a server is unhealthy", ""),
        "Every server is also health-checked, by a GET that a healthy server answers with a \
         status below 400.",
    ),
    Key::new(
        "host",
        forms::HOST,
        Absent::Otherwise(
            "`https://` entries get their own name, others the client's Host",
            "keep",
        ),
        "The Host that the backend gets. `keep`: the client's for all. A name: this one for all, \
         which `https://` entries then have to prove instead of their own.",
    ),
    Key::new(
        "tls",
        Kind::Map(TLS),
        Absent::Otherwise("the authorities of this machine", ""),
        "How `https://` entries are verified, and what the guard identifies itself with. Files \
         are PEM.",
    ),
];

const CHECK: &[Key] = &[
    Key::new(
        "path",
        forms::PATH,
        Absent::Refused("/status"),
        "The path of the GET: nginz has `/status`, spar `/i/status`.",
    ),
    Key::new(
        "every",
        Kind::Duration(Duration::from_secs(1), Duration::from_secs(3600)),
        Absent::Value(|| duration_text(CHECK_EVERY)),
        "How often.",
    ),
];

const CHECK_EVERY: Duration = Duration::from_secs(5);

const TLS: &[Key] = &[
    Key::new(
        "ca",
        forms::FILE,
        Absent::Otherwise("those of this machine", "backend-ca.pem"),
        "The authorities that issue the backend's certificates, or a self-signed certificate \
         itself.",
    ),
    Key::new(
        "certificate",
        forms::FILE,
        Absent::Otherwise("none", "guard.pem"),
        "The certificate that the guard identifies itself with; it takes `key`.",
    ),
    Key::new(
        "key",
        forms::FILE,
        Absent::Otherwise("none", "guard.key"),
        "The private key of `certificate`.",
    ),
];

pub(super) fn read(mut section: Section<'_, '_>, folder: Option<&Path>) -> Upstream {
    let servers = section
        .required("servers", "write where Wire listens: upstream: {servers: [\"nginz:8080\"]}");
    let servers = servers.and_then(|field| {
        field.filled_list("give one server at least", |item| item.parsed(value::server))
    });
    let check = section.field("check").and_then(|field| read_check(field.section()));
    let host = section.field("host").and_then(|field| field.parsed(host));
    let tls = section.field("tls").map(|field| (field.clone(), read_tls(field.section(), folder)));
    section.close();
    let all = servers.iter().flatten();
    let over_tls = all.clone().any(|(_, server)| server.tls);
    if let Some((field, _)) = tls.as_ref().filter(|_| servers.is_some() && !over_tls) {
        field.error(
            "no entry of upstream.servers begins with https://, so that all connections are in \
             cleartext; write https:// before the entries that speak TLS, or leave out \
             upstream.tls",
        );
    }
    let host = host.unwrap_or(UpstreamHost::ByScheme);
    Upstream { servers, check, host, tls: tls.map(|(_, tls)| tls).unwrap_or_default() }
}

fn read_check(mut section: Section<'_, '_>) -> Option<UpstreamCheck> {
    let path = section.required("path", "write what a healthy server answers: path: /status");
    let path = path.and_then(|field| field.parsed(value::path));
    let mut every = CHECK_EVERY;
    set(&mut every, section.field("every").and_then(|field| field.duration()));
    section.close();
    path.map(|path| UpstreamCheck { path, every })
}

/// `keep`, or a name.
fn host(text: &str) -> Result<UpstreamHost, String> {
    match text {
        "keep" => Ok(UpstreamHost::Keep),
        name => value::host(name).map(UpstreamHost::Name),
    }
}

/// The section `tls`.
fn read_tls(mut section: Section<'_, '_>, folder: Option<&Path>) -> UpstreamTls {
    let ca = section.field("ca");
    let certificate = section.field("certificate");
    let key = section.field("key");
    section.close();
    let file = |field: &Option<Field<'_, '_>>| {
        field.as_ref().and_then(|field| named_or_missing(field, folder))
    };
    let (path, key_path) = (file(&certificate), file(&key));
    match (&certificate, &key) {
        (Some(alone), None) => {
            alone.error("a certificate takes its private key: name that with upstream.tls.key");
        }
        (None, Some(alone)) => {
            alone.error("a key takes its certificate: name that with upstream.tls.certificate");
        }
        _ => {}
    }
    let identity = path.zip(key_path);
    UpstreamTls {
        ca: file(&ca),
        identity: identity.map(|(certificate, key)| CertificateFiles { certificate, key }),
    }
}
