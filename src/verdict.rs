//! The verdict on a whole request, and the label that metrics and logs give to its outcome.

use std::fmt;

use strum::IntoStaticStr;

use crate::api::Handler;
use crate::findings::Remarks;
use crate::refusal::Refusal;
use crate::repair::Repairs;

/// The outcome of judging a request.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It may be forwarded, with this target and this body; `None`: unchanged.
    Forward {
        target: Option<Vec<u8>>,
        body: Option<Vec<u8>>,
    },
    Refuse(Refusal),
}

/// SECURITY: a target has a query, which names people, and a body contains personal data.
impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward { .. } => f.debug_struct("Forward").finish_non_exhaustive(),
            Self::Refuse(refusal) => f.debug_tuple("Refuse").field(refusal).finish(),
        }
    }
}

/// The outcome of a request, as metrics and logs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum VerdictLabel {
    /// Forwarded, and the backend answered.
    Forwarded,
    /// Answered by the guard, as an enforced rule was hit.
    Refused,
    /// Forwarded although rules were hit, as these are only reported.
    Reported,
    /// Meant for the backend, which did not answer, or the client disconnected.
    Failed,
}

impl VerdictLabel {
    pub const ALL: [Self; 4] = [Self::Forwarded, Self::Refused, Self::Reported, Self::Failed];

    /// The label of a request that was judged and is forwarded.
    pub fn of_passed(remarks: &Remarks) -> Self {
        if remarks.reported.is_empty() { Self::Forwarded } else { Self::Reported }
    }

    pub fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// The verdict on a whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The route, for metrics and logs.
    pub handler: Handler,
    pub remarks: Remarks,
    /// The repairs that have changed it.
    pub repaired: Repairs,
    pub outcome: Outcome,
}
