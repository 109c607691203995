//! Wire's reading of SCIM: the rules that no schema can say.

pub mod email;
pub mod filter;
pub(crate) mod group;
mod language;
pub(crate) mod patch;
mod repeated;
mod rich_info;
mod text;
pub mod uri;
pub mod user;
