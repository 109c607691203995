//! Helpers for tests of the proxy: a backend that records the bytes it receives, a guard in front
//! of it on free ports, and clients that write raw bytes.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use wire_scim_guard::config::shared::{Location, OnFailure, Shared, Store};
use wire_scim_guard::config::{Config, Server};
use wire_scim_guard::digest::StoredHash;
use wire_scim_guard::evaluator::Evaluator;
use wire_scim_guard::logging::AccessLog;
use wire_scim_guard::proxy::{self, Running};

pub mod corpus;
pub mod h2c;
pub mod program;
pub mod tls;

use tls::Wire;

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

/// A request as the backend read it from its socket.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Request line and headers, with the final empty line.
    pub head: String,
    /// The body, with chunked coding removed.
    pub body: Vec<u8>,
    pub chunked: bool,
    /// The number of the accepted connection it came on, from 1.
    pub connection: usize,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or("")
    }

    pub fn header(&self, name: &str) -> Vec<&str> {
        header(&self.head, name)
    }
}

/// How the backend answers a request.
#[derive(Clone)]
pub enum Reply {
    /// Writes these bytes and keeps the connection open.
    Bytes(Vec<u8>),
    /// Writes these bytes and closes the connection.
    Last(Vec<u8>),
    /// Closes the connection without sending a byte.
    Reset,
    /// Writes nothing until the test ends.
    Stall,
    /// Passes the connection on, with what was read after the request.
    Switch(fn(TcpStream, &[u8])),
}

pub fn ok(body: &str) -> Reply {
    Reply::Bytes(answer(200, body))
}

