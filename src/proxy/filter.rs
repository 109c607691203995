//! The guard as a part of any Pingora service: one handle with a call for each phase that needs one.
//!
//! A service keeps a [`RequestFilter`], puts a [`FilterCtx`] into its own context, and calls from its
//! `ProxyHttp` the method of the same name as the phase. The order matters: Pingora connects to the
//! backend and writes the head before it asks for the body, so everything is judged in
//! `request_filter`, the only phase before that.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Version, header};
use ipnet::IpNet;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, Error, ErrorSource, ErrorType, Result};

use crate::agreement::Outcome;
use crate::config::{Config, Limits, ZHeaders};
use crate::guard::{BodyKind, BodyTask, Guard, Head, HeadVerdict, Next};
use crate::logging::AccessLog;
use crate::metrics::{MethodLabel, Metrics};
use crate::rule::Rule;
use crate::target::Handler;
use crate::verdict::{Refusal, VerdictLabel};

use super::answer;
use super::body::{self, Unread};
use super::budget::{self, Budget, Connection, GaveWay, Kind, Share};
use super::conn::ClientConn;
use super::failure;
use super::forward::{self, BodyFraming, OutboundHead};
use super::framing;
use super::head;
use super::judges::Judges;
use super::origin;
use super::recorder::{InFlight, Recorder, RequestRecord};
use super::replay::{self, Restore};
use super::throttle;
use super::upstream;

/// How long the rest of a refused request's body is read, so that the connection can go on.
const DRAIN: Duration = Duration::from_secs(2);

/// The size of a head that counts, in bytes. Most are smaller, so that a request without a body is not
/// refused for what others hold.
const LARGE_HEAD: usize = 4 * 1024;

/// The guard for Pingora services.
#[derive(Debug)]
pub struct RequestFilter {
    guard: Arc<Guard>,
    limits: Limits,
    hosts: Vec<String>,
    trusted_proxies: Vec<IpNet>,
    z_headers: ZHeaders,
    map_420: bool,
    budget: Arc<Budget>,
    judges: Judges,
    peer: HttpPeer,
    books: Recorder,
    /// Every HTTP/1 head has passed the edge.
    behind_edge: bool,
}

/// What the gate remembers of a request between the phases.
pub struct FilterCtx {
    record: RequestRecord,
    target: Option<Vec<u8>>,
    framing: BodyFraming,
    forwarded_for: Option<HeaderValue>,
    keep_z_headers: bool,
    /// The body as it was read; `None` when it streams.
    whole: Option<BufferedBody>,
    /// The proxy sends the request itself, as it was read to its end.
    in_one_piece: bool,
    restore: Option<Restore>,
    /// What the request takes of the memory for all; held until it ends, as the body is.
    share: Share,
    /// How much its head takes.
    weight: usize,
    /// Nobody judges it, and what comes back passes as it comes.
    unjudged: bool,
    in_flight: Option<InFlight>,
}

/// SECURITY: the target has a query, and the body is a person's data.
impl fmt::Debug for FilterCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateCtx")
            .field("request_id", &self.record.request_id)
            .field("handler", &self.record.handler)
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}

/// A body that was read.
struct BufferedBody {
    body: Bytes,
    /// Pingora has nothing left to read of it.
    taken: bool,
}

impl FilterCtx {
    /// When the request began.
    pub(super) fn started(&self) -> Instant {
        self.record.started
    }

