//! The guard itself, without any network: a request's method, target, headers and body in, a
//! verdict out. The same code judges behind the proxy, in `check`, and in other people's services.

use http::{HeaderMap, Method};

use crate::policy::Policy;
use crate::rule::Rule;
use crate::target::Handler;
use crate::verdict::{Refusal, Verdict};

/// What the operator chose, ready to judge with. Cheap to share behind an `Arc`.
pub struct Guard {
    policy: Policy,
}

/// What the head of a request says.
#[derive(Debug)]
pub struct HeadVerdict {
    pub handler: Handler,
    /// Rules that the head hit and that were only reported.
    pub reported: Vec<Rule>,
    pub next: Next,
}

/// What happens after the head was judged.
#[derive(Debug)]
pub enum Next {
    Refuse(Refusal),
    /// Nothing in the body is judged: forward under this target (`None`: as it came).
    Forward {
        target: Option<Vec<u8>>,
    },
    /// Read the body, then call [`Guard::judge_body`].
    Body {
        target: Option<Vec<u8>>,
        task: BodyTask,
    },
}

/// How the body is to be read and judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyTask {
    pub kind: BodyKind,
    /// The body is a gzip stream, which Wire inflates.
    pub gzip: bool,
}

/// What a body is judged as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// POST of a user.
    NewUser,
    /// PUT of a user.
    User,
    /// PATCH of a user.
    Patch,
    Group,
    /// PATCH of a group: read, and then always refused.
    GroupPatch,
}

impl Guard {
    /// The largest body that is read, in bytes.
    pub fn body_limit(&self) -> usize {
        512 * 1024
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Judges target, method, headers, query and token: all that is known before the body.
    pub fn judge_head(
        &self,
        _method: &Method,
        _target: &[u8],
        _headers: &HeaderMap,
    ) -> HeadVerdict {
        HeadVerdict {
            handler: Handler::Other,
            reported: Vec::new(),
            next: Next::Forward { target: None },
        }
    }

    /// Judges a body that [`Next::Body`] asked for. Hits that are only reported are added to
    /// `reported`.
    pub fn judge_body(
        &self,
        _task: BodyTask,
        _body: &[u8],
        _reported: &mut Vec<Rule>,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    /// Judges a whole request at once.
    pub fn evaluate(
        &self,
        _method: &Method,
        _target: &[u8],
        _headers: &HeaderMap,
        _body: &[u8],
    ) -> Verdict {
        unreachable!()
    }
}
