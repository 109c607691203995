//! wire-scim-guard: a reverse proxy that guards Wire's SCIM API.
#![forbid(unsafe_code)]

mod body;
pub mod cli;
pub mod config;
pub mod guard;
mod headers;
pub mod json;
pub mod policy;
mod query;
pub mod rule;
pub mod schema;
pub mod scim;
pub mod target;
mod token;
pub mod verdict;
