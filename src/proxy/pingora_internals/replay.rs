//! Lets Pingora read a body again that was read to be judged.
//!
//! Pingora itself keeps 64 KiB of a body for that and silently drops the rest. Here a session that
//! yields the saved body replaces the real one while the request is forwarded, and the real one is
//! put back at the end, so that the connection can serve the next request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::l4::socket::SocketAddr;

/// Returns the session that a [`Replay`] replaces.
pub(in crate::proxy) struct Restore(Arc<Mutex<Option<ServerSession>>>);

/// Replaces `session` by one that yields `body` again. An empty body is none.
pub(in crate::proxy) fn replay(session: &mut ServerSession, body: Bytes) -> Restore {
    let home = Arc::new(Mutex::new(None));
    let inner = std::mem::replace(session, placeholder());
    let empty = body.is_empty();
    let body = Some(body).filter(|body| !body.is_empty());
    let replay = Replay { inner: Some(inner), body, empty, home: Arc::clone(&home) };
    *session = ServerSession::new_custom(Box::new(replay));
    Restore(home)
}

impl fmt::Debug for Restore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restore").finish_non_exhaustive()
    }
}

impl Restore {
    /// Puts the real session back.
    pub(in crate::proxy) fn restore(self, session: &mut ServerSession) {
        drop(std::mem::replace(session, placeholder()));
        if let Some(inner) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            *session = inner;
        }
    }
}

/// A temporary value between two assignments.
fn placeholder() -> ServerSession {
    ServerSession::new_custom(Box::new(()))
}

struct Replay {
    /// Taken only when this is dropped.
    inner: Option<ServerSession>,
    /// The part that has not been returned yet.
    body: Option<Bytes>,
    empty: bool,
    home: Arc<Mutex<Option<ServerSession>>>,
}

impl Replay {
    #[allow(clippy::expect_used, reason = "taken in drop only")]
    fn inner(&self) -> &ServerSession {
        self.inner.as_ref().expect("the session is taken when this is dropped")
    }

    #[allow(clippy::expect_used, reason = "taken in drop only")]
    fn inner_mut(&mut self) -> &mut ServerSession {
        self.inner.as_mut().expect("the session is taken when this is dropped")
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.inner.take();
    }
}

#[async_trait]
impl CustomSession for Replay {
    fn req_header(&self) -> &RequestHeader {
        self.inner().req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner_mut().req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        Ok(self.body.take())
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if !no_body_expected && let Some(body) = self.body.take() {
            return Ok(Some(body));
        }
        self.inner_mut().read_body_or_idle(true).await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.body = None;
        self.inner_mut().drain_request_body().await
    }

    fn is_body_done(&mut self) -> bool {
        self.body.is_none()
    }

    fn is_body_empty(&mut self) -> bool {
        self.empty
    }

    // The saved body is returned once, when a server has accepted the connection; a service that
    // tries another server after that finds the body gone.
    fn enable_retry_buffering(&mut self) {}

    fn retry_buffer_truncated(&self) -> bool {
        !self.empty && self.body.is_none()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        None
    }

    async fn write_response_header(&mut self, resp: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.inner_mut().write_response_header(resp).await
    }

    async fn write_response_header_ref(&mut self, resp: &ResponseHeader, _end: bool) -> Result<()> {
        self.inner_mut().write_response_header_ref(resp).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.inner_mut().write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.inner_mut().write_response_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        self.inner_mut().response_duplex_vec(tasks).await
    }

    async fn finish(&mut self) -> Result<()> {
        self.inner_mut().finish_body().await
    }

    async fn shutdown(&mut self, _code: u32, _ctx: &str) {
        self.inner_mut().shutdown().await;
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.inner().get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner().get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner().get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        // SECURITY: Pingora logs this; the real summary contains the target with its query.
        String::new()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner().response_written()
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner().body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner().body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner().digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner_mut().digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner().client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner().server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner().to_h1_raw()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }
}
