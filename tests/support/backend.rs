//! A backend that records the bytes it receives.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};

use super::WAIT_TIMEOUT;

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

    /// A backend that answers a request with `Slow` in its first line only after a message, and
    /// others immediately.
    pub fn slow() -> (Self, mpsc::Sender<()>) {
        let (go, held) = mpsc::channel();
        let held = Mutex::new(held);
        let backend = Self::start(move |seen| {
            if seen.line().contains("Slow") {
                let _ = held.lock().unwrap().recv_timeout(WAIT_TIMEOUT);
            }
            ok("{}")
        });
        (backend, go)
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
                // The proxy sees the end of the connection before an answer.
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

pub(super) fn fill(stream: &mut impl Read, buffer: &mut Vec<u8>) -> bool {
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

pub(super) fn read_head(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Option<String> {
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
pub(super) fn read_body(
    stream: &mut impl Read,
    buffer: &mut Vec<u8>,
    head: &str,
) -> Option<(Vec<u8>, bool)> {
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

pub(super) fn header<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}
