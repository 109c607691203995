//! wire-scim-guard: a reverse proxy that guards Wire's SCIM API.
#![forbid(unsafe_code)]

pub mod config;
pub mod guard;
pub mod policy;
pub mod rule;
pub mod target;
pub mod verdict;
