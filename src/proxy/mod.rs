//! The reverse proxy on Pingora, in the order of a request's way:
//!
//! 1. [`server`] and `worker`: listeners, threads, start and stop.
//! 2. `edge`, with `conn`, `connections`, [`head`] and [`chunked`]: a client's connection; reads the head of every HTTP/1 request
//!    itself and refuses what two readers could take differently; `h2_heads`, with `frames`, bounds those of HTTP/2.
//! 3. [`filter`]: judges the request in Pingora's phases, with `framing` for heads that no edge has
//!    seen, `body` to read, `judges` for large ones, `budget` for what is held, and `replay` to hand out again what was read.
//! 4. `answer`: the guard's own answers; `failure`: which one a failed backend gets, and `lack` this
//!    machine; `throttle`: 420.
//! 5. `forward`, with `origin` and `lookalike`: what leaves for the backend and what comes back.
//! 6. [`upstream`] and `check`: which server gets it; `pool` and `backend_conn`: over which connection.
//! 7. `exchange`: sends a request that was read whole. What streams goes Pingora's own way.
//! 8. `record`: what is counted and logged of it.
//!
//! [`GuardProxy`] ties them together into a finished proxy; another Pingora service embeds the
//! [`RequestFilter`] alone.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::server::ShutdownWatch;
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, Error, ErrorSource, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

mod answer;
mod backend_conn;
mod body;
pub mod budget;
mod check;
pub mod chunked;
mod conn;
mod connections;
pub mod downstream;
mod exchange;
mod failure;
pub mod filter;
mod forward;
mod frames;
mod framing;
mod h2_heads;
pub mod head;
mod judges;
mod lack;
mod lookalike;
mod memory_metrics;
mod origin;
mod pool;
mod recorder;
mod replay;
pub mod server;
mod throttle;
mod trim;
pub mod upstream;
mod worker;

pub use connections::Connections;
pub use downstream::Downstream;
pub use filter::{FilterCtx, RequestFilter};
pub use server::{Running, ServeError, Signals, serve, start};

use crate::config::Limits;

use budget::Kind;
use pool::Pool;
use upstream::{Attempts, Upstreams};

/// The finished proxy: the gate in front of the configured servers.
#[derive(Debug)]
pub struct GuardProxy {
    gate: Arc<RequestFilter>,
    upstreams: Arc<Upstreams>,
    pool: Arc<Pool>,
    upstream_timeout: Duration,
    request_timeout: Duration,
    /// Requests that stream and wait for a connection.
    connecting: Arc<Semaphore>,
    connect_timeout: Duration,
    stopping: ShutdownWatch,
}

/// How many requests that stream may wait for a connection to the backend at one time, on each worker.
const CONNECTING: usize = 128;

/// What Pingora buffers at most for a request of HTTP/2 that it streams, in bytes: its channels have
/// room for pieces of 64 KiB.
const STREAMED: usize = 512 * 1024;

impl GuardProxy {
    /// `stopping` turns true when the process is to stop.
    pub fn new(
        gate: Arc<RequestFilter>,
        upstreams: Arc<Upstreams>,
        limits: &Limits,
        stopping: ShutdownWatch,
    ) -> Self {
        Self {
            gate,
            upstreams,
            pool: Pool::new(limits),
            upstream_timeout: limits.upstream_timeout,
            request_timeout: limits.request_timeout,
            connecting: Arc::new(Semaphore::new(CONNECTING)),
            connect_timeout: limits.upstream_connect_timeout,
            stopping,
        }
    }

    /// Waits for its turn to connect.
    ///
    /// SECURITY: Pingora goes on connecting for a stream that was reset, which makes room for another one:
    /// a single client could take all descriptors while the backend accepts nothing.
    async fn wait_to_connect(&self, session: &mut Session, ctx: &mut ProxyCtx) -> Result<()> {
        if session.is_http2() {
            let room = ctx.gate.reserve(Kind::Stream, STREAMED);
            exchange::while_wanted(session, room).await?;
        }
        let turn = Arc::clone(&self.connecting).acquire_owned();
        let turn = tokio::time::timeout(self.connect_timeout, turn);
        let wait = async { turn.await.ok().and_then(Result::ok).ok_or_else(exchange::no_turn) };
        ctx.connecting = Some(exchange::while_wanted(session, wait).await?);
        Ok(())
    }

    /// What is done about every answer of the backend.
    async fn answer_came(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut ProxyCtx,
    ) -> Result<()> {
        if *self.stopping.borrow() {
            // The client is told that its connection ends, and sends its next request elsewhere.
            session.set_keepalive(None);
        }
        self.gate.upstream_response_filter(answer, &mut ctx.gate).await
    }
}

/// What the proxy remembers of a request.
#[derive(Debug)]
pub struct ProxyCtx {
    gate: FilterCtx,
    attempts: Attempts,
    /// A part of the answer is on its way to the client.
    handing_out: bool,
    connecting: Option<OwnedSemaphorePermit>,
}

#[async_trait]
impl ProxyHttp for GuardProxy {
    type CTX = ProxyCtx;

    fn new_ctx(&self) -> ProxyCtx {
        ProxyCtx {
            gate: self.gate.new_ctx(),
            attempts: Attempts::default(),
            handing_out: false,
            connecting: None,
        }
    }

    /// None: answers are not compressed or changed in any other way.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut ProxyCtx) -> Result<bool> {
        if self.gate.admit(session, &mut ctx.gate).await? {
            return Ok(true);
        }
        if let Some(body) = ctx.gate.take_body() {
            self.exchange(session, ctx, body).await?;
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
        self.gate.request_body_filter(body, end_of_stream).await;
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _: &mut ProxyCtx,
    ) -> Result<()> {
        self.gate.response_filter(session, response).await;
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
            *body = body.take().map(|body| ctx.gate.count(body));
        }
        Ok(None)
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut ProxyCtx) -> Result<Box<HttpPeer>> {
        let server = self.upstreams.next(&mut ctx.attempts).ok_or_else(exchange::no_server)?;
        ctx.gate.set_upstream(server);
        Ok(Box::new(self.gate.peer(server)))
    }

    /// Another server is tried, as no byte of the request has left.
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
            self.upstreams.refused(&mut ctx.attempts)
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
        self.gate.upstream_request_filter(session, request, &mut ctx.gate).await
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
        // A server that waits for the rest of a body has not failed.
        if error.esource() == &ErrorSource::Upstream && session.is_body_done() {
            self.upstreams.failed(&ctx.attempts);
        }
        self.gate.error_while_proxy(error)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut ProxyCtx,
    ) -> FailToProxy {
        self.gate.fail_to_proxy(session, error, &mut ctx.gate).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut ProxyCtx) {
        if error.is_none() {
            self.upstreams.answered(&ctx.attempts);
        }
        self.gate.logging(session, error, &mut ctx.gate).await;
    }

    // SECURITY: Pingora's own lines about a request hold its target with the query, and quote
    // bytes that could not be parsed. The access line says what an operator needs.
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
