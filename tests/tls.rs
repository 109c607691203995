//! TLS with clients and the PROXY protocol, over real sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "tls/certificates.rs"]
mod certificates;
#[path = "tls/clients.rs"]
mod clients;
#[path = "tls/files.rs"]
mod files;
#[path = "tls/handshakes.rs"]
mod handshakes;
#[path = "tls/programs.rs"]
mod programs;
#[path = "tls/proxy_protocol.rs"]
mod proxy_protocol;

use std::net::TcpStream;
use std::sync::Arc;

use rustls::ClientConfig;
use support::tls::{Authority, Issued, NAME, Wire};
use support::{Backend, Client, Guarded};
use wire_scim_guard::config::{ClientAuth, Config, ListenerTls};

/// A guard whose only listener has these settings.
fn guarded(backend: &Backend, tls: &ListenerTls, change: impl FnOnce(&mut Config)) -> Guarded {
    Guarded::configured(&[backend.addr], |config| {
        config.listen[0].tls = Some(tls.clone());
        change(config);
    })
}

/// A listener with a certificate of this authority, for [`NAME`].
fn listener(authority: &Authority) -> ListenerTls {
    authority.issue(&[&format!("dns:{NAME}")]).listener()
}

/// The same, which asks for client certificates of another authority.
fn listener_for(authority: &Authority, clients: &Authority, required: bool) -> ListenerTls {
    let ca = support::tls::file(clients.certificate.pem());
    ListenerTls { client_auth: Some(ClientAuth { ca, required }), ..listener(authority) }
}

/// A client of a guard that speaks TLS.
fn client(guarded: &Guarded, config: Arc<ClientConfig>) -> Client {
    let stream = TcpStream::connect(guarded.addr).unwrap();
    Client::over(Wire::tls(stream, config, NAME))
}

/// A client that trusts this authority, and presents a certificate.
fn trusting(authority: &Authority, own: Option<&Issued>) -> Arc<ClientConfig> {
    support::tls::client_config(authority, own, &[])
}

/// How many handshakes failed for this reason.
fn failures(reason: &str) -> String {
    format!("scim_guard_tls_handshake_failures_total{{reason=\"{reason}\"}}")
}
