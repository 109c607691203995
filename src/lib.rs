//! wire-scim-guard: a reverse proxy that guards Wire's SCIM API.
//!
//! The core judges a request without any network: [`guard::Guard::evaluate`]. A request
//! goes through [`target`], the headers, its query and token, and then its body through [`json`],
//! [`schema`] and [`scim`]; what is hit on the way is a [`rule`], and [`policy`] says what comes of
//! it. [`proxy`] is the reverse proxy around the core, on Pingora; other Pingora services embed
//! [`proxy::RequestFilter`].
#![forbid(unsafe_code)]

pub mod admin;
pub mod agreement;
mod authorizer;
mod body;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod digest;
pub mod guard;
mod headers;
pub mod json;
pub mod logging;
pub mod metrics;
pub mod place;
pub mod policy;
#[cfg(feature = "preflight")]
pub mod preflight;
pub mod proxy;
mod query;
pub mod rate;
pub mod refusals;
pub mod registry;
pub mod release;
pub mod rule;
pub mod schema;
pub mod scim;
pub mod secret;
#[cfg(feature = "standin")]
pub mod standin;
pub mod target;
mod token;
pub mod verdict;
