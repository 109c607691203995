//! Judging a request, before Pingora connects to the backend: its head, then its body, which is read
//! only when the head has passed.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::Method;
use pingora::proxy::Session;
use pingora::{Error, Result};

use crate::api::{BodyKind, Handler};
use crate::evaluator::{BodyTask, Head, HeadVerdict, Next};
use crate::metrics::MethodLabel;
use crate::proxy::downstream::conn::ClientConn;
use crate::proxy::downstream::head::HeadRules;
use crate::proxy::downstream::{framing, upgrade};
use crate::proxy::memory::{self, Kind};
use crate::proxy::upstream::forward::{self, BodyFraming};
use crate::proxy::upstream::origin;
use crate::refusal::Refusal;
use crate::removal;
use crate::rule::Rule;

use super::auditing;
use super::body::{self, Unread};
use super::context::{FilterCtx, State};
use super::filter::{DRAIN_TIMEOUT, RequestFilter};
use super::session::{
    account, certificate, client_conn, declared, expects_continue, is_misframed, peer_ip,
};

/// The size of a head from which on its memory counts, in bytes. Most are smaller, so that a
/// request without a body is not refused because of what others hold.
const LARGE_HEAD: usize = 4 * 1024;

/// The outcome of judging.
pub(super) enum Decision {
    Forward,
    /// Answered with this refusal.
    Refuse(Refusal, Rest),
}

/// What is done with the unread rest of a refused request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing is left, or it is read after the answer.
    Drained,
    /// The connection is closed after the answer.
    LeftUnread,
}

impl RequestFilter {
    /// Sets up the session, and records what every record contains.
    pub(super) fn prepare(&self, session: &mut Session, ctx: &mut FilterCtx) {
        if let Some(conn) = client_conn(session)
            && !Arc::ptr_eq(conn.snapshot(), &ctx.snapshot)
        {
            // The head was checked by this filter's `Downstream`.
            ctx.snapshot = Arc::clone(conn.snapshot());
        }
        session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
        session.set_close_on_response_before_downstream_finish(false);
        // A client that has sent its request and closed its half still receives its answer, and
        // what the backend has begun is not cut off (RFC 9112 §9.6).
        session.set_abort_on_close(false);
        session.set_read_timeout(Some(ctx.limits().body_timeout));
        if session.is_http2() || !self.behind_downstream {
            session.set_write_timeout(Some(ctx.limits().write_timeout));
        }
        let peer = peer_ip(session);
        let head = session.req_header();
        ctx.weight = match client_conn(session) {
            _ if session.is_http2() => memory::of_stream(head),
            // A large head is held twice, as bytes and as fields.
            Some(conn) if conn.head() > LARGE_HEAD => 2 * conn.head(),
            _ => 0,
        };
        ctx.record.method = MethodLabel::of(&head.method);
        ctx.record.request_id = forward::request_id(&head.headers);
        let origin = origin::find(&head.headers, peer, &ctx.snapshot.config.trusted_proxies);
        ctx.record.client = origin.client;
        // A proxy that does not report its client has no client address.
        let behind_proxy = origin.client.filter(|client| Some(*client) != peer);
        match account(session) {
            Some(account) => ctx.share.set_connection(account, behind_proxy),
            None => ctx.share.set_client(origin.client),
        }
        ctx.forwarded_for = origin.forwarded_for;
        if let Some(tracer) = &self.recorder.tracer {
            super::spans::begin(tracer, session, ctx);
        }
    }

