//! Sends one request that was read completely to a backend server, and returns the answer.
//!
//! Pingora's own path to the backend is made for streams: the body passes through channels, and the
//! head is flushed before it. A SCIM request has been read and judged before it is forwarded, so it
//! is sent in one write. Pingora's HTTP/1 client reads the answer.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v1::client::HttpSession as Backend;
use pingora::proxy::Session;
use pingora::{BError, Error, ErrorSource, ErrorType, Result, RetryType};
use tokio::io::AsyncWriteExt;
use tokio::time::error::Elapsed;

use crate::rule::Rule;
use crate::tls::client::Secured;

use super::downstream::syntax;
use super::memory::Kind;
use super::pingora_internals;
use super::request::{RequestFilter, failure};
use super::upstream::conn::{self, BackendConn};
use super::upstream::dial::Destination;
use super::upstream::servers::Upstreams;
use super::upstream::{forward, lack, pool, throttle, tls};
use super::{GuardProxy, ProxyCtx};

/// How much of an answer is read before any of it is passed on.
const READ_FIRST: usize = 64 * 1024;

/// The most that Pingora reads of an answer at a time.
const READER: usize = 64 * 1024;

/// Answers up to this size are read without reserving memory. Most are smaller.
const SMALL_ANSWER: usize = 8 * 1024;

