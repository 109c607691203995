//! How Wire parses single values: booleans, email addresses, URIs, languages, filters and paths,
//! operations of a PATCH. One file for each; none depends on requests or rules.

pub(crate) mod boolean;
pub mod email;
pub mod filter;
pub(crate) mod language;
pub(crate) mod op;
pub mod uri;
