//! A small HTTP/1.1 server for tests and trials: keep-alive, Content-Length and chunked bodies, bounded sizes and
//! times.
//!
//! It is not hyper, because Wire's server accepts what hyper refuses or changes: targets without a leading slash, with a
//! fragment or with any bytes, trailing blanks of header values, and several Content-Length headers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Wire;
use crate::accept::accept;

const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 8 * 1024 * 1024;
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A request as it was received.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    pub target: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of a name; Wire ignores the others.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut named = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_slice())
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub content_type: Option<&'static str>,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub(super) fn empty(status: u16) -> Self {
        Self { status, content_type: None, headers: Vec::new(), body: Vec::new() }
    }

    /// Plain text without a Content-Type: Wire's answer to what it cannot parse.
    pub(super) fn text(status: u16, text: &str) -> Self {
        Self { body: text.as_bytes().to_vec(), ..Self::empty(status) }
    }

    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        let body = body.to_string().into_bytes();
        Self { content_type: Some("application/json"), body, ..Self::empty(status) }
    }

    pub(super) fn scim(status: u16, body: &serde_json::Value) -> Self {
        Self {
            content_type: Some("application/scim+json;charset=utf-8"),
            ..Self::json(status, body)
        }
    }
}

/// Serves connections until it is dropped.
pub(super) async fn listen(listener: TcpListener, wire: Arc<Wire>, connections: Arc<AtomicUsize>) {
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            stream = accept(&listener) => {
                connections.fetch_add(1, Ordering::SeqCst);
                let wire = Arc::clone(&wire);
                tasks.spawn(async move {
                    // A connection that fails does not affect the others.
                    let _ = serve(stream, &wire).await;
                });
            }
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, wire: &Wire) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut buffer).await? else { return Ok(()) };
        let Some(mut request) = parse_head(&head) else {
            return write(&mut stream, &Response::empty(400), "GET", false).await;
        };
        if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
        {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let Some(body) = read_body(&mut stream, &mut buffer, &request).await? else {
            return write(&mut stream, &Response::empty(400), &request.method, false).await;
        };
        request.body = body;
        let closes = request.header("connection").is_some_and(|v| v.eq_ignore_ascii_case(b"close"));
        let response = wire.handle(&request);
        write(&mut stream, &response, &request.method, !closes).await?;
        if closes {
            return Ok(());
        }
    }
}

/// Reads more bytes; false at the end of the connection.
async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let read = timeout(READ_TIMEOUT, stream.read_buf(buffer)).await;
    Ok(read.map_err(|_| io::ErrorKind::TimedOut)?? > 0)
}

/// The head of a request, up to and including the empty line; `None` at the end of the connection.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            let head = buffer.drain(..end + 4).collect();
            return Ok(Some(head));
        }
        if buffer.len() > MAX_HEAD || !fill(stream, buffer).await? {
            return Ok(None);
        }
    }
}

fn parse_head(head: &[u8]) -> Option<Request> {
    let end = find(head, b"\r\n")?;
    let mut parts = head[..end].splitn(3, |byte| *byte == b' ');
    let method = String::from_utf8(parts.next()?.to_vec()).ok()?;
    let target = parts.next()?.to_vec();
    if !parts.next()?.starts_with(b"HTTP/1.") {
        return None;
    }
    let mut headers = Vec::new();
    let mut rest = &head[end + 2..];
    while let Some(end) = find(rest, b"\r\n").filter(|end| *end > 0) {
        let colon = rest[..end].iter().position(|byte| *byte == b':')?;
        let name = String::from_utf8(rest[..colon].to_vec()).ok()?;
        // Like Wire's server: leading blanks of a value are dropped, trailing ones are kept.
        let blanks =
            rest[colon + 1..end].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        headers.push((name, rest[colon + 1 + blanks..end].to_vec()));
        rest = &rest[end + 2..];
    }
    Some(Request { method, target, headers, body: Vec::new() })
}

/// The body as framed by the head: chunked takes precedence over a length, and the last of several lengths counts.
async fn read_body(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    request: &Request,
) -> io::Result<Option<Vec<u8>>> {
    let chunked =
        request.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case(b"chunked"));
    if chunked {
        return read_chunks(stream, buffer).await;
    }
    let last =
        request.headers.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = match last {
        None => 0,
        Some((_, value)) => match std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()) {
            Some(length) if length <= MAX_BODY => length,
            _ => return Ok(None),
        },
    };
    while buffer.len() < length {
        if !fill(stream, buffer).await? {
            return Ok(None);
        }
    }
    Ok(Some(buffer.drain(..length).collect()))
}

async fn read_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(line) = read_line(stream, buffer).await? else { return Ok(None) };
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size =
            std::str::from_utf8(digits).ok().and_then(|d| usize::from_str_radix(d.trim(), 16).ok());
        let Some(size) = size.filter(|size| *size <= MAX_BODY - body.len()) else {
            return Ok(None);
        };
        if size == 0 {
            while let Some(trailer) = read_line(stream, buffer).await? {
                if trailer.is_empty() {
                    return Ok(Some(body));
                }
            }
            return Ok(None);
        }
        while buffer.len() < size + 2 {
            if !fill(stream, buffer).await? {
                return Ok(None);
            }
        }
        body.extend(buffer.drain(..size));
        buffer.drain(..2);
    }
}

async fn read_line(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = find(buffer, b"\r\n") {
            let line = buffer.drain(..end).collect();
            buffer.drain(..2);
            return Ok(Some(line));
        }
        if buffer.len() > MAX_HEAD + MAX_BODY || !fill(stream, buffer).await? {
            return Ok(None);
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

async fn write(
    stream: &mut TcpStream,
    response: &Response,
    method: &str,
    keep: bool,
) -> io::Result<()> {
    let Response { status, content_type, headers, body } = response;
    let reason = http::StatusCode::from_u16(*status).ok().and_then(|s| s.canonical_reason());
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason.unwrap_or("Unknown"));
    if let Some(content_type) = content_type {
        head.push_str(&format!("Content-Type: {content_type}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if *status != 204 {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str(if keep { "\r\n" } else { "Connection: close\r\n\r\n" });
    let mut bytes = head.into_bytes();
    if method != "HEAD" && *status != 204 {
        bytes.extend_from_slice(body);
    }
    stream.write_all(&bytes).await
}