impl GuardProxy {
    /// Sends the request with its body, and returns the answer to the client.
    ///
    /// SECURITY: one deadline applies to the whole exchange, so that neither a backend nor a client
    /// that sends or reads very slowly can hold a request indefinitely.
    pub(super) async fn exchange(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        body: Bytes,
    ) -> Result<()> {
        // Requests that are not judged may take longer.
        let deadline = (!ctx.filter.is_unjudged()).then(|| deadline(ctx));
        let exchanged = {
            let exchange = pin!(self.send_and_return(session, ctx, body));
            match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, exchange).await,
                None => Ok(exchange.await),
            }
        };
        self.settle(ctx, exchanged)
    }

    /// Records what the outcome of an exchange says about the server.
    pub(super) fn settle(
        &self,
        ctx: &ProxyCtx,
        exchanged: Result<Result<()>, Elapsed>,
    ) -> Result<()> {
        match exchanged {
            Ok(exchanged) => exchanged.inspect_err(|error| {
                if error.esource() == &ErrorSource::Upstream {
                    self.upstreams.failed(&ctx.attempts, error);
                }
            }),
            Err(_) => Err(self.overdue(ctx)),
        }
    }

    /// The time for the whole request is over. That counts against the server if it has used its
    /// own time limit, or half of the total; otherwise the client sent its body, or reads its
    /// answer, too slowly.
    fn overdue(&self, ctx: &ProxyCtx) -> BError {
        let error = too_slow("limits.request_timeout");
        if ctx.writing_to_client {
            return error.into_down();
        }
        let limits = ctx.filter.limits();
        if ctx.filter.upstream_took() >= limits.upstream_timeout.min(limits.request_timeout / 2) {
            self.upstreams.failed(&ctx.attempts, &error);
        }
        error.into_up()
    }

    async fn send_and_return(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        body: Bytes,
    ) -> Result<()> {
        let mut backend = self.send_safely(session, ctx, None, &body).await?;
        match self.return_answer(&mut backend, session, ctx).await {
            Ok(Rest::Read) => self.keep(backend, ctx).await,
            Ok(Rest::Unread) => {}
            Err(error) if throttle::is_throttled(&error) => {
                self.keep(backend, ctx).await;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(super) async fn keep(&self, mut backend: Backend, ctx: &ProxyCtx) {
        // With these statuses a server has not read the request, and may parse the rest of it as
        // another one.
        if matches!(
            backend.get_status(),
            Some(StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE)
        ) {
            return;
        }
        backend.respect_keepalive();
        if let Some(stream) = backend.reuse().await {
            self.pool.keep(stream, ctx.filter.limits());
        }
    }

    /// Sends a request, and again if that is safe, and reads the head of its answer. `own`: the
    /// head of a request that the guard itself makes, in place of the client's.
    pub(super) async fn send_safely(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        own: Option<&RequestHeader>,
        body: &[u8],
    ) -> Result<Backend> {
        match self.send(session, ctx, own, body).await {
            Err(error) if matches!(error.retry, RetryType::Decided(true)) => {
                // Whether the first attempt was processed is not known, so its error counts.
                let again = self.send(session, ctx, own, body).await;
                again.map_err(|again| if is_of_connecting(&again) { error } else { again })
            }
            sent => sent,
        }
    }

    /// Sends the request and reads the head of its answer. An error says whether the request may be
    /// sent again.
    async fn send(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        own: Option<&RequestHeader>,
        body: &[u8],
    ) -> Result<Backend> {
        // A request that is sent again uses a new connection.
        let anew = ctx.attempts.address().is_some();
        let mut conn = while_wanted(session, pin!(self.connect(ctx, anew))).await?;
        let secured = ctx.secured()?;
        let head = own.unwrap_or_else(|| session.req_header());
        RequestFilter::write_head(head, &mut ctx.filter, secured.as_deref(), conn.held())?;
        let method = head.method.clone();
        let timeout = ctx.filter.limits().upstream_timeout;
        while_wanted(session, pin!(ask(conn, &method, body, timeout))).await
    }

    /// Connects to the first server in turn that accepts. Another one is tried only before a byte
    /// of the request has been sent, or if the request may be sent again: then the same server is
    /// tried first. `anew`: over a new connection.
    pub(super) async fn connect(&self, ctx: &mut ProxyCtx, anew: bool) -> Result<Box<BackendConn>> {
        let mut again = ctx.attempts.address();
        loop {
            let next = || self.upstreams.next(&mut ctx.attempts, ctx.filter.config());
            let server = again.take().or_else(next);
            let server = server.ok_or_else(no_server)?;
            ctx.filter.set_upstream(server);
            let destination = Destination { address: server, secured: ctx.secured()? };
            let limits = ctx.filter.limits();
            let conn = if anew {
                pool::open(&destination, limits).await
            } else {
                self.pool.get(&destination, limits).await
            };
            let Err(error) = conn else { return conn };
            let others = if lack::caused(&error) {
                Upstreams::pass_over(&mut ctx.attempts)
            } else {
                self.upstreams.refused(&mut ctx.attempts, &error)
            };
            if !others {
                return Err(error);
            }
        }
    }

    pub(super) async fn return_answer(
        &self,
        backend: &mut Backend,
        session: &mut Session,
        ctx: &mut ProxyCtx,
    ) -> Result<Rest> {
        let mut answer = match backend.resp_header() {
            Some(head) => Box::new(head.clone()),
            None => return Err(Error::explain(ErrorType::InvalidHTTPHeader, "no head").into_up()),
        };
        let mut done = backend.is_body_done() || session.req_header().method == Method::HEAD;
        let has_body = !done;
        self.answer_came(session, &mut answer, ctx).await?;
        // An answer of common size is read to its end first: it is sent in one segment, and one
        // that breaks off or stalls becomes an error answer instead of a truncated one.
        let mut body = BytesMut::new();
        let stays_unread = ctx.filter.is_unjudged() || ctx.filter.replaces_unread(&answer);
        let read_first = if stays_unread { 0 } else { READ_FIRST };
        // SECURITY: many HTTP/2 streams whose clients read nothing would each hold an answer, so
        // memory has to be reserved before any of a larger one is read.
        let is_http2 = session.is_http2();
        let size = if has_body { answer_size(&answer).min(READER) } else { 0 };
        let reader = if is_http2 && size > SMALL_ANSWER { size } else { 0 };
        if reader > 0 {
            let room = ctx.filter.reserve(Kind::Answer, 2 * reader);
            while_wanted(session, pin!(room)).await?;
        }
        while !done && body.len() < read_first {
            let piece = async { backend.read_body_ref().await.map_err(Error::into_up) };
            let Some(piece) = while_wanted(session, pin!(piece)).await? else {
                done = true;
                break;
            };
            body.extend_from_slice(piece);
            let room = reader > 0 || ctx.filter.hold(piece.len());
            done = backend.is_body_done();
            if !room {
                break;
            }
        }
        if ctx.filter.is_throttled() && has_body && done && body.is_empty() {
            return Err(throttle::without_body(&answer));
        }
        let body = body.freeze();
        if done && let Some(error) = tls::of_body(answer.status.as_u16(), &body) {
            return Err(error);
        }
        if done {
            ctx.filter.keep_disagreement(&answer, &body);
            ctx.filter.audit_answer(&answer, &body);
        }
        if ctx.filter.replaces(&answer).is_some()
            && let Some(made) = {
                let method = &session.req_header().method;
                self.filter.replacement(&mut ctx.filter, &mut answer, method, &body, done)?
            }
        {
            Box::pin(ctx.write_made_answer(session, answer, made)).await?;
            return Ok(if done { Rest::Read } else { Rest::Unread });
        }
        if session.req_header().version == Version::HTTP_10 {
            if has_body && done && !answer.headers.contains_key(header::CONTENT_LENGTH) {
                answer.insert_header(header::CONTENT_LENGTH, body.len())?;
            }
            forward::unchunk(session, &mut answer);
        } else if has_body {
            chunk(&mut answer)?;
        }
        ctx.filter.end_audit(answer.status);
        let mut tasks = vec![HttpTask::Header(answer, done && body.is_empty())];
        if !body.is_empty() {
            let body = if is_http2 { ctx.filter.count(body) } else { body };
            tasks.push(HttpTask::Body(Some(body), done));
        }
        ctx.write_to_client(session, tasks).await?;
        while !done {
            if is_http2 {
                ctx.filter.keep_for_answer(reader);
                let room = ctx.filter.reserve(Kind::Answer, READER);
                while_wanted(session, pin!(room)).await?;
            }
            let piece = async { backend.read_body_bytes().await.map_err(Error::into_up) };
            let piece = while_wanted(session, pin!(piece)).await?;
            done = piece.is_none() || backend.is_body_done();
            let piece = piece.map(|piece| if is_http2 { ctx.filter.count(piece) } else { piece });
            ctx.write_to_client(session, vec![HttpTask::Body(piece, done)]).await?;
        }
        Ok(Rest::Read)
    }
}

/// Whether the backend's answer was read to its end, once the client has received its answer.
pub(super) enum Rest {
    Read,
    Unread,
}

impl ProxyCtx {
    /// Writes a complete answer that the guard has made.
    pub(super) async fn write_made_answer(
        &mut self,
        session: &mut Session,
        head: Box<ResponseHeader>,
        body: Bytes,
    ) -> Result<()> {
        self.filter.end_audit(head.status);
        let body = if session.req_header().method == Method::HEAD { Bytes::new() } else { body };
        let mut tasks = vec![HttpTask::Header(head, body.is_empty())];
        if !body.is_empty() {
            let body = if session.is_http2() { self.filter.count(body) } else { body };
            tasks.push(HttpTask::Body(Some(body), true));
        }
        self.write_to_client(session, tasks).await
    }

    /// What secures the connection to the current server; `None`: it is cleartext.
    pub(super) fn secured(&self) -> Result<Option<Arc<Secured>>> {
        match self.attempts.server() {
            Some(server) => self.filter.secured(server),
            None => Ok(None),
        }
    }

    /// Writes a part of the answer to the client.
    async fn write_to_client(&mut self, session: &mut Session, tasks: Vec<HttpTask>) -> Result<()> {
        self.writing_to_client = true;
        let write = pin!(pingora_internals::write_tasks(session, tasks));
        let written = self.filter.unless_short(write).await;
        self.writing_to_client = false;
        written.map(drop).map_err(Error::into_down)
    }
}

/// When the time limit of one request expires.
pub(super) fn deadline(ctx: &ProxyCtx) -> tokio::time::Instant {
    tokio::time::Instant::from_std(ctx.filter.started()) + ctx.filter.limits().request_timeout
}

/// Sends the request, whose head is buffered already, and reads the head of its answer.
async fn ask(
    mut conn: Box<BackendConn>,
    method: &Method,
    body: &[u8],
    timeout: Duration,
) -> Result<Backend> {
    let sent = tokio::time::timeout(timeout, conn.write_all(body));
    // A server that does not read the whole request may have answered anyway.
    let _ = sent.await.map_err(|_| too_slow("limits.upstream_timeout").into_up())?;
    conn.set_whole();
    let mut backend = Backend::new(conn);
    backend.read_timeout = Some(timeout);
    if method == Method::HEAD {
        // Pingora's reader learns only from a request that it has written itself that the answer to
        // a HEAD has no body. What is written here is discarded.
        let head = RequestHeader::build(Method::HEAD, b"/", None)?;
        backend.write_request_header(Box::new(head)).await.map_err(Error::into_up)?;
    }
    let read = conn::read_head(&mut backend).await;
    read.map_err(|mut error| {
        error.set_retry(is_stale(&backend, &error) && is_idempotent(method));
        tls::of_answer(error, conn::is_alerted(&backend)).into_up()
    })?;
    Ok(backend)
}

/// The size of an answer as announced, in bytes.
fn answer_size(answer: &ResponseHeader) -> usize {
    let length = answer.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| syntax::decimal(length.as_bytes()));
    length.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(usize::MAX))
}

