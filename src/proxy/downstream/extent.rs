//! Where a message ends.

use super::chunked::{Chunked, Misframed};

/// How far a message extends after its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// This many bytes of the body have not arrived yet; what follows them is not for Pingora.
    Length(u64),
    /// The chunks determine the end.
    Chunked(Chunked),
    /// Everything: HTTP/2 frames its messages itself.
    Endless,
}

impl Extent {
    /// Processes bytes that arrived; returns how many of them belong to the message.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Result<usize, Misframed> {
        match self {
            Self::Length(left) => {
                let taken = (bytes.len() as u64).min(*left);
                *left -= taken;
                Ok(taken as usize)
            }
            Self::Chunked(body) => body.pass(bytes),
            Self::Endless => Ok(bytes.len()),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(body) => body.has_ended(),
            Self::Endless => false,
        }
    }
}
