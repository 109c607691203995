//! wire-scim-guard: a reverse proxy that guards Wire's SCIM API.
#![forbid(unsafe_code)]

pub mod admin;
pub mod config;
pub mod guard;
pub mod logging;
pub mod metrics;
pub mod policy;
pub mod proxy;
pub mod rule;
pub mod target;
pub mod verdict;
