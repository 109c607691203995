//! What leaves for the backend, and what goes back: the headers that are a proxy's own business
//! (RFC 9110 §7.6). All others pass untouched.

use std::net::{IpAddr, SocketAddr};

use bytes::BufMut;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use ipnet::IpNet;
use pingora::http::{HeaderNameVariant, RequestHeader, ResponseHeader};
use pingora::{BError, Error, ErrorType, Result};

use crate::config::ZHeaders;
use crate::target::Handler;

// Names as HTTP/1 readers are used to see them; Pingora writes them so.
pub(super) const SCIM_GUARD_RULE: &str = "Scim-Guard-Rule";
pub(super) const X_REQUEST_ID: &str = "X-Request-Id";
const X_FORWARDED_FOR: &str = "X-Forwarded-For";

/// How the body of a forwarded request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// The body was read: it goes with its length.
    Length(usize),
    /// No body goes.
    Nothing,
    /// As it comes: with its length if it has one, else chunked by Pingora.
    Streamed,
}

/// What the gate knows of a request that is forwarded.
pub(super) struct Leaving<'a> {
    /// `None`: under the target it came with.
    pub target: Option<&'a [u8]>,
    pub framing: Framing,
    /// The version that the client speaks, for Via.
    pub version: Version,
    pub request_id: &'a HeaderValue,
    /// The value for X-Forwarded-For.
    pub forwarded_for: Option<HeaderValue>,
    pub keep_z_headers: bool,
}

impl Leaving<'_> {
    /// Whether a header of the client's goes to the backend as it came.
    fn keeps(&self, name: &[u8], nominated: &[HeaderName]) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let replaced = match name.len() {
            12 => is(X_REQUEST_ID),
            14 => self.framing != Framing::Streamed && is("content-length"),
            15 => self.forwarded_for.is_some() && is(X_FORWARDED_FOR),
            _ => false,
        };
        let internal = matches!(name, [b'z' | b'Z', b'-', ..]) && !self.keep_z_headers;
        !replaced
            && !internal
            && !stays_here(name)
            && !nominated.iter().any(|nominated| is(nominated.as_str()))
    }

    /// Puts what the guard adds.
    fn add(&self, mut put: impl FnMut(&'static str, &[u8]) -> Result<()>) -> Result<()> {
        if let Framing::Length(length) = self.framing {
            put("Content-Length", length.to_string().as_bytes())?;
        }
        let via = match self.version {
            Version::HTTP_2 => "2.0 wire-scim-guard",
            Version::HTTP_10 => "1.0 wire-scim-guard",
            _ => "1.1 wire-scim-guard",
        };
        put("Via", via.as_bytes())?;
        if let Some(value) = &self.forwarded_for {
            put(X_FORWARDED_FOR, value.as_bytes())?;
        }
        put(X_REQUEST_ID, self.request_id.as_bytes())
    }
}

/// Turns the client's head into the one that the backend gets.
pub(super) fn request(head: &mut RequestHeader, leaving: &Leaving<'_>) -> Result<()> {
    // HTTP/2 names the host outside of the headers, in what becomes the target.
    let authority = head.uri.authority().cloned();
    // SECURITY: the very bytes that were judged, or their canonical form.
    if let Some(target) = leaving.target {
        head.set_raw_path(target)?;
    }
    let nominated = nominated(&head.headers);
    let gone = |name: &&HeaderName| !leaving.keeps(name.as_str().as_bytes(), &nominated);
    let gone: Vec<HeaderName> = head.headers.keys().filter(gone).cloned().collect();
    for name in &gone {
        head.remove_header(name);
    }
    if !head.headers.contains_key(header::HOST)
        && let Some(authority) = authority
    {
        head.insert_header(header::HOST, authority.as_str())?;
    }
    leaving.add(|name, value| head.append_header(name, value).map(drop))
}

