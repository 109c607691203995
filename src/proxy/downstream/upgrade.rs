//! What a request asks for with Upgrade (RFC 9110 §7.8).

use crate::refusal::Refusal;
use crate::rule::Rule;

/// What an Upgrade asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// Nothing, or HTTP/2, which a server may ignore. Java's clients and `curl --http2` offer
    /// HTTP/2 with every request.
    PassedOver,
    WebSocket,
}

impl Upgrade {
    /// Parses one line; `None` for any other protocol, also if it is listed together with these.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let mut protocols = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
        if protocols.all(|protocol| protocol.is_empty() || protocol.eq_ignore_ascii_case(b"h2c")) {
            return Some(Self::PassedOver);
        }
        value.eq_ignore_ascii_case(b"websocket").then_some(Self::WebSocket)
    }
}

/// Whether Connection has the option `upgrade`.
pub(in crate::proxy) fn is_option(value: &[u8]) -> bool {
    value.split(|b| *b == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// The head without the request to switch.
pub(super) fn without(head: &[u8]) -> Vec<u8> {
    let stays = |line: &&[u8]| {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        !name.eq_ignore_ascii_case(b"upgrade") && !name.eq_ignore_ascii_case(b"http2-settings")
    };
    head.split_inclusive(|b| *b == b'\n').filter(stays).flatten().copied().collect()
}

/// The refusal of a switch that is not served.
pub(in crate::proxy) fn refused() -> Refusal {
    let detail = "The request asks to switch to another protocol (Upgrade), which is not served here. \
                  Send it without Upgrade.";
    Refusal::new(Rule::FramingUpgrade, detail)
}

/// The refusal of a switch to WebSocket that is served, but not in this form.
pub(super) fn malformed() -> Refusal {
    let detail = "A switch to WebSocket is a GET over HTTP/1.1 with `Connection: Upgrade`, and without \
                  Content-Length and Transfer-Encoding.";
    Refusal::new(Rule::FramingUpgrade, detail)
}
