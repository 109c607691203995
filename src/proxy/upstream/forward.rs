//! The headers of requests and answers that a proxy has to change (RFC 9110 §7.6). All others are
//! forwarded unchanged.

use std::net::IpAddr;

use bytes::BufMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::{HeaderNameVariant, RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{BError, Error, ErrorType, Result};

use crate::api::Handler;
use crate::config::{Config, UpstreamHost, ZHeaders};
use crate::proxy::downstream::{syntax, upgrade};
use crate::refusal::SCIM_JSON;
use crate::repair::{Repair, Repairs};
use crate::spans::{TRACEPARENT, Trace};
use crate::target;
use crate::tls::client::Secured;

use super::lookalike;

// The usual spelling of these names, in which Pingora writes them.
pub(in crate::proxy) const SCIM_GUARD_RULE: &str = "Scim-Guard-Rule";
pub(in crate::proxy) const SCIM_GUARD_REPAIRED: &str = "Scim-Guard-Repaired";
pub(in crate::proxy) const X_REQUEST_ID: &str = "X-Request-Id";
const X_FORWARDED_FOR: &str = "X-Forwarded-For";

/// Headers that are removed from an answer of the backend: those of one connection (RFC 9110
/// §7.6.1), and the two of the guard. SECURITY: only the guard may say which of its rules answered.
static NOT_PASSED_ON: [HeaderName; 8] = [
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("scim-guard-rule"),
    HeaderName::from_static("scim-guard-repaired"),
];

/// The headers that request a switch to WebSocket and agree to it, between two hops.
const SWITCH: [(&str, &str); 2] = [("Connection", "Upgrade"), ("Upgrade", "websocket")];

/// The Host that the backend receives; `None`: the client's.
pub(in crate::proxy) fn host<'a>(
    config: &'a Config,
    secured: Option<&'a Secured>,
) -> Option<&'a str> {
    match (secured, &config.upstream_host) {
        (Some(secured), _) => secured.host(),
        (None, UpstreamHost::Name(name)) => Some(name),
        (None, UpstreamHost::ByScheme | UpstreamHost::Keep) => None,
    }
}

/// How the body of a forwarded request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum BodyFraming {
    /// The body was read: it is sent with its length.
    Length(usize),
    /// No body is sent.
    Nothing,
    /// As it arrives: with its length if it has one, else chunked by Pingora.
    Streamed,
}

/// What the filter adds to the head of a request that is forwarded.
pub(in crate::proxy) struct OutboundHead<'a> {
    /// `None`: the target of the client's head.
    pub target: Option<&'a [u8]>,
    pub framing: BodyFraming,
    /// The version that the client speaks, for Via.
    pub version: Version,
    /// The Host that the backend receives; `None`: the client's.
    pub host: Option<&'a str>,
    pub request_id: &'a HeaderValue,
    /// The value for X-Forwarded-For.
    pub forwarded_for: Option<HeaderValue>,
    pub keep_z_headers: bool,
    /// It asks to switch to WebSocket.
    pub websocket: bool,
    /// The cookies of a request that came in several lines, as HTTP/2 may send them, joined to the one
    /// that HTTP/1 has (RFC 9113 §8.2.3).
    pub cookies: Option<Vec<u8>>,
    /// The trace that the backend's part belongs to; `None`: the client's headers about it are not
    /// changed.
    pub trace: Option<&'a Trace>,
    /// The repairs that have changed the request.
    pub repaired: Repairs,
    /// The body is sent without the content coding that it arrived with.
    pub inflated: bool,
}

/// The cookies of an HTTP/2 request, where they have to be joined.
pub(in crate::proxy) fn cookies(head: &RequestHeader) -> Option<Vec<u8>> {
    let lines = || head.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let several = head.version == Version::HTTP_2 && lines().nth(1).is_some();
    several.then(|| lines().collect::<Vec<_>>().join(&b"; "[..]))
}