    /// How long the backend has had so far.
    pub(super) fn upstream_took(&self) -> Duration {
        self.record.upstream_started.map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// Whether the answer passes as it comes, however long it takes.
    pub(super) fn is_unjudged(&self) -> bool {
        self.unjudged
    }

    /// Takes memory for a part of the answer, until the request ends. Says whether there is room for more.
    pub(super) fn hold(&mut self, bytes: usize) -> bool {
        self.share.hold(Kind::Answer, bytes)
    }

    /// Waits for memory, and takes it until the request ends.
    pub(super) async fn reserve(&mut self, kind: Kind, bytes: usize) -> Result<()> {
        self.share.grow(kind, bytes).await.map_err(|_| budget::short())
    }

    /// Gives back what is reserved for the answer beyond `bytes`.
    pub(super) fn keep_for_answer(&mut self, bytes: usize) {
        self.share.shrink_to(Kind::Answer, bytes);
    }

    /// A part of the answer, whose memory is given back when the last copy of it has been written.
    pub(super) fn count(&mut self, bytes: Bytes) -> Bytes {
        self.share.count(bytes)
    }

    /// Does what waits for the client, unless others need the memory that the request holds.
    pub(super) async fn unless_short<T>(
        &mut self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let done = self.share.unless_short(Instant::now(), work).await;
        done.unwrap_or_else(|GaveWay| {
            self.share.refuse(Kind::Answer);
            Err(Error::new(ErrorType::WriteTimedout))
        })
    }

    /// Whether the backend's answer says that requests come too fast.
    pub(super) fn is_throttled(&self) -> bool {
        matches!(self.record.answered, Some((Rule::UpstreamThrottled, _)))
    }

    /// Keeps the whole body of an answer if Wire refused what the guard let pass, for its scimType.
    pub(super) fn keep_disagreement(&mut self, answer: &ResponseHeader, body: &Bytes) {
        let encoded = answer.headers.contains_key(header::CONTENT_ENCODING);
        if !encoded && self.record.forwarded && self.record.agreement() == Outcome::Missed {
            self.record.wire_error = Some(body.clone());
        }
    }

    /// The whole body that goes to the backend, empty for none; `None` if the body streams.
    pub(super) fn take_body(&mut self) -> Option<Bytes> {
        let body = self.whole.take().map(|whole| whole.body);
        self.in_one_piece = body.is_some();
        body
    }

    /// Notes the server that the request goes to: for the access log, and as the moment from which
    /// the backend's time counts.
    pub fn set_upstream(&mut self, address: SocketAddr) {
        self.record.upstream = Some(address);
        self.record.upstream_started.get_or_insert_with(Instant::now);
    }
}

/// What comes of a request.
enum Decision {
    Forward,
    /// Answered by this refusal.
    Refuse(Refusal, Rest),
}

/// What becomes of the unread rest of a refused request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Nothing is left, or it is read behind the answer.
    Drained,
    /// The connection ends behind the answer.
    LeftUnread,
}

impl RequestFilter {
    /// A gate with this guard and what the configuration says of the proxy's own matters. The
    /// guard's register of tokens is kept up to date from now on.
    pub fn new(
        guard: Arc<Guard>,
        config: &Config,
        metrics: Arc<Metrics>,
        access: AccessLog,
    ) -> Self {
        if let Some(register) = guard.register() {
            register.watch();
        }
        Self {
            guard,
            limits: config.limits.clone(),
            hosts: config.hosts.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            z_headers: config.z_headers.clone(),
            map_420: config.map_420,
            budget: Budget::new(&config.limits),
            judges: Judges::new(config.limits.request_timeout),
            peer: upstream::peer(&config.limits),
            books: Recorder { metrics, access },
            behind_edge: false,
        }
    }

    /// The same for a service behind an [`Downstream`](super::Downstream), which has checked the framing of
    /// every HTTP/1 head from its bytes already.
    pub fn behind_edge(self) -> Self {
        Self { behind_edge: true, ..self }
    }

    /// The memory that this gate's requests share.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The context of a new request.
    pub fn new_ctx(&self) -> FilterCtx {
        FilterCtx {
            record: RequestRecord::new(),
            target: None,
            framing: BodyFraming::Streamed,
            forwarded_for: None,
            keep_z_headers: false,
            whole: None,
            in_one_piece: false,
            restore: None,
            share: Share::of(&self.budget),
            weight: 0,
            unjudged: false,
            in_flight: Some(InFlight::new(self.books.metrics.in_flight())),
        }
    }

    /// Judges the request. `true`: it was answered, and nothing of it may leave.
    pub async fn request_filter(&self, session: &mut Session, ctx: &mut FilterCtx) -> Result<bool> {
        let answered = self.admit(session, ctx).await?;
        if !answered {
            self.hand_again(session, ctx);
        }
        Ok(answered)
    }

    /// Hands Pingora again what was read, for it to send.
    fn hand_again(&self, session: &mut Session, ctx: &mut FilterCtx) {
        if let Some(BufferedBody { body, taken: true }) = ctx.whole.take() {
            ctx.restore = Some(replay::replace(session, body));
        }
    }

