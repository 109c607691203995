//! A client that writes raw bytes, and the answers that it receives.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::backend::{fill, header, read_body, read_head};
use super::tls::Wire;
use super::{OVER_TLS, WAIT_TIMEOUT};

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

/// The status of a complete answer with a Content-Length, and whether the connection stays open;
/// `None` if `bytes` are only the beginning of one.
pub fn complete(bytes: &[u8]) -> Option<(u16, bool)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let field = |name| header(head, name).first().copied();
    if body.len() != field("content-length").unwrap().parse::<usize>().unwrap() {
        return None;
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some((status, field("connection") != Some("close")))
}
