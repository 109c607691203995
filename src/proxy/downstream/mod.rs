//! A client's connection from its first byte on: HTTP/2 if it begins with the preface, else a
//! sequence of HTTP/1 requests, whose heads are read and checked here.
//!
//! SECURITY: Pingora answers some requests itself before any code of ours runs (an empty 400 or
//! 405), waits for a head without an overall deadline, and accepts heads that other parsers
//! interpret differently. Reading the heads here subjects all of that to the guard's rules: Pingora
//! parses only unambiguous heads, and never waits for one.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::{GetSocketDigest, Stream};
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio::time::error::Elapsed;

use crate::config::Limits;
use crate::input::value::duration_text;
use crate::metrics::MethodLabel;
use crate::refusal::Refusal;
use crate::refusals;
use crate::rule::Rule;
use crate::snapshot::{Snapshot, Snapshots};
use crate::target;
use crate::verdict::VerdictLabel;

use crate::proxy::memory::{Budget, GaveWay, Kind, Share};
use crate::proxy::pingora_internals;
use crate::proxy::request::recorder::{Recorder, RequestRecord};
use crate::proxy::request::{RequestFilter, answer};
use crate::proxy::upstream::{forward, origin};

mod accept;
pub mod chunked;
pub(in crate::proxy) mod conn;
mod connections;
mod extent;
mod frames;
pub(in crate::proxy) mod framing;
pub(in crate::proxy) mod h2_heads;
pub mod head;
mod http2;
pub(in crate::proxy) mod proxy_protocol;
pub(in crate::proxy) mod syntax;
mod tls;
pub(in crate::proxy) mod upgrade;

use conn::ClientConn;
pub use connections::Connections;
use connections::Open;
use http2::{Http2App, is_silent};
use tls::Handshakes;

/// How an HTTP/2 connection begins (RFC 9113 §3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a connection is still read after a refusal, so that the client can read the answer.
const LINGER: Duration = Duration::from_secs(1);

/// How long a connection that was just used is kept for one more request while the process is
/// stopping.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// The client connections of one of Pingora's HTTP applications, which serves HTTP/2 itself if its
/// options include `h2c`.
#[derive(Debug)]
pub struct Downstream<A> {
    app: Arc<A>,
    snapshots: Arc<Snapshots>,
    connections: Arc<Connections>,
    budget: Arc<Budget>,
    recorder: Recorder,
    handshakes: Handshakes,
}

/// The protocol of a connection, as far as it is known before the first byte of HTTP.
enum Protocol {
    /// Cleartext: the first bytes decide.
    Either,
    /// By ALPN.
    Http1,
    Http2,
}

impl<A> Downstream<A> {
    /// Wraps an application that calls this filter for its requests. Memory of connections and
    /// heads counts together with that of the filter's requests.
    pub fn new(app: Arc<A>, filter: &RequestFilter, connections: Arc<Connections>) -> Self {
        Self {
            app,
            snapshots: Arc::clone(filter.snapshots()),
            connections,
            budget: Arc::clone(filter.budget()),
            recorder: filter.recorder().clone(),
            handshakes: Handshakes::default(),
        }
    }
}

/// The address whose connections are counted: none for a proxy that connects for many clients, and
/// none if the limit is not below `limits.connections`.
fn counted_address(snapshot: &Snapshot, peer: Option<IpAddr>) -> Option<IpAddr> {
    let limits = &snapshot.config.limits;
    let needed = limits.connections_per_address < limits.connections;
    client_network(snapshot, peer).filter(|_| needed)
}

/// The address of the client, or its network; none for a proxy.
fn client_network(snapshot: &Snapshot, peer: Option<IpAddr>) -> Option<IpAddr> {
    let address = peer?;
    let mut trusted = snapshot.config.trusted_proxies.iter();
    (!trusted.any(|network| network.contains(&address))).then(|| refusals::network_of(address))
}

