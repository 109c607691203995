//! Helpers for tests of the proxy: a backend that records the bytes it receives, a guard in front
//! of it on free ports, and clients that write raw bytes.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wire_scim_guard::config::shared::{Location, OnFailure, Shared, Store};
use wire_scim_guard::config::{Config, Server};
use wire_scim_guard::digest::StoredHash;
use wire_scim_guard::evaluator::Evaluator;
use wire_scim_guard::logging::AccessLog;
use wire_scim_guard::proxy::{self, Running};

pub mod backend;
pub mod client;
pub mod corpus;
pub mod h2c;
pub mod program;
pub mod tls;

pub use backend::{Backend, Reply, Seen, answer, last, ok};
pub use client::{Client, Response};

/// Whether guards and their clients speak TLS: the binary `proxy_tls` repeats those tests of
/// `proxy` that depend on the transport.
const OVER_TLS: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"proxy_tls");

/// A token of Wire's form, and the header line that carries it.
pub const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// The path of a user, with an id of Wire's form.
pub const USER: &str = "/scim/v2/Users/3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3";

/// Another token.
pub const OTHER: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// The longest time that a test waits for anything.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A running guard in front of backends.
pub struct Guarded {
    pub running: Option<Running>,
    pub addr: SocketAddr,
    access: Arc<Mutex<Vec<u8>>>,
}

impl Guarded {
    pub fn before(backend: &Backend) -> Self {
        Self::configured(&[backend.addr], |_| {})
    }

    pub fn configured(backends: &[SocketAddr], change: impl FnOnce(&mut Config)) -> Self {
        let servers = backends
            .iter()
            .map(|addr| Server::cleartext(addr.ip().to_string(), addr.port()))
            .collect();
        let local = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(vec![local], servers);
        config.admin = local;
        config.threads = 2;
        change(&mut config);
        if OVER_TLS {
            for listener in &mut config.listen {
                listener.tls.get_or_insert_with(tls::listener);
            }
        }
        let guard = Evaluator::new(&config).unwrap_or_else(|error| panic!("{error}"));
        let (log, access) = AccessLog::memory();
        let running = proxy::start(Arc::new(guard), log.with(&config.log)).unwrap();
        let addr = running.addrs()[0];
        if OVER_TLS {
            tls::note(addr, running.admin_addr());
        }
        Self { running: Some(running), addr, access }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Sends one request on a new connection.
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        let mut client = self.client();
        client.send(request);
        client.response()
    }

    /// The value of one metric series, 0 if it does not exist.
    pub fn metric(&self, series: &str) -> f64 {
        let running = self.running.as_ref().unwrap();
        let text = String::from_utf8(running.metrics().text()).unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
            .unwrap_or(0.0)
    }

    /// Waits until a series has a value: requests are counted after their answer has ended.
    pub fn wait_metric(&self, series: &str, value: f64) {
        wait_until(series, || (self.metric(series) - value).abs() < 1e-9);
    }

    /// The body of `/i/ready`.
    pub fn ready(&self) -> String {
        let mut client = Client::connect(self.running.as_ref().unwrap().admin_addr());
        client.send("GET /i/ready HTTP/1.1\r\n\r\n");
        let ready = client.response();
        // An unreachable backend alone does not make the guard unready.
        assert_eq!(ready.status, 200);
        String::from_utf8(ready.body).unwrap()
    }

    /// The access log lines.
    pub fn access_lines(&self) -> Vec<serde_json::Value> {
        self.lines("request")
    }

    /// The log lines of requests on which guard and backend disagreed.
    pub fn disagreements(&self) -> Vec<serde_json::Value> {
        self.lines("agreement")
    }

    /// The log lines of connections that had switched to WebSocket and have ended.
    pub fn tunnels(&self) -> Vec<serde_json::Value> {
        self.lines("tunnel")
    }

    /// The lines of the audit log.
    pub fn audit_lines(&self) -> Vec<serde_json::Value> {
        self.lines("audit")
    }

    /// Everything that was logged about requests.
    pub fn logged(&self) -> String {
        String::from_utf8(self.access.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self, message: &str) -> Vec<serde_json::Value> {
        let bytes = self.access.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.filter(|line: &serde_json::Value| line["msgs"][0] == message).collect()
    }

    /// Waits for the access line of the nth request.
    pub fn access_line(&self, nth: usize) -> serde_json::Value {
        wait_until("an access line", || self.access_lines().len() >= nth);
        self.access_lines()[nth - 1].clone()
    }
}

/// The settings for sharing state through the store at this port.
pub fn shared(port: u16, timeout: Duration, on_failure: OnFailure) -> Shared {
    let store = Store {
        location: Location::Server(Server::cleartext("127.0.0.1", port)),
        database: 0,
        tls: false,
        ca: None,
        prefix: "test:".into(),
        key: None,
        username: None,
        password: None,
    };
    Shared { store, timeout, on_failure }
}

/// An address that nobody listens on, for a server that starts later, or for none. Its port is below those
/// that the system gives to clients and to listeners without a port of their own, so that no other test takes it.
pub fn unused_addr() -> SocketAddr {
    const FIRST: usize = 10_000;
    const COUNT: usize = 20_000;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Processes that test at the same time begin at different ports.
    let start = std::process::id() as usize * 101;
    loop {
        let nth = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + nth % COUNT).unwrap();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

/// Waits for a condition that another thread meets.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + WAIT_TIMEOUT;
    while !condition() {
        assert!(Instant::now() < end, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A user that every profile accepts, of exactly this many bytes, padded with an attribute that no reader
/// uses.
pub fn user(size: usize) -> Vec<u8> {
    let start = concat!(
        r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"alice","#,
        r#""displayName":"Alice","externalId":"alice@example.com","filler":""#
    );
    let mut body = start.as_bytes().to_vec();
    let filler = size.checked_sub(body.len() + 2).expect("a larger size");
    // Neighbouring characters differ, so that lost or duplicated pieces are noticed.
    body.extend((0..filler).map(|at| b'a' + (at % 23) as u8));
    body.extend_from_slice(b"\"}");
    body
}

/// The head of a request with Host, token and content type, without framing headers.
pub fn head(method: &str, target: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: wire.example\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/scim+json\r\n"
    )
}

pub fn with_length(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("{}Content-Length: {}\r\n\r\n", head(method, target), body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub fn chunked(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("{}Transfer-Encoding: chunked\r\n\r\n", head(method, target)).into_bytes();
    for chunk in body.chunks(10_000) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// A valid request, to show that the backend is reachable.
pub fn control() -> Vec<u8> {
    with_length("POST", "/scim/v2/Users", &user(300))
}

/// A new token registry file with these entries.
pub fn registry_file(entries: &[String]) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("registry-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{number}.yaml"));
    std::fs::write(&path, registry_yaml(entries)).unwrap();
    path
}

pub fn registry_yaml(entries: &[String]) -> String {
    let items: String = entries.iter().map(|entry| format!("- {entry}\n")).collect();
    if items.is_empty() { "tokens: []\n".into() } else { format!("tokens:\n{items}") }
}

/// An entry of a token registry; `more` follows after label and hash.
pub fn entry(label: &str, token: &str, more: &str) -> String {
    let hash = StoredHash::wire(token.as_bytes());
    let comma = if more.is_empty() { "" } else { ", " };
    format!("{{label: {label}, hash: \"{hash}\"{comma}{more}}}")
}