    pub(super) async fn judge(
        &self,
        session: &mut Session,
        ctx: &mut FilterCtx,
        in_proxy: bool,
    ) -> Result<Decision> {
        // SECURITY: one HTTP/2 connection carries many requests, and each takes memory before any
        // body.
        if ctx.weight > 0
            && let Err(refusal) = ctx.share.grow(Kind::Head, ctx.weight).await
        {
            return Ok(Decision::Refuse(refusal, Rest::LeftUnread));
        }
        // `Downstream` has checked the bytes of HTTP/1 heads.
        if (session.is_http2() || !self.behind_downstream)
            && let Err(refusal) =
                framing::check(session.req_header(), HeadRules::of(&ctx.snapshot.config))
        {
            return Ok(Decision::Refuse(refusal, Rest::LeftUnread));
        }
        let started = Instant::now();
        let head = session.req_header();
        let sent = client_conn(session).and_then(ClientConn::sent_target).map(<[u8]>::to_vec);
        let judged = Head {
            method: &head.method,
            target: sent.as_deref().unwrap_or_else(|| head.raw_path()),
            headers: &head.headers,
            client: ctx.record.client,
            certificate: certificate(session),
        };
        let verdict = match in_proxy {
            true => self.evaluator.judge_head_for_proxy(&ctx.snapshot, judged),
            false => self.evaluator.judge_head(&ctx.snapshot, judged),
        };
        let HeadVerdict {
            handler,
            token,
            digest,
            known,
            metered,
            remarks,
            repairs,
            repaired,
            work,
            next,
        } = verdict;
        ctx.record.validation += started.elapsed();
        ctx.record.handler = handler;
        ctx.record.token = token;
        ctx.record.digest = digest;
        ctx.record.remarks = remarks;
        ctx.record.repaired = repaired;
        ctx.known = known;
        ctx.metered = metered;
        ctx.repairs = repairs;
        ctx.work = work;
        if !known {
            ctx.share.mark_unknown();
        }
        match next {
            Next::Refuse(refusal) => {
                let rest = rest(session, ctx.limits().body);
                Ok(Decision::Refuse(refusal, rest))
            }
            Next::Forward { target } => {
                ctx.target = target.or(sent);
                ctx.keep_z_headers = forward::keeps_z_headers(
                    &ctx.snapshot.config.z_headers,
                    handler,
                    peer_ip(session),
                );
                self.pass_unjudged(session, ctx).await
            }
            Next::Body { target, task } => {
                ctx.target = target.or(sent);
                self.judge_body(session, ctx, task).await
            }
        }
    }

    /// Lets a request pass whose body is not judged.
    async fn pass_unjudged(&self, session: &mut Session, ctx: &mut FilterCtx) -> Result<Decision> {
        let unjudged = ctx.is_unjudged();
        if unjudged && let Some(conn) = client_conn(session) {
            if conn.asks_for_websocket() {
                return Ok(self.admit_upgrade(ctx));
            }
            // The answer may be large and take long, and is written as it arrives.
            conn.write_through();
        }
        if session.is_body_done() {
            if let Err(refusal) = self.begin_audit(session, ctx) {
                return Ok(Decision::Refuse(refusal, Rest::Drained));
            }
            // `Content-Length: 0` is forwarded, as some backends require it with a POST.
            let has_length =
                session.req_header().method == Method::POST || declared(session).is_some();
            let framing = if has_length { BodyFraming::Length(0) } else { BodyFraming::Nothing };
            // Pingora's own path buffers for clients that read nothing, which over HTTP/2 may be
            // many. To a backend that speaks TLS it streams over a new connection.
            let at_once = session.is_http2() || ctx.snapshot.tls.has_servers();
            ctx.state = if !unjudged || at_once {
                State::Buffered { body: Bytes::new(), framing, consumed: false }
            } else {
                State::Streaming { framing }
            };
            return Ok(Decision::Forward);
        }
        if unjudged && !auditing::concerns(&ctx.snapshot, &ctx.record) {
            self.invite_body(session).await?;
            ctx.state = State::Streaming { framing: BodyFraming::Streamed };
            return Ok(Decision::Forward);
        }
        // SECURITY: no byte of a body for a path that Wire serves is forwarded unjudged. Wire reads
        // no body with GET and DELETE, so it is dropped, and the request is forwarded without it.
        match self.read_body(session, ctx, unjudged).await? {
            Ok(body) => {
                if let Err(refusal) = self.begin_audit(session, ctx) {
                    return Ok(Decision::Refuse(refusal, Rest::Drained));
                }
                let framing = match unjudged {
                    true => BodyFraming::Length(body.len()),
                    false => BodyFraming::Nothing,
                };
                ctx.state = State::Buffered { body, framing, consumed: true };
                Ok(Decision::Forward)
            }
            Err(refusal) => Ok(Decision::Refuse(refusal, Rest::LeftUnread)),
        }
    }