/// Writes the head that the backend gets, as HTTP/1 has it (RFC 9112 §3).
pub(super) fn write(
    head: &RequestHeader,
    leaving: &Leaving<'_>,
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
    if !head.headers.contains_key(header::HOST)
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

/// Turns the backend's head into the one that the client gets. An error: it is none that can be
/// handed on.
pub(super) fn response(head: &mut ResponseHeader, request_id: &HeaderValue) -> Result<()> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(improper("a switch of protocols that nobody asked for"));
    }
    if head.headers.get_all(header::TRANSFER_ENCODING).iter().any(|coding| coding != "chunked") {
        return Err(improper("a transfer coding other than chunked"));
    }
    // The version is that of the next hop, whatever the backend speaks (RFC 9110 §6.2).
    head.set_version(Version::HTTP_11);
    // SECURITY: these have no body, and a reader that believes a length here waits for one, or takes
    // the next answer for it (RFC 9112 §6.1, §6.3).
    if head.status.is_informational() || head.status == StatusCode::NO_CONTENT {
        head.remove_header(&header::TRANSFER_ENCODING);
        head.remove_header(&header::CONTENT_LENGTH);
    }
    for name in nominated(&head.headers) {
        head.remove_header(&name);
    }
    for name in [&header::CONNECTION, &header::UPGRADE, &header::TE, &header::TRAILER] {
        head.remove_header(name);
    }
    head.remove_header("keep-alive");
    head.remove_header("proxy-connection");
    // SECURITY: only the guard says which of its rules answered.
    head.remove_header(SCIM_GUARD_RULE);
    head.insert_header(X_REQUEST_ID, request_id.clone())
}

fn improper(what: &'static str) -> BError {
    Error::explain(ErrorType::InvalidHTTPHeader, what).into_up()
}

/// Headers between the client and the guard only (RFC 9110 §7.6.1), and those that the guard
/// answers itself or that only it may set. Transfer-Encoding and Trailer stay as well: the guard
/// frames what it forwards anew.
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
        19 => is("proxy-authorization"),
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
        // A backend that names these would have its answer cut; framing is Pingora's to say.
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::TRANSFER_ENCODING)
        .collect()
}

/// Whether `Z-*` headers are passed on: by them Wire's nginx tells its services who is logged in.
///
/// SECURITY: kept only where the operator says that nginx stands in front, and only on the API
/// whose login nginx has checked.
pub(super) fn keeps_z_headers(rule: &ZHeaders, handler: Handler, peer: Option<IpAddr>) -> bool {
    match (rule, peer) {
        (ZHeaders::KeepFrom(networks), Some(peer)) if handler == Handler::AuthTokens => {
            networks.iter().any(|network| network.contains(&peer))
        }
        _ => false,
    }
}

/// The client's address, and the X-Forwarded-For that says so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub client: Option<IpAddr>,
    pub forwarded_for: Option<HeaderValue>,
}

/// Finds the client behind the trusted proxies, walking X-Forwarded-For from its end.
///
/// Wire's nginx takes the LAST element for the client and limits requests by it, so the client's
/// address has to stand there: what trusted proxies appended behind it is cut off, and an
/// untrusted peer is appended itself. What stands before is kept as it came, as hearsay.
///
/// SECURITY: an untrusted peer's X-Forwarded-For is never believed; the walk ends at the first
/// element that is no address.
pub(super) fn origin(headers: &HeaderMap, peer: Option<IpAddr>, trusted: &[IpNet]) -> Origin {
    let Some(peer) = peer else { return Origin { client: None, forwarded_for: None } };
    let peer = peer.to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut elements: Vec<&[u8]> = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .collect();
    let mut client = peer;
    while is_trusted(&client) {
        let Some(address) = elements.last().and_then(|element| address(element)) else { break };
        elements.pop();
        client = address;
    }
    let mut value = Vec::with_capacity(elements.iter().map(|e| e.len() + 2).sum::<usize>() + 40);
    for element in elements {
        value.extend_from_slice(element);
        value.extend_from_slice(b", ");
    }
    value.extend_from_slice(client.to_string().as_bytes());
    Origin { client: Some(client), forwarded_for: HeaderValue::from_maybe_shared(value).ok() }
}

