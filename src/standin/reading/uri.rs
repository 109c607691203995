//! Absolute URIs, split at their delimiters (RFC 3986, appendix B).

use std::net::Ipv6Addr;

/// Whether Wire accepts a string as an absolute URI.
pub(super) fn is_absolute(text: &str) -> bool {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let tail = |part: &str| consists_of(part, "!$&'()*+,;=:@/?");
    let hierarchy = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            is_authority(&rest[..end]) && is_path(&rest[end..])
        }
        None => is_path(rest),
    };
    is_scheme(scheme) && hierarchy && tail(query) && tail(fragment)
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn is_path(path: &str) -> bool {
    consists_of(path, "!$&'()*+,;=:@/")
}

fn is_authority(authority: &str) -> bool {
    let (user, host_and_port) = match authority.split_once('@') {
        Some((user, rest)) => (user, rest),
        None => ("", authority),
    };
    if !consists_of(user, "!$&'()*+,;=:") {
        return false;
    }
    let (host, port) = match host_and_port.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((literal, port)) if is_literal(literal) => ("", port),
            _ => return false,
        },
        None => host_and_port.split_at(host_and_port.find(':').unwrap_or(host_and_port.len())),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    consists_of(host, "!$&'()*+,;=")
        && (port.is_empty() || port.starts_with(':'))
        && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Whether the contents of brackets are an IP literal.
fn is_literal(literal: &str) -> bool {
    if let Some(future) = literal.strip_prefix('v') {
        let Some((version, address)) = future.split_once('.') else { return false };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&b);
        return version.len() == 1
            && version.bytes().all(|b| b.is_ascii_hexdigit())
            && !address.is_empty()
            && address.bytes().all(plain);
    }
    let (address, zone) = match literal.split_once("%25") {
        Some((address, zone)) => (address, Some(zone)),
        None => (literal, None),
    };
    zone.is_none_or(|zone| !zone.is_empty() && consists_of(zone, "")) && is_ipv6(address)
}

/// Whether a string is an IPv6 address to the standard library, which refuses leading zeros in the last four numbers:
/// these are accepted here.
fn is_ipv6(address: &str) -> bool {
    let Some((head, tail)) = address.rsplit_once(':').filter(|(_, tail)| tail.contains('.')) else {
        return address.parse::<Ipv6Addr>().is_ok();
    };
    let octets: Option<Vec<String>> = tail
        .split('.')
        .map(|octet| {
            let digits =
                (1..=3).contains(&octet.len()) && octet.bytes().all(|b| b.is_ascii_digit());
            Some(octet).filter(|_| digits)?.parse::<u8>().ok().map(|n| n.to_string())
        })
        .collect();
    octets.is_some_and(|octets| format!("{head}:{}", octets.join(".")).parse::<Ipv6Addr>().is_ok())
}

/// Unreserved and percent-encoded characters, and those of `others`.
fn consists_of(text: &str, others: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => hex(at + 1) && hex(at + 2),
        _ => {
            byte.is_ascii_alphanumeric()
                || b"-._~".contains(byte)
                || others.as_bytes().contains(byte)
        }
    })
}
