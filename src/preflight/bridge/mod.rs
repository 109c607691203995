//! ldap-scim-bridge: its config, and what it makes of an entry of the directory.

pub mod advice;
pub mod body;
pub mod config;
pub mod membership;
pub mod model;
pub mod note;
pub mod yaml;
