//! Queries of the filter to Pingora's session.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Version, header};
use pingora::proxy::Session;

use crate::proxy::downstream::conn::ClientConn;
use crate::proxy::downstream::h2_heads::H2Connection;
use crate::proxy::downstream::syntax;
use crate::proxy::memory::Connection;
use crate::tls::subject::SubjectName;

/// The connection of an HTTP/1 request that arrived through `Downstream`.
pub(in crate::proxy) fn client_conn(session: &Session) -> Option<&ClientConn> {
    session.stream()?.as_any().downcast_ref()
}

/// The memory account of the connection; none without `Downstream`.
pub(super) fn account(session: &Session) -> Option<&Arc<Connection>> {
    match client_conn(session) {
        Some(conn) => conn.account(),
        None => h2_connection(session).map(|connection| &connection.account),
    }
}

/// The names of the client's verified certificate; none over cleartext.
pub(super) fn certificate(session: &Session) -> &[SubjectName] {
    tls(session).unwrap_or_default()
}

/// Whether the request arrived over TLS.
pub(super) fn is_tls(session: &Session) -> bool {
    // Without `Downstream` Pingora itself speaks TLS.
    tls(session).is_some() || session.digest().is_some_and(|digest| digest.ssl_digest.is_some())
}

fn tls(session: &Session) -> Option<&[SubjectName]> {
    match client_conn(session) {
        Some(conn) => conn.tls(),
        None => h2_connection(session)?.tls.as_deref(),
    }
}

fn h2_connection(session: &Session) -> Option<&H2Connection> {
    let digest = session.digest()?.proxy_digest.as_ref()?;
    digest.user_data.as_ref()?.downcast_ref()
}

pub(super) fn is_misframed(session: &Session) -> bool {
    client_conn(session).is_some_and(ClientConn::is_misframed)
}

pub(super) fn peer_ip(session: &Session) -> Option<IpAddr> {
    session.client_addr()?.as_inet().map(|address| address.ip().to_canonical())
}

pub(super) fn declared(session: &Session) -> Option<u64> {
    syntax::decimal(session.get_header(header::CONTENT_LENGTH)?.as_bytes())
}

pub(super) fn expects_continue(session: &Session) -> bool {
    // HTTP/1.0 has no interim answers (RFC 9110 §15.2).
    session.req_header().version != Version::HTTP_10
        && session
            .get_header(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
