//! A PATCH of a group in two steps: the group is read, changed and sent back.

use std::pin::pin;

use bytes::Bytes;
use http::Method;
use pingora::Result;
use pingora::proxy::Session;

use crate::proxy::{GuardProxy, ProxyCtx, exchange};
use crate::refusal::Refusal;
use crate::repair::group_document::GroupDocument;
use crate::repair::group_patch::GroupPatch;
use crate::rule::Rule;

use super::own_request::Answer;

/// The maximum size of a group that is read, in bytes.
const MAX_GROUP: usize = 4 * 1024 * 1024;

/// The maximum size of the answer to a changed group, in bytes.
const MAX_ANSWER: usize = MAX_GROUP;

/// The outcome of a PATCH.
enum Outcome {
    Answered(Answer),
    Refused(Refusal),
}

impl GuardProxy {
    pub(super) async fn patch_group(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        patch: &GroupPatch,
    ) -> Result<()> {
        // SECURITY: the turn has been released by now: a client that reads its answer slowly makes
        // no other request wait.
        match self.change_group(session, ctx, patch).await? {
            Outcome::Answered(answer) => self.answer_with(session, ctx, answer).await,
            Outcome::Refused(refusal) => {
                self.filter.refuse_after_sending(session, &mut ctx.filter, &refusal).await
            }
        }
    }

    async fn change_group(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        patch: &GroupPatch,
    ) -> Result<Outcome> {
        let target = ctx.filter.target(session).to_vec();
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        let id = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        // SECURITY: a client whose token Wire does not accept must not make others wait for the
        // group.
        if ctx.filter.has_unknown_token() {
            let answer = self.read_group(session, ctx, &target).await?;
            if !answer.is_ok() {
                return Ok(Outcome::Answered(answer));
            }
        }
        let longest = ctx.filter.limits().group_patch_wait;
        let wait = async { Ok(self.filter.turns().wait(id, longest).await) };
        let Some(_turn) = exchange::while_wanted(session, pin!(wait)).await? else {
            return Ok(Outcome::Refused(busy()));
        };
        let answer = self.read_group(session, ctx, &target).await?;
        if !answer.is_ok() {
            return Ok(Outcome::Answered(answer));
        }
        let Some(group) = answer.readable().and_then(|body| GroupDocument::read(body)) else {
            return Ok(Outcome::Refused(unreadable()));
        };
        // A PATCH that changes nothing is not sent.
        let Some(changed) = group.patched(patch) else { return Ok(Outcome::Answered(answer)) };
        let body = Bytes::from(changed.to_put());
        if let Err(refusal) = self.filter.judge_group(&mut ctx.filter, &body).await {
            return Ok(Outcome::Refused(refusal));
        }
        let answer = self.ask_for(session, ctx, Method::PUT, target, body, MAX_ANSWER).await?;
        Ok(Outcome::Answered(answer))
    }

    async fn read_group(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        target: &[u8],
    ) -> Result<Answer> {
        let target = target.to_vec();
        self.ask_for(session, ctx, Method::GET, target, Bytes::new(), MAX_GROUP).await
    }
}

fn busy() -> Refusal {
    Refusal::new(
        Rule::LimitsGroupPatches,
        "Other requests change this group, and a PATCH has to wait for them (limits.group_patch_wait). Nothing was \
         changed; send it again later.",
    )
}

fn unreadable() -> Refusal {
    Refusal::new(
        Rule::UpstreamAnswer,
        "Wire's server did not answer with a group that can be read, so that nothing was changed. Try again later.",
    )
}
