//! The guard itself, without any network: a request's method, target, headers and body in, a
//! verdict out. The same code judges behind the proxy, in `check`, and in other people's services.
//!
//! The order is fixed: target, method, Accept, Content-Type, query, token, Content-Encoding; then,
//! when the body was read, its size, JSON, schema and rules. The token comes before the body, so
//! that no body of a stranger is buffered or parsed.
//!
//! A verdict depends on the request and the configuration alone, but for the rules about the use of
//! tokens: these also look at the register, the shield and the clock.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::api::{BodyKind, Handler};
use crate::authorizer::{Bearer, TokenAuthorizer, Use};
use crate::config::{Config, PathPolicy};
use crate::digest::TokenDigest;
use crate::findings::{Findings, Remarks};
use crate::json::{self, Document, JsonError};
use crate::policy::{Identity, Policy};
use crate::refusal::Refusal;
use crate::refusals::RefusalCache;
use crate::registry::TokenLabel;
use crate::registry::file::LoadError;
use crate::registry::watch::Source;
use crate::rule::Rule;
use crate::schema::{SchemaErrors, Schemas};
use crate::scim::user::{self, Lifecycle, Reading};
use crate::scim::{group, patch};
use crate::target::{self, Target};
use crate::verdict::{Outcome, Verdict};
use crate::{body, headers, query, token};

/// What the operator chose, ready to judge with. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Guard {
    policy: Policy,
    schemas: Schemas,
    other_paths: PathPolicy,
    auth_tokens: PathPolicy,
    admission: TokenAuthorizer,
    body_limit: usize,
}

/// Why a configuration gives no guard: all that is wrong with the files that it names.
#[derive(Debug)]
pub struct GuardErrors {
    pub schemas: Option<SchemaErrors>,
    pub register: Option<LoadError>,
}

impl fmt::Display for GuardErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.schemas, &self.register) {
            (Some(schemas), Some(register)) => write!(f, "{schemas}\n{register}"),
            (Some(schemas), None) => schemas.fmt(f),
            (None, Some(register)) => register.fmt(f),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for GuardErrors {}

/// The head of a request, and who sends it.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a Method,
    /// The request target as it came.
    pub target: &'a [u8],
    pub headers: &'a HeaderMap,
    /// The client's address, behind proxies that are trusted.
    pub client: Option<IpAddr>,
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

/// What the head of a request says.
pub struct HeadVerdict {
    pub handler: Handler,
    /// The token's name in the register.
    pub token: Option<TokenLabel>,
    /// The token's digest, with which the backend's answer is told to [`RefusalCache::answered`].
    pub digest: Option<TokenDigest>,
    /// The register, or Wire within the last hour, has shown the token to be good.
    pub known: bool,
    /// What judging the head noted.
    pub remarks: Remarks,
    pub next: Next,
}

/// What happens after the head was judged.
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
    /// What the team behind the token knows its users by, where the register says it; otherwise
    /// the configured mode counts.
    pub identity: Option<Identity>,
}

/// What one document on its own is judged as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    User,
    Patch,
    Group,
    Filter,
    GroupFilter,
}

/// The verdict on one document on its own.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckReport {
    pub refusal: Option<Refusal>,
    pub remarks: Remarks,
    /// What Wire stores, of an accepted user.
    pub reading: Option<Reading>,
}

impl Guard {
    /// Builds a guard; fails if the operator's schemas or register of tokens cannot be used.
    ///
    /// The register is read once here; [`Source::watch`] keeps it up to date.
    pub fn new(config: &Config) -> Result<Self, GuardErrors> {
        let schemas = match &config.schemas {
            Some(folder) => Schemas::load(folder),
            None => Ok(Schemas::built_in()),
        };
        let register = config.tokens.as_deref().map(Source::open).transpose();
        let (schemas, register) = match (schemas, register) {
            (Ok(schemas), Ok(register)) => (schemas, register),
            (schemas, register) => {
                return Err(GuardErrors { schemas: schemas.err(), register: register.err() });
            }
        };
        let shield = Arc::new(RefusalCache::new(&config.shield, config.counts_by_address()));
        Ok(Self {
            policy: config.policy.clone(),
            schemas,
            other_paths: config.other_paths,
            auth_tokens: config.auth_tokens,
            admission: TokenAuthorizer { register, shield },
            body_limit: config.limits.body,
        })
    }