#[async_trait]
impl<A> ServerApp for Downstream<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        self.serve_new(stream, self.snapshots.current(), shutdown).await;
        None
    }
}

impl<A> Downstream<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// Counts and serves a connection whose next byte belongs to HTTP.
    async fn serve_new(
        self: &Arc<Self>,
        stream: Stream,
        snapshot: Arc<Snapshot>,
        shutdown: &ShutdownWatch,
    ) {
        let conn = Box::new(ClientConn::new(stream, snapshot));
        match self.enter(conn.snapshot(), peer_address(&conn)) {
            Ok(_open) => self.serve(conn, Protocol::Either, shutdown).await,
            Err(refusal) => self.refuse_uncounted(*conn, &refusal).await,
        }
    }

    /// Refuses a connection that is not counted. SECURITY: only some at a time receive an answer.
    async fn refuse_uncounted(&self, conn: ClientConn, refusal: &Refusal) {
        match self.connections.linger() {
            Some(_place) => self.refuse(conn, refusal).await,
            None => self.recorder.metrics.enforced(refusal.rule),
        }
    }

    /// Counts a connection. SECURITY: rejected ones don't count, not even while they are answered.
    fn enter(&self, snapshot: &Snapshot, peer: Option<IpAddr>) -> Result<Open, Refusal> {
        let limits = &snapshot.config.limits;
        let open = self.connections.enter(counted_address(snapshot, peer));
        if open.of_address > limits.connections_per_address {
            Err(too_many_of_one_address())
        } else if open.of_all > limits.connections {
            Err(too_many_connections())
        } else {
            Ok(open)
        }
    }

    /// Serves a connection that is counted.
    async fn serve(
        self: &Arc<Self>,
        mut conn: Box<ClientConn>,
        protocol: Protocol,
        shutdown: &ShutdownWatch,
    ) {
        conn.set_closing(shutdown.clone());
        let address = client_network(conn.snapshot(), peer_address(&conn));
        conn.set_account(self.budget.connection(address));
        // Waiting marks the stop as seen, and Pingora has to see it as well.
        let mut own_shutdown = shutdown.clone();
        // A client that has just connected is about to send.
        let timeout = conn.limits().header_timeout;
        if !wait_for_bytes(&mut conn, timeout, &mut own_shutdown).await {
            return conn.close().await;
        }
        let deadline = Instant::now() + conn.limits().header_timeout;
        let expects_h2 = !matches!(protocol, Protocol::Http1);
        if !expects_h2 || !speaks_h2(&mut conn, deadline).await {
            return match protocol {
                // The negotiated protocol has to begin with its preface.
                Protocol::Http2 => conn.close().await,
                _ => self.serve_http1(conn, deadline, own_shutdown).await,
            };
        }
        conn.count_heads();
        let reads = conn.count_reads();
        let app = Arc::new(Http2App::new(Arc::clone(&self.app), conn.limits()));
        tokio::select! {
            _ = ServerApp::process_new(&app, conn, shutdown) => {}
            () = is_silent(own_shutdown, &reads, app.open()) => {}
        }
    }
}

/// The outcome of reading a head.
enum Read {
    /// The position at which the head ends.
    Head(usize),
    Refused(Refusal),
    /// The client has gone.
    Closed,
}

