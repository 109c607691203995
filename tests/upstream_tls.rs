//! TLS to the backend over real sockets: a TLS server that counts handshakes, in front of a backend that records the
//! requests.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "upstream_tls/certificates.rs"]
mod certificates;
#[path = "upstream_tls/forwarding.rs"]
mod forwarding;
#[path = "upstream_tls/mismatch.rs"]
mod mismatch;
#[path = "upstream_tls/reuse.rs"]
mod reuse;
#[path = "upstream_tls/terminator.rs"]
mod terminator;