    /// A server as Pingora's own way to the backend wants it told, with the limits of the
    /// configuration.
    pub fn peer(&self, server: SocketAddr) -> HttpPeer {
        let mut peer = self.peer.clone();
        peer._address = pingora::protocols::l4::socket::SocketAddr::Inet(server);
        peer
    }

    /// As [`RequestFilter::request_filter`], for a proxy that sends the body that was read itself.
    pub(super) async fn admit(&self, session: &mut Session, ctx: &mut FilterCtx) -> Result<bool> {
        self.prepare(session, ctx);
        let passage = self.judge(session, ctx).await?;
        match passage {
            Decision::Forward => {
                let unjudged = matches!(ctx.record.handler, Handler::AuthTokens | Handler::Other);
                ctx.record.forwarded = !unjudged;
                let verdict = VerdictLabel::of_passed(&ctx.record.remarks);
                self.books.judged(&ctx.record, verdict);
                Ok(false)
            }
            Decision::Refuse(refusal, rest) => {
                self.books.judged(&ctx.record, VerdictLabel::Refused);
                self.refuse(session, ctx, &refusal, rest).await.map_err(Error::into_down)?;
                Ok(true)
            }
        }
    }

    /// Settings of the session, and what every record holds.
    fn prepare(&self, session: &mut Session, ctx: &mut FilterCtx) {
        session.set_total_drain_timeout(Some(DRAIN));
        session.set_close_on_response_before_downstream_finish(false);
        // A client that has sent its request and closed its half still gets its answer, and what
        // the backend has begun is not cut off (RFC 9112 §9.6).
        session.set_abort_on_close(false);
        session.set_read_timeout(Some(self.limits.body_timeout));
        if session.is_http2() || !self.behind_edge {
            session.set_write_timeout(Some(self.limits.write_timeout));
        }
        let peer = peer_ip(session);
        let head = session.req_header();
        ctx.weight = match client_conn(session) {
            _ if session.is_http2() => budget::of_stream(head),
            // What is larger than most has two copies, the bytes and the fields.
            Some(conn) if conn.head() > LARGE_HEAD => 2 * conn.head(),
            _ => 0,
        };
        ctx.record.method = MethodLabel::of(&head.method);
        ctx.record.request_id = forward::request_id(&head.headers);
        let origin = origin::find(&head.headers, peer, &self.trusted_proxies);
        ctx.record.client = origin.client;
        // A proxy that says nothing of its client has no address of its own here.
        let behind_proxy = origin.client.filter(|client| Some(*client) != peer);
        match account(session) {
            Some(account) => ctx.share.belong_to(account, behind_proxy),
            None => ctx.share.belong_to_client(origin.client),
        }
        ctx.forwarded_for = origin.forwarded_for;
    }

    async fn judge(&self, session: &mut Session, ctx: &mut FilterCtx) -> Result<Decision> {
        // SECURITY: one connection of HTTP/2 holds many requests, and each takes memory before any body.
        if ctx.weight > 0
            && let Err(refusal) = ctx.share.grow(Kind::Head, ctx.weight).await
        {
            return Ok(Decision::Refuse(refusal, Rest::LeftUnread));
        }
        // The edge has looked at the bytes of HTTP/1 heads.
        if (session.is_http2() || !self.behind_edge)
            && let Err(refusal) =
                framing::check(session.req_header(), self.limits.headers, &self.hosts)
        {
            return Ok(Decision::Refuse(refusal, Rest::LeftUnread));
        }
        let started = Instant::now();
        let head = session.req_header();
        let sent = client_conn(session).and_then(ClientConn::sent_target).map(<[u8]>::to_vec);
        let HeadVerdict { handler, token, digest, known, remarks, next } =
            self.guard.judge_head(Head {
                method: &head.method,
                target: sent.as_deref().unwrap_or_else(|| head.raw_path()),
                headers: &head.headers,
                client: ctx.record.client,
            });
        ctx.record.validation += started.elapsed();
        ctx.record.handler = handler;
        ctx.record.token = token;
        ctx.record.digest = digest;
        ctx.record.remarks = remarks;
        if !known {
            ctx.share.is_a_strangers();
        }
        match next {
            Next::Refuse(refusal) => Ok(Decision::Refuse(refusal, self.rest(session))),
            Next::Forward { target } => {
                ctx.target = target.or(sent);
                ctx.keep_z_headers =
                    forward::keeps_z_headers(&self.z_headers, handler, peer_ip(session));
                self.pass_unjudged(session, ctx).await
            }
            Next::Body { target, task } => {
                ctx.target = target.or(sent);
                self.judge_body(session, ctx, task).await
            }
        }
    }

