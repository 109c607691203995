//! Repairs: what clients send, what the backend receives, and how the clients are answered.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at what it does not expect"
)]

mod support;

#[path = "repair/answers.rs"]
mod answers;
#[path = "repair/clients.rs"]
mod clients;
#[path = "repair/documented.rs"]
mod documented;
#[path = "repair/groups.rs"]
mod groups;
#[path = "repair/lookup.rs"]
mod lookup;
#[path = "repair/proxied.rs"]
mod proxied;
#[path = "repair/requests.rs"]
mod requests;
#[path = "repair/scenarios.rs"]
mod scenarios;
#[path = "repair/world.rs"]
mod world;
