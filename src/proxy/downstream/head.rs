//! The head of an HTTP/1 request as raw bytes: checked strictly, before a lenient parser reads it.
//!
//! SECURITY: two readers that disagree on where a request ends, or on which of two headers counts,
//! let a client hide one request inside another (request smuggling). Pingora itself accepts, fixes
//! or answers much of what is checked here: bare LF, duplicate Content-Length, Transfer-Encoding
//! together with Content-Length, codings other than `chunked`, a missing Host. Every such head is
//! refused, so that what reaches a backend is unambiguous (RFC 9112 §2.2, §3.2, §5.2, §6.1, §6.3).

use std::fmt;
use std::net::Ipv6Addr;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::api::Handler;
use crate::body;
use crate::config::{Config, Limits, PathPolicy};
use crate::evaluator::no_tunnel;
use crate::refusal::Refusal;
use crate::rule::Rule;
use crate::target;

use super::chunked::Chunked;
pub use super::extent::Extent;
use super::syntax::{decimal, is_tchar};
use super::upgrade::{self, Upgrade};

/// The rules that heads are checked against.
#[derive(Debug, Clone, Copy)]
pub struct HeadRules<'c> {
    /// The maximum number of header lines.
    pub headers: usize,
    /// Host values that are served, in lower case and without a port; empty: all.
    pub hosts: &'c [String],
    /// The maximum size of a body, for the answer to a length that is too large to count.
    pub body: usize,
    /// Whether paths outside of SCIM may switch to WebSocket.
    pub websocket: bool,
}

/// A head with only one interpretation.
#[derive(PartialEq, Eq)]
pub struct Head {
    /// How far the message extends after the head.
    pub extent: Extent,
    /// The head in a form that Pingora can parse, if that differs from what was received.
    pub rewritten: Option<Vec<u8>>,
    /// It asks to switch to WebSocket. `rewritten` says nothing of it.
    pub websocket: bool,
}

/// SECURITY: a head contains a token.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").field("extent", &self.extent).finish_non_exhaustive()
    }
}

/// The end of the first head in `bytes`, searching from `from`: the position after its empty line.
pub fn end(bytes: &[u8], from: usize) -> Option<usize> {
    // An empty line is searched for after every LF, so that a head with bare LFs ends too, and is
    // then refused for them. Three bytes back: the empty line may have arrived in pieces.
    let start = from.saturating_sub(3);
    memchr::memchr_iter(b'\n', &bytes[start..]).map(|at| start + at).find_map(|at| {
        match &bytes[at + 1..] {
            [b'\n', ..] => Some(at + 2),
            [b'\r', b'\n', ..] => Some(at + 3),
            _ => None,
        }
    })
}

/// Why these bytes cannot become a valid request, however they continue.
///
/// `seen` bytes of them were checked before. Such bytes are answered immediately, so that a client
/// that speaks TLS or HTTP/0.9 to the guard need not wait for a deadline.
pub(in crate::proxy) fn early_fault(bytes: &[u8], seen: usize) -> Option<Refusal> {
    let first = *bytes.first()?;
    if !is_tchar(first) && first != b'\r' {
        return Some(no_method(bytes));
    }
    // The first line counts once, when it has ended.
    let end = seen + memchr::memchr(b'\n', bytes.get(seen..)?)?;
    if memchr::memchr(b'\n', &bytes[..end]).is_some() {
        return None;
    }
    let line = Lines { rest: bytes }.next()?;
    line.and_then(RequestLine::read).err()
}

fn no_method(bytes: &[u8]) -> Refusal {
    // A TLS handshake begins with these bytes (RFC 8446 §5.1).
    let tls = bytes.first() == Some(&0x16);
    let hint = if tls { " It looks like TLS; this port speaks plain HTTP." } else { "" };
    let detail = format!("The request line does not begin with a method.{hint}");
    Refusal::new(Rule::FramingMessage, detail)
}

/// The first word of a request line, if it can be one.
pub(in crate::proxy) fn method(head: &[u8]) -> &[u8] {
    let end = head.iter().take(32).position(|b| *b == b' ').unwrap_or(0);
    &head[..end]
}

/// The target of a head that was parsed.
pub(in crate::proxy) fn target(head: &[u8]) -> &[u8] {
    head.split(|b| *b == b' ').nth(1).unwrap_or_default()
}

