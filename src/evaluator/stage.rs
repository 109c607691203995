//! What each stage of judging takes and returns: first the head of a request, then its body.

use std::fmt;
use std::net::IpAddr;

use http::{HeaderMap, Method};

use crate::api::{BodyKind, Handler};
use crate::authorizer::Metered;
use crate::digest::TokenDigest;
use crate::findings::Remarks;
use crate::policy::Identity;
use crate::refusal::Refusal;
use crate::registry::TokenLabel;
use crate::repair::Repairs;
use crate::repair::work::Work;
use crate::tls::subject::SubjectName;

/// The head of a request, and the client that sent it.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a Method,
    /// The request target as it was sent.
    pub target: &'a [u8],
    pub headers: &'a HeaderMap,
    /// The client's address, as trusted proxies report it.
    pub client: Option<IpAddr>,
    /// The names of the client's verified certificate; none over cleartext.
    pub certificate: &'a [SubjectName],
}

impl fmt::Debug for Head<'_> {
    /// SECURITY: neither the query nor a header is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", self.method)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The outcome of judging the head of a request.
pub struct HeadVerdict {
    pub handler: Handler,
    /// The token's label in the registry.
    pub token: Option<TokenLabel>,
    /// The token's digest, to report the backend's answer to [`super::Evaluator::answered`].
    pub digest: Option<TokenDigest>,
    /// The token is valid according to the registry, or Wire accepted it within the last hour.
    pub known: bool,
    /// The rate of its token, if replicas share it.
    pub(crate) metered: Option<Box<Metered>>,
    /// What was reported while the head was judged.
    pub remarks: Remarks,
    /// The repairs that are enabled for the request.
    pub repairs: Repairs,
    /// The repairs that have changed the head.
    pub repaired: Repairs,
    /// What to do instead of forwarding the request.
    pub work: Option<Box<Work>>,
    pub next: Next,
}

/// What happens after the head was judged.
pub enum Next {
    Refuse(Refusal),
    /// Nothing in the body is judged: forward with this target (`None`: unchanged).
    Forward {
        target: Option<Vec<u8>>,
    },
    /// Read the body, then call [`super::Evaluator::judge_body`].
    Body {
        target: Option<Vec<u8>>,
        task: BodyTask,
    },
}

/// How the body is to be read and judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyTask {
    pub kind: BodyKind,
    /// The body is a gzip stream, which Wire decompresses.
    pub gzip: bool,
    /// How the token's team identifies its users, if the registry says so; otherwise the configured
    /// mode applies.
    pub identity: Option<Identity>,
    /// The repairs that are enabled.
    pub repairs: Repairs,
}

/// A body after its repairs.
#[derive(Clone, PartialEq, Eq)]
pub struct RepairedBody {
    /// What is sent to the backend, without content coding; empty if there is work to do instead.
    pub body: Vec<u8>,
    pub work: Option<Box<Work>>,
    /// The repairs that have changed it.
    pub by: Repairs,
}

/// SECURITY: a body contains personal data.
impl fmt::Debug for RepairedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepairedBody").field("by", &self.by).finish_non_exhaustive()
    }
}
