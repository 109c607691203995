//! Searches that Wire answers with more than the client asked for.

use bytes::Bytes;
use http::Method;
use pingora::Result;
use pingora::proxy::Session;

use crate::proxy::{GuardProxy, ProxyCtx};
use crate::repair::group_search::{Found, GroupSearch, MAX_BYTES, SearchFault};
use crate::repair::user_search::UserSearch;

impl GuardProxy {
    /// Searches all groups whose names contain the requested one, page by page.
    pub(super) async fn search_groups(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        search: &GroupSearch,
    ) -> Result<()> {
        let mut found = Found::default();
        loop {
            let target = search.next_target(&found);
            let answer =
                self.ask_for(session, ctx, Method::GET, target, Bytes::new(), MAX_BYTES).await?;
            if !answer.is_ok() {
                return self.answer_with(session, ctx, answer).await;
            }
            let taken = match answer.readable() {
                Some(body) => search.take(&mut found, body),
                None if answer.body.is_none() => Err(SearchFault::TooMany),
                None => Err(SearchFault::Unreadable),
            };
            match taken {
                Ok(false) => {}
                Ok(true) => {
                    let list = search.answer(&found);
                    return self.answer_with_document(session, ctx, answer.head, list).await;
                }
                Err(fault) => return self.refuse_search(session, ctx, fault).await,
            }
        }
    }

    /// Looks a user up by its handle, and returns it only if it has the requested address.
    pub(super) async fn search_user(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        search: &UserSearch,
    ) -> Result<()> {
        let target = search.target.clone();
        let answer =
            self.ask_for(session, ctx, Method::GET, target, Bytes::new(), MAX_BYTES).await?;
        if !answer.is_ok() {
            return self.answer_with(session, ctx, answer).await;
        }
        match answer.readable().map_or(Err(SearchFault::Unreadable), |body| search.answer(body)) {
            Ok(None) => self.answer_with(session, ctx, answer).await,
            Ok(Some(list)) => self.answer_with_document(session, ctx, answer.head, list).await,
            Err(fault) => self.refuse_search(session, ctx, fault).await,
        }
    }
}