impl<A> Downstream<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// Serves HTTP/1 requests one after another; the head of the first has to arrive by `deadline`.
    async fn serve_http1(
        &self,
        mut conn: Box<ClientConn>,
        mut deadline: Instant,
        mut shutdown: ShutdownWatch,
    ) {
        for served in 1.. {
            let head = match self.read_head(&mut conn, deadline).await {
                Read::Head(end) => end,
                Read::Refused(refusal) => return self.refuse(*conn, &refusal).await,
                Read::Closed => return conn.close().await,
            };
            conn.refresh(&self.snapshots);
            let max_requests = conn.limits().requests_per_connection;
            let message = match conn.check_head(head) {
                Ok(read) => {
                    let message = conn.take_message(head, read.extent);
                    conn.set_websocket(read.websocket);
                    let rewritten = read.rewritten;
                    conn.set_sent_target(rewritten.as_ref().map(|_| head::target(&message).into()));
                    match rewritten {
                        None => message,
                        Some(mut bytes) => {
                            bytes.extend_from_slice(&message[head..]);
                            BytesMut::from(bytes.as_slice())
                        }
                    }
                }
                Err(refusal) => return self.refuse(*conn, &refusal).await,
            };
            let left = if *shutdown.borrow() { 0 } else { max_requests.saturating_sub(served) };
            let session = pingora_internals::http1_session(conn, message, left);
            let reusable = self.app.process_new_http(session, &shutdown).await;
            let next = reusable.map(pingora_internals::returned_stream);
            let Some(next) = next.and_then(ClientConn::recover) else { return };
            conn = next;
            if let Some(tunnel) = conn.take_tunnel() {
                let snapshot = Arc::clone(conn.snapshot());
                let (limits, access) = (&snapshot.config.limits, &self.recorder.access);
                Box::pin(tunnel.run(&mut *conn, limits, access, shutdown)).await;
                return conn.linger(LINGER).await;
            }
            let timeout = conn.limits().keepalive_timeout;
            if !wait_for_bytes(&mut conn, timeout, &mut shutdown).await {
                return conn.close().await;
            }
            deadline = Instant::now() + conn.limits().header_timeout;
        }
    }

    /// Reads until the end of a head, part of which may have been read already.
    ///
    /// SECURITY: one deadline applies to the whole head, so that sending one byte a second does not
    /// hold a connection indefinitely.
    async fn read_head(&self, conn: &mut ClientConn, deadline: Instant) -> Read {
        let Limits { header_bytes, header_timeout, .. } = *conn.limits();
        let mut searched = 0;
        let mut share = conn.account().map(Share::of_connection);
        // Its token is not known yet.
        share.iter_mut().for_each(Share::mark_unknown);
        let mut began = None;
        loop {
            let bytes = conn.buffered();
            // One empty line before a request is to be ignored (RFC 9112 §2.2).
            let empty_line = searched == 0 && b"\r\n".starts_with(&bytes[..bytes.len().min(2)]);
            if empty_line && bytes.len() >= 2 {
                bytes.advance(2);
            }
            if let Some(end) = head::end(bytes, searched)
                && end <= header_bytes
            {
                return Read::Head(end);
            }
            let half_a_line = empty_line && bytes.len() == 1;
            if let Some(refusal) = head::early_fault(bytes, searched).filter(|_| !half_a_line) {
                return Read::Refused(refusal);
            }
            if bytes.len() > header_bytes {
                if head::target(bytes).len() > target::MAX_TARGET {
                    return Read::Refused(target::too_long());
                }
                return Read::Refused(Refusal::new(
                    Rule::LimitsHeaders,
                    format!(
                        "The request line and the headers are larger than {header_bytes} bytes."
                    ),
                ));
            }
            if !half_a_line {
                searched = bytes.len();
            }
            let read = match &mut share {
                Some(share) => {
                    let began = *began.get_or_insert_with(std::time::Instant::now);
                    read_counted(conn, share, began, deadline).await
                }
                None => Ok(tokio::time::timeout_at(deadline, conn.read_more()).await),
            };
            match read {
                Ok(Ok(Ok(1..))) => {}
                Ok(Ok(Ok(0) | Err(_))) => return Read::Closed,
                Err(refusal) => return Read::Refused(refusal),
                Ok(Err(_)) => {
                    return Read::Refused(Refusal::new(
                        Rule::LimitsHeaderTimeout,
                        format!(
                            "The request head did not arrive within {} (limits.header_timeout).",
                            duration_text(header_timeout)
                        ),
                    ));
                }
            }
        }
    }

    /// Sends an answer to a request that could not be parsed, and closes the connection.
    async fn refuse(&self, mut conn: ClientConn, refusal: &Refusal) {
        let mut record = RequestRecord::new();
        let peer = peer_address(&conn);
        let head = conn.buffered();
        let method = head::method(head).to_vec();
        let headers = head::headers(head).unwrap_or_default();
        let trusted = &conn.snapshot().config.trusted_proxies;
        record.method = MethodLabel::of_bytes(&method);
        record.request_id = forward::request_id(&headers);
        record.client = origin::find(&headers, peer, trusted).client;
        self.recorder.judged(&record, VerdictLabel::Refused);
        self.recorder.answered(&mut record, refusal.rule, VerdictLabel::Refused);
        let id = record.request_id.to_str().unwrap_or("-");
        let (bytes, length) = answer::raw(refusal, id, &method);
        record.bytes_out = length;
        let write = async {
            conn.write_all(&bytes).await?;
            conn.flush().await
        };
        let written = tokio::time::timeout(LINGER, write).await;
        self.recorder
            .close(&mut record, if matches!(written, Ok(Ok(()))) { refusal.status() } else { 0 });
        conn.linger(LINGER).await;
    }
}

