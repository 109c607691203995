//! The operations of a PATCH.

/// What an operation does. Wire treats add and replace alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Set,
    Remove,
}

impl Op {
    /// Parses `op`, in any case.
    pub fn read(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("add") || text.eq_ignore_ascii_case("replace") {
            Some(Self::Set)
        } else if text.eq_ignore_ascii_case("remove") {
            Some(Self::Remove)
        } else {
            None
        }
    }
}