    /// A request whose body nobody judges.
    async fn pass_unjudged(&self, session: &mut Session, ctx: &mut FilterCtx) -> Result<Decision> {
        let foreign = matches!(ctx.record.handler, Handler::AuthTokens | Handler::Other);
        ctx.unjudged = foreign;
        if foreign && let Some(conn) = client_conn(session) {
            // What comes back may be large and take its time, and passes as it comes.
            conn.write_through();
        }
        if session.is_body_done() {
            ctx.framing = BodyFraming::Nothing;
            if session.req_header().method == Method::POST || declared(session).is_some() {
                // `Content-Length: 0` is told to the backend, as some ask for it with a POST.
                ctx.framing = BodyFraming::Length(0);
            }
            // Pingora's own way buffers for a client that takes nothing, which over HTTP/2 may be many.
            if !foreign || session.is_http2() {
                ctx.whole = Some(BufferedBody { body: Bytes::new(), taken: false });
            }
            return Ok(Decision::Forward);
        }
        if foreign {
            // So does the body.
            self.invite_body(session).await?;
            ctx.framing = BodyFraming::Streamed;
            return Ok(Decision::Forward);
        }
        // SECURITY: no byte of a body that Wire serves goes there unjudged. Wire reads none with GET and
        // DELETE, so it is dropped, and the request is forwarded without it.
        match self.read_body(session, ctx, false).await? {
            Ok(_) => {
                ctx.framing = BodyFraming::Nothing;
                ctx.whole = Some(BufferedBody { body: Bytes::new(), taken: true });
                Ok(Decision::Forward)
            }
            Err(refusal) => Ok(Decision::Refuse(refusal, Rest::LeftUnread)),
        }
    }

    /// Reads the whole body and judges it.
    async fn judge_body(
        &self,
        session: &mut Session,
        ctx: &mut FilterCtx,
        task: BodyTask,
    ) -> Result<Decision> {
        let body = match self.read_body(session, ctx, true).await? {
            Ok(body) => body,
            Err(refusal) => return Ok(Decision::Refuse(refusal, Rest::LeftUnread)),
        };
        self.books.metrics.body(body.len());
        let judged = self.judges.judge(&self.guard, task, &body, &mut ctx.record).await;
        if let Err(refusal) = judged {
            return Ok(Decision::Refuse(refusal, Rest::Drained));
        }
        ctx.framing = BodyFraming::Length(body.len());
        if task.kind == BodyKind::Unserved && body.is_empty() && declared(session).is_none() {
            ctx.framing = BodyFraming::Nothing;
        }
        ctx.whole = Some(BufferedBody { body, taken: true });
        Ok(Decision::Forward)
    }

    /// Reads a body within the limits. The inner error is for the client.
    async fn read_body(
        &self,
        session: &mut Session,
        ctx: &mut FilterCtx,
        keep: bool,
    ) -> Result<Result<Bytes, Refusal>> {
        let limit = self.limits.body;
        if declared(session).is_some_and(|length| length > limit as u64) {
            return Ok(Err(crate::body::too_large(limit)));
        }
        self.invite_body(session).await?;
        let read = body::read(session, &self.limits, &mut ctx.share, keep).await;
        match read {
            Ok(body) => Ok(Ok(body)),
            Err(Unread::Refused(refusal)) => Ok(Err(refusal)),
            Err(Unread::Gone(_)) if is_misframed(session) => Ok(Err(body::misframed())),
            Err(Unread::Gone(error)) => Err(error.into_down()),
        }
    }

    /// Answers `Expect: 100-continue` now that the body is wanted (RFC 9110 §10.1.1).
    async fn invite_body(&self, session: &mut Session) -> Result<()> {
        if expects_continue(session) {
            session.write_continue_response().await.map_err(Error::into_down)?;
        }
        Ok(())
    }

