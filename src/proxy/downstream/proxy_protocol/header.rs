//! The two forms of a PROXY protocol header, as HAProxy's `proxy-protocol.txt` defines them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The shortest header: of version 1 that is `PROXY UNKNOWN`, of version 2 its signature.
pub(super) const SHORTEST: usize = SIGNATURE.len();

/// The longest header of version 1, with the end of its line.
pub(super) const V1_MAX: usize = 107;

/// The part that every version 2 header begins with.
pub const V2_HEAD: usize = 16;

/// The maximum size of addresses and additional fields in version 2. Load balancers send a few
/// hundred bytes.
pub(super) const V2_MAX: usize = 4096;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1: &[u8] = b"PROXY ";

/// The version of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preamble {
    V1,
    V2,
}

/// What is wrong with a header, as the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl Malformed {
    pub(super) const LONG: Self = Self("is longer than 107 bytes");
}

/// The version, by the first bytes of a header, as far as they have arrived.
pub fn preamble(first: &[u8]) -> Result<Preamble, Malformed> {
    let may_be = |form: &[u8]| first.iter().zip(form).all(|(a, b)| a == b);
    if may_be(SIGNATURE) {
        Ok(Preamble::V2)
    } else if may_be(V1) {
        Ok(Preamble::V1)
    } else {
        Err(Malformed("is missing"))
    }
}

/// Parses a version 1 header, including the end of its line. `None`: it names no client.
pub fn v1(line: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    if line.len() > V1_MAX {
        return Err(Malformed::LONG);
    }
    let line = line.strip_suffix(b"\r\n").ok_or(Malformed("does not end in CRLF"))?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed("is not ASCII"))?;
    let mut parts = line.split(' ');
    if parts.next() != Some("PROXY") {
        return Err(Malformed("is missing"));
    }
    let family = parts.next();
    // What follows is to be ignored.
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let all: Vec<&str> = parts.collect();
    let [source, destination, source_port, destination_port] = all[..] else {
        return Err(Malformed("does not have two addresses and two ports"));
    };
    let address = |text: &str| -> Result<IpAddr, Malformed> {
        let address = match family {
            Some("TCP4") => text.parse::<Ipv4Addr>().map(IpAddr::from).ok(),
            Some("TCP6") => text.parse::<Ipv6Addr>().map(IpAddr::from).ok(),
            _ => return Err(Malformed("names a protocol other than TCP4, TCP6 and UNKNOWN")),
        };
        address.ok_or(Malformed("has an address that is none of its protocol"))
    };
    let (source, _) = (address(source)?, address(destination)?);
    let (port, _) = (port(source_port)?, port(destination_port)?);
    Ok(Some(SocketAddr::new(source, port)))
}

fn port(text: &str) -> Result<u16, Malformed> {
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = decimal && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(Malformed("has a port that is not a decimal number"))
}

/// How many bytes follow the fixed part of version 2.
pub fn v2_length(head: &[u8; V2_HEAD]) -> Result<usize, Malformed> {
    if head[12] >> 4 != 2 {
        return Err(Malformed("is of another version than 1 and 2"));
    }
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > V2_MAX { Err(Malformed("is longer than 4096 bytes")) } else { Ok(length) }
}

