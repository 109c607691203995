//! A client's connection from its first byte on: HTTP/2 by its preface, or a sequence of HTTP/1
//! requests, whose heads are read and checked here.
//!
//! SECURITY: Pingora answers some requests itself before any code of ours runs (an empty 400 or
//! 405), waits for a head without an overall deadline, and takes heads that other readers take
//! differently. Reading the heads here puts all of that under the guard's rules: Pingora parses
//! only bytes that were found to have one reading, and never waits for a head.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use ipnet::IpNet;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::protocols::{GetSocketDigest, Stream};
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio::time::error::Elapsed;

use crate::config::{Config, Limits};
use crate::input::value::duration_text;
use crate::logging::AccessLog;
use crate::metrics::{MethodLabel, Metrics};
use crate::refusal::Refusal;
use crate::refusals;
use crate::rule::Rule;
use crate::target;
use crate::verdict::VerdictLabel;

use super::answer;
use super::budget::{Budget, GaveWay, Kind, Share};
use super::conn::ClientConn;
use super::connections::Connections;
use super::filter::RequestFilter;
use super::forward;
use super::head::{self, HeadRules};
use super::origin;
use super::recorder::{Recorder, RequestRecord};

/// How an HTTP/2 connection begins (RFC 9113 §3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a connection is read on after a refusal, for the client to take the answer.
const LINGER: Duration = Duration::from_secs(1);

/// How long an HTTP/2 client may show no sign of life when the process is to stop.
const SILENCE: Duration = Duration::from_secs(1);

/// How long a connection that was just used is kept for one more request when the process stops.
const FAREWELL: Duration = Duration::from_millis(500);

/// The edge in front of an HTTP application of Pingora's, which serves HTTP/2 itself if its options
/// say `h2c`.
#[derive(Debug)]
pub struct Downstream<A> {
    app: Arc<A>,
    limits: Limits,
    rules: HeadRules,
    trusted_proxies: Vec<IpNet>,
    connections: Arc<Connections>,
    budget: Option<Arc<Budget>>,
    books: Recorder,
}

impl<A> Downstream<A> {
    pub fn new(
        app: Arc<A>,
        config: &Config,
        connections: Arc<Connections>,
        metrics: Arc<Metrics>,
        access: AccessLog,
    ) -> Self {
        let rules = HeadRules {
            headers: config.limits.headers,
            hosts: config.hosts.clone(),
            body: config.limits.body,
        };
        let books = Recorder { metrics, access };
        let (limits, trusted_proxies) = (config.limits.clone(), config.trusted_proxies.clone());
        Self { app, limits, rules, trusted_proxies, connections, budget: None, books }
    }

    /// Counts what connections and heads hold together with what the requests of this gate hold.
    pub fn in_front_of(self, gate: &RequestFilter) -> Self {
        Self { budget: Some(Arc::clone(gate.budget())), ..self }
    }

    /// The address whose connections are counted: none for a proxy that stands for many clients,
    /// and none where the limit says nothing that `limits.connections` doesn't.
    fn counted_address(&self, conn: &ClientConn) -> Option<IpAddr> {
        let needed = self.limits.connections_per_address < self.limits.connections;
        self.address(conn).filter(|_| needed)
    }

