//! The place of one request among those that take users away.

use std::fmt;

use super::Fate;
use crate::secret;

/// The place of one request. When it is dropped without an answer, the user counts if the request may have left.
pub struct Place {
    /// Is called with the request's fate, once. `None`: it is settled.
    settle: Option<Box<dyn FnOnce(Fate) + Send + Sync>>,
    /// What the request's fate is if nothing more is known.
    fate: Fate,
}

impl Place {
    pub fn new(settle: impl FnOnce(Fate) + Send + Sync + 'static) -> Self {
        Self { settle: Some(Box::new(settle)), fate: Fate::Refused }
    }

    /// One that does not depend on what becomes of the request.
    pub fn without_effect() -> Self {
        Self { settle: None, fate: Fate::Refused }
    }

    /// Both places as one.
    pub fn and(self, other: Self) -> Self {
        Self::new(move |fate| {
            self.settle(fate);
            other.settle(fate);
        })
    }

    /// Notes that the request leaves now.
    pub fn leaves(&mut self) {
        self.fate = Fate::Unknown;
    }

    /// Notes the status of Wire's answer.
    pub fn answered(&mut self, status: u16) {
        // What comes before the answer says nothing.
        if status >= 200
            && let Some(settle) = self.settle.take()
        {
            settle(Fate::of(status));
        }
    }

    fn settle(mut self, fate: Fate) {
        self.fate = fate;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            settle(self.fate);
        }
    }
}

/// SECURITY: neither the token nor the user is shown.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        secret::hidden(f, "Place")
    }
}
