//! The reverse proxy on Pingora. A request passes, in this order:
//!
//! 1. [`server`] and `worker`: listeners, threads, start and stop.
//! 2. [`downstream`]: the client's connection. It reads and checks the head of every HTTP/1 request
//!    before Pingora parses it, and bounds what HTTP/2 holds of heads.
//! 3. [`GuardProxy`], here: Pingora's phases in the order in which it calls them.
//! 4. [`request`]: judges the request in the first phase, and answers what is refused.
//! 5. `exchange`: sends a request whose body was read, and returns the answer. Streamed requests take
//!    Pingora's own path.
//!    `websocket`: switches to WebSocket, outside SCIM, and copies what follows.
//! 6. [`upstream`]: chooses the server and the connection, and decides which headers are forwarded in
//!    each direction.
//! 7. `request::recorder`: counts and logs the request when it has ended.
//!
//! [`memory`] bounds the memory that clients can make the process hold. `pingora_internals` is the one
//! place that depends on what Pingora does not document; `trim` returns freed memory to the system.
//!
//! Another Pingora service embeds the [`RequestFilter`] alone, or together with a [`Downstream`].

use std::os::fd::RawFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, Error, ErrorSource, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub mod downstream;
mod exchange;
mod expiry;
mod listeners;
pub mod memory;
mod memory_metrics;
mod pingora_internals;
mod repair;
pub mod request;
pub mod server;
mod trim;
pub mod upstream;
mod websocket;
mod worker;

pub use downstream::proxy_protocol::header as proxy_header;
pub use downstream::{Connections, Downstream, chunked, head};
pub use request::{FilterCtx, RequestFilter};
pub use server::{Running, ServeError, Signals, serve, start};

use downstream::conn::ClientConn;
use memory::Kind;
use request::session::client_conn;
use upstream::dial::Destination;
use upstream::pool::Pool;
use upstream::servers::{self, Attempts, Upstreams};
use upstream::{forward, lack, tls};

/// The complete proxy: the request filter in front of the configured servers.
#[derive(Debug)]
pub struct GuardProxy {
    filter: Arc<RequestFilter>,
    upstreams: Arc<Upstreams>,
    pool: Arc<Pool>,
    /// Streamed requests that wait for a connection.
    connecting: Arc<Semaphore>,
}

/// How many streamed requests may wait for a connection to the backend at a time, on each worker.
const CONNECTING: usize = 128;

/// The most that Pingora buffers for an HTTP/2 request that it streams, in bytes: its channels have
/// room for pieces of 64 KiB.
const STREAMED: usize = 512 * 1024;

impl GuardProxy {
    pub fn new(filter: Arc<RequestFilter>, upstreams: Arc<Upstreams>) -> Self {
        Self {
            filter,
            upstreams,
            pool: Arc::default(),
            connecting: Arc::new(Semaphore::new(CONNECTING)),
        }
    }

    /// Waits for a permit to connect.
    ///
    /// SECURITY: Pingora goes on connecting for a stream that was reset, while the client may open
    /// another one: a single client could use up all descriptors while the backend accepts no
    /// connections.
    async fn wait_to_connect(&self, session: &mut Session, ctx: &mut ProxyCtx) -> Result<()> {
        if session.is_http2() {
            let room = ctx.filter.reserve(Kind::Stream, STREAMED);
            exchange::while_wanted(session, pin!(room)).await?;
        }
        let turn = Arc::clone(&self.connecting).acquire_owned();
        let turn = tokio::time::timeout(ctx.filter.limits().upstream_connect_timeout, turn);
        let wait = async { turn.await.ok().and_then(Result::ok).ok_or_else(exchange::no_turn) };
        ctx.connecting = Some(exchange::while_wanted(session, pin!(wait)).await?);
        Ok(())
    }

    /// What is done with every answer of the backend.
    async fn answer_came(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut ProxyCtx,
    ) -> Result<()> {
        if client_conn(session).is_some_and(ClientConn::is_closing) {
            // The client learns that its connection ends, and sends its next request over another
            // one.
            session.set_keepalive(None);
        }
        self.filter.upstream_response_filter(answer, &mut ctx.filter).await
    }
}

