//! Checks of a request's framing once its head has been parsed: the only ones for HTTP/2, and for
//! services without [`Downstream`](crate::proxy::Downstream), which checks the bytes of HTTP/1
//! heads before.
//!
//! SECURITY: HTTP/2 has its own framing, but requests are forwarded as HTTP/1, and headers that
//! mean nothing in HTTP/2 frame messages in HTTP/1 (RFC 9113 §8.2.2, §10.3).

use http::{HeaderMap, HeaderValue, Version, header};
use pingora::http::RequestHeader;

use crate::refusal::Refusal;
use crate::rule::Rule;

use super::head::{self, HeadRules};
use super::syntax::decimal;
use super::upgrade::{self, Upgrade};

/// Checks a parsed head: the number of its headers, and its host.
pub(in crate::proxy) fn check(head: &RequestHeader, rules: HeadRules<'_>) -> Result<(), Refusal> {
    if head.headers.len() > rules.headers {
        return Err(Refusal::new(
            Rule::LimitsHeaders,
            format!("The request has more than {} header lines.", rules.headers),
        ));
    }
    host(head, rules.hosts)?;
    // As for HTTP/1; no switch of protocols starts here.
    let read = |value: &HeaderValue| Upgrade::read(value.as_bytes());
    if !head.headers.get_all(header::UPGRADE).iter().all(|v| read(v) == Some(Upgrade::PassedOver)) {
        return Err(upgrade::refused());
    }
    for value in head.headers.get_all(header::CONNECTION) {
        head::check_connection(value.as_bytes())?;
    }
    coding(head)?;
    length(&head.headers)
}

/// HTTP/2 names the host in `:authority`; a Host header in addition has to be equal.
fn host(head: &RequestHeader, hosts: &[String]) -> Result<(), Refusal> {
    let refuse = |what| Err(Refusal::new(Rule::FramingHost, what));
    let mut given = head.headers.get_all(header::HOST).iter();
    let (host, second) = (given.next().map(HeaderValue::as_bytes), given.next());
    if second.is_some() {
        return refuse("The request has more than one Host header.");
    }
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    if host.zip(authority).is_some_and(|(host, authority)| host != authority) {
        return refuse("Host and :authority differ.");
    }
    head::host_is_served(host.or(authority), hosts)
}

fn coding(head: &RequestHeader) -> Result<(), Refusal> {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None)
            if head.version == Version::HTTP_11
                && !has_length
                && coding.as_bytes().eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(())
        }
        _ => Err(Refusal::new(
            Rule::FramingTransferEncoding,
            "Transfer-Encoding is not `chunked`, once, and without Content-Length.",
        )),
    }
}

fn length(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        (Some(length), None) if decimal(length.as_bytes()).is_some() => Ok(()),
        _ => Err(Refusal::new(
            Rule::FramingLength,
            "Content-Length does not stand once, as a plain decimal number.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(version: Version, headers: &[(&'static str, &'static str)]) -> Option<Rule> {
        let mut head = RequestHeader::build("POST", b"/scim/v2/Users", None).unwrap();
        head.set_version(version);
        for (name, value) in headers {
            head.append_header(*name, *value).unwrap();
        }
        let rules = HeadRules { headers: 5, hosts: &[], body: 512, websocket: false };
        check(&head, rules).err().map(|refusal| refusal.rule)
    }

    #[test]
    fn a_parsed_head_is_checked_by_the_rules_of_a_raw_one() {
        const HOST: (&str, &str) = ("host", "a");
        const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");
        let http1 = |headers: &[_]| rule(Version::HTTP_11, headers);
        assert_eq!(http1(&[HOST]), None);
        assert_eq!(http1(&[HOST, CHUNKED]), None);
        assert_eq!(
            http1(&[HOST, ("upgrade", "h2c"), ("connection", "upgrade, http2-settings")]),
            None
        );
        assert_eq!(http1(&[HOST, ("content-length", "5")]), None);
        for (headers, expected) in [
            (&[][..], Rule::FramingHost),
            (&[HOST, HOST], Rule::FramingHost),
            (&[HOST, CHUNKED, ("content-length", "5")], Rule::FramingTransferEncoding),
            (&[HOST, CHUNKED, CHUNKED], Rule::FramingTransferEncoding),
            (&[HOST, ("transfer-encoding", "gzip, chunked")], Rule::FramingTransferEncoding),
            (&[HOST, ("content-length", "5"), ("content-length", "5")], Rule::FramingLength),
            (&[HOST, ("content-length", "+5")], Rule::FramingLength),
            (&[HOST, ("upgrade", "websocket")], Rule::FramingUpgrade),
            (&[HOST, ("upgrade", "h2c, websocket")], Rule::FramingUpgrade),
            (&[HOST, ("connection", "authorization")], Rule::FramingHeader),
            (&[HOST, HOST, HOST, HOST, HOST, HOST], Rule::LimitsHeaders),
        ] {
            assert_eq!(http1(headers), Some(expected), "{headers:?}");
        }
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(rule(version, &[HOST, CHUNKED]), Some(Rule::FramingTransferEncoding));
        }
    }
}
