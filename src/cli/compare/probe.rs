//! A probe: one request, and the answer of each known release.

use serde::Serialize;
use ureq::http::Method;
use uuid::Uuid;

use crate::release::Release;

const RELEASES: usize = Release::ALL.len();

/// One request, with the placeholders of [`Ids`].
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    pub name: &'static str,
    pub needs: Needs,
    pub verb: Verb,
    pub target: &'static str,
    /// In addition to the default ones; they replace those of the same name.
    pub headers: &'static [(&'static str, &'static str)],
    pub body: Body,
    /// In the order of [`Release::ALL`].
    pub expected: [Expected; RELEASES],
}

/// The methods of probes; none creates or deletes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    Put,
    Patch,
}

/// What a probe needs in order to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Wire answers before it looks at the token, so none is sent.
    Nothing,
    Token,
    TestUser,
}

#[derive(Debug, Clone, Copy)]
pub enum Body {
    None,
    Raw(&'static str),
    /// A PATCH with these operations.
    Patch(&'static str),
    /// A PATCH of the test user that tries this operation without effect.
    Trial(&'static str),
}

/// A status, and Wire's scimType if the answer has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expected {
    pub status: u16,
    pub scim_type: Option<&'static str>,
}

/// What the backend answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Got {
    pub status: u16,
    pub scim_type: Option<String>,
}

impl Probe {
    pub fn answers(&self) -> impl Iterator<Item = (Release, Expected)> {
        Release::ALL.into_iter().zip(self.expected)
    }

    /// Whether a release answers like this.
    pub fn fits(&self, release: Release, got: &Got) -> bool {
        self.answers().any(|(other, expected)| other == release && expected.is(got))
    }

    /// The body for reports: of a trial only the operation, because the rest contains the test user's attributes.
    pub fn shown_body(&self) -> Option<&'static str> {
        match self.body {
            Body::None => None,
            Body::Raw(text) | Body::Patch(text) | Body::Trial(text) => Some(text),
        }
    }
}

impl Expected {
    fn is(&self, got: &Got) -> bool {
        self.status == got.status
            && (self.scim_type.is_none() || self.scim_type == got.scim_type.as_deref())
    }
}

impl Needs {
    /// The option that provides it.
    pub fn option(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Token => "--token-file",
            Self::TestUser => "--test-user",
        }
    }
}

impl Verb {
    pub fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }
}

/// The values of placeholders: `{random}` is a UUID that no user, group or type has, `{user}` is the test user's id.
pub struct Ids {
    random: String,
    user: Option<String>,
}

impl Ids {
    pub fn new(user: Option<String>) -> Self {
        Self { random: Uuid::new_v4().to_string(), user }
    }

    pub fn fill(&self, template: &str) -> String {
        let user = self.user.as_deref().unwrap_or_default();
        template.replace("{random}", &self.random).replace("{user}", user)
    }
}