/// Runs the work for as long as the client waits for it.
///
/// SECURITY: an HTTP/2 stream that is reset makes room for another one immediately, and the work
/// for it has to end with it, or a single connection could hold any number of requests. An HTTP/1
/// connection has one request at a time, and one whose client has disconnected may continue.
///
/// The caller pins the work, so that it is not copied.
pub(super) async fn while_wanted<T>(
    session: &mut Session,
    work: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<T> {
    if !session.is_http2() {
        return work.await;
    }
    tokio::select! {
        biased;
        done = work => done,
        gone = pingora_internals::reset(session) => Err(gone.into_down()),
    }
}

/// A reused connection has ended without a byte of an answer: most likely the server closed it
/// before it saw the request.
fn is_stale(backend: &Backend, error: &Error) -> bool {
    let conn = backend.stream().as_any().downcast_ref::<BackendConn>();
    conn.is_some_and(BackendConn::is_stale)
        && matches!(error.etype(), ErrorType::ConnectionClosed | ErrorType::ReadError)
}

/// Whether a request with this method may be sent twice (RFC 9110 §9.2.2). A PATCH may not: it can
/// add to the resource.
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE)
}

/// No connection could be opened.
fn is_of_connecting(error: &Error) -> bool {
    matches!(
        failure::answer(error).map(|refusal| refusal.rule),
        Some(Rule::UpstreamConnect | Rule::UpstreamTls | Rule::LimitsDescriptors)
    )
}

/// Frames an answer with a body in chunks if the backend did so or ends it by closing its
/// connection, so that the client's connection can be reused.
fn chunk(answer: &mut ResponseHeader) -> Result<()> {
    let framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    if framed.iter().any(|name| answer.headers.contains_key(name)) {
        return Ok(());
    }
    answer.insert_header(header::TRANSFER_ENCODING, "chunked")
}

/// No server name has been resolved so far.
pub(super) fn no_server() -> BError {
    Error::explain(ErrorType::ConnectNoRoute, "no server has an address").into_up()
}

/// Too many requests wait for a connection already.
pub(super) fn no_turn() -> BError {
    Error::explain(ErrorType::ConnectTimedout, "too many wait to connect").into_up()
}

pub(super) fn too_slow(limit: &'static str) -> BError {
    Error::explain(ErrorType::WriteTimedout, limit)
}
