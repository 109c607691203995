//! Single values of the config file: addresses, servers, hosts, paths, releases.
//!
//! Errors are the end of a sentence that begins with the key's name: what was found, and what to
//! write instead.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use rustls::pki_types::ServerName;

use super::Server;
use crate::fraction::Fraction;
use crate::input::value::quoted;
use crate::release::{Release, Releases};

/// Where to listen: an IP address and a port.
pub fn listener(text: &str) -> Result<SocketAddr, String> {
    let found = quoted(text);
    let address = text.parse::<SocketAddr>().map_err(|_| {
        if let Some(why) = unbracketed(text) {
            return format!("{found} {why}");
        }
        let port = text.rsplit_once(':').map(|(_, port)| port);
        if port.is_some_and(|port| port.parse::<u32>().is_ok_and(|port| port > 65535)) {
            return format!("{found} has no valid port after the colon (1 to 65535)");
        }
        let port = port.filter(|port| port.parse::<u16>().is_ok()).unwrap_or("8080");
        format!(
            "{found} is not an IP address with a port (names are not resolved here); write 127.0.0.1:{port} for \
             this machine only, 0.0.0.0:{port} or [::]:{port} for all interfaces"
        )
    })?;
    if address.port() == 0 {
        return Err(format!("{found} leaves the port open; name the port"));
    }
    Ok(address)
}

/// The error in an IPv6 address and its port, or without a port, if the address is not in brackets.
/// `::1:8080` is a valid address, but hardly ever meant as one.
fn unbracketed(text: &str) -> Option<String> {
    let is_address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    let split = text.rsplit_once(':').filter(|(host, port)| {
        is_address(host) && port.parse::<u16>().is_ok_and(|port| port > 0 && !text.contains(":+"))
    });
    match split {
        Some((host, port)) if is_address(text) => Some(format!(
            "has an IPv6 address without brackets; write [{host}]:{port}, or [{text}]:8080 if {port} is a \
             part of the address"
        )),
        Some((host, port)) => {
            Some(format!("has an IPv6 address without brackets; write [{host}]:{port}"))
        }
        None if is_address(text) => Some(format!("has no port; write [{text}]:8080")),
        None => None,
    }
}

/// The base URL of a collector.
pub fn collector(text: &str) -> Result<String, String> {
    let found = quoted(text);
    let example = "write http://127.0.0.1:4318 or https://collector.example.com";
    let Ok(uri) = text.parse::<http::Uri>() else {
        return Err(format!("{found} is not a URL; {example}"));
    };
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().map(http::uri::Authority::as_str);
    match authority {
        Some(authority) if authority.contains('@') => {
            Err("has a user or a password, which do not belong here".into())
        }
        Some(_) if is_http && uri.query().is_none() => Ok(text.trim_end_matches('/').into()),
        _ => Err(format!("{found} is not the base URL of a collector; {example}")),
    }
}

/// A fraction, from 0 to 1.
pub fn fraction(text: &str) -> Result<Fraction, String> {
    Fraction::parse(text).ok_or_else(|| {
        format!("{} is not a number from 0 to 1; write 0.1 for a tenth", quoted(text))
    })
}

/// The path of a request, with an optional query.
pub fn path(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !text.starts_with('/') || !plain {
        return Err(format!("{} is not a path; write one such as /status", quoted(text)));
    }
    Ok(text.into())
}

/// A backend server: a name or an address, and a port, which is optional after http:// and
/// https://.
pub fn server(text: &str) -> Result<Server, String> {
    let Some((scheme, place)) = text.split_once("://") else {
        let (host, port) = host_and_port(text, &quoted(text), None)?;
        return Ok(Server::cleartext(host, port));
    };
    let found = quoted(text);
    let (tls, default) = match scheme.to_ascii_lowercase().as_str() {
        "https" => (true, 443),
        "http" => (false, 80),
        _ => {
            return Err(format!(
                "{found} is a URL of another kind; write http:// or https:// before the host"
            ));
        }
    };
    let scheme = if tls { "https" } else { "http" };
    let end = place.find(['/', '?', '#', '\\']).unwrap_or(place.len());
    let (place, rest) = place.split_at(end);
    // SECURITY: a password may have been written there.
    if place.contains('@') {
        return Err(format!(
            "a server has a user name or a password before the @, which the guard does not send; write {scheme}:// \
             and the host alone"
        ));
    }
    if !rest.is_empty() {
        let what = match rest.as_bytes()[0] {
            b'?' => "a query",
            b'#' => "a fragment",
            _ => "a path",
        };
        return Err(format!(
            "{found} has {what} after the host: requests keep the path that they came with; write {scheme}://{place}"
        ));
    }
    let (host, port) = host_and_port(place, &found, Some(default))?;
    if tls && ServerName::try_from(host.as_str()).is_err() {
        return Err(format!(
            "{found} has a host that no certificate can be for; name it by its DNS name"
        ));
    }
    Ok(Server { host, port, tls })
}