/// Reads more of a head that has begun, and counts its memory. The outer error: there is no memory
/// for it.
async fn read_counted(
    conn: &mut ClientConn,
    share: &mut Share,
    began: std::time::Instant,
    deadline: Instant,
) -> Result<Result<io::Result<usize>, Elapsed>, Refusal> {
    let more = conn.buffered().capacity().saturating_sub(share.held(Kind::Head));
    share.grow(Kind::Head, more).await?;
    let reading = tokio::time::timeout_at(deadline, conn.read_more());
    let read = share.unless_short(Some(began), pin!(reading)).await;
    read.map_err(|GaveWay| share.refuse(Kind::Head))
}

/// Whether the connection begins as HTTP/2. One that ends or is idle before that is known does not.
async fn speaks_h2(conn: &mut ClientConn, deadline: Instant) -> bool {
    loop {
        let seen = conn.buffered();
        let known = seen.len().min(H2_PREFACE.len());
        if seen[..known] != H2_PREFACE[..known] {
            return false;
        }
        if known == H2_PREFACE.len() {
            return true;
        }
        match tokio::time::timeout_at(deadline, conn.read_more()).await {
            Ok(Ok(1..)) => {}
            _ => return false,
        }
    }
}

fn peer_address(conn: &ClientConn) -> Option<IpAddr> {
    let digest = conn.get_socket_digest()?;
    digest.peer_addr()?.as_inet().map(|address| address.ip().to_canonical())
}

/// Waits for the first bytes of a request. `false`: the connection has ended, was idle too long, or
/// the process is stopping.
///
/// HTTP/1 has no way to announce that an idle connection is being closed, and a request in flight
/// at that moment is lost; so a connection that was used within [`DRAIN_GRACE`] is kept for that
/// long again.
async fn wait_for_bytes(
    conn: &mut ClientConn,
    timeout: Duration,
    shutdown: &mut ShutdownWatch,
) -> bool {
    if !conn.buffered().is_empty() {
        return true;
    }
    let began = Instant::now();
    let stopping = tokio::select! {
        biased;
        // Bytes that have arrived are served even while the process is stopping.
        read = pingora::time::timeout(timeout, conn.read_more()) => {
            return matches!(read, Ok(Ok(1..)));
        }
        _ = shutdown.wait_for(|stop| *stop) => began.elapsed() < DRAIN_GRACE,
    };
    stopping && matches!(tokio::time::timeout(DRAIN_GRACE, conn.read_more()).await, Ok(Ok(1..)))
}

fn too_many_of_one_address() -> Refusal {
    Refusal::new(
        Rule::LimitsAddress,
        "This address has as many connections as it may. Close some, or use them again.",
    )
}

fn too_many_connections() -> Refusal {
    Refusal::new(
        Rule::LimitsConnections,
        "The guard has as many connections as it may. Try again later.",
    )
}
