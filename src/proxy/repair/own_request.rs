//! Requests that the guard itself sends for a client's request.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::v1::client::HttpSession as Backend;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use crate::proxy::memory::Kind;
use crate::proxy::request::replace;
use crate::proxy::upstream::servers::Attempts;
use crate::proxy::upstream::{throttle, tls};
use crate::proxy::{GuardProxy, ProxyCtx, exchange};
use crate::refusal::SCIM_JSON;

/// The most that Pingora reads of an answer at a time.
const READER: usize = 64 * 1024;

/// Headers that belong to the client's request and not to one that is made for it: the format of
/// its body, the formats of the answer that it accepts, and conditions on the resource.
const NOT_OURS: [&str; 10] = [
    "accept-encoding",
    "content-encoding",
    "content-type",
    "content-language",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
];

/// The backend's answer to a request that the guard itself sent.
pub(super) struct Answer {
    pub head: Box<ResponseHeader>,
    /// `None`: it is larger than the limit.
    pub body: Option<Bytes>,
}

impl Answer {
    /// The body, if it was read and has no content coding.
    pub(super) fn readable(&self) -> Option<&Bytes> {
        let plain = !self.head.headers.contains_key(header::CONTENT_ENCODING);
        self.body.as_ref().filter(|_| plain)
    }

    pub(super) fn is_ok(&self) -> bool {
        self.head.status == StatusCode::OK
    }
}

impl GuardProxy {
    /// Sends a request on the client's behalf and reads its whole answer, up to `limit` bytes.
    pub(super) async fn ask_for(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        method: Method,
        target: Vec<u8>,
        body: Bytes,
        limit: usize,
    ) -> Result<Answer> {
        // The previous step has been answered.
        self.upstreams.answered(&ctx.attempts);
        ctx.attempts = Attempts::default();
        ctx.filter.send_instead(target, (method == Method::PUT).then_some(body.len()));
        let own = own_head(session.req_header(), method)?;
        let mut backend = self.send_safely(session, ctx, Some(&own), &body).await?;
        let answer = read(self, &mut backend, session, ctx, limit).await;
        if answer.as_ref().is_ok_and(|answer| answer.body.is_some())
            || answer.as_ref().is_err_and(|error| throttle::is_throttled(error))
        {
            self.keep(backend, ctx).await;
        }
        answer
    }

    /// Sends an answer to the client, unchanged or translated.
    pub(super) async fn answer_with(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        answer: Answer,
    ) -> Result<()> {
        let Answer { mut head, body } = answer;
        let read = body.clone().unwrap_or_default();
        if body.is_some() {
            ctx.filter.keep_disagreement(&head, &read);
            ctx.filter.audit_answer(&head, &read);
        }
        // The guard itself sends no HEAD.
        let made = self.filter.replacement(
            &mut ctx.filter,
            &mut head,
            &Method::GET,
            &read,
            body.is_some(),
        )?;
        let body = made.or(body).ok_or_else(too_long)?;
        head.remove_header(&header::TRANSFER_ENCODING);
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
        ctx.write_made_answer(session, head, body).await
    }

    /// Sends the client a document that was made from answers of the backend.
    pub(super) async fn answer_with_document(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        mut head: Box<ResponseHeader>,
        body: Vec<u8>,
    ) -> Result<()> {
        replace::describe(&mut head, body.len())?;
        ctx.write_made_answer(session, head, body.into()).await
    }
}

/// The client's head for another request.
fn own_head(head: &RequestHeader, method: Method) -> Result<RequestHeader> {
    let mut own = head.clone();
    for name in NOT_OURS {
        own.remove_header(name);
    }
    if method == Method::PUT {
        own.insert_header("Content-Type", SCIM_JSON)?;
    }
    own.set_method(method);
    Ok(own)
}

/// Reads an answer to its end, unless it is larger than `limit`.
async fn read(
    proxy: &GuardProxy,
    backend: &mut Backend,
    session: &mut Session,
    ctx: &mut ProxyCtx,
    limit: usize,
) -> Result<Answer> {
    let Some(head) = backend.resp_header() else {
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, "no head").into_up());
    };
    let mut head = Box::new(head.clone());
    let mut done = backend.is_body_done();
    proxy.answer_came(session, &mut head, ctx).await?;
    let mut body = BytesMut::new();
    // As in `exchange`: memory has to be reserved before anything is read.
    if !done && session.is_http2() {
        let room = ctx.filter.reserve(Kind::Answer, READER);
        exchange::while_wanted(session, pin!(room)).await?;
    }
    while !done {
        let piece = async { backend.read_body_ref().await.map_err(Error::into_up) };
        let Some(piece) = exchange::while_wanted(session, pin!(piece)).await? else { break };
        if body.len() + piece.len() > limit {
            return Ok(Answer { head, body: None });
        }
        body.extend_from_slice(piece);
        let room = ctx.filter.reserve(Kind::Answer, piece.len());
        exchange::while_wanted(session, pin!(room)).await?;
        done = backend.is_body_done();
    }
    if let Some(error) = tls::of_body(head.status.as_u16(), &body) {
        return Err(error);
    }
    if ctx.filter.is_throttled() && body.is_empty() {
        return Err(throttle::without_body(&head));
    }
    Ok(Answer { head, body: Some(body.freeze()) })
}

fn too_long() -> pingora::BError {
    Error::explain(ErrorType::InvalidHTTPHeader, "an answer that is too long").into_up()
}
