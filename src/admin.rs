//! The listener for operators, separate from the one for clients.
//!
//! | Path | Answer |
//! |---|---|
//! | `/metrics`, `/i/metrics` | Prometheus' text format |
//! | `/` | a page for people: recent refusals, and the state of everything |
//! | `/i/state` | the same as JSON |
//! | `/i/status` | 200 while the process is alive |
//! | `/i/ready` | 200; 503 while it drains. The states of the backend servers, of the shared store, of the token registry and of the last reload are shown, but do not change the status: taking the guard out of service would repair neither |
//!
//! SECURITY: without `admin.token_file` there is no authentication, and the listener belongs on an
//! address that clients cannot reach; with it the token is required for everything but `/i/status`
//! and `/i/ready`. What it accepts is bounded all the same: one request for each connection, a
//! short head, few connections, little time. Request bodies are not read.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

mod advice;
mod auth;
mod page;
mod state;

pub use auth::AdminToken;

use state::State;

use crate::accept::accept;
use crate::logging;
use crate::metrics::{ListServers, Metrics, ServerState};
use crate::reload::ReloadStatus;
use crate::snapshot::{LoadedRegistry, Snapshots};

/// The maximum number of concurrent connections; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 512;

/// The maximum number of concurrent responses: each may be a megabyte of metrics.
const MAX_RESPONSES: usize = 32;

/// For a whole request and its response.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// For the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// The maximum size of a request head: the smallest that hyper accepts.
const MAX_HEAD: usize = 8 * 1024;

const TEXT: &str = "text/plain; charset=utf-8";

/// What the listener shows.
#[derive(Debug)]
pub struct Admin {
    pub metrics: Arc<Metrics>,
    /// The backend servers.
    pub servers: ListServers,
    /// The configuration and the token registry that are shown.
    pub snapshots: Arc<Snapshots>,
    pub reloads: Arc<ReloadStatus>,
    /// Whether the process is stopping.
    pub stopping: watch::Receiver<bool>,
}

impl Admin {
    /// Serves for as long as it is polled.
    pub async fn serve(self, listener: TcpListener) {
        let admin = Arc::new(self);
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let responses = Arc::new(Semaphore::new(MAX_RESPONSES));
        loop {
            let Ok(connection) = Arc::clone(&connections).acquire_owned().await else { return };
            let stream = accept(&listener).await;
            let admin = Arc::clone(&admin);
            let responses = Arc::clone(&responses);
            tokio::spawn(async move {
                // Clients that are too slow or disconnect get no response.
                let answer = admin.answer(stream, &responses);
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, answer).await;
                drop(connection);
            });
        }
    }

    async fn answer(&self, stream: TcpStream, responses: &Semaphore) {
        let tls = self.snapshots.current().tls.admin().cloned();
        let Some(tls) = tls else { return self.serve_http(stream, responses).await };
        if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
            self.serve_http(stream, responses).await;
        }
    }

    async fn serve_http(&self, stream: impl AsyncRead + AsyncWrite + Unpin, responses: &Semaphore) {
        // Held until the response is written. Acquired only after the head was read: silent clients must not hold a
        // response slot.
        let slot = OnceLock::new();
        let service = service_fn(async |request: Request<Incoming>| {
            if let Ok(acquired) = responses.acquire().await {
                let _ = slot.set(acquired);
            }
            Ok::<_, Infallible>(self.route(&request))
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .keep_alive(false)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service);
        // A client that has disconnected needs no answer.
        let _ = served.await;
    }

    fn route<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let (method, path) = (request.method(), request.uri().path());
        let is_open = matches!(path, "/i/status" | "/i/ready");
        let token = self.snapshots.current().config.admin_token;
        if !is_open && token.is_some_and(|token| !token.admits(request.headers())) {
            return unauthorized();
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut answer = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD only\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match path {
            "/metrics" | "/i/metrics" => {
                response(StatusCode::OK, prometheus::TEXT_FORMAT, self.metrics.text())
            }
            "/" => self.page(),
            "/i/state" => {
                let state = serde_json::to_vec(&State::of(self)).unwrap_or_default();
                unstored(response(StatusCode::OK, "application/json", state))
            }
            "/i/status" => response(StatusCode::OK, TEXT, "alive\n"),
            "/i/ready" => self.ready(),
            _ => {
                let paths = "/, /metrics, /i/metrics, /i/state, /i/status, /i/ready\n";
                response(StatusCode::NOT_FOUND, TEXT, paths)
            }
        }
    }

    fn page(&self) -> Response<Full<Bytes>> {
        let page = page::render(&State::of(self));
        let mut answer = unstored(response(StatusCode::OK, "text/html; charset=utf-8", page));
        for (name, value) in [
            (CONTENT_SECURITY_POLICY, page::policy()),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
        ] {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let stopping = *self.stopping.borrow();
        let mut text = String::from(if stopping { "draining\n" } else { "ready\n" });
        for (server, state) in self.servers.list() {
            let state = match state {
                ServerState::Healthy => "in rotation".to_owned(),
                ServerState::Unhealthy { why } => format!("skipped after failures: {why}"),
                ServerState::Unresolved => "not resolved so far".to_owned(),
            };
            let _ = writeln!(text, "upstream {server}: {state}");
        }
        if let Some(LoadedRegistry { tokens, file }) = &self.snapshots.current().registry {
            let entries = tokens.entries().len();
            let tokens = if entries == 1 { "token" } else { "tokens" };
            let _ = write!(text, "register: {entries} {tokens}");
            text.push_str(&match file.state().failure {
                None => "\n".into(),
                Some(why) => {
                    format!(
                        ", of the last good file; the file as it is now is not in use:\n{why}\n"
                    )
                }
            });
        }
        if let Some(shared) = &self.snapshots.current().shared {
            let shared = state::Shared::of(shared);
            let _ = writeln!(text, "shared {}: {}", shared.store, shared.sentence());
        }
        text.push_str(&self.reloads.text());
        let _ = writeln!(text, "log lines dropped: {}", logging::dropped_lines());
        let status = if stopping { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        response(status, TEXT, text)
    }
}

fn unauthorized() -> Response<Full<Bytes>> {
    let text = "the token of admin.token_file is required, as Bearer token or as password\n";
    let mut answer = response(StatusCode::UNAUTHORIZED, TEXT, text);
    for challenge in ["Basic realm=\"wire-scim-guard\"", "Bearer realm=\"wire-scim-guard\""] {
        answer.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    answer
}

/// An answer that must not be cached.
fn unstored(mut answer: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let body = body.into();
    let length = body.len();
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Set explicitly, so that the answer to a HEAD has it as well.
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}