/// The headers of a head that is refused, to log whose request it was; `None` if they cannot be
/// parsed to the end.
///
/// SECURITY: the last line of X-Forwarded-For counts, so an incomplete head would yield whatever
/// the client likes.
pub(in crate::proxy) fn headers(head: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in (Lines { rest: head }).skip(1) {
        let line = line.ok()?;
        if line.is_empty() {
            return Some(headers);
        }
        let Some((name, value)) = memchr::memchr(b':', line).map(|at| line.split_at(at)) else {
            continue;
        };
        let value = HeaderValue::from_bytes(value[1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            headers.try_append(name, value).ok()?;
        }
    }
    None
}

impl<'c> HeadRules<'c> {
    pub fn of(config: &'c Config) -> Self {
        let Limits { headers, body, .. } = config.limits;
        let websocket = config.other_paths == PathPolicy::Forward;
        Self { headers, hosts: &config.hosts, body, websocket }
    }

    /// Checks one head, which [`end`] has found.
    pub fn check(self, head: &[u8]) -> Result<Head, Refusal> {
        let mut lines = Lines { rest: head };
        let line = lines.next().unwrap_or(Err(bare_lf()))?;
        let request = RequestLine::read(line)?;
        let mut fields = Fields { http_10: request.http_10, ..Fields::default() };
        let mut count = 0;
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            count += 1;
            if count > self.headers {
                return Err(Refusal::new(
                    Rule::LimitsHeaders,
                    format!("The request has more than {} header lines.", self.headers),
                ));
            }
            fields.read(line)?;
        }
        if fields.length == Some(u64::MAX) {
            return Err(body::too_large(self.body));
        }
        let extent = fields.extent()?;
        host_is_served(fields.host, self.hosts)?;
        let mut rewritten = request.rewritten(head);
        let websocket = fields.upgrade == Some(Upgrade::WebSocket);
        if websocket {
            self.may_switch(&request, &fields)?;
        }
        // Pingora must not see it, as it would switch the protocol itself.
        if fields.upgrade.is_some() {
            rewritten = Some(upgrade::without(rewritten.as_deref().unwrap_or(head)));
        }
        Ok(Head { extent, rewritten, websocket })
    }

    /// Whether the request may switch to WebSocket.
    ///
    /// SECURITY: nothing judges what follows, so no SCIM path may switch, and no message whose
    /// framing is ambiguous.
    fn may_switch(self, request: &RequestLine<'_>, fields: &Fields<'_>) -> Result<(), Refusal> {
        let is_other = || target::read(request.target).is_ok_and(|t| t.handler == Handler::Other);
        if !self.websocket || !is_other() {
            return Err(upgrade::refused());
        }
        let well_formed = request.is_get
            && !request.http_10
            && fields.connection_upgrade
            && !fields.chunked
            && fields.length.is_none();
        if well_formed { Ok(()) } else { Err(upgrade::malformed()) }
    }
}

/// The lines of a head, without their CRLF.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = (&self.rest[..at], &self.rest[at + 1..]);
        self.rest = rest;
        // SECURITY: a reader that accepts only CRLF as the end of a line sees other headers than
        // one that accepts LF.
        Some(line.strip_suffix(b"\r").ok_or_else(bare_lf))
    }
}

/// Whether one of the bytes is `wanted`. All are looked at, so that the compiler compares many at a time.
fn any(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(false, |found, byte| found | wanted(*byte))
}

fn bare_lf() -> Refusal {
    Refusal::new(Rule::FramingMessage, "A line of the request head does not end in CR LF.")
}

/// `METHOD SP target SP HTTP/1.x` (RFC 9112 §3).
struct RequestLine<'a> {
    target: &'a [u8],
    is_get: bool,
    http_10: bool,
}

impl<'a> RequestLine<'a> {
    fn read(line: &'a [u8]) -> Result<Self, Refusal> {
        let malformed = |what: &str| Err(Refusal::new(Rule::FramingMessage, what));
        if line.first().is_some_and(|first| !is_tchar(*first)) {
            return Err(no_method(line));
        }
        if any(line, |byte| matches!(byte, 0..=0x1f | 0x7f)) {
            return malformed("The request line has a control byte.");
        }
        let mut parts = line.split(|b| *b == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return malformed(
                "The request line is not a method, a target and a version, with one space between \
                 them. A space in a query is written %20; one in the path does not belong there, and may \
                 have been pasted with the base URL.",
            );
        };
        if method.is_empty() || !method.iter().all(|b| is_tchar(*b)) {
            return Err(no_method(line));
        }
        let http_10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return malformed("The version in the request line is not HTTP/1.1 or HTTP/1.0."),
        };
        // SECURITY: a tunnel would carry bytes that nothing judges; it has no path to check.
        if method == b"CONNECT" {
            return Err(no_tunnel());
        }
        // Pingora would answer or truncate these itself, before the guard sees them.
        if target.first() != Some(&b'/') || memchr::memchr(b'#', target).is_some() {
            return Err(match target::read(target) {
                Err(refusal) => refusal,
                Ok(_) => Refusal::new(Rule::TargetAmbiguous, "The request target has a `#`."),
            });
        }
        Ok(Self { target, is_get: method == b"GET", http_10 })
    }

    /// Percent-encodes what is not valid in a URI but is commonly sent, above all a raw `"` in a
    /// filter: Wire reads both spellings alike, Pingora accepts only the encoded one.
    fn rewritten(&self, head: &[u8]) -> Option<Vec<u8>> {
        let target = target::encoded(self.target)?;
        let start = memchr::memchr(b' ', head).map_or(0, |at| at + 1);
        Some([&head[..start], &target, &head[start + self.target.len()..]].concat())
    }
}

