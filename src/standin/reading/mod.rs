//! The stand-in's own parsers of bodies and filters: plain serde_json and its own case folding, an implementation of
//! the same contract as the guard's that shares no code with it, so that tests can compare the two.

mod email;
mod emails;
mod filter;
mod group;
mod json;
mod patch;
mod rich_info;
mod uri;
mod user;

use serde::Serialize;

pub use emails::Email;
pub use filter::{UserFilter, group_filter, user_filter};
pub use group::{Group, group};
pub use json::is_json;
pub use patch::{Patch, patch};
pub use user::{user, validate};

/// How the team of a token identifies its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Email,
    Saml,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It could not be parsed: Wire answers 400 with plain text.
    Parse(String),
    /// It violated a rule: Wire answers with a SCIM error, or with a 500.
    Rule { status: u16, scim_type: Option<&'static str>, detail: String },
}

impl Fault {
    fn rule(scim_type: &'static str, detail: &str) -> Self {
        Self::Rule { status: 400, scim_type: Some(scim_type), detail: detail.to_owned() }
    }

    fn value(detail: &str) -> Self {
        Self::rule("invalidValue", detail)
    }

    fn parse<T>(what: &str) -> Result<T, Self> {
        Err(Self::Parse(format!("Error in $.{what}")))
    }
}

/// A user that was parsed, before the rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    pub user_name: String,
    pub external_id: Option<String>,
    pub display_name: Option<String>,
    pub emails: Vec<Email>,
    pub active: Option<bool>,
    pub preferred_language: Option<String>,
    pub roles: Vec<String>,
    pub rich_info: Vec<(String, String)>,
    pub password: Option<String>,
}

impl User {
    /// The entry of `emails` that Wire stores, if there is one.
    pub fn kept_email(&self) -> Option<&Email> {
        self.emails.iter().find(|email| email.primary == Some(true)).or(self.emails.first())
    }
}

/// The stored attributes of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    pub handle: String,
    pub name: String,
    pub external_id: String,
    pub emails: Vec<String>,
    pub role: Option<String>,
    pub active: bool,
    pub locale: Option<String>,
    pub rich_info: Vec<(String, String)>,
}
