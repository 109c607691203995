//! The guard in a Pingora service: one handle with a method for each phase that needs one.
//!
//! A service keeps a [`RequestFilter`], puts a [`FilterCtx`] into its own context, and calls from
//! its `ProxyHttp` the method of the same name as the phase. The order matters: Pingora connects to
//! the backend and writes the head before it reads the body, so everything is judged in
//! `request_filter`, the only phase before that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::Version;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, Session};
use pingora::{BError, Error, ErrorSource, Result};

use crate::audit::AuditLog;
use crate::deprovisioning::AccountChange;
use crate::evaluator::Evaluator;
use crate::logging::AccessLog;
use crate::metrics::Metrics;
use crate::proxy::memory::{Budget, Share};
use crate::proxy::pingora_internals;
use crate::proxy::upstream::forward::{self, BodyFraming, OutboundHead};
use crate::proxy::upstream::throttle;
use crate::proxy::websocket::Upgrades;
use crate::refusal::Refusal;
use crate::repair::Repairs;
use crate::rule::Rule;
use crate::snapshot::Snapshots;
use crate::spans::Tracer;
use crate::tls::client::Secured;
use crate::verdict::VerdictLabel;

use super::context::{FilterCtx, State};
use super::judge_pool::JudgePool;
use super::judging::{Decision, Rest};
use super::recorder::{InFlight, Recorder, RequestRecord};
use super::session::{expects_continue, is_misframed};
use super::spans;
use super::turns::Turns;
use super::{answer, body, failure};

/// How long the rest of a refused request's body is read, so that the connection can be reused.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The guard for Pingora services.
#[derive(Debug)]
pub struct RequestFilter {
    pub(super) evaluator: Arc<Evaluator>,
    budget: Arc<Budget>,
    pub(super) judges: JudgePool,
    pub(super) recorder: Recorder,
    /// Coordinates the requests that change a group.
    pub(super) turns: Arc<Turns>,
    /// The connections that switched to WebSocket; `None`: none may.
    pub(super) upgrades: Option<Arc<Upgrades>>,
    /// Every HTTP/1 head was read and checked by [`Downstream`](crate::proxy::Downstream).
    pub(super) behind_downstream: bool,
}

impl RequestFilter {
    /// From now on the evaluator's token registry is kept up to date.
    pub fn new(evaluator: Arc<Evaluator>, metrics: Arc<Metrics>, access: AccessLog) -> Self {
        evaluator.snapshots().watch();
        evaluator.start_sharing();
        let budget = Budget::new(&evaluator.snapshots().current().config.limits);
        let audit = AuditLog::new(&access);
        let allowances = audit.clone();
        evaluator.snapshots().audit_allowances(move |change| allowances.write_allowance(change));
        let recorder = Recorder { metrics, access, audit, tracer: None };
        Self {
            evaluator,
            budget,
            judges: JudgePool::new(),
            recorder,
            turns: Arc::default(),
            upgrades: None,
            behind_downstream: false,
        }
    }

    /// The same for the proxy, which lets requests outside of SCIM switch to WebSocket.
    pub(in crate::proxy) fn with_upgrades(self, upgrades: Arc<Upgrades>) -> Self {
        Self { upgrades: Some(upgrades), ..self }
    }

    /// The same for a service behind a [`Downstream`](crate::proxy::Downstream), which has checked the
    /// framing of every HTTP/1 head from its bytes already.
    pub fn behind_downstream(self) -> Self {
        Self { behind_downstream: true, ..self }
    }

    pub(in crate::proxy) fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// The same with traces.
    pub fn traced(mut self, tracer: Arc<Tracer>) -> Self {
        self.recorder.tracer = Some(tracer);
        self
    }

    /// The snapshots that it judges by.
    pub fn snapshots(&self) -> &Arc<Snapshots> {
        self.evaluator.snapshots()
    }

    pub(in crate::proxy) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The memory budget that the requests of this filter share.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The context of a new request.
    pub fn new_ctx(&self) -> FilterCtx {
        FilterCtx {
            snapshot: self.snapshots().current(),
            record: RequestRecord::new(),
            state: State::Judging,
            target: None,
            forwarded_for: None,
            keep_z_headers: false,
            inflated: false,
            repairs: Repairs::NONE,
            work: None,
            share: Share::of(&self.budget),
            weight: 0,
            known: false,
            metered: None,
            removal: None,
            in_flight: Some(InFlight::new(self.recorder.metrics.in_flight())),
        }
    }