/// The proxy's context of a request.
#[derive(Debug)]
pub struct ProxyCtx {
    filter: FilterCtx,
    attempts: Attempts,
    /// A part of the answer has been sent to the client.
    writing_to_client: bool,
    connecting: Option<OwnedSemaphorePermit>,
}

#[async_trait]
impl ProxyHttp for GuardProxy {
    type CTX = ProxyCtx;

    fn new_ctx(&self) -> ProxyCtx {
        ProxyCtx {
            filter: self.filter.new_ctx(),
            attempts: Attempts::default(),
            writing_to_client: false,
            connecting: None,
        }
    }

    /// None: answers are not compressed or changed in any other way.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut ProxyCtx) -> Result<bool> {
        if self.filter.admit(session, &mut ctx.filter).await? {
            return Ok(true);
        }
        if let Some(work) = ctx.filter.take_work() {
            Box::pin(self.carry_out(session, ctx, work)).await?;
            return Ok(true);
        }
        if let Some(body) = ctx.filter.begin_exchange() {
            self.exchange(session, ctx, body).await?;
            return Ok(true);
        }
        if let Some(place) = ctx.filter.begin_upgrade() {
            Box::pin(self.upgrade(session, ctx, place)).await?;
            return Ok(true);
        }
        self.wait_to_connect(session, ctx).await?;
        Ok(false)
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _reused: bool,
        _: &HttpPeer,
        _: RawFd,
        _: Option<&Digest>,
        ctx: &mut ProxyCtx,
    ) -> Result<()> {
        ctx.connecting = None;
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        _: &mut ProxyCtx,
    ) -> Result<()> {
        self.filter.request_body_filter(body, end_of_stream).await;
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _: &mut ProxyCtx,
    ) -> Result<()> {
        self.filter.response_filter(session, response).await;
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut ProxyCtx,
    ) -> Result<Option<Duration>> {
        if session.is_http2() {
            *body = body.take().map(|body| ctx.filter.count(body));
        }
        Ok(None)
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut ProxyCtx) -> Result<Box<HttpPeer>> {
        let server = self.upstreams.next(&mut ctx.attempts, ctx.filter.config());
        let server = server.ok_or_else(exchange::no_server)?;
        ctx.filter.set_upstream(server);
        let destination = Destination { address: server, secured: ctx.secured()? };
        Ok(Box::new(servers::peer_at(destination, ctx.filter.limits())))
    }

    /// Another server is tried, as no byte of the request has been sent.
    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut ProxyCtx,
        mut error: BError,
    ) -> BError {
        let others = if lack::caused(&error) {
            error = lack::error();
            Upstreams::pass_over(&mut ctx.attempts)
        } else {
            self.upstreams.refused(&mut ctx.attempts, &error)
        };
        error.set_retry(others);
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut ProxyCtx,
    ) -> Result<()> {
        self.filter.upstream_request_filter(session, request, &mut ctx.filter).await?;
        let secured = ctx.secured()?;
        if let Some(host) = forward::host(ctx.filter.config(), secured.as_deref()) {
            request.insert_header(header::HOST, host)?;
        }
        if secured.is_some() {
            // Pingora cannot reuse a connection that it has not opened itself.
            request.insert_header(header::CONNECTION, "close")?;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut ProxyCtx,
    ) -> Result<()> {
        self.answer_came(session, response, ctx).await
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: BError,
        ctx: &mut ProxyCtx,
        _reused: bool,
    ) -> BError {
        let error = tls::of_answer(error, false);
        // A server that waits for the rest of a body has not failed.
        if error.esource() == &ErrorSource::Upstream && session.is_body_done() {
            self.upstreams.failed(&ctx.attempts, &error);
        }
        self.filter.error_while_proxy(error)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut ProxyCtx,
    ) -> FailToProxy {
        self.filter.fail_to_proxy(session, error, &mut ctx.filter).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut ProxyCtx) {
        if error.is_none() {
            self.upstreams.answered(&ctx.attempts);
        }
        self.filter.logging(session, error, &mut ctx.filter).await;
    }

    // SECURITY: Pingora's own log lines about a request contain its target with the query, and
    // quote bytes that could not be parsed. The access log line says what an operator needs.
    fn suppress_error_log(&self, _: &Session, _: &ProxyCtx, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &ProxyCtx,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, _: &Session, _: &ProxyCtx) -> String {
        String::new()
    }
}
