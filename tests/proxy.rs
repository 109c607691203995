//! The proxy over real sockets: raw bytes are sent, and a recording backend shows what arrives.
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
#[path = "proxy/plugin.rs"]
mod plugin;
#[path = "proxy/reuse.rs"]
mod reuse;
#[path = "proxy/slowness.rs"]
mod slowness;
#[path = "proxy/upgrade.rs"]
mod upgrade;
#[path = "proxy/upstreams.rs"]
mod upstreams;