/// A host and its port, which may be left out if there is a default.
pub(super) fn host_and_port(
    text: &str,
    found: &str,
    default: Option<u16>,
) -> Result<(String, u16), String> {
    if let Some(why) = unbracketed(text) {
        return Err(format!("{found} {why}"));
    }
    let bracketed = text.starts_with('[') && text.ends_with(']');
    let split = text.rsplit_once(':').filter(|_| !bracketed);
    let (host, port) = match (split, default) {
        (Some((host, port)), _) => match port.parse::<u16>() {
            Ok(port) if port != 0 && !text.contains(":+") => (host, port),
            _ => return Err(format!("{found} has no valid port after the colon (1 to 65535)")),
        },
        (None, Some(default)) => (text, default),
        (None, None) => {
            return Err(format!("{found} has no port; write host:port, such as nginz:8080"));
        }
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => inner,
        Some(_) => return Err(format!("{found} has no IPv6 address between the brackets")),
        None if host.contains(':') => {
            return Err(format!(
                "{found} has several colons; write host:port, or [::1]:8080 for IPv6"
            ));
        }
        None => host_name(host).map_err(|why| format!("{found} {why}"))?,
    };
    Ok((host.into(), port))
}

/// A value of the Host header that is served, without its port and without the dot that a fully
/// qualified name may end in.
pub fn host(text: &str) -> Result<String, String> {
    let found = quoted(text);
    let bracketed = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    if text.contains("://") || text.contains('/') {
        return Err(format!("{found} is a URL; write the host alone, such as wire.example.com"));
    }
    if text.contains('*') {
        return Err(format!("{found} has a wildcard; write each host in full"));
    }
    match bracketed {
        Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => {}
        None if text.parse::<Ipv6Addr>().is_ok() => {
            return Err(format!("{found} is an IPv6 address without brackets; write [{text}]"));
        }
        _ if text.contains(':') => {
            return Err(format!("{found} has a port; hosts are compared without their port"));
        }
        _ => {
            host_name(text).map_err(|why| format!("{found} {why}"))?;
        }
    }
    Ok(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase())
}

/// Checks a DNS name or an IPv4 address. Errors are the end of a sentence.
fn host_name(host: &str) -> Result<&str, &'static str> {
    const CHARACTERS: &str = "is not a host name; it may have letters, digits, `.`, `-` and `_`";
    let name = host.strip_suffix('.').unwrap_or(host);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(CHARACTERS);
    }
    if name.len() > 253 || name.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err(
            "is not a host name: a part between dots is empty or longer than 63 characters",
        );
    }
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    if name.rsplit('.').next().is_some_and(numeric) && name.parse::<IpAddr>().is_err() {
        return Err("is not an IPv4 address, and no host name ends in a number");
    }
    Ok(host)
}

/// A release of Wire such as `5.35`, or `any`.
pub fn releases(text: &str) -> Result<Releases, String> {
    if text == "any" {
        return Ok(Releases::Any);
    }
    Release::parse(text).map(Releases::Only).ok_or_else(|| {
        format!(
            "{} is not a release of Wire: write \"any\", or two numbers as in \"{}\"",
            quoted(text),
            Release::NEWEST.as_str()
        )
    })
}

/// The path of a file or folder.
pub fn file(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("\"\" is not a path; leave out the whole line to go without".into());
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_a_host_and_a_port() {
        for (text, host, port, tls) in [
            ("127.0.0.1:8088", "127.0.0.1", 8088, false),
            ("[::1]:80", "::1", 80, false),
            ("nginz.wire.svc:8080", "nginz.wire.svc", 8080, false),
            ("http://nginz", "nginz", 80, false),
            ("http://nginz:8080", "nginz", 8080, false),
            ("https://prod-nginz-https.wire.com", "prod-nginz-https.wire.com", 443, true),
            ("HTTPS://nginz:8443", "nginz", 8443, true),
            ("https://10.0.0.1", "10.0.0.1", 443, true),
            ("https://[::1]:8443", "::1", 8443, true),
            ("https://[::1]", "::1", 443, true),
        ] {
            assert_eq!(server(text), Ok(Server { host: host.into(), port, tls }), "{text}");
        }
        for wrong in [
            "",
            ":80",
            "nginz",
            "nginz:",
            "nginz:0",
            "nginz:65536",
            "nginz:+80",
            "::1",
            "::1:80x",
            "[x]:80",
            "ftp://nginz:80",
            "https://",
            "https://nginz/",
            "https://nginz/scim/v2",
            "https://nginz?a=b",
            "https://nginz#a",
            "https://me:secret@nginz",
            "https://nginz:",
            "https://nginz:0",
            "https://::1",
            "https://nginz\\a",
            "https://https://nginz",
            "a..b:80",
            "a b:80",
            "10.0.0:80",
            "1.2.3.4.5:80",
        ] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_have_no_port_and_no_capitals() {
        assert_eq!(host("Wire.Example.com"), Ok("wire.example.com".into()));
        assert_eq!(host("[::1]"), Ok("[::1]".into()));
        assert_eq!(host("wire.example."), Ok("wire.example".into()));
        for wrong in ["", "a:80", "https://a", "*.a.com", "a/b", "[x]", "[::1]:80", "ä.de"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }
}