impl OutboundHead<'_> {
    /// Whether a header of the client's is forwarded unchanged.
    fn keeps(&self, name: &[u8], nominated: &[HeaderName]) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let replaced = match name.len() {
            12 => {
                is(X_REQUEST_ID)
                    || (self.repaired.contains(Repair::ContentType) && is("content-type"))
            }
            14 => self.framing != BodyFraming::Streamed && is("content-length"),
            15 => self.forwarded_for.is_some() && is(X_FORWARDED_FOR),
            6 => {
                (self.cookies.is_some() && is("cookie"))
                    || (self.repaired.contains(Repair::Accept) && is("accept"))
            }
            16 => self.inflated && is("content-encoding"),
            4 => self.host.is_some() && is("host"),
            11 => self.trace.is_some() && is(TRACEPARENT),
            10 => self.trace.is_some_and(|trace| trace.is_new) && is("tracestate"),
            _ => false,
        };
        let internal = matches!(name, [b'z' | b'Z', b'-', ..]) && !self.keep_z_headers;
        !replaced
            && !internal
            && !lookalike::is_one(name)
            && !stays_here(name)
            && !nominated.iter().any(|nominated| is(nominated.as_str()))
    }

    /// Adds the guard's own headers.
    fn add(&self, mut put: impl FnMut(&'static str, &[u8]) -> Result<()>) -> Result<()> {
        if let Some(host) = self.host {
            put("Host", host.as_bytes())?;
        }
        if let BodyFraming::Length(length) = self.framing {
            put("Content-Length", length.to_string().as_bytes())?;
        }
        for (name, value) in SWITCH.iter().filter(|_| self.websocket) {
            put(name, value.as_bytes())?;
        }
        let via = match self.version {
            Version::HTTP_2 => "2.0 wire-scim-guard",
            Version::HTTP_10 => "1.0 wire-scim-guard",
            _ => "1.1 wire-scim-guard",
        };
        put("Via", via.as_bytes())?;
        for (repair, name) in [(Repair::Accept, "Accept"), (Repair::ContentType, "Content-Type")] {
            if self.repaired.contains(repair) {
                put(name, SCIM_JSON.as_bytes())?;
            }
        }
        if let Some(cookies) = &self.cookies {
            put("Cookie", cookies)?;
        }
        if let Some(trace) = self.trace {
            put(TRACEPARENT, trace.traceparent().as_bytes())?;
        }
        if let Some(value) = &self.forwarded_for {
            put(X_FORWARDED_FOR, value.as_bytes())?;
        }
        put(X_REQUEST_ID, self.request_id.as_bytes())
    }
}

/// Turns the client's head into the one that is sent to the backend.
pub(in crate::proxy) fn request(
    head: &mut RequestHeader,
    leaving: &OutboundHead<'_>,
) -> Result<()> {
    // HTTP/2 names the host outside of the headers, in what becomes the target.
    let authority = head.uri.authority().cloned();
    // SECURITY: the very bytes that were judged, or their canonical form.
    if let Some(target) = leaving.target {
        // Pingora accepts only what is valid in a URI.
        head.set_raw_path(target::encoded(target).as_deref().unwrap_or(target))?;
    }
    let nominated = nominated(&head.headers);
    let removed = |name: &&HeaderName| !leaving.keeps(name.as_str().as_bytes(), &nominated);
    let removed: Vec<HeaderName> = head.headers.keys().filter(removed).cloned().collect();
    for name in &removed {
        head.remove_header(name);
    }
    if leaving.host.is_none()
        && !head.headers.contains_key(header::HOST)
        && let Some(authority) = authority
    {
        head.insert_header(header::HOST, authority.as_str())?;
    }
    leaving.add(|name, value| head.append_header(name, value).map(drop))
}

/// Writes the head that is sent to the backend, as HTTP/1 has it (RFC 9112 §3).
pub(in crate::proxy) fn write(
    head: &RequestHeader,
    leaving: &OutboundHead<'_>,
    out: &mut impl BufMut,
) -> Result<()> {
    // SECURITY: as in `request`.
    let target = leaving.target.unwrap_or_else(|| head.raw_path());
    for part in [head.method.as_str().as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
        out.put_slice(part);
    }
    let nominated = nominated(&head.headers);
    head.map(|name, value| {
        let name = match &name {
            HeaderNameVariant::Case(name) => name.as_slice(),
            HeaderNameVariant::Titled(name) => name.as_bytes(),
        };
        if leaving.keeps(name, &nominated) {
            line(out, name, value.as_bytes());
        }
        Ok(())
    })?;
    // HTTP/2 names the host outside of the headers.
    if leaving.host.is_none()
        && !head.headers.contains_key(header::HOST)
        && let Some(authority) = head.uri.authority()
    {
        line(out, b"Host", authority.as_str().as_bytes());
    }
    leaving.add(|name, value| {
        line(out, name.as_bytes(), value);
        Ok(())
    })?;
    out.put_slice(b"\r\n");
    Ok(())
}

fn line(out: &mut impl BufMut, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.put_slice(part);
    }
}

/// Turns the backend's head into the one that is sent to the client. An error: it cannot be passed
/// on.
pub(in crate::proxy) fn response(
    head: &mut ResponseHeader,
    request_id: &HeaderValue,
) -> Result<()> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(improper("a switch of protocols that was not requested"));
    }
    end_to_end(head, request_id)
}

