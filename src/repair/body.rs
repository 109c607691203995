//! Repairs of bodies, by their kind.

use super::edit::Edits;
use super::{Repairs, group, patch, user};
use crate::api::BodyKind;
use crate::json::Document;
use crate::policy::{Action, Policy};
use crate::rule::Rule;

/// A body after its repair.
#[derive(Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The repaired body; `None`: it would have more bytes than allowed.
    pub body: Option<Vec<u8>>,
    /// What has changed it.
    pub by: Repairs,
}

/// SECURITY: the body contains personal data.
impl std::fmt::Debug for Repaired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repaired").field("by", &self.by).finish_non_exhaustive()
    }
}

/// The parts of the policy that repairs depend on.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    /// Capitals in userName are judged, although Wire folds them.
    pub case: bool,
}

impl Judged {
    pub fn by(policy: &Policy) -> Self {
        Self { case: policy.action(Rule::UserUserNameCase) != Action::Off }
    }
}

/// Repairs a body, up to `limit` bytes. `None`: there is nothing that these repairs would change.
pub fn repair_body(
    kind: BodyKind,
    document: &Document<'_>,
    on: Repairs,
    judged: Judged,
    limit: usize,
) -> Option<Repaired> {
    let object = document.root().as_object()?;
    // A repeated attribute is ambiguous and is not repaired.
    if object.document_may_repeat() {
        return None;
    }
    let mut edits = Edits::of(document, limit);
    match kind {
        BodyKind::NewUser => user::repair(object, true, on, judged, &mut edits),
        BodyKind::User => user::repair(object, false, on, judged, &mut edits),
        BodyKind::NewGroup => group::repair(object, true, on, &mut edits),
        BodyKind::Group => group::repair(object, false, on, &mut edits),
        BodyKind::Patch => patch::repair(object, on, judged, &mut edits),
        BodyKind::GroupPatch | BodyKind::Unserved => {}
    }
    edits.apply().map(|(by, body)| Repaired { body, by })
}
