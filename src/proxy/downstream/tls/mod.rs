//! TLS with clients: the handshake, bounded in time and number, and the connection after it.

use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::metrics::HandshakeFailure;
use crate::tls::certificate::Certificate;
use crate::tls::server::ServerTls;
use crate::tls::subject::SubjectName;

mod conn;
mod handshakes;

pub(super) use conn::TlsConn;
pub(super) use handshakes::Handshakes;

/// The limit of encrypted data that is not sent yet: one record. It is less than rustls' default,
/// so that a client that reads slowly is not mistaken for one that reads nothing, and so that no
/// more memory is held.
const WRITE_BUFFER: usize = 16 * 1024;

/// What the handshake negotiated.
pub(super) struct Negotiated {
    pub http2: bool,
    /// The names of the client's verified certificate; empty without one.
    pub names: Vec<SubjectName>,
}

/// Performs the handshake, until the deadline.
pub(super) async fn handshake(
    server: &ServerTls,
    stream: TcpStream,
    handshakes: &Handshakes,
    deadline: Instant,
) -> Result<(Box<TlsStream<TcpStream>>, Negotiated), HandshakeFailure> {
    let acceptor = TlsAcceptor::from(Arc::clone(server.config()));
    let limit_buffer = |conn: &mut rustls::ServerConnection| {
        conn.set_buffer_limit(Some(WRITE_BUFFER));
    };
    let accepting = acceptor.accept_with(stream, limit_buffer);
    let accepted = tokio::time::timeout_at(deadline, handshakes.run(accepting)).await;
    let stream = match accepted {
        Err(_) => return Err(HandshakeFailure::Timeout),
        Ok(None) => return Err(HandshakeFailure::Displaced),
        Ok(Some(Err(error))) => return Err(reason(&error)),
        Ok(Some(Ok(stream))) => Box::new(stream),
    };
    let (_, session) = stream.get_ref();
    let http2 = session.alpn_protocol() == Some(b"h2");
    let names = session.peer_certificates().and_then(<[_]>::first).map(names);
    Ok((stream, Negotiated { http2, names: names.unwrap_or_default() }))
}

/// The names of a certificate that rustls has verified. A certificate that cannot be parsed has
/// none, so that it grants no access.
fn names(certificate: &CertificateDer<'_>) -> Vec<SubjectName> {
    Certificate::read(certificate.to_vec(), 1).map(|read| read.names).unwrap_or_default()
}

fn reason(error: &io::Error) -> HandshakeFailure {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return HandshakeFailure::Closed;
    };
    match tls {
        rustls::Error::InvalidMessage(_) => HandshakeFailure::NotTls,
        rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol => {
            HandshakeFailure::Incompatible
        }
        rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_) => {
            HandshakeFailure::ClientCertificate
        }
        rustls::Error::AlertReceived(_) => HandshakeFailure::Alert,
        _ => HandshakeFailure::Other,
    }
}