/// Turns the backend's answer to a request that switches to WebSocket into the one that is sent to
/// the client.
pub(in crate::proxy) fn switched(
    head: &mut ResponseHeader,
    request_id: &HeaderValue,
) -> Result<()> {
    let mut protocols = head.headers.get_all(header::UPGRADE).iter().map(HeaderValue::as_bytes);
    let websocket = protocols.next().is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"));
    let only = protocols.next().is_none();
    let mut options = head.headers.get_all(header::CONNECTION).iter();
    if !websocket || !only || !options.any(|value| upgrade::is_option(value.as_bytes())) {
        return Err(improper("a switch to another protocol than was requested"));
    }
    end_to_end(head, request_id)?;
    for (name, value) in SWITCH {
        head.insert_header(name, value)?;
    }
    Ok(())
}

/// Keeps the headers that are meant for the client, and adds the guard's own.
fn end_to_end(head: &mut ResponseHeader, request_id: &HeaderValue) -> Result<()> {
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !head.headers.get_all(header::TRANSFER_ENCODING).iter().all(chunked) {
        return Err(improper("a transfer coding other than chunked"));
    }
    one_framing(head)?;
    // The version is that of the next hop, whatever the backend speaks (RFC 9110 §6.2).
    head.set_version(Version::HTTP_11);
    // SECURITY: these have no body, and a reader that believes a length here waits for one, or
    // reads the next answer as the body (RFC 9112 §6.1, §6.3).
    if head.status.is_informational() || head.status == StatusCode::NO_CONTENT {
        head.remove_header(&header::TRANSFER_ENCODING);
        head.remove_header(&header::CONTENT_LENGTH);
    }
    for name in nominated(&head.headers) {
        head.remove_header(&name);
    }
    let present = head.headers.keys().filter(|name| NOT_PASSED_ON.contains(name));
    for name in present.cloned().collect::<Vec<_>>() {
        head.remove_header(&name);
    }
    head.insert_header(X_REQUEST_ID, request_id.clone())
}

/// Frames an answer for an HTTP/1.0 client, which does not support chunks: without a length, the
/// body ends with the connection (RFC 9112 §6.3).
pub(in crate::proxy) fn unchunk(session: &mut Session, head: &mut ResponseHeader) {
    head.remove_header(&header::TRANSFER_ENCODING);
    let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || session.req_header().method == Method::HEAD;
    if !bodiless && !head.headers.contains_key(header::CONTENT_LENGTH) {
        session.set_keepalive(None);
    }
}

/// Keeps one indication of how long the answer is. Backends that give two are read as Pingora reads
/// them: chunks take precedence over a length, and equal lengths are one (RFC 9112 §6.3).
fn one_framing(head: &mut ResponseHeader) -> Result<()> {
    if head.headers.contains_key(header::TRANSFER_ENCODING) {
        head.remove_header(&header::CONTENT_LENGTH);
        return head.insert_header(header::TRANSFER_ENCODING, "chunked");
    }
    let lines = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let mut lengths =
        lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    let (Some(first), Some(second)) = (lengths.next(), lengths.next()) else { return Ok(()) };
    let length = syntax::decimal(first);
    if second != first || lengths.any(|other| other != first) {
        return Err(improper("two lengths"));
    }
    let countable = length.filter(|length| *length < u64::MAX);
    let length = countable.ok_or_else(|| improper("a length that is not a number"))?;
    head.insert_header(header::CONTENT_LENGTH, length)
}

fn improper(what: &'static str) -> BError {
    Error::explain(ErrorType::InvalidHTTPHeader, what).into_up()
}

/// Headers between the client and the guard only (RFC 9110 §7.6.1), and those that the guard
/// answers itself or that only it may set. Transfer-Encoding and Trailer are not forwarded either:
/// the guard frames what it forwards.
fn stays_here(name: &[u8]) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        2 => is("te"),
        6 => is("expect"),
        7 => is("trailer") || is("upgrade"),
        10 => is("connection") || is("keep-alive"),
        14 => is("http2-settings"),
        15 => is(SCIM_GUARD_RULE),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        19 => is("proxy-authorization") || is(SCIM_GUARD_REPAIRED),
        _ => false,
    }
}

/// The headers that Connection names.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    if !headers.contains_key(header::CONNECTION) {
        return Vec::new();
    }
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // A backend that names these would have its answer truncated; framing is up to Pingora.
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::TRANSFER_ENCODING)
        .collect()
}