    /// Reserves a line in the audit log, if there is one.
    fn begin_audit(&self, session: &Session, ctx: &mut FilterCtx) -> Result<(), Refusal> {
        if !auditing::concerns(&ctx.snapshot, &ctx.record) {
            return Ok(());
        }
        let target = ctx.target.as_deref().unwrap_or_else(|| session.req_header().raw_path());
        auditing::begin(&self.recorder.audit, &mut ctx.record, target)
    }

    /// Judges whether an accepted request removes a user that its token may not remove now.
    pub(super) fn judge_removal(&self, session: &Session, ctx: &mut FilterCtx) -> Decision {
        let request = removal::Request {
            token: ctx.record.digest,
            label: ctx.record.token.as_ref(),
            known: ctx.known,
            target: ctx.target.as_deref().unwrap_or_else(|| session.req_header().raw_path()),
        };
        let counter = self.evaluator.deprovisioning();
        let judged = removal::judge(&ctx.snapshot, counter, request, &mut ctx.record.remarks);
        ctx.decide(judged)
    }

    /// A request that asks to switch to WebSocket.
    fn admit_upgrade(&self, ctx: &mut FilterCtx) -> Decision {
        // SECURITY: only the proxy directly in front of the backend can switch, and the head was
        // checked for it.
        let upgrades = self.upgrades.as_ref().filter(|_| ctx.record.handler == Handler::Other);
        let Some(upgrades) = upgrades else {
            return Decision::Refuse(upgrade::refused(), Rest::LeftUnread);
        };
        match upgrades.enter(ctx.limits().upgrades) {
            Ok(slot) => {
                ctx.state = State::Upgrading { slot };
                Decision::Forward
            }
            Err(refusal) => Decision::Refuse(refusal, Rest::LeftUnread),
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
        if let Err(refusal) = self.begin_audit(session, ctx) {
            return Ok(Decision::Refuse(refusal, Rest::Drained));
        }
        self.recorder.metrics.body(body.len());
        let judged = self.judges.judge(&ctx.snapshot, task, &body, &mut ctx.record).await;
        let body = match judged {
            Ok(None) => body,
            Ok(Some(repaired)) => match Box::pin(ctx.repair_body(task, &body, repaired)).await {
                Ok(body) => body,
                Err(refusal) => return Ok(Decision::Refuse(refusal, Rest::Drained)),
            },
            Err(refusal) => {
                // Where large bodies wait already, this one does not wait again.
                if ctx.record.audit.is_some() && refusal.rule != Rule::LimitsBufferedBytes {
                    // The request is refused anyway, with the more important reason.
                    let _ = Box::pin(auditing::describe(&self.judges, ctx, task, &body)).await;
                }
                return Ok(Decision::Refuse(refusal, Rest::Drained));
            }
        };
        if ctx.record.audit.is_some() {
            let task = BodyTask { gzip: task.gzip && !ctx.inflated, ..task };
            let described = Box::pin(auditing::describe(&self.judges, ctx, task, &body)).await;
            if let Err(refusal) = described {
                return Ok(Decision::Refuse(refusal, Rest::Drained));
            }
        }
        let has_none =
            task.kind == BodyKind::Unserved && body.is_empty() && declared(session).is_none();
        let framing = if has_none { BodyFraming::Nothing } else { BodyFraming::Length(body.len()) };
        ctx.state = State::Buffered { body, framing, consumed: true };
        Ok(Decision::Forward)
    }

    /// Reads a body within the limits. The inner error is for the client.
    async fn read_body(
        &self,
        session: &mut Session,
        ctx: &mut FilterCtx,
        keep: bool,
    ) -> Result<Result<Bytes, Refusal>> {
        let limit = ctx.limits().body;
        if declared(session).is_some_and(|length| length > limit as u64) {
            return Ok(Err(crate::body::too_large(limit)));
        }
        self.invite_body(session).await?;
        let read = body::read(session, &ctx.snapshot.config.limits, &mut ctx.share, keep).await;
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
}

/// What is done with the body of a request that is refused because of its head.
fn rest(session: &mut Session, limit: usize) -> Rest {
    let too_long = declared(session).is_some_and(|length| length > limit as u64);
    // A client that waits for 100 Continue may or may not send its body: whether the next bytes are
    // the body or the next request cannot be known.
    if !session.is_body_done() && (too_long || expects_continue(session)) {
        Rest::LeftUnread
    } else {
        Rest::Drained
    }
}
