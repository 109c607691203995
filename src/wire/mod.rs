//! How Wire parses single strings: email addresses, URIs, languages, filters and paths, operations
//! of a PATCH. One file for each; none depends on requests or rules.

pub mod email;
pub mod filter;
pub(crate) mod language;
pub(crate) mod op;
pub mod uri;