    /// Judges the request. `true`: it was answered, and must not be forwarded.
    pub async fn request_filter(&self, session: &mut Session, ctx: &mut FilterCtx) -> Result<bool> {
        let answered = self.admit_as(session, ctx, false).await?;
        ctx.state = match ctx.state.take() {
            // Pingora sends it, and has to read the body again.
            State::Buffered { body, framing, consumed: true } => {
                State::Replaying { framing, restore: pingora_internals::replay(session, body) }
            }
            State::Buffered { framing, .. } => State::Streaming { framing },
            other => other,
        };
        Ok(answered)
    }

    /// As [`RequestFilter::request_filter`], for a proxy that itself sends the body that was read.
    pub(in crate::proxy) async fn admit(
        &self,
        session: &mut Session,
        ctx: &mut FilterCtx,
    ) -> Result<bool> {
        self.admit_as(session, ctx, true).await
    }

    async fn admit_as(
        &self,
        session: &mut Session,
        ctx: &mut FilterCtx,
        in_proxy: bool,
    ) -> Result<bool> {
        self.prepare(session, ctx);
        let decision = match self.judge(session, ctx, in_proxy).await? {
            Decision::Forward if ctx.record.remarks.account != AccountChange::None => {
                match ctx.snapshot.shared {
                    None => self.judge_removal(session, ctx),
                    Some(_) => Box::pin(self.judge_shared(session, ctx)).await,
                }
            }
            Decision::Forward if ctx.metered.is_some() => {
                Box::pin(self.judge_shared(session, ctx)).await
            }
            decision => decision,
        };
        spans::judged(&mut ctx.record);
        match decision {
            Decision::Forward => {
                ctx.record.forwarded = !ctx.is_unjudged();
                let verdict = VerdictLabel::of_passed(&ctx.record.remarks);
                self.recorder.judged(&ctx.record, verdict);
                self.recorder.repaired(&ctx.record);
                Ok(false)
            }
            Decision::Refuse(refusal, rest) => {
                self.recorder.judged(&ctx.record, VerdictLabel::Refused);
                self.refuse(session, ctx, &refusal, rest).await.map_err(Error::into_down)?;
                Ok(true)
            }
        }
    }

    pub(super) async fn refuse(
        &self,
        session: &mut Session,
        ctx: &mut FilterCtx,
        refusal: &Refusal,
        rest: Rest,
    ) -> Result<()> {
        // SECURITY: refused requests take nothing from others. Only a limited number of streams is
        // waited for whose clients do not read their answer.
        ctx.share.release();
        let place = if session.is_http2() { self.budget.linger() } else { None };
        let timeout = if place.is_some() { DRAIN_TIMEOUT } else { Duration::ZERO };
        self.recorder.answered(&mut ctx.record, refusal.rule, VerdictLabel::Refused);
        ctx.record.at.clone_from(&refusal.at);
        ctx.record.end_audit(refusal.status());
        let close = rest == Rest::LeftUnread;
        let waits = expects_continue(session);
        let id = ctx.record.request_id.clone();
        ctx.record.bytes_out = answer::send(session, refusal, &id, close, timeout).await?;
        ctx.record.ended = Some(Instant::now());
        // Closing a connection with unread bytes, or a stream whose body is being sent, resets it,
        // and the reset overtakes the answer or is reported instead of it; so a part of the body is
        // read. Over HTTP/1 Pingora does that if the connection stays open.
        let left_unread = if session.is_http2() { place.is_some() } else { close };
        if left_unread && !waits {
            let _ = tokio::time::timeout(DRAIN_TIMEOUT, session.drain_request_body()).await;
        }
        Ok(())
    }