    /// What becomes of the body of a request that is refused for its head.
    fn rest(&self, session: &mut Session) -> Rest {
        let too_long = declared(session).is_some_and(|length| length > self.limits.body as u64);
        // A client that waits for the word to go on may send its body or not: which of the two
        // the next bytes are cannot be known.
        if !session.is_body_done() && (too_long || expects_continue(session)) {
            Rest::LeftUnread
        } else {
            Rest::Drained
        }
    }

    async fn refuse(
        &self,
        session: &mut Session,
        ctx: &mut FilterCtx,
        refusal: &Refusal,
        rest: Rest,
    ) -> Result<()> {
        // SECURITY: what is refused takes nothing from others. Of the streams whose clients do not take their
        // answer only so many are waited for.
        ctx.share.give_back();
        let place = if session.is_http2() { self.budget.linger() } else { None };
        let patience = if place.is_some() { DRAIN } else { Duration::ZERO };
        self.books.answered(&mut ctx.record, refusal.rule, VerdictLabel::Refused);
        ctx.record.at.clone_from(&refusal.at);
        let close = rest == Rest::LeftUnread;
        let waits = expects_continue(session);
        let id = ctx.record.request_id.clone();
        ctx.record.bytes_out = answer::send(session, refusal, &id, close, patience).await?;
        ctx.record.ended = Some(Instant::now());
        // Closing a connection with unread bytes, or a stream whose body is on its way, resets it, and the
        // reset overtakes the answer, or is taken for one; so some of them are read. Over HTTP/1 Pingora
        // does that where the connection lives on.
        let left_unread = if session.is_http2() { place.is_some() } else { close };
        if left_unread && !waits {
            let _ = tokio::time::timeout(DRAIN, session.drain_request_body()).await;
        }
        Ok(())
    }