pub fn answer(status: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Fine\r\nContent-Type: application/scim+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// An answer with `Connection: close`, after which the connection is closed.
pub fn last() -> Reply {
    let head = "HTTP/1.1 200 Fine\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    Reply::Last(head.into())
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

#[derive(Default)]
struct Log {
    seen: Mutex<Vec<Seen>>,
    came: Condvar,
    accepted: AtomicUsize,
    closed: AtomicUsize,
}

/// A backend on a free port.
pub struct Backend {
    pub addr: SocketAddr,
    log: Arc<Log>,
}

impl Backend {
    pub fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let script: Arc<Script> = Arc::new(script);
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = shared.accepted.fetch_add(1, Ordering::SeqCst) + 1;
                let (log, script) = (Arc::clone(&shared), Arc::clone(&script));
                std::thread::spawn(move || {
                    serve(stream, connection, &log, &*script);
                    log.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { addr, log }
    }

    /// A backend that answers 200 to everything.
    pub fn fine() -> Self {
        Self::start(|_| ok("{}"))
    }

    pub fn accepted(&self) -> usize {
        self.log.accepted.load(Ordering::SeqCst)
    }

    /// How many of the connections the backend has closed.
    pub fn closed(&self) -> usize {
        self.log.closed.load(Ordering::SeqCst)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.log.seen.lock().unwrap().clone()
    }

    /// Waits until this many requests have arrived, and returns the last.
    pub fn wait(&self, requests: usize) -> Seen {
        let seen = self.log.seen.lock().unwrap();
        let (seen, timeout) = self
            .log
            .came
            .wait_timeout_while(seen, WAIT_TIMEOUT, |seen| seen.len() < requests)
            .unwrap();
        assert!(!timeout.timed_out(), "{requests} requests expected, {} arrived", seen.len());
        seen[requests - 1].clone()
    }
}

fn serve(mut stream: TcpStream, connection: usize, log: &Log, script: &Script) {
    let mut buffer = Vec::new();
    while let Some(seen) = read_message(&mut stream, &mut buffer, connection) {
        log.seen.lock().unwrap().push(seen.clone());
        log.came.notify_all();
        match script(&seen) {
            Reply::Bytes(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            Reply::Last(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Reply::Reset => {
                // If the kernel closed immediately with unread bytes left, it would send a reset;
                // the proxy sees an end before an answer.
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
            Reply::Switch(go_on) => return go_on(stream, &buffer),
            Reply::Stall => {
                let mut sink = [0; 1024];
                while matches!(stream.read(&mut sink), Ok(1..)) {}
                return;
            }
        }
    }
}

fn fill(stream: &mut impl Read, buffer: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 64 * 1024];
    match stream.read(&mut chunk) {
        Ok(0) | Err(_) => false,
        Ok(n) => {
            buffer.extend_from_slice(&chunk[..n]);
            true
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn read_head(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Option<String> {
    let end = loop {
        match find(buffer, b"\r\n\r\n") {
            Some(at) => break at + 4,
            None if fill(stream, buffer) => {}
            None => return None,
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    Some(head)
}

/// Reads a body as its head frames it; `None` when it ends early.
fn read_body(stream: &mut impl Read, buffer: &mut Vec<u8>, head: &str) -> Option<(Vec<u8>, bool)> {
    if header(head, "transfer-encoding").iter().any(|v| v.eq_ignore_ascii_case("chunked")) {
        return Some((read_chunks(stream, buffer)?, true));
    }
    let length = header(head, "content-length").first().map_or(0, |v| v.parse().unwrap());
    while buffer.len() < length {
        if !fill(stream, buffer) {
            return None;
        }
    }
    Some((buffer.drain(..length).collect(), false))
}

fn read_chunks(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = loop {
            match find(buffer, b"\r\n") {
                Some(at) => break at,
                None if fill(stream, buffer) => {}
                None => return None,
            }
        };
        let size = std::str::from_utf8(&buffer[..line]).unwrap().split(';').next().unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        while buffer.len() < line + 2 + size + 2 {
            if !fill(stream, buffer) {
                return None;
            }
        }
        body.extend_from_slice(&buffer[line + 2..line + 2 + size]);
        buffer.drain(..line + 2 + size + 2);
        if size == 0 {
            return Some(body);
        }
    }
}

fn read_message(stream: &mut impl Read, buffer: &mut Vec<u8>, connection: usize) -> Option<Seen> {
    let head = read_head(stream, buffer)?;
    let (body, chunked) = read_body(stream, buffer, &head)?;
    Some(Seen { head, body, chunked, connection })
}

fn header<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

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
        files: Vec::new(),
    };
    Shared { store, timeout, on_failure }
}

/// Waits for a condition that another thread meets.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + WAIT_TIMEOUT;
    while !condition() {
        assert!(Instant::now() < end, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A client that writes raw bytes.
pub struct Client {
    pub stream: Wire,
    buffer: Vec<u8>,
}

/// An answer as it was received.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name).first().copied()
    }

    pub fn rule(&self) -> &str {
        self.header("scim-guard-rule").unwrap_or("-")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Asserts that this is the SCIM error of one rule.
    pub fn refused(&self, rule: &str) {
        let entry = wire_scim_guard::rule::Rule::from_id(rule).unwrap().entry();
        assert_eq!((self.status, self.rule()), (entry.status, rule), "{}", self.head);
        assert_eq!(self.header("content-type"), Some("application/scim+json;charset=utf-8"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(
            self.header("content-length").map(str::to_owned),
            Some(self.body.len().to_string())
        );
        let json = self.json();
        assert_eq!(json["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
        assert_eq!(json["status"], entry.status.to_string());
        assert!(json["detail"].is_string());
    }
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        Self::over(Wire::new(stream, addr))
    }

    /// Connects from another address of this machine.
    pub fn connect_from(local: &str, addr: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(local.parse().unwrap(), 0).into()).unwrap();
        socket.connect(&addr.into()).unwrap();
        Self::over(Wire::new(socket.into(), addr))
    }

    pub fn over(stream: Wire) -> Self {
        stream.set_read_timeout(WAIT_TIMEOUT);
        stream.socket().set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A guard that refuses early may close the connection before it has read everything.
        let _ = self.stream.write_all(bytes.as_ref()).and_then(|()| self.stream.flush());
    }

    /// Whether data arrives within this time.
    pub fn receives(&mut self, within: Duration) -> bool {
        self.stream.set_read_timeout(within);
        let received = fill(&mut self.stream, &mut self.buffer);
        self.stream.set_read_timeout(WAIT_TIMEOUT);
        received
    }

    pub fn response(&mut self) -> Response {
        self.response_to("GET").expect("an answer")
    }

    /// The next answer; `None` if the connection ends without one.
    pub fn response_to(&mut self, method: &str) -> Option<Response> {
        let head = read_head(&mut self.stream, &mut self.buffer)?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let bodyless = method == "HEAD" || matches!(status, 100..200 | 204 | 304);
        let body = if bodyless {
            Vec::new()
        } else {
            read_body(&mut self.stream, &mut self.buffer, &head)?.0
        };
        Some(Response { status, head, body })
    }

    /// Asserts that the connection exceeds a limit. Over TLS it is closed without an answer, as an
    /// answer would take a handshake.
    pub fn is_rejected(&mut self, rule: &str) {
        if OVER_TLS {
            assert!(self.response_to("GET").is_none());
            return;
        }
        let response = self.response();
        response.refused(rule);
        assert_eq!(response.header("retry-after"), Some("5"));
    }

    /// The next bytes, after a switch of protocols.
    pub fn read(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length && fill(&mut self.stream, &mut self.buffer) {}
        self.buffer.drain(..length.min(self.buffer.len())).collect()
    }

    /// Half-closes the connection and reads the rest of the answers.
    pub fn finish(mut self) {
        self.stream.end();
        let _ = self.stream.read_to_end(&mut self.buffer);
    }

    /// Asserts that the guard closes the connection without sending anything more.
    pub fn ends(&mut self) {
        assert!(self.buffer.is_empty(), "unread: {}", String::from_utf8_lossy(&self.buffer));
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "unread: {}", String::from_utf8_lossy(&rest)),
            Err(error) => {
                assert_eq!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionReset,
                    "still open: {error}"
                );
            }
        }
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