    /// Turns the client's head into the one that is sent to the backend.
    pub async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut FilterCtx,
    ) -> Result<()> {
        forward::request(upstream_request, &Self::leaving(session.req_header(), ctx, None))
    }

    /// Writes the head that is sent to the backend. `secured`: over TLS.
    pub(in crate::proxy) fn write_head(
        head: &RequestHeader,
        ctx: &mut FilterCtx,
        secured: Option<&Secured>,
        out: &mut BytesMut,
    ) -> Result<()> {
        forward::write(head, &Self::leaving(head, ctx, secured), out)
    }

    /// The same for a request that asks to switch to WebSocket.
    pub(in crate::proxy) fn write_upgrade_head(
        session: &Session,
        ctx: &mut FilterCtx,
        secured: Option<&Secured>,
        out: &mut BytesMut,
    ) -> Result<()> {
        let mut leaving = Self::leaving(session.req_header(), ctx, secured);
        leaving.framing = BodyFraming::Nothing;
        leaving.websocket = true;
        forward::write(session.req_header(), &leaving, out)
    }

    fn leaving<'a>(
        head: &RequestHeader,
        ctx: &'a mut FilterCtx,
        secured: Option<&'a Secured>,
    ) -> OutboundHead<'a> {
        if let Some(place) = &mut ctx.removal {
            place.leaves();
        }
        ctx.record.upstream_started.get_or_insert_with(Instant::now);
        OutboundHead {
            target: ctx.target.as_deref(),
            framing: ctx.state.framing(),
            version: head.version,
            host: forward::host(&ctx.snapshot.config, secured),
            request_id: &ctx.record.request_id,
            forwarded_for: ctx.forwarded_for.clone(),
            keep_z_headers: ctx.keep_z_headers,
            websocket: false,
            cookies: forward::cookies(head),
            trace: ctx.record.trace.as_deref(),
            repaired: ctx.record.repaired,
            inflated: ctx.inflated,
        }
    }

    /// Checks a part of a body that is streamed to the backend.
    ///
    /// SECURITY: Pingora writes an empty last part, with which HTTP/2 ends many bodies, as a last
    /// chunk followed by another one. The backend would answer the second as a separate request,
    /// and another client's request on the same connection would receive that answer.
    pub async fn request_body_filter(&self, body: &mut Option<Bytes>, end_of_stream: bool) {
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
    }

    /// Turns the backend's head into the one that is sent to the client.
    pub async fn upstream_response_filter(
        &self,
        upstream_response: &mut ResponseHeader,
        ctx: &mut FilterCtx,
    ) -> Result<()> {
        let status = upstream_response.status.as_u16();
        if let Some(place) = &mut ctx.removal {
            place.answered(status);
        }
        ctx.record.wire_status = Some(status);
        if let Some(digest) = ctx.record.digest {
            self.evaluator.answered(&ctx.snapshot, digest, ctx.record.client, status);
        }
        forward::response(upstream_response, &ctx.record.request_id)?;
        if !ctx.record.repaired.is_empty() {
            let names = ctx.record.repaired.names();
            upstream_response.insert_header(forward::SCIM_GUARD_REPAIRED, names)?;
        }
        if throttle::is_throttling(status) && ctx.snapshot.config.map_420 {
            // A backend that throttles is healthy, and the request reached it.
            let verdict = VerdictLabel::of_passed(&ctx.record.remarks);
            self.recorder.answered(&mut ctx.record, Rule::UpstreamThrottled, verdict);
            throttle::translate(upstream_response)?;
        }
        Ok(())
    }

    /// Turns the backend's agreement to a switch into the client's.
    pub(in crate::proxy) fn switched(
        &self,
        upstream_response: &mut ResponseHeader,
        ctx: &mut FilterCtx,
    ) -> Result<()> {
        ctx.record.wire_status = Some(upstream_response.status.as_u16());
        forward::switched(upstream_response, &ctx.record.request_id)
    }

    /// Frames a streamed answer for a client that does not support chunks.
    pub async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader) {
        if session.req_header().version == Version::HTTP_10 {
            forward::unchunk(session, response);
        }
    }

    /// Ensures that a request is not sent again after bytes of it have been sent: whether the
    /// backend has acted on them is not known.
    pub fn error_while_proxy(&self, mut error: BError) -> BError {
        error.set_retry(false);
        error
    }

    /// Answers with a SCIM error when the backend failed.
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
                if matches!(ctx.state, State::Streaming { .. }) && !session.is_body_done() =>
            {
                body::too_slow()
            }
            Some(refusal) => refusal,
            // The client has disconnected.
            None => return gone,
        };
        let answered =
            session.response_written().is_some_and(|head| !head.status.is_informational());
        // It has received a part of an answer, and sees it break off.
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
            self.recorder.answered(&mut ctx.record, refusal.rule, verdict);
        }
        if answered {
            return gone;
        }
        // Pingora closes the connection after a request that it sent itself: it may not have been
        // read completely.
        let close = !matches!(ctx.state, State::Exchanging { .. });
        let id = ctx.record.request_id.clone();
        ctx.record.end_audit(refusal.status());
        let sent = answer::send(session, &refusal, &id, close, DRAIN_TIMEOUT).await;
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
        if matches!(ctx.state, State::Switched) {
            status = 101;
        }
        let whole = matches!(ctx.state, State::Exchanging { .. }) || record.answered.is_some();
        let gone = error.is_some_and(|error| error.esource() == &ErrorSource::Downstream);
        // A complete HTTP/1 answer could not be written, and nothing of it was sent.
        if gone && whole && record.bytes_out == 0 && !session.is_http2() {
            status = 0;
        }
        self.recorder.close(record, status);
        // The session that read the request ends it, so that its connection can be reused.
        if let State::Replaying { restore, .. } = ctx.state.take() {
            restore.restore(session);
        }
        ctx.share.release();
        ctx.in_flight = None;
    }
}
