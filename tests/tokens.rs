//! The token registry and the refusal cache: over real sockets, in front of a backend that counts its requests,
//! and with the program as operators run it.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod support;

#[path = "tokens/canary.rs"]
mod canary;
#[path = "tokens/command.rs"]
mod command;
#[path = "tokens/program.rs"]
mod program;
#[path = "tokens/refusals.rs"]
mod refusals;
#[path = "tokens/registry.rs"]
mod registry;
#[path = "tokens/throttled.rs"]
mod throttled;

const USER: &str = "/scim/v2/Users/5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f";
const GROUP: &str = "/scim/v2/Groups/9d2f7c1a-3b4e-4c5d-a6f7-8091a2b3c4d5";

/// A request without a body, with a token and further header lines.
fn request(method: &str, target: &str, token: &str, lines: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: wire.example\r\nAuthorization: Bearer {token}\r\n{lines}\r\n"
    )
}

fn get(token: &str) -> String {
    request("GET", USER, token, "")
}

/// A token of Wire's form, a different one for each number.
fn token(number: u8) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode([number; 32])
}