    /// The address of the client, or its network; none for a proxy.
    fn address(&self, conn: &ClientConn) -> Option<IpAddr> {
        let address = peer_address(conn)?;
        let trusted = self.trusted_proxies.iter().any(|network| network.contains(&address));
        (!trusted).then(|| refusals::network_of(address))
    }
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
        let mut conn = Box::new(ClientConn::new(stream, self.limits.write_timeout));
        let address = self.counted_address(&conn);
        let entered = self.connections.enter(address);
        let too_many = if entered.of_address > self.limits.connections_per_address {
            Some(too_many_of_one_address())
        } else if entered.of_all > self.limits.connections {
            Some(too_many_connections())
        } else {
            None
        };
        if let Some(refusal) = too_many {
            // SECURITY: whoever is turned away takes no place from others, not even for the moment of its
            // answer, and only some get one.
            drop(entered);
            match self.connections.linger() {
                Some(_place) => self.refuse(*conn, &refusal).await,
                None => self.books.metrics.enforced(refusal.rule),
            }
            return None;
        }
        if let Some(budget) = &self.budget {
            let address = self.address(&conn);
            conn.set_account(budget.connection(address));
        }
        // Waiting marks the stop as seen, and Pingora wants to see it for itself.
        let mut own_shutdown = shutdown.clone();
        // Whoever has just connected is about to send.
        let at_most = self.limits.header_timeout;
        if !wait_for_bytes(&mut conn, at_most, FAREWELL, &mut own_shutdown).await {
            return None;
        }
        let deadline = Instant::now() + self.limits.header_timeout;
        if !speaks_h2(&mut conn, deadline).await {
            self.serve_http1(conn, deadline, own_shutdown).await;
            return None;
        }
        conn.count_heads(self.limits.header_timeout);
        let heard = conn.count_reads();
        let app = Arc::new(Counted { app: Arc::clone(&self.app), open: AtomicUsize::new(0) });
        tokio::select! {
            _ = ServerApp::process_new(&app, conn, shutdown) => {}
            () = falls_silent(own_shutdown, &heard, &app.open) => {}
        }
        None
    }
}

/// What became of reading a head.
enum Read {
    /// It ends here.
    Head(usize),
    Refused(Refusal),
    /// The client has gone.
    Closed,
}

impl<A> Downstream<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// Serves one HTTP/1 request after the other; the head of the first has to be there by `deadline`.
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
                Read::Closed => return,
            };
            let message = match self.rules.check(&conn.buffered()[..head]) {
                Ok(read) => {
                    let message = conn.take_message(head, read.extent);
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
            let mut session = ServerSession::new_http1(conn);
            // Pingora parses these bytes first, and reads on only for the body.
            session.set_pipelined_prefix(message);
            let left = if *shutdown.borrow() {
                0
            } else {
                self.limits.requests_per_connection.saturating_sub(served)
            };
            session.set_keepalive_reuses_remaining(Some(left));
            let reusable = self.app.process_new_http(session, &shutdown).await;
            let Some((stream, _)) = reusable.map(ReusedHttpStream::consume) else { return };
            let Some(next) = ClientConn::recover(stream) else { return };
            conn = next;
            let at_most = self.limits.keepalive_timeout;
            if !wait_for_bytes(&mut conn, at_most, FAREWELL, &mut shutdown).await {
                return;
            }
            deadline = Instant::now() + self.limits.header_timeout;
        }
    }

    /// Reads until the end of a head. Some of it is there already.
    ///
    /// SECURITY: one deadline for the whole head, so that a byte a second does not hold a
    /// connection for ever.
    async fn read_head(&self, conn: &mut ClientConn, deadline: Instant) -> Read {
        let mut searched = 0;
        let mut share = conn.account().map(Share::of_connection);
        // Nobody knows yet whose it is.
        share.iter_mut().for_each(Share::is_a_strangers);
        let began = std::time::Instant::now();
        loop {
            let bytes = conn.buffered();
            // One empty line before a request is to be ignored (RFC 9112 §2.2).
            let empty_line = searched == 0 && b"\r\n".starts_with(&bytes[..bytes.len().min(2)]);
            if empty_line && bytes.len() >= 2 {
                bytes.advance(2);
            }
            if let Some(end) = head::end(bytes, searched)
                && end <= self.limits.header_bytes
            {
                return Read::Head(end);
            }
            let half_a_line = empty_line && bytes.len() == 1;
            if let Some(refusal) = head::hopeless(bytes, searched).filter(|_| !half_a_line) {
                return Read::Refused(refusal);
            }
            if bytes.len() > self.limits.header_bytes {
                if head::target(bytes).len() > target::MAX_TARGET {
                    return Read::Refused(target::too_long());
                }
                return Read::Refused(Refusal::new(
                    Rule::LimitsHeaders,
                    format!(
                        "The request line and the headers are larger than {} bytes.",
                        self.limits.header_bytes
                    ),
                ));
            }
            if !half_a_line {
                searched = bytes.len();
            }
            let read = match &mut share {
                Some(share) => read_counted(conn, share, began, deadline).await,
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
                            duration_text(self.limits.header_timeout)
                        ),
                    ));
                }
            }
        }
    }

    /// Answers for a request that never became one, and closes the connection.
    async fn refuse(&self, mut conn: ClientConn, refusal: &Refusal) {
        let mut record = RequestRecord::new();
        let peer = peer_address(&conn);
        let head = conn.buffered();
        let method = head::method(head).to_vec();
        let headers = head::headers(head).unwrap_or_default();
        record.method = MethodLabel::of_bytes(&method);
        record.request_id = forward::request_id(&headers);
        record.client = origin::find(&headers, peer, &self.trusted_proxies).client;
        self.books.judged(&record, VerdictLabel::Refused);
        self.books.answered(&mut record, refusal.rule, VerdictLabel::Refused);
        let id = record.request_id.to_str().unwrap_or("-");
        let (bytes, length) = answer::raw(refusal, id, &method);
        record.bytes_out = length;
        let write = async {
            conn.write_all(&bytes).await?;
            conn.flush().await
        };
        let written = tokio::time::timeout(LINGER, write).await;
        self.books.close(&record, if matches!(written, Ok(Ok(()))) { refusal.status() } else { 0 });
        conn.linger(LINGER).await;
    }
}