    /// The register of tokens, if there is one.
    pub fn register(&self) -> Option<&Arc<Source>> {
        self.admission.register.as_ref()
    }

    /// What remembers refused tokens; it wants to be told of the backend's answers.
    pub fn shield(&self) -> &Arc<RefusalCache> {
        &self.admission.shield
    }

    /// The largest body that is read, in bytes.
    pub fn body_limit(&self) -> usize {
        self.body_limit
    }

    /// Judges target, method, headers, query and token: all that is known before the body. The request
    /// counts for the rate of its token, and where that is not valid, as a failure of its client.
    pub fn judge_head(&self, head: Head<'_>) -> HeadVerdict {
        let undecided = |handler, next| HeadVerdict {
            handler,
            token: None,
            digest: None,
            known: false,
            remarks: Remarks::default(),
            next,
        };
        let refuse = |handler, refusal| undecided(handler, Next::Refuse(refusal));
        let method = head.method;
        if method == Method::CONNECT {
            return refuse(Handler::Invalid, no_tunnel());
        }
        let target = match target::read(head.target) {
            Ok(target) => target,
            Err(refusal) => return refuse(Handler::Invalid, refusal),
        };
        match (target.handler, self.other_paths, self.auth_tokens) {
            (Handler::Other, PathPolicy::Refuse, _) => {
                return refuse(Handler::Other, target::not_found("it is outside of /scim"));
            }
            (Handler::AuthTokens, _, PathPolicy::Refuse) => {
                let refusal = Refusal::new(
                    Rule::TargetNotFound,
                    "SCIM tokens are not managed through this proxy (auth_tokens: refuse).",
                );
                return refuse(Handler::AuthTokens, refusal);
            }
            (Handler::Other | Handler::AuthTokens, ..) => {
                return undecided(target.handler, Next::Forward { target: None });
            }
            _ => {}
        }
        let mut findings = Findings::new(&self.policy);
        let mut bearer = Bearer::default();
        let task = self.judge_request(head, &target, &mut bearer, &mut findings);
        let next = match task {
            Err(refusal) => Next::Refuse(refusal),
            Ok(None) => Next::Forward { target: target.canonical },
            Ok(Some(task)) => Next::Body { target: target.canonical, task },
        };
        let Bearer { label: token, digest, known, .. } = bearer;
        let remarks = findings.into_remarks();
        HeadVerdict { handler: target.handler, token, digest, known, remarks, next }
    }

    /// Judges the head of a request for SCIM. `Some` if a body is to be judged next.
    fn judge_request(
        &self,
        head: Head<'_>,
        target: &Target<'_>,
        bearer: &mut Bearer,
        findings: &mut Findings<'_>,
    ) -> Result<Option<BodyTask>, Refusal> {
        let Head { method, headers, client, .. } = head;
        let kind = match target.handler.route().body_of(method) {
            Ok(kind) => kind,
            Err(allow) => {
                findings.hit_method(method, allow)?;
                Some(BodyKind::Unserved)
            }
        };
        // Wire's DELETE answers without content and does not look at Accept.
        if *method != Method::DELETE {
            headers::judge_accept(headers, findings)?;
        }
        if kind.is_some_and(|kind| kind != BodyKind::Unserved) {
            headers::judge_content_type(headers, findings)?;
        }
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match target.handler {
            Handler::Users if reads => query::judge_users(target.query, findings)?,
            Handler::Groups if reads => query::judge_groups(target.query, findings)?,
            _ => {}
        }
        if target.handler.route().token {
            let credentials = token::judge(headers, findings)?;
            let wanted = Use { method, handler: target.handler, client };
            self.admission.judge(credentials, wanted, bearer, findings)?;
        }
        let Some(kind) = kind else { return Ok(None) };
        if kind == BodyKind::Unserved {
            return Ok(Some(BodyTask { kind, gzip: false, identity: None }));
        }
        let gzip = headers::judge_content_encoding(headers, findings)?;
        Ok(Some(BodyTask { kind, gzip, identity: bearer.identity }))
    }

