//! The work for a repaired request that cannot simply be forwarded: additional requests to the
//! backend.

use std::fmt;

use super::group_patch::GroupPatch;
use super::group_search::GroupSearch;
use super::user_search::UserSearch;

/// What is done for a request instead of forwarding it.
#[derive(Clone, PartialEq, Eq)]
pub enum Work {
    GroupSearch(GroupSearch),
    UserSearch(UserSearch),
    GroupPatch(GroupPatch),
}

/// SECURITY: it contains the names of people and groups.
impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GroupSearch(_) => "GroupSearch",
            Self::UserSearch(_) => "UserSearch",
            Self::GroupPatch(_) => "GroupPatch",
        })
    }
}
