//! Repairs that take more than one request to the backend: the guard sends requests of its own,
//! with the client's token, and makes one answer of the results.
//!
//! They are sent like the client's requests: to the same servers, over the same connections, with
//! the same headers and limits of time and memory. An unexpected answer to a step becomes the
//! client's answer.

mod group_patch;
mod own_request;
mod search;

use pingora::Result;
use pingora::proxy::Session;

use crate::refusal::Refusal;
use crate::repair::group_search::SearchFault;
use crate::repair::work::Work;
use crate::rule::Rule;

use super::{GuardProxy, ProxyCtx, exchange};

impl GuardProxy {
    /// Carries out the repair of a request instead of forwarding it, within the time limit of one
    /// request.
    pub(super) async fn carry_out(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        work: Work,
    ) -> Result<()> {
        let deadline = exchange::deadline(ctx);
        let done = tokio::time::timeout_at(deadline, async {
            match work {
                Work::GroupSearch(search) => self.search_groups(session, ctx, &search).await,
                Work::UserSearch(search) => self.search_user(session, ctx, &search).await,
                Work::GroupPatch(patch) => self.patch_group(session, ctx, &patch).await,
            }
        });
        let done = done.await;
        self.settle(ctx, done)
    }

    /// The refusal if the backend's answers cannot be combined into one.
    async fn refuse_search(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        fault: SearchFault,
    ) -> Result<()> {
        let refusal = match fault {
            SearchFault::TooMany => Refusal::new(
                Rule::FilterUnsupported,
                "More groups have this name as a part of theirs than the guard searches (1,000 groups, 4 MiB). Wire \
                 can search by displayName co \"...\" only.",
            ),
            SearchFault::Unreadable => Refusal::new(
                Rule::UpstreamAnswer,
                "Wire's server did not answer the search with a complete list. Try again later.",
            ),
        };
        self.filter.refuse_after_sending(session, &mut ctx.filter, &refusal).await
    }
}