    /// Judges a body that [`Next::Body`] asked for. What is noted on the way is added to
    /// `remarks`.
    pub fn judge_body(
        &self,
        task: BodyTask,
        body: &[u8],
        remarks: &mut Remarks,
    ) -> Result<(), Refusal> {
        self.judge_body_within(task, body, self.body_limit, remarks)
    }

    fn judge_body_within(
        &self,
        task: BodyTask,
        body: &[u8],
        limit: usize,
        remarks: &mut Remarks,
    ) -> Result<(), Refusal> {
        if body.len() > limit {
            return Err(body::too_large(limit));
        }
        if task.kind == BodyKind::Unserved {
            return Ok(());
        }
        let body = body::decoded(body, task.gzip, limit)?;
        let document = read_document(&body)?;
        let mut findings = Findings::new(&self.policy).with_identity(task.identity);
        let verdict = self.judge_document(task.kind, &document, &mut findings);
        remarks.extend(findings.into_remarks());
        verdict
    }

    /// As [`Guard::judge_body`], but only if the body has at most so many bytes, before and after
    /// decompression; `None` if it has more.
    pub fn judge_small_body(
        &self,
        task: BodyTask,
        body: &[u8],
        most: usize,
        remarks: &mut Remarks,
    ) -> Option<Result<(), Refusal>> {
        if body.len() > most && body.len() <= self.body_limit {
            return None;
        }
        match self.judge_body_within(task, body, most.min(self.body_limit), remarks) {
            Err(refusal) if refusal.rule == Rule::BodyTooLarge && most < self.body_limit => None,
            verdict => Some(verdict),
        }
    }

