//! How Wire reads single strings: email addresses, URIs, languages, filters and paths, operations of
//! a PATCH. One file for each; none knows a request or a rule.

pub mod email;
pub mod filter;
pub(crate) mod language;
pub(crate) mod op;
pub mod uri;
