//! A connection before its first byte of HTTP: what its listener requires, the PROXY protocol and
//! TLS.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::{Arc, OnceLock};

use pingora::apps::HttpServerApp;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{GetSocketDigest, SocketDigest, Stream};
use pingora::server::ShutdownWatch;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::conn::ClientConn;
use super::tls::{self, TlsConn};
use super::{DRAIN_GRACE, Downstream, Protocol, proxy_protocol};
use crate::config::Listener;
use crate::refusal::Refusal;
use crate::rule::Rule;
use crate::snapshot::Snapshot;

impl<A> Downstream<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// Serves a connection that was accepted by the listener with this configured address,
    /// according to the current configuration, or to the last one that had this listener.
    pub(in crate::proxy) async fn serve_accepted(
        self: &Arc<Self>,
        stream: TcpStream,
        listener: SocketAddr,
        last: &OnceLock<Arc<Snapshot>>,
        shutdown: &ShutdownWatch,
    ) {
        // An answer is written in one piece; waiting for more data to fill a segment would only
        // delay it.
        let _ = stream.set_nodelay(true);
        let socket = SocketDigest::from_raw_fd(stream.as_raw_fd());
        let mut snapshot = self.snapshots.current();
        if snapshot.config.listener(listener).is_none()
            && let Some(last) = last.get()
        {
            snapshot = Arc::clone(last);
        }
        match snapshot.config.listener(listener).map(Listener::is_plain) {
            Some(true) => self.serve_new(plain(stream, socket), snapshot, shutdown).await,
            Some(false) => {
                Box::pin(self.prepare(stream, socket, listener, snapshot, shutdown)).await;
            }
            // Every listener that is closed has a last snapshot.
            None => {}
        }
    }

    async fn prepare(
        self: &Arc<Self>,
        mut stream: TcpStream,
        socket: SocketDigest,
        listener: SocketAddr,
        snapshot: Arc<Snapshot>,
        shutdown: &ShutdownWatch,
    ) {
        // SECURITY: one deadline for all that comes before HTTP.
        let deadline = Instant::now() + snapshot.config.limits.header_timeout;
        let server = snapshot.tls.listener(listener).cloned();
        if expects_header(&snapshot, listener, sender(&stream)) {
            match self.read_header(&mut stream, &snapshot, deadline, shutdown).await {
                Header::Client(Some(client)) => {
                    let _ = socket.peer_addr.set(Some(client.into()));
                }
                Header::Client(None) => {}
                Header::Malformed(refusal) if server.is_none() => {
                    let conn = ClientConn::new(plain(stream, socket), snapshot);
                    return self.refuse_uncounted(conn, &refusal).await;
                }
                Header::Malformed(refusal) => return self.recorder.metrics.enforced(refusal.rule),
                Header::Ended => return,
            }
        }
        let Some(server) = server else {
            // SECURITY: a listener with TLS never accepts cleartext.
            if snapshot.config.listener(listener).is_none_or(|settings| settings.tls.is_some()) {
                return;
            }
            return self.serve_new(plain(stream, socket), snapshot, shutdown).await;
        };
        // SECURITY: counted before the handshake. Beyond a limit no handshake is done, as it costs
        // more than an answer.
        let _open = match self.enter(&snapshot, peer(&socket)) {
            Ok(open) => open,
            Err(refusal) => return self.recorder.metrics.enforced(refusal.rule),
        };
        let shaking = tls::handshake(&server, stream, &self.handshakes, deadline);
        match unless_drained(shaking, shutdown).await {
            Some(Ok((io, negotiated))) => {
                let protocol = if negotiated.http2 { Protocol::Http2 } else { Protocol::Http1 };
                let io = Box::new(TlsConn::new(io, socket));
                let conn = ClientConn::over_tls(io, snapshot, negotiated.names.into());
                self.serve(Box::new(conn), protocol, shutdown).await;
            }
            Some(Err(reason)) => {
                tracing::debug!(%listener, reason = reason.as_str(), "a TLS handshake failed");
                self.recorder.metrics.handshake_failed(reason);
            }
            None => {}
        }
    }

    /// Reads the PROXY protocol header.
    async fn read_header(
        &self,
        stream: &mut TcpStream,
        snapshot: &Snapshot,
        deadline: Instant,
        shutdown: &ShutdownWatch,
    ) -> Header {
        // SECURITY: counted from the beginning; the address to count it for is known only
        // afterwards.
        let open = self.connections.enter(None);
        if open.of_all > snapshot.config.limits.connections {
            self.recorder.metrics.enforced(Rule::LimitsConnections);
            return Header::Ended;
        }
        let reading = tokio::time::timeout_at(deadline, proxy_protocol::read(stream));
        match unless_drained(reading, shutdown).await {
            Some(Ok(Ok(client))) => Header::Client(client),
            Some(Ok(Err(proxy_protocol::Missing::Malformed(fault)))) => {
                Header::Malformed(Refusal::new(
                    Rule::FramingMessage,
                    format!(
                        "The header of the PROXY protocol {}. This listener requires it from this network \
                         (proxy_protocol).",
                        fault.0
                    ),
                ))
            }
            _ => Header::Ended,
        }
    }
}

/// What precedes TLS or HTTP.
enum Header {
    /// The client's address; `None`: the peer itself is the client.
    Client(Option<SocketAddr>),
    Malformed(Refusal),
    /// Nothing arrived in time, or the connection is not to be served.
    Ended,
}

fn plain(stream: TcpStream, socket: SocketDigest) -> Stream {
    let mut stream = L4Stream::from(stream);
    stream.set_socket_digest(socket);
    Box::new(stream)
}

/// Who sent these bytes: the load balancer or the client.
fn sender(stream: &TcpStream) -> Option<IpAddr> {
    stream.peer_addr().ok().map(|address| address.ip().to_canonical())
}

/// The client, as the header says if there was one.
fn peer(socket: &SocketDigest) -> Option<IpAddr> {
    socket.peer_addr()?.as_inet().map(|address| address.ip().to_canonical())
}

fn expects_header(snapshot: &Snapshot, listener: SocketAddr, peer: Option<IpAddr>) -> bool {
    let Some((listener, peer)) = snapshot.config.listener(listener).zip(peer) else { return false };
    listener.proxy_protocol.iter().any(|network| network.contains(&peer))
}

/// Runs work that waits for a client that owes nothing. `None`: the process is stopping, and the
/// work was not done soon after.
async fn unless_drained<T>(work: impl Future<Output = T>, shutdown: &ShutdownWatch) -> Option<T> {
    let mut shutdown = shutdown.clone();
    let drained = async {
        let _ = shutdown.wait_for(|stop| *stop).await;
        tokio::time::sleep(DRAIN_GRACE).await;
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = drained => None,
    }
}