    fn judge_document(
        &self,
        kind: BodyKind,
        document: &Document<'_>,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        let root = document.root();
        if root.as_object().is_none() && kind != BodyKind::GroupPatch {
            return findings.hit(Rule::JsonObject, "body", || NO_OBJECT);
        }
        let user = |lifecycle, findings: &mut Findings<'_>| {
            user::judge(root, lifecycle, &self.schemas.user, findings).map(|_| ())
        };
        match kind {
            BodyKind::NewUser => user(Lifecycle::New, findings),
            BodyKind::User => user(Lifecycle::Existing, findings),
            BodyKind::Patch => patch::judge(root, &self.schemas, findings),
            BodyKind::Group => group::judge(root, &self.schemas.group, findings),
            BodyKind::GroupPatch => findings.hit(Rule::GroupPatch, "method", || {
                "Wire has no PATCH for groups. Send the whole group by PUT, or turn off the provisioning of \
                 groups in the client."
            }),
            BodyKind::Unserved => Ok(()),
        }
    }

    /// Judges a whole request at once. As [`Guard::judge_head`] it counts the request for the token's rate and
    /// the client's failures, so that the same request may get another verdict later.
    pub fn evaluate(&self, head: Head<'_>, body: &[u8]) -> Verdict {
        let HeadVerdict { handler, mut remarks, next, .. } = self.judge_head(head);
        let outcome = match next {
            Next::Refuse(refusal) => Outcome::Refuse(refusal),
            Next::Forward { target } => Outcome::Forward { target },
            Next::Body { target, task } => match self.judge_body(task, body, &mut remarks) {
                Ok(()) => Outcome::Forward { target },
                Err(refusal) => Outcome::Refuse(refusal),
            },
        };
        Verdict { handler, remarks, outcome }
    }

    /// Judges one document on its own; users as if they were new.
    pub fn check(&self, kind: CheckKind, bytes: &[u8]) -> CheckReport {
        let mut findings = Findings::new(&self.policy);
        let verdict = self.check_document(kind, bytes, &mut findings);
        let (refusal, reading) = match verdict {
            Ok(reading) => (None, reading),
            Err(refusal) => (Some(refusal), None),
        };
        CheckReport { refusal, remarks: findings.into_remarks(), reading }
    }

    fn check_document(
        &self,
        kind: CheckKind,
        bytes: &[u8],
        findings: &mut Findings<'_>,
    ) -> Result<Option<Reading>, Refusal> {
        if let CheckKind::Filter | CheckKind::GroupFilter = kind {
            let filter = String::from_utf8_lossy(bytes);
            return match kind {
                CheckKind::Filter => query::judge_user_filter(&filter, findings),
                _ => query::judge_group_filter(&filter, findings),
            }
            .map(|()| None);
        }
        if bytes.len() > self.body_limit {
            return Err(body::too_large(self.body_limit));
        }
        let document = read_document(bytes)?;
        if kind == CheckKind::User && document.root().as_object().is_some() {
            let user = user::judge(document.root(), Lifecycle::New, &self.schemas.user, findings)?;
            return Ok(user.map(|(user, mode)| user.reading(mode)));
        }
        let kind = match kind {
            CheckKind::User => BodyKind::NewUser,
            CheckKind::Patch => BodyKind::Patch,
            _ => BodyKind::Group,
        };
        self.judge_document(kind, &document, findings).map(|()| None)
    }
}

const NO_OBJECT: &str = "The body is JSON, but not an object. A user is {\"userName\": ..., \"externalId\": ..., \
     \"displayName\": ...}, a PATCH {\"schemas\": [...], \"Operations\": [...]}, a group {\"schemas\": [...], \
     \"displayName\": ..., \"members\": [...]}.";

/// The answer to CONNECT, which has no path.
///
/// SECURITY: whatever the rules are set to, as a tunnel would carry bytes that nobody judges.
pub(crate) fn no_tunnel() -> Refusal {
    let detail = "CONNECT is not served: this is no tunnel. Wire serves GET and HEAD everywhere.";
    let refusal = Refusal::new(Rule::MethodNotAllowed, detail);
    Refusal { allow: Some("GET, HEAD"), ..refusal }
}

fn read_document(bytes: &[u8]) -> Result<Document<'_>, Refusal> {
    json::parse(bytes).map_err(|error| match error {
        JsonError::Syntax { at, what } => {
            let what = match bytes {
                [] => "it is empty".to_owned(),
                [0xEF, 0xBB, 0xBF, ..] => "it begins with a byte order mark (U+FEFF)".to_owned(),
                _ => format!("{what} at {}", position(bytes, at)),
            };
            let detail = format!("The body is not a JSON document in UTF-8: {what}.");
            Refusal::new(Rule::JsonSyntax, detail)
        }
        JsonError::Depth { at } => Refusal::new(
            Rule::JsonDepth,
            format!(
                "The body nests arrays and objects deeper than {} levels at {}.",
                json::MAX_DEPTH,
                position(bytes, at)
            ),
        ),
        JsonError::Number { at } => Refusal::new(
            Rule::JsonNumber,
            format!(
                "The body has a number of more than {} characters at {}.",
                json::MAX_NUMBER,
                position(bytes, at)
            ),
        ),
    })
}

/// Where a byte stands, as people count.
fn position(bytes: &[u8], at: usize) -> String {
    let before = &bytes[..at.min(bytes.len())];
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let column = at - memchr::memrchr(b'\n', before).map_or(0, |end| end + 1) + 1;
    format!("line {line}, byte {column}")
}
