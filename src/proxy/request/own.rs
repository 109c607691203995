//! What requests that the guard itself sends need of the client's request.

use std::sync::Arc;

use bytes::Bytes;
use pingora::proxy::Session;
use pingora::{Error, Result};

use crate::api::BodyKind;
use crate::evaluator::BodyTask;
use crate::proxy::upstream::forward::BodyFraming;
use crate::refusal::Refusal;
use crate::repair::Repairs;
use crate::repair::work::Work;
use crate::rule::Rule;
use crate::verdict::VerdictLabel;

use super::context::{FilterCtx, State};
use super::filter::RequestFilter;
use super::judging::Rest;
use super::turns::Turns;

impl FilterCtx {
    /// The work to do for the request instead of forwarding it.
    pub(in crate::proxy) fn take_work(&mut self) -> Option<Work> {
        self.work.take().map(|work| *work)
    }

    /// The target that the request would be forwarded with.
    pub(in crate::proxy) fn target<'a>(&'a self, session: &'a Session) -> &'a [u8] {
        self.target.as_deref().unwrap_or_else(|| session.req_header().raw_path())
    }

    /// Sets the target of the next request, and the length of its body if it has one.
    pub(in crate::proxy) fn send_instead(&mut self, target: Vec<u8>, length: Option<usize>) {
        self.target = Some(target);
        let framing = length.map_or(BodyFraming::Nothing, BodyFraming::Length);
        self.state = State::Exchanging { framing };
    }

    /// Whether the token is unknown: Wire has not accepted it lately, and no registry contains it.
    pub(in crate::proxy) fn has_unknown_token(&self) -> bool {
        self.share.is_unknown()
    }
}

impl RequestFilter {
    pub(in crate::proxy) fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// Judges a group that the guard has changed.
    pub(in crate::proxy) async fn judge_group(
        &self,
        ctx: &mut FilterCtx,
        body: &Bytes,
    ) -> std::result::Result<(), Refusal> {
        let task =
            BodyTask { kind: BodyKind::Group, gzip: false, identity: None, repairs: Repairs::NONE };
        self.judges.judge(&ctx.snapshot, task, body, &mut ctx.record).await.map(drop)
    }

    /// Refuses a request after something has been sent for it.
    pub(in crate::proxy) async fn refuse_after_sending(
        &self,
        session: &mut Session,
        ctx: &mut FilterCtx,
        refusal: &Refusal,
    ) -> Result<()> {
        // What Wire has answered so far says nothing about the request.
        ctx.record.forwarded = false;
        let sent = self.refuse(session, ctx, refusal, Rest::Drained).await;
        if refusal.rule == Rule::UpstreamAnswer {
            ctx.record.answered = Some((refusal.rule, VerdictLabel::Failed));
        }
        sent.map_err(Error::into_down)
    }
}