/// Parses a version 2 header. `None`: it names no client.
///
/// Checksums and other additional fields are not read: TCP has its own checksums, and nothing here
/// depends on the other fields.
pub fn v2(head: &[u8; V2_HEAD], rest: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    match head[12] & 0xf {
        // LOCAL: the load balancer's own connection.
        0 => return Ok(None),
        1 => {}
        _ => return Err(Malformed("has a command other than LOCAL and PROXY")),
    }
    const SHORT: Malformed = Malformed("is shorter than the addresses that it announces");
    let port = |at: usize| rest.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let (address, port) = match head[13] {
        // AF_UNSPEC.
        0x00 => return Ok(None),
        // TCP over IPv4: two addresses, two ports.
        0x11 => {
            let address = rest.first_chunk::<4>().map(|bytes| IpAddr::from(Ipv4Addr::from(*bytes)));
            (address, port(8).filter(|_| rest.len() >= 12))
        }
        // TCP over IPv6.
        0x21 => {
            let address =
                rest.first_chunk::<16>().map(|bytes| IpAddr::from(Ipv6Addr::from(*bytes)));
            (address, port(32).filter(|_| rest.len() >= 36))
        }
        _ => return Err(Malformed("is for another protocol than TCP over IPv4 or IPv6")),
    };
    let (address, port) = address.zip(port).ok_or(SHORT)?;
    Ok(Some(SocketAddr::new(address, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(command: u8, protocol: u8, length: u16) -> [u8; V2_HEAD] {
        let mut head = [0; V2_HEAD];
        head[..12].copy_from_slice(SIGNATURE);
        (head[12], head[13]) = (command, protocol);
        head[14..].copy_from_slice(&length.to_be_bytes());
        head
    }

    #[test]
    fn version_1_is_a_line() {
        let read = |line: &str| v1(line.as_bytes());
        let client = |text: &str| Ok(Some(text.parse().unwrap()));
        assert_eq!(
            read("PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r\n"),
            client("192.0.2.1:5000")
        );
        assert_eq!(read("PROXY TCP6 2001:db8::1 ::1 1 0\r\n"), client("[2001:db8::1]:1"));
        assert_eq!(read("PROXY UNKNOWN\r\n"), Ok(None));
        assert_eq!(read("PROXY UNKNOWN what ever\r\n"), Ok(None));
        for wrong in [
            "",
            "PROXY\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 5000\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 5000 443 \r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.1 5000 443\r\n",
            "PROXY TCP4 2001:db8::1 198.51.100.1 5000 443\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 5000 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 05000 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +5 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 5000 443\r\n",
            "GET / HTTP/1.1\r\n",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        assert_eq!(read(&long), Err(Malformed::LONG));
    }

    #[test]
    fn version_2_is_binary() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x13, 0x88, 1, 187];
        assert_eq!(v2(&head(0x21, 0x11, 12), &v4), Ok(Some("192.0.2.1:5000".parse().unwrap())));
        let with_fields = [&v4[..], &[4, 0, 1, 0]].concat();
        assert!(v2(&head(0x21, 0x11, 16), &with_fields).is_ok());
        let mut v6 = [0; 36];
        (v6[0], v6[15], v6[33]) = (0x20, 1, 7);
        assert_eq!(v2(&head(0x21, 0x21, 36), &v6), Ok(Some("[2000::1]:7".parse().unwrap())));
        assert_eq!(v2(&head(0x20, 0x11, 12), &v4), Ok(None));
        assert_eq!(v2(&head(0x20, 0, 0), &[]), Ok(None));
        assert_eq!(v2(&head(0x21, 0, 0), &[]), Ok(None));
        for (command, protocol, rest) in [
            (0x22, 0x11, &v4[..]),
            (0x21, 0x12, &v4),
            (0x21, 0x31, &v4),
            (0x21, 0x11, &v4[..11]),
            (0x21, 0x21, &v6[..35]),
        ] {
            assert!(v2(&head(command, protocol, 0), rest).is_err(), "{command:x} {protocol:x}");
        }
        assert_eq!(v2_length(&head(0x21, 0x11, 4096)), Ok(4096));
        assert!(v2_length(&head(0x21, 0x11, 4097)).is_err());
        assert!(v2_length(&head(0x11, 0x11, 12)).is_err());
    }

    #[test]
    fn a_header_is_recognised_by_its_first_bytes() {
        assert_eq!(preamble(b"PROXY TCP4 1"), Ok(Preamble::V1));
        assert_eq!(preamble(SIGNATURE), Ok(Preamble::V2));
        for wrong in [&b"G"[..], b"\x16\x03\x01", b"PROXYTCP4", b"\r\n\r\n\0\r\nQUIX"] {
            assert!(preamble(wrong).is_err());
        }
    }
}
