//! wire-scim-guard: a reverse proxy that guards Wire's SCIM API.
//!
//! The core judges a request without any network: [`evaluator::Evaluator::evaluate`]. A request
//! goes through [`target`], the headers, its query and token, and then its body through [`json`],
//! [`schema`] and [`scim`]; each check that fails is a [`rule`], and [`policy`] decides the
//! outcome. [`proxy`] is the reverse proxy around the core, on Pingora; other Pingora services embed
//! [`proxy::RequestFilter`].
#![forbid(unsafe_code)]

mod accept;
pub mod activity;
pub mod admin;
pub mod agreement;
pub mod api;
pub mod audit;
mod authorizer;
mod body;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod deprovisioning;
pub mod digest;
pub mod evaluator;
pub mod findings;
mod fingerprint;
pub mod fraction;
pub mod hash_key;
mod headers;
pub mod input;
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
pub mod refusal;
pub mod refusals;
pub mod registry;
pub mod release;
pub mod reload;
mod removal;
pub mod repair;
pub mod rule;
pub mod schema;
pub mod scim;
pub mod secret;
mod service_manager;
pub mod shared;
pub mod snapshot;
pub mod spans;
#[cfg(feature = "standin")]
pub mod standin;
pub mod target;
mod timestamp;
pub mod tls;
mod token;
pub mod verdict;
pub mod wire;