    /// Turns the client's head into the one that the backend gets.
    pub async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut FilterCtx,
    ) -> Result<()> {
        forward::request(upstream_request, &Self::leaving(session, ctx))
    }

    /// Writes the head that the backend gets.
    pub(super) fn write_head(
        session: &Session,
        ctx: &mut FilterCtx,
        out: &mut BytesMut,
    ) -> Result<()> {
        forward::write(session.req_header(), &Self::leaving(session, ctx), out)
    }

    fn leaving<'a>(session: &Session, ctx: &'a mut FilterCtx) -> OutboundHead<'a> {
        ctx.record.upstream_started.get_or_insert_with(Instant::now);
        OutboundHead {
            target: ctx.target.as_deref(),
            framing: ctx.framing,
            version: session.req_header().version,
            request_id: &ctx.record.request_id,
            forwarded_for: ctx.forwarded_for.clone(),
            keep_z_headers: ctx.keep_z_headers,
            cookies: forward::cookies(session.req_header()),
        }
    }

    /// Looks at a part of a body that streams to the backend.
    ///
    /// SECURITY: Pingora writes an empty last part, with which HTTP/2 ends many bodies, as a last chunk
    /// and another one behind it. The backend would answer to that as to a request of its own, and a
    /// stranger who comes over the same connection would get that answer.
    pub async fn request_body_filter(&self, body: &mut Option<Bytes>, end_of_stream: bool) {
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
    }

    /// Turns the backend's head into the one that the client gets.
    pub async fn upstream_response_filter(
        &self,
        upstream_response: &mut ResponseHeader,
        ctx: &mut FilterCtx,
    ) -> Result<()> {
        let status = upstream_response.status.as_u16();
        ctx.record.wire_status = Some(status);
        if let Some(digest) = ctx.record.digest {
            self.guard.shield().answered(digest, ctx.record.client, status);
        }
        forward::response(upstream_response, &ctx.record.request_id)?;
        if throttle::is_throttling(status) && self.map_420 {
            // A backend that throttles is there, and the request reached it.
            let verdict = VerdictLabel::of_passed(&ctx.record.remarks);
            self.books.answered(&mut ctx.record, Rule::UpstreamThrottled, verdict);
            throttle::translate(upstream_response)?;
        }
        Ok(())
    }

    /// Frames an answer that streams for a client that knows no chunks.
    pub async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader) {
        if session.req_header().version == Version::HTTP_10 {
            forward::unchunk(session, response);
        }
    }

    /// Takes care that a request is not sent again once bytes of it have left: whether the backend has
    /// acted on them is not known.
    pub fn error_while_proxy(&self, mut error: BError) -> BError {
        error.set_retry(false);
        error
    }

    /// Answers for a backend that failed, as a SCIM error.
    pub async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut FilterCtx,
    ) -> FailToProxy {
        let gone = FailToProxy { error_code: 0, can_reuse_downstream: false };
        let refusal = match failure::answer(error) {
            _ if is_misframed(session) => body::misframed(),
            // A backend that waits for a body is not late.
            Some(Refusal { rule: Rule::UpstreamTimeout, .. })
                if ctx.framing == BodyFraming::Streamed && !session.is_body_done() =>
            {
                body::too_slow()
            }
            Some(refusal) => refusal,
            // The client has gone.
            None => return gone,
        };
        let answered =
            session.response_written().is_some_and(|head| !head.status.is_informational());
        // It has a part of an answer, and sees it break off.
        if answered && error.esource() != &ErrorSource::Upstream {
            return gone;
        }
        if refusal.rule != Rule::UpstreamThrottled {
            let verdict = match refusal.rule {
                Rule::BodyTimeout | Rule::FramingMessage | Rule::LimitsBufferedBytes => {
                    VerdictLabel::Refused
                }
                _ => VerdictLabel::Failed,
            };
            self.books.answered(&mut ctx.record, refusal.rule, verdict);
        }
        if answered {
            return gone;
        }
        // Pingora closes the connection behind a request that it sent itself: it may be left unread.
        let close = !ctx.in_one_piece;
        let id = ctx.record.request_id.clone();
        let sent = answer::send(session, &refusal, &id, close, DRAIN).await;
        let Ok(bytes) = sent else { return gone };
        ctx.record.bytes_out = bytes;
        FailToProxy { error_code: refusal.status(), can_reuse_downstream: !close }
    }

    /// Counts the request and writes its access line.
    pub async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut FilterCtx) {
        let answer = session.response_written().filter(|head| !head.status.is_informational());
        let mut status = answer.map_or(0, |head| head.status.as_u16());
        let record = &mut ctx.record;
        record.bytes_in = session.body_bytes_read();
        record.bytes_out = record.bytes_out.max(session.body_bytes_sent());
        // An answer of HTTP/1 that was made as a whole could not be written, and nothing of it has left.
        let whole = ctx.in_one_piece || record.answered.is_some();
        let gone = error.is_some_and(|error| error.esource() == &ErrorSource::Downstream);
        if gone && whole && record.bytes_out == 0 && !session.is_http2() {
            status = 0;
        }
        self.books.close(record, status);
        // The session that read the request ends it, so that its connection can go on.
        if let Some(restore) = ctx.restore.take() {
            restore.restore(session);
        }
        ctx.share.give_back();
        ctx.in_flight = None;
    }
}

/// The connection of an HTTP/1 request behind an edge.
fn client_conn(session: &Session) -> Option<&ClientConn> {
    session.stream()?.as_any().downcast_ref()
}

/// Whose memory the requests of a connection take; none without an edge.
fn account(session: &Session) -> Option<&Arc<Connection>> {
    if let Some(conn) = client_conn(session) {
        return conn.account();
    }
    let digest = session.digest()?.proxy_digest.as_ref()?;
    digest.user_data.as_ref()?.downcast_ref()
}

fn is_misframed(session: &Session) -> bool {
    client_conn(session).is_some_and(ClientConn::is_misframed)
}

fn peer_ip(session: &Session) -> Option<IpAddr> {
    session.client_addr()?.as_inet().map(|address| address.ip().to_canonical())
}

fn declared(session: &Session) -> Option<u64> {
    head::decimal(session.get_header(header::CONTENT_LENGTH)?.as_bytes())
}

fn expects_continue(session: &Session) -> bool {
    // HTTP/1.0 knows no interim answers (RFC 9110 §15.2).
    session.req_header().version != Version::HTTP_10
        && session
            .get_header(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
