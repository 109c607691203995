//! The rules for SCIM bodies that no schema can express: one module for each kind of body.

pub(crate) mod group;
pub(crate) mod patch;
mod repeated;
mod rich_info;
mod text;
pub mod user;