/// Whether `Z-*` headers are forwarded: with them Wire's nginx tells its services which user is
/// logged in.
///
/// SECURITY: forwarded only if the operator says that nginx is in front, and only on the API whose
/// login nginx has checked.
pub(in crate::proxy) fn keeps_z_headers(
    rule: &ZHeaders,
    handler: Handler,
    peer: Option<IpAddr>,
) -> bool {
    match (rule, peer) {
        (ZHeaders::KeepFrom(networks), Some(peer)) if handler == Handler::AuthTokens => {
            networks.iter().any(|network| network.contains(&peer))
        }
        _ => false,
    }
}

/// The client's request id if it is well-formed and the only one, else a new one.
pub(in crate::proxy) fn request_id(headers: &HeaderMap) -> HeaderValue {
    static NAME: HeaderName = HeaderName::from_static("x-request-id");
    let mut given = headers.get_all(&NAME).iter();
    match (given.next(), given.next()) {
        (Some(id), None) if is_request_id(id.as_bytes()) => id.clone(),
        _ => {
            let mut text = uuid::Uuid::encode_buffer();
            let text = uuid::Uuid::new_v4().hyphenated().encode_lower(&mut text);
            HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
        }
    }
}

/// SECURITY: the id appears in logs here and in the backend, so it is short and cannot break out of a
/// line.
fn is_request_id(id: &[u8]) -> bool {
    (1..=128).contains(&id.len())
        && id.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        values
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_request_id_is_taken_or_made() {
        let taken = |values: &[_]| request_id(&headers(values)).to_str().unwrap().to_owned();
        assert_eq!(taken(&[("x-request-id", "Abc-1._")]), "Abc-1._");
        for values in [
            vec![],
            vec![("x-request-id", "a b")],
            vec![("x-request-id", "")],
            vec![("x-request-id", "a"), ("x-request-id", "b")],
        ] {
            assert_eq!(taken(&values).len(), 36, "{values:?}");
        }
        assert_eq!(taken(&[("x-request-id", &"a".repeat(129))]).len(), 36);
    }

    #[test]
    fn a_request_leaves_with_its_end_to_end_headers_only() {
        let mut head = RequestHeader::build("POST", b"/scim/Users", None).unwrap();
        for (name, value) in [
            ("Host", "wire.example"),
            ("Connection", "keep-alive, X-Hop"),
            ("X-Hop", "1"),
            ("Keep-Alive", "5"),
            ("TE", "trailers"),
            ("Transfer-Encoding", "chunked"),
            ("Expect", "100-continue"),
            ("Scim-Guard-Rule", "none"),
            ("Scim-Guard-Repaired", "none"),
            ("Accept", "text/json"),
            ("Content-Type", "text/json"),
            ("Content-Encoding", "gzip"),
            ("Z-User", "me"),
            ("traceparent", "00-a-b-01"),
            ("Via", "1.1 before"),
        ] {
            head.append_header(name, value).unwrap();
        }
        let id = HeaderValue::from_static("id");
        let leaving = OutboundHead {
            target: Some(b"/scim/v2/Users"),
            framing: BodyFraming::Length(3),
            version: Version::HTTP_11,
            host: None,
            request_id: &id,
            forwarded_for: Some(HeaderValue::from_static("192.0.2.1")),
            keep_z_headers: false,
            websocket: false,
            cookies: None,
            repaired: Repairs::of(&[Repair::Accept, Repair::ContentType]),
            inflated: true,
            trace: None,
        };
        let mut written = Vec::new();
        write(&head, &leaving, &mut written).unwrap();
        request(&mut head, &leaving).unwrap();
        // Both paths to the backend send the same.
        let text = String::from_utf8(written).unwrap();
        let mut lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines.remove(0), "POST /scim/v2/Users HTTP/1.1");
        assert_eq!(lines.split_off(lines.len() - 2), ["", ""]);
        let mut mapped: Vec<String> = Vec::new();
        for (name, value) in head.case_header_iter() {
            let name = std::str::from_utf8(name.as_slice()).unwrap();
            mapped.push(format!("{name}: {}", value.to_str().unwrap()));
        }
        lines.sort_unstable();
        mapped.sort_unstable();
        assert_eq!(lines, mapped);
        assert_eq!(head.raw_path(), b"/scim/v2/Users");
        let mut names: Vec<&str> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accept",
                "content-length",
                "content-type",
                "host",
                "traceparent",
                "via",
                "x-forwarded-for",
                "x-request-id"
            ]
        );
        for name in ["accept", "content-type"] {
            assert_eq!(head.headers[name], SCIM_JSON, "{name}");
        }
        assert_eq!(head.headers.get_all("via").iter().count(), 2);
    }
}
