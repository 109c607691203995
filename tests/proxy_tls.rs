//! The tests of `proxy` that depend on the timing of bytes, over TLS: the helpers in `support`
//! check the name of this binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

#[path = "proxy/bodies.rs"]
mod bodies;
#[path = "proxy/connections.rs"]
mod connections;
#[path = "proxy/forwarding.rs"]
mod forwarding;
#[path = "proxy/framing.rs"]
mod framing;
#[path = "proxy/memory.rs"]
mod memory;
#[path = "proxy/observing.rs"]
mod observing;
#[path = "proxy/slowness.rs"]
mod slowness;