/// The address of an element, behind which some load balancers write a port.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// The client's request id if it is well-formed and the only one, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let mut given = headers.get_all(X_REQUEST_ID).iter();
    match (given.next(), given.next()) {
        (Some(id), None) if is_request_id(id.as_bytes()) => id.clone(),
        _ => {
            let mut text = uuid::Uuid::encode_buffer();
            let text = uuid::Uuid::new_v4().hyphenated().encode_lower(&mut text);
            HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
        }
    }
}

/// SECURITY: the id stands in logs here and behind, so it is short and cannot break out of a line.
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

    fn xff(values: &[(&'static str, &str)], peer: &str, trusted: &[&str]) -> (String, String) {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let origin = origin(&headers(values), Some(peer.parse().unwrap()), &trusted);
        (
            origin.client.unwrap().to_string(),
            origin.forwarded_for.unwrap().to_str().unwrap().to_owned(),
        )
    }

    #[test]
    fn the_client_stands_last_in_x_forwarded_for() {
        let cases = [
            // An untrusted peer is the client, whatever it claims.
            (vec![], "192.0.2.9", vec![], ("192.0.2.9", "192.0.2.9")),
            (
                vec![("x-forwarded-for", "203.0.113.1")],
                "192.0.2.9",
                vec![],
                ("192.0.2.9", "203.0.113.1, 192.0.2.9"),
            ),
            // A trusted one is believed, and so is every trusted one before it.
            (
                vec![("x-forwarded-for", "1.2.3.4, 203.0.113.1, 10.0.0.2")],
                "10.0.0.1",
                vec!["10.0.0.0/8"],
                ("203.0.113.1", "1.2.3.4, 203.0.113.1"),
            ),
            (
                vec![("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "203.0.113.1")],
                "10.0.0.1",
                vec!["10.0.0.0/8"],
                ("203.0.113.1", "1.2.3.4, 203.0.113.1"),
            ),
            // Without a client to find, the last trusted one is the client.
            (vec![], "10.0.0.1", vec!["10.0.0.0/8"], ("10.0.0.1", "10.0.0.1")),
            (
                vec![("x-forwarded-for", "unknown")],
                "10.0.0.1",
                vec!["10.0.0.0/8"],
                ("10.0.0.1", "unknown, 10.0.0.1"),
            ),
            // Some load balancers write a port behind the address.
            (
                vec![("x-forwarded-for", "1.2.3.4, 203.0.113.1:51234")],
                "10.0.0.1",
                vec!["10.0.0.0/8"],
                ("203.0.113.1", "1.2.3.4, 203.0.113.1"),
            ),
            (
                vec![("x-forwarded-for", "[2001:db8::1]:443")],
                "10.0.0.1",
                vec!["10.0.0.0/8"],
                ("2001:db8::1", "2001:db8::1"),
            ),
            (
                vec![("x-forwarded-for", "2001:db8::1")],
                "::ffff:10.0.0.1",
                vec!["10.0.0.0/8"],
                ("2001:db8::1", "2001:db8::1"),
            ),
        ];
        for (values, peer, trusted, (client, value)) in cases {
            assert_eq!(xff(&values, peer, &trusted), (client.into(), value.into()), "{values:?}");
        }
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
            ("Z-User", "me"),
            ("traceparent", "00-a-b-01"),
            ("Via", "1.1 before"),
        ] {
            head.append_header(name, value).unwrap();
        }
        let id = HeaderValue::from_static("id");
        let leaving = Leaving {
            target: Some(b"/scim/v2/Users"),
            framing: Framing::Length(3),
            version: Version::HTTP_11,
            request_id: &id,
            forwarded_for: Some(HeaderValue::from_static("192.0.2.1")),
            keep_z_headers: false,
        };
        let mut written = Vec::new();
        write(&head, &leaving, &mut written).unwrap();
        request(&mut head, &leaving).unwrap();
        // Both ways to the backend say the same.
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
            ["content-length", "host", "traceparent", "via", "x-forwarded-for", "x-request-id"]
        );
        assert_eq!(head.headers.get_all("via").iter().count(), 2);
    }
}
