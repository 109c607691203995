//! The client's address, as trusted proxies report it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address, and the X-Forwarded-For header that reports it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Origin {
    pub client: Option<IpAddr>,
    pub forwarded_for: Option<HeaderValue>,
}

/// Finds the client, walking X-Forwarded-For from its end through the trusted proxies.
///
/// Wire's nginx takes the LAST element for the client and limits requests by it, so the client's
/// address has to be there: what trusted proxies appended after it is removed, and an untrusted
/// peer is appended itself. What precedes it is kept, unverified.
///
/// SECURITY: an untrusted peer's X-Forwarded-For is never believed; the walk ends at the first
/// element that is not an address.
pub(in crate::proxy) fn find(
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    trusted: &[IpNet],
) -> Origin {
    let Some(peer) = peer else { return Origin { client: None, forwarded_for: None } };
    let peer = peer.to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut elements: Vec<&[u8]> = headers
        .get_all(&X_FORWARDED_FOR)
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

/// The address of an element, after which some load balancers write a port.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        values
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn xff(values: &[(&'static str, &str)], peer: &str, trusted: &[&str]) -> (String, String) {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let origin = find(&headers(values), Some(peer.parse().unwrap()), &trusted);
        (
            origin.client.unwrap().to_string(),
            origin.forwarded_for.unwrap().to_str().unwrap().to_owned(),
        )
    }

    #[test]
    fn the_client_is_last_in_x_forwarded_for() {
        let cases = [
            // An untrusted peer is the client, whatever it sends.
            (vec![], "192.0.2.9", vec![], ("192.0.2.9", "192.0.2.9")),
            (
                vec![("x-forwarded-for", "203.0.113.1")],
                "192.0.2.9",
                vec![],
                ("192.0.2.9", "203.0.113.1, 192.0.2.9"),
            ),
            // A trusted peer is believed, and so is every trusted address before it.
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
            // Some load balancers write a port after the address.
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
}
