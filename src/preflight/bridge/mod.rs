//! ldap-scim-bridge: its config, and how it translates an entry of the directory.

pub mod advice;
pub mod body;
pub mod config;
pub mod membership;
pub mod model;
pub mod note;
pub mod yaml;
