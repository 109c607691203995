//! Wire's reading of SCIM: the rules that no schema can say.

pub mod email;
pub mod filter;
pub mod group;
pub mod language;
pub mod patch;
pub mod repeated;
pub mod rich_info;
pub mod text;
pub mod uri;
pub mod user;
