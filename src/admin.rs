//! The listener for operators, apart from the one for clients.
//!
//! | Path | Answer |
//! |---|---|
//! | `/metrics`, `/i/metrics` | Prometheus' text format |
//! | `/i/status` | 200 while the process lives |
//! | `/i/ready` | 200; 503 while it drains. The states of the backend and of the register are shown, and do not count: a guard that is taken out of service heals neither |
//!
//! SECURITY: no login; it belongs on an address that clients cannot reach. What it takes is
//! bounded all the same: one short request a connection, few connections, little time.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::logging;
use crate::metrics::Metrics;
use crate::proxy::upstream::Upstreams;
use crate::snapshot::{LoadedRegistry, Snapshots};

/// Connections at one time; more wait in the listener's queue.
const CONNECTIONS: usize = 512;

/// Answers at one time: each may be a megabyte of metrics.
const AT_ONCE: usize = 32;

/// For a whole request and its answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// For the head of a request: who connects is about to ask.
const HEAD: Duration = Duration::from_secs(1);

/// Bytes of a request head.
const MOST: usize = 8 * 1024;

/// What the listener shows.
#[derive(Debug)]
pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub upstreams: Arc<Upstreams>,
    /// Whose token registry is shown.
    pub snapshots: Arc<Snapshots>,
    /// Whether the process is to stop.
    pub stopping: watch::Receiver<bool>,
}

impl Admin {
    /// Serves for as long as it is polled.
    pub async fn serve(self, listener: TcpListener) {
        let admin = Arc::new(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let answering = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors, most likely: waiting is all that helps.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let admin = Arc::clone(&admin);
            let answering = Arc::clone(&answering);
            tokio::spawn(async move {
                // Who asks too slowly or goes away gets nothing.
                let _ = tokio::time::timeout(DEADLINE, admin.answer(stream, &answering)).await;
                drop(place);
            });
        }
    }

    async fn answer(&self, mut stream: TcpStream, answering: &Semaphore) -> std::io::Result<()> {
        let mut request = Vec::with_capacity(1024);
        let read = async {
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                if request.len() > MOST || stream.read_buf(&mut request).await? == 0 {
                    return Err(std::io::ErrorKind::InvalidData.into());
                }
            }
            Ok::<(), std::io::Error>(())
        };
        tokio::time::timeout(HEAD, read).await??;
        // Who says nothing keeps nobody from an answer.
        let Ok(_turn) = answering.acquire().await else { return Ok(()) };
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        let answer = match parsed.parse(&request) {
            Ok(_) => self.route(parsed.method.unwrap_or(""), parsed.path.unwrap_or("")),
            Err(_) => Answer::text(400, "bad request\n"),
        };
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n",
            answer.status,
            http::StatusCode::from_u16(answer.status)
                .ok()
                .and_then(|status| status.canonical_reason())
                .unwrap_or(""),
            answer.content_type,
            answer.body.len(),
        );
        if answer.status == 405 {
            head.push_str("Allow: GET, HEAD\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if parsed.method != Some("HEAD") {
            bytes.extend_from_slice(&answer.body);
        }
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    }

    fn route(&self, method: &str, target: &str) -> Answer {
        if !matches!(method, "GET" | "HEAD") {
            return Answer::text(405, "GET and HEAD only\n");
        }
        let path = target.split('?').next().unwrap_or(target);
        match path {
            "/metrics" | "/i/metrics" => Answer {
                status: 200,
                content_type: prometheus::TEXT_FORMAT,
                body: self.metrics.text(),
            },
            "/i/status" => Answer::text(200, "alive\n"),
            "/i/ready" => self.ready(),
            _ => Answer::text(404, "/metrics, /i/metrics, /i/status, /i/ready\n"),
        }
    }

    fn ready(&self) -> Answer {
        let stopping = *self.stopping.borrow();
        let mut text = String::from(if stopping { "draining\n" } else { "ready\n" });
        for (address, awake) in self.upstreams.states() {
            let state = if awake { "in rotation" } else { "skipped after failures" };
            let _ = writeln!(text, "upstream {address}: {state}");
        }
        for server in self.upstreams.unresolved() {
            let _ = writeln!(text, "upstream {server}: not resolved so far");
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
        let _ = writeln!(text, "log lines dropped: {}", logging::dropped_lines());
        Answer::text(if stopping { 503 } else { 200 }, text)
    }
}

struct Answer {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn text(status: u16, text: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: text.into().into_bytes() }
    }
}