/// The header fields that say where a message ends and whom it is for.
#[derive(Default)]
struct Fields<'a> {
    http_10: bool,
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    upgrade: Option<Upgrade>,
    /// Connection has the option `upgrade`.
    connection_upgrade: bool,
}

impl<'a> Fields<'a> {
    fn read(&mut self, line: &'a [u8]) -> Result<(), Refusal> {
        let refuse = |rule, what: &str| Err(Refusal::new(rule, what));
        let colon = memchr::memchr(b':', line).unwrap_or(0);
        let (name, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
        // A line that continues the previous one (obs-fold) begins with white space, and fails here
        // as well: names contain no white space.
        if name.is_empty() || !name.iter().all(|b| is_tchar(*b)) {
            return refuse(
                Rule::FramingHeader,
                "A header line does not begin with a name and a colon.",
            );
        }
        if any(value, |byte| matches!(byte, 0..=8 | 0x0a..=0x1f | 0x7f)) {
            return refuse(Rule::FramingHeader, "A header value has a control byte.");
        }
        let value = value.trim_ascii();
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let first = self.host.replace(value);
                if first.is_some() {
                    return refuse(Rule::FramingHost, "The request has more than one Host header.");
                }
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                let upgrade = Upgrade::read(value).ok_or_else(upgrade::refused)?;
                // SECURITY: only WebSocket, only once, and together with no other protocol.
                match self.upgrade.replace(upgrade) {
                    None => {}
                    Some(Upgrade::PassedOver) if upgrade == Upgrade::PassedOver => {}
                    Some(_) => return Err(upgrade::refused()),
                }
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                check_connection(value)?;
                self.connection_upgrade |= upgrade::is_option(value);
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = decimal(value).ok_or_else(|| {
                    Refusal::new(
                        Rule::FramingLength,
                        "Content-Length is not a plain decimal number.",
                    )
                })?;
                if self.length.replace(length).is_some() {
                    return refuse(
                        Rule::FramingLength,
                        "The request has more than one Content-Length header.",
                    );
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return refuse(
                        Rule::FramingTransferEncoding,
                        "Transfer-Encoding is not `chunked`, once.",
                    );
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn extent(&self) -> Result<Extent, Refusal> {
        match (self.chunked, self.length) {
            (false, length) => Ok(Extent::Length(length.unwrap_or(0))),
            (true, None) if !self.http_10 => Ok(Extent::Chunked(Chunked::default())),
            (true, None) => Err(Refusal::new(
                Rule::FramingTransferEncoding,
                "HTTP/1.0 has no Transfer-Encoding.",
            )),
            (true, Some(_)) => Err(Refusal::new(
                Rule::FramingTransferEncoding,
                "The request has both Transfer-Encoding and Content-Length.",
            )),
        }
    }
}

/// Headers that Connection names are for this hop only and are dropped (RFC 9110 §7.6.1).
///
/// SECURITY: naming a header that was judged, or that frames the message, would remove it between
/// the judgement and the backend.
pub(in crate::proxy) fn check_connection(value: &[u8]) -> Result<(), Refusal> {
    const END_TO_END: [&str; 13] = [
        "accept",
        "authorization",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "traceparent",
        "transfer-encoding",
        "via",
        "x-request-id",
    ];
    /// No client names more than a few.
    const OPTIONS: usize = 32;
    if value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close") {
        return Ok(());
    }
    // An option that is not a token, such as `keep-alive;timeout=5`, names no header and removes
    // none.
    for (count, option) in value.split(|b| *b == b',').map(<[u8]>::trim_ascii).enumerate() {
        // SECURITY: every header is compared with each option, including those of other lines.
        if count == OPTIONS {
            return Err(Refusal::new(
                Rule::FramingHeader,
                format!("Connection has more than {OPTIONS} options."),
            ));
        }
        let forwarding = option.get(..12).is_some_and(|p| p.eq_ignore_ascii_case(b"x-forwarded-"));
        let named = END_TO_END.iter().find(|name| option.eq_ignore_ascii_case(name.as_bytes()));
        let named = named.copied().or(forwarding.then_some("X-Forwarded-*"));
        if let Some(name) = named {
            let detail = format!(
                "Connection names {name}, which is meant for the server after this proxy. Name only \
                 headers of this one connection there, or send `Connection: keep-alive`."
            );
            return Err(Refusal::new(Rule::FramingHeader, detail));
        }
    }
    Ok(())
}

/// Exactly one Host, well-formed and served here (RFC 9112 §3.2).
pub(in crate::proxy) fn host_is_served(
    host: Option<&[u8]>,
    hosts: &[String],
) -> Result<(), Refusal> {
    let refuse = |what: &str| Err(Refusal::new(Rule::FramingHost, what));
    let Some(host) = host.filter(|host| !host.is_empty()) else {
        return refuse("The request has no Host header.");
    };
    let Some(name) = without_port(host) else {
        return refuse("Host is not a name or an address, with or without a port.");
    };
    if hosts.is_empty() {
        return Ok(());
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    if hosts.iter().any(|served| name.eq_ignore_ascii_case(served.as_bytes())) {
        return Ok(());
    }
    refuse("Host is none of the hosts that are served here.")
}

/// The name or the address (IPv6: in brackets) before the port, if both are well-formed.
fn without_port(host: &[u8]) -> Option<&[u8]> {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
    // Within brackets a colon is a part of the address.
    let end = memchr::memchr(b']', host).map_or(0, |bracket| bracket + 1);
    let end = memchr::memchr(b':', &host[end..]).map_or(host.len(), |colon| end + colon);
    let (name, port) = host.split_at(end);
    let address = name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]"));
    let is_name = match address {
        Some(address) => str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
        None => !name.is_empty() && name.iter().all(is_plain),
    };
    // A port may be empty (RFC 3986 §3.2.3).
    let is_port = match port {
        [] | [b':'] => true,
        [_, digits @ ..] => decimal(digits).is_some_and(|port| port <= 65535),
    };
    (is_name && is_port).then_some(name)
}

#[cfg(test)]
mod tests {
    use pingora::http::RequestHeader;

    use super::*;

    fn check(head: &[u8]) -> Result<Head, Refusal> {
        assert_eq!(end(head, 0), Some(head.len()));
        let hosts = ["wire.example".into()];
        HeadRules { headers: 10, hosts: &hosts, body: 512, websocket: false }.check(head)
    }

    #[test]
    fn a_rewritten_target_can_be_parsed_whatever_bytes_it_had() {
        for byte in (b'!'..=0xff).filter(|b| !matches!(b, b'#' | 0x7f)) {
            for target in [[b"/", &[byte][..]].concat(), [b"/?", &[byte][..]].concat()] {
                let head =
                    [b"GET ".as_slice(), &target, b" HTTP/1.1\r\nHost: wire.example\r\n\r\n"]
                        .concat();
                let read = check(&head).unwrap();
                let bytes = read.rewritten.unwrap_or(head);
                let target = bytes.split(|b| *b == b' ').nth(1).unwrap();
                let parsed = RequestHeader::build("GET", target, None).unwrap();
                assert_eq!(parsed.raw_path(), target, "{byte:#x}");
            }
        }
    }

    #[test]
    fn a_quote_is_encoded_and_the_rest_stays() {
        let head = b"GET /scim/v2/Users?filter=userName%20eq%20\"a\" HTTP/1.1\r\nHost: wire.example:443\r\nContent-Length: 5\r\n\r\n";
        let read = check(head).unwrap();
        assert_eq!(read.extent, Extent::Length(5));
        assert_eq!(
            read.rewritten.unwrap(),
            b"GET /scim/v2/Users?filter=userName%20eq%20%22a%22 HTTP/1.1\r\nHost: wire.example:443\r\nContent-Length: 5\r\n\r\n"
        );
    }

    #[test]
    fn a_head_ends_at_its_empty_line_however_it_is_split() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        let whole = head.len() - 4;
        for seen in 0..=whole {
            assert_eq!(end(head, seen), Some(whole), "{seen}");
        }
        assert_eq!(end(b"GET / HTTP/1.1\nHost: a\n\nrest", 0), Some(24));
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: a\r\n\r", 0), None);
    }

    #[test]
    fn ports_and_brackets_are_distinguished() {
        for (host, name) in [
            ("wire.example", "wire.example"),
            ("wire.example.:8080", "wire.example."),
            ("127.0.0.1:0", "127.0.0.1"),
            ("wire.example:", "wire.example"),
            ("[::1]:65535", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(without_port(host.as_bytes()), Some(name.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", "a:80:90", "a:b", "a:-1", "a:+1", "a:65536", "::1", "[::1", "[a]", "[]",
            "[::1]a", "a]:80",
        ] {
            assert_eq!(without_port(host.as_bytes()), None, "{host}");
        }
    }
}
