//! HTTP/2 connections: Pingora serves them, with limits of the guard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::ShutdownWatch;

use crate::config::Limits;

/// Bytes of an answer that an HTTP/2 stream may have buffered for a client that reads nothing.
const SEND_BUFFER: usize = 64 * 1024;

/// How long an HTTP/2 client may be silent while the process is stopping.
const DRAIN_SILENCE: Duration = Duration::from_secs(1);

/// The application of one HTTP/2 connection, with the limits of its snapshot. Its open requests are
/// counted.
pub(super) struct Http2App<A> {
    app: Arc<A>,
    open: AtomicUsize,
    limits: Http2Limits,
    options: Option<HttpServerOptions>,
}

/// Settings of an HTTP/2 connection.
struct Http2Limits {
    streams: u32,
    header_bytes: u32,
}

impl<A: HttpServerApp> Http2App<A> {
    pub(super) fn new(app: Arc<A>, limits: &Limits) -> Self {
        let mut options = app.server_options().cloned();
        if let Some(options) = &mut options {
            options.h2_idle_timeout = Some(limits.keepalive_timeout);
        }
        let limits = Http2Limits {
            streams: limits.streams,
            header_bytes: u32::try_from(limits.header_bytes).unwrap_or(u32::MAX),
        };
        Self { app, open: AtomicUsize::new(0), limits, options }
    }

    /// How many requests are in flight.
    pub(super) fn open(&self) -> &AtomicUsize {
        &self.open
    }
}

/// A counter that is one higher while this lives.
struct OpenRequest<'c>(&'c AtomicUsize);

impl Drop for OpenRequest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl<A> HttpServerApp for Http2App<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.open.fetch_add(1, Ordering::Relaxed);
        let _open = OpenRequest(&self.open);
        self.app.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut h2 = self.app.h2_options().unwrap_or_else(default_h2_options);
        h2.max_send_buffer_size(SEND_BUFFER);
        h2.max_concurrent_streams(self.limits.streams);
        h2.max_header_list_size(self.limits.header_bytes);
        Some(h2)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.options.as_ref()
    }
}

/// Waits until the process is stopping, the client has no request in flight, and it has been silent
/// for a moment. A client that is alive answers the PING with which Pingora announces the end; for
/// one that is not, the process would wait until `limits.shutdown_timeout`.
pub(super) async fn is_silent(
    mut shutdown: ShutdownWatch,
    heard: &AtomicUsize,
    open: &AtomicUsize,
) {
    // The sender lives as long as the process serves.
    let _ = shutdown.wait_for(|stop| *stop).await;
    loop {
        let before = heard.load(Ordering::Relaxed);
        tokio::time::sleep(DRAIN_SILENCE).await;
        if heard.load(Ordering::Relaxed) == before && open.load(Ordering::Relaxed) == 0 {
            return;
        }
    }
}