/// Reads more of a head whose beginning is there, and counts that. The outer error: there is no
/// memory for it.
async fn read_counted(
    conn: &mut ClientConn,
    share: &mut Share,
    began: std::time::Instant,
    deadline: Instant,
) -> Result<Result<io::Result<usize>, Elapsed>, Refusal> {
    let more = conn.buffered().capacity().saturating_sub(share.held(Kind::Head));
    share.grow(Kind::Head, more).await?;
    let reading = tokio::time::timeout_at(deadline, conn.read_more());
    let read = share.unless_short(began, reading).await;
    read.map_err(|GaveWay| share.refuse(Kind::Head))
}

/// Whether the connection begins as HTTP/2. One that ends or rests before that is clear does not.
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

/// The application of one HTTP/2 connection, whose open requests are counted.
struct Counted<A> {
    app: Arc<A>,
    open: AtomicUsize,
}

/// One more for as long as it lives.
struct OpenRequest<'c>(&'c AtomicUsize);

impl Drop for OpenRequest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl<A> HttpServerApp for Counted<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.open.fetch_add(1, Ordering::Relaxed);
        let _open = OpenRequest(&self.open);
        self.app.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.app.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.app.server_options()
    }
}

/// Waits until the process is to stop, nothing is under way for the client, and it shows no sign of life
/// for a moment. One that is there answers the PING with which Pingora says good-bye; for one that
/// isn't, the process would wait until `limits.shutdown_timeout`.
async fn falls_silent(mut shutdown: ShutdownWatch, heard: &AtomicUsize, open: &AtomicUsize) {
    // The sender lives as long as the process serves.
    let _ = shutdown.wait_for(|stop| *stop).await;
    loop {
        let before = heard.load(Ordering::Relaxed);
        tokio::time::sleep(SILENCE).await;
        if heard.load(Ordering::Relaxed) == before && open.load(Ordering::Relaxed) == 0 {
            return;
        }
    }
}

fn peer_address(conn: &ClientConn) -> Option<IpAddr> {
    let digest = conn.get_socket_digest()?;
    digest.peer_addr()?.as_inet().map(|address| address.ip().to_canonical())
}

/// Waits for the first bytes of a request. `false`: the connection has ended, rested too long, or
/// the process is to stop.
///
/// HTTP/1 has no way to say that a resting connection ends, and a request that is on its way when
/// it does is lost; so one that was used within the time of `farewell` is kept for as long again.
async fn wait_for_bytes(
    conn: &mut ClientConn,
    at_most: Duration,
    farewell: Duration,
    shutdown: &mut ShutdownWatch,
) -> bool {
    if !conn.buffered().is_empty() {
        return true;
    }
    let began = Instant::now();
    let stopping = tokio::select! {
        biased;
        // Bytes that are there are served even when the process is to stop.
        read = pingora::time::timeout(at_most, conn.read_more()) => {
            return matches!(read, Ok(Ok(1..)));
        }
        _ = shutdown.wait_for(|stop| *stop) => began.elapsed() < farewell,
    };
    stopping && matches!(tokio::time::timeout(farewell, conn.read_more()).await, Ok(Ok(1..)))
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
