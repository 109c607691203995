//! Judges requests, without any network: a request's method, target, headers and body in, a verdict
//! out. The same code judges in the proxy, in `check`, and in embedding services.
//!
//! The order is fixed: target, method, Accept, Content-Type, query, token, Content-Encoding; then,
//! after the body was read, its size, JSON, schema and rules. The token comes before the body, so
//! that no body with an invalid token is buffered or parsed.
//!
//! A verdict depends on the request and the snapshot alone, except for the rules about the use of
//! tokens: these also depend on the refusal cache, the rates and the clock.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};

use crate::api::{BodyKind, Handler};
use crate::authorizer::{Bearer, Found, TokenAuthorizer, Use};
use crate::config::{Config, PathPolicy};
use crate::deprovisioning::{AccountChange, Counter};
use crate::digest::TokenDigest;
use crate::findings::{Findings, Remarks};
use crate::json::Document;
use crate::refusal::Refusal;
use crate::refusals::RefusalCache;
use crate::repair::group_search::GroupSearch;
use crate::repair::user_search::UserSearch;
use crate::repair::work::Work;
use crate::repair::{self, Judged, Repair, Repairs, group_patch, hint, user_name};
use crate::rule::Rule;
use crate::shared::SharedState;
use crate::snapshot::{LoadErrors, Snapshot, Snapshots};
use crate::target::{self, Target};
use crate::verdict::{Outcome, Verdict};
use crate::{body, headers, query, token};

pub use self::check::{CheckKind, CheckReport};
use self::document::{judge_document, read_document};
pub use self::stage::{BodyTask, Head, HeadVerdict, Next, RepairedBody};

mod check;
mod document;
mod stage;

/// Judges requests by the current snapshot. Cheap to share in an `Arc`.
#[derive(Debug)]
pub struct Evaluator {
    snapshots: Arc<Snapshots>,
    refusals: Arc<RefusalCache>,
    deprovisioning: Arc<Counter>,
}

impl Evaluator {
    /// Fails if the operator's schemas or the token registry cannot be used.
    ///
    /// The registry is read once here; [`Snapshots::watch`] keeps it up to date.
    pub fn new(config: &Config) -> Result<Self, LoadErrors> {
        Ok(Self::of(Snapshot::load(config.clone())?))
    }

    /// Judges by a snapshot that was loaded already, until another one is published.
    pub fn of(first: Snapshot) -> Self {
        Self {
            snapshots: Snapshots::new(first),
            refusals: Arc::default(),
            deprovisioning: Arc::default(),
        }
    }

    /// The snapshots that it judges by.
    pub fn snapshots(&self) -> &Arc<Snapshots> {
        &self.snapshots
    }

    /// The cache of refused tokens, which learns from the backend's answers.
    pub fn refusals(&self) -> &Arc<RefusalCache> {
        &self.refusals
    }

    /// How many users each token has recently deleted or deactivated.
    pub fn deprovisioning(&self) -> &Arc<Counter> {
        &self.deprovisioning
    }

    /// Connects to the store that the current snapshot names, if it names one.
    pub(crate) fn start_sharing(&self) {
        if let Some(shared) = &self.snapshots.current().shared {
            self.share(shared);
        }
    }

    /// Connects to a store, and learns from the other replicas.
    pub(crate) fn share(&self, shared: &SharedState) {
        let (refusals, snapshots) = (Arc::clone(&self.refusals), Arc::downgrade(&self.snapshots));
        shared.start(Box::new(move |event| {
            if let Some(snapshots) = snapshots.upgrade() {
                refusals.heard(&snapshots.current().refusal_limits, event);
            }
        }));
    }

    /// Reports the status of the backend's answer to a request with this token.
    pub fn answered(
        &self,
        snapshot: &Snapshot,
        token: TokenDigest,
        client: Option<IpAddr>,
        status: u16,
    ) {
        self.refusals.answered(&snapshot.refusal_limits, token, client, status);
    }

    /// Judges target, method, headers, query and token: everything that is known before the body.
    /// The request counts for the rate of its token, and if that is invalid, as a failure of its
    /// client.
    ///
    /// Repairs that take additional requests, or change answers, are not used: see
    /// [`Evaluator::judge_head_for_proxy`].
    pub fn judge_head(&self, snapshot: &Snapshot, head: Head<'_>) -> HeadVerdict {
        self.judge_head_with(snapshot, head, false)
    }

    /// As [`Evaluator::judge_head`], for a caller that carries out [`HeadVerdict::work`] and
    /// repairs answers.
    pub fn judge_head_for_proxy(&self, snapshot: &Snapshot, head: Head<'_>) -> HeadVerdict {
        self.judge_head_with(snapshot, head, true)
    }

    fn judge_head_with(&self, snapshot: &Snapshot, head: Head<'_>, in_proxy: bool) -> HeadVerdict {
        let undecided = |handler, next| HeadVerdict {
            handler,
            token: None,
            digest: None,
            known: false,
            metered: None,
            remarks: Remarks::default(),
            repairs: Repairs::NONE,
            repaired: Repairs::NONE,
            work: None,
            next,
        };
        let refuse = |handler, refusal| undecided(handler, Next::Refuse(refusal));
        let method = head.method;
        if method == Method::CONNECT {
            return refuse(Handler::Invalid, no_tunnel());
        }
        let mut target = match target::read(head.target) {
            Ok(target) => target,
            Err(refusal) => return refuse(Handler::Invalid, refusal),
        };
        let config = &*snapshot.config;
        match (target.handler, config.other_paths, config.auth_tokens) {
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
        let mut findings = Findings::new(&config.policy);
        let mut bearer = Bearer::default();
        let mut repair = HeadRepair { in_proxy, ..HeadRepair::default() };
        let task = self.judge_request(
            snapshot,
            head,
            &mut target,
            &mut bearer,
            &mut repair,
            &mut findings,
        );
        let HeadRepair { on: repairs, by: repaired, work, .. } = repair;
        let next = match task {
            Err(refusal) => Next::Refuse(refusal),
            Ok(None) => Next::Forward { target: target.canonical },
            Ok(Some(task)) => Next::Body { target: target.canonical, task },
        };
        let Bearer { label: token, digest, known, metered, .. } = bearer;
        let remarks = findings.into_remarks();
        let handler = target.handler;
        HeadVerdict {
            handler,
            token,
            digest,
            known,
            metered,
            remarks,
            repairs,
            repaired,
            work,
            next,
        }
    }

    /// Judges the head of a SCIM request. `Some` if a body is to be judged next.
    fn judge_request(
        &self,
        snapshot: &Snapshot,
        head: Head<'_>,
        target: &mut Target<'_>,
        bearer: &mut Bearer,
        repair: &mut HeadRepair,
        findings: &mut Findings<'_>,
    ) -> Result<Option<BodyTask>, Refusal> {
        let Head { method, headers, client, certificate, .. } = head;
        let authorizer = TokenAuthorizer::new(snapshot, &self.refusals);
        let (mut repairs, found) = repairs_for(snapshot, &authorizer, headers);
        if !repair.in_proxy {
            repairs = repairs.of_requests();
        }
        repair.on = repairs;
        let kind = match target.handler.route().body_of(method) {
            Ok(kind) => kind,
            Err(allow) => {
                findings.hit_method(method, allow)?;
                Some(BodyKind::Unserved)
            }
        };
        // Wire's DELETE answers without content and ignores Accept.
        if *method != Method::DELETE && !headers::is_acceptable(headers) {
            if repairs.contains(Repair::Accept) && repair::head::wants_json(headers) {
                repair.by.insert(Repair::Accept);
            } else {
                headers::hit_accept(findings).map_err(|refusal| {
                    let off = hint::of_rule(refusal.rule).without(repairs);
                    with_hint(refusal, || off, repair::head::wants_json(headers))
                })?;
            }
        }
        if kind.is_some_and(|kind| kind != BodyKind::Unserved) {
            if repairs.contains(Repair::ContentType)
                && !headers::is_parsed(headers)
                && repair::head::means_json(headers)
            {
                repair.by.insert(Repair::ContentType);
            } else {
                headers::judge_content_type(headers, findings).map_err(|refusal| {
                    let off = hint::of_rule(refusal.rule).without(repairs);
                    with_hint(refusal, || off, repair::head::means_json(headers))
                })?;
            }
        }
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match target.handler {
            Handler::Users if reads => {
                query::judge_users(target.query, findings)?;
                if repairs.contains(Repair::UserNameLower)
                    && let Some(changed) = lowered(target, head.target)
                {
                    target.canonical = Some(changed);
                    repair.by.insert(Repair::UserNameLower);
                }
                if repair.in_proxy
                    && repairs.contains(Repair::UserNameLocalPart)
                    && let Some(search) = UserSearch::read(target.sent(head.target))
                {
                    repair.by.insert(Repair::UserNameLocalPart);
                    repair.work = Some(Box::new(Work::UserSearch(search)));
                }
            }
            Handler::Groups
                if reads
                    && repairs.contains(Repair::GroupsFilter)
                    && let Some(search) = GroupSearch::read(target.sent(head.target)) =>
            {
                repair.by.insert(Repair::GroupsFilter);
                repair.work = Some(Box::new(Work::GroupSearch(search)));
            }
            Handler::Groups if reads => {
                query::judge_groups(target.query, findings).map_err(|refusal| {
                    let is_by_name = refusal.rule == Rule::FilterUnsupported
                        && GroupSearch::read(target.sent(head.target)).is_some();
                    let off = hint::of_rule(refusal.rule).without(repairs);
                    with_hint(refusal, || off, is_by_name)
                })?;
            }
            _ => {}
        }
        if target.handler.route().token {
            let credentials = token::judge(headers, findings)?;
            let wanted = Use { method, handler: target.handler, client, certificate };
            authorizer.judge(credentials, found, wanted, bearer, findings)?;
        }
        if *method == Method::DELETE && target.handler == Handler::User {
            findings.set_account(AccountChange::Deletes);
        }
        let Some(kind) = kind else { return Ok(None) };
        if kind == BodyKind::Unserved {
            let repairs = Repairs::NONE;
            return Ok(Some(BodyTask { kind, gzip: false, identity: None, repairs }));
        }
        let gzip = headers::judge_content_encoding(headers, findings)?;
        Ok(Some(BodyTask { kind, gzip, identity: bearer.identity, repairs }))
    }

    /// Judges a body that [`Next::Body`] requested. Rules that are only reported are added to
    /// `remarks`. `Some` if it was repaired: then that is what was judged, and what is to be
    /// forwarded.
    pub fn judge_body(
        snapshot: &Snapshot,
        task: BodyTask,
        body: &[u8],
        remarks: &mut Remarks,
    ) -> Result<Option<RepairedBody>, Refusal> {
        let limit = snapshot.config.limits.body;
        Self::judge_body_within(snapshot, task, body, limit, remarks)
    }

    fn judge_body_within(
        snapshot: &Snapshot,
        task: BodyTask,
        body: &[u8],
        limit: usize,
        remarks: &mut Remarks,
    ) -> Result<Option<RepairedBody>, Refusal> {
        if body.len() > limit {
            return Err(body::too_large(limit));
        }
        if task.kind == BodyKind::Unserved {
            return Ok(None);
        }
        let body = body::decoded(body, task.gzip, limit)?;
        let document = read_document(&body)?;
        if task.kind == BodyKind::GroupPatch
            && task.repairs.contains(Repair::GroupsPatch)
            && let Some(repaired) = read_group_patch(snapshot, task, &document, remarks)?
        {
            return Ok(Some(repaired));
        }
        if !task.repairs.is_empty()
            && let Some(edited) = repair_document(snapshot, task, &document, limit)
        {
            let repaired = edited?;
            judge(snapshot, task, &read_document(&repaired.body)?, remarks)?;
            return Ok(Some(repaired));
        }
        judge(snapshot, task, &document, remarks).map(|()| None)
    }

    /// As [`Evaluator::judge_body`], but only if the body has at most this many bytes, before and
    /// after decompression; `None` if it has more.
    pub fn judge_small_body(
        snapshot: &Snapshot,
        task: BodyTask,
        body: &[u8],
        max_size: usize,
        remarks: &mut Remarks,
    ) -> Option<Result<Option<RepairedBody>, Refusal>> {
        let limit = snapshot.config.limits.body;
        if body.len() > max_size && body.len() <= limit {
            return None;
        }
        match Self::judge_body_within(snapshot, task, body, max_size.min(limit), remarks) {
            Err(refusal) if refusal.rule == Rule::BodyTooLarge && max_size < limit => None,
            verdict => Some(verdict),
        }
    }

    /// Judges a whole request. As [`Evaluator::judge_head`] it counts the request for the token's
    /// rate and the client's failures, so that the same request may receive another verdict later.
    /// Whether its token has deleted or deactivated too many users is not judged, as this depends
    /// on the answers to other requests.
    pub fn evaluate(&self, head: Head<'_>, body: &[u8]) -> Verdict {
        let snapshot = self.snapshots.current();
        let HeadVerdict { handler, mut remarks, mut repaired, next, .. } =
            self.judge_head(&snapshot, head);
        let outcome = match next {
            Next::Refuse(refusal) => Outcome::Refuse(refusal),
            Next::Forward { target } => Outcome::Forward { target, body: None },
            Next::Body { target, task } => {
                match Self::judge_body(&snapshot, task, body, &mut remarks) {
                    Ok(None) => Outcome::Forward { target, body: None },
                    Ok(Some(RepairedBody { body, by, .. })) => {
                        repaired = repaired.and(by);
                        Outcome::Forward { target, body: Some(body) }
                    }
                    Err(refusal) => Outcome::Refuse(refusal),
                }
            }
        };
        Verdict { handler, remarks, repaired, outcome }
    }
}

/// The result of repairing the head of a request.
#[derive(Default)]
struct HeadRepair {
    /// The caller carries out work, and repairs answers.
    in_proxy: bool,
    on: Repairs,
    by: Repairs,
    work: Option<Box<Work>>,
}

/// The repairs that are enabled for a request, and its token if it had to be looked up for that.
///
/// The registry's entry may have its own; an unknown or expired token has none.
fn repairs_for<'a>(
    snapshot: &'a Snapshot,
    authorizer: &TokenAuthorizer<'a>,
    headers: &HeaderMap,
) -> (Repairs, Option<Found<'a>>) {
    let Some(configured) = snapshot.config.repairs else { return (Repairs::NONE, None) };
    let Some(registry) = &snapshot.registry else { return (configured, None) };
    if configured.is_empty() && !registry.tokens.has_repairs() {
        return (Repairs::NONE, None);
    }
    if !headers.contains_key(AUTHORIZATION) {
        return (configured, None);
    }
    let Some(found) = token::sent(headers).map(|token| authorizer.find(token)) else {
        return (Repairs::NONE, None);
    };
    let entry = found.entry.filter(|entry| !entry.has_expired(SystemTime::now()));
    let repairs = entry.map_or(Repairs::NONE, |entry| entry.repairs.unwrap_or(configured));
    (repairs, Some(found))
}

/// Repairs a body; `None` if there is nothing to repair.
fn repair_document(
    snapshot: &Snapshot,
    task: BodyTask,
    document: &Document<'_>,
    limit: usize,
) -> Option<Result<RepairedBody, Refusal>> {
    let judged = Judged::by(&snapshot.config.policy);
    let repaired = repair::repair_body(task.kind, document, task.repairs, judged, limit)?;
    let body = repaired.body.ok_or_else(|| body::too_large(limit));
    Some(body.map(|body| RepairedBody { body, work: None, by: repaired.by }))
}

/// Parses the PATCH of a group; `None` if it is left unchanged.
fn read_group_patch(
    snapshot: &Snapshot,
    task: BodyTask,
    document: &Document<'_>,
    remarks: &mut Remarks,
) -> Result<Option<RepairedBody>, Refusal> {
    let mut findings = Findings::new(&snapshot.config.policy);
    let read = group_patch::read(document.root(), task.repairs, &mut findings);
    remarks.extend(findings.into_remarks());
    let Some(patch) = read? else { return Ok(None) };
    let by = patch.by;
    let work = Some(Box::new(Work::GroupPatch(patch)));
    Ok(Some(RepairedBody { body: Vec::new(), work, by }))
}

/// Judges a body that was read.
fn judge(
    snapshot: &Snapshot,
    task: BodyTask,
    document: &Document<'_>,
    remarks: &mut Remarks,
) -> Result<(), Refusal> {
    let mut findings = Findings::new(&snapshot.config.policy).with_identity(task.identity);
    let verdict = judge_document(&snapshot.schemas, task.kind, document, &mut findings);
    remarks.extend(findings.into_remarks());
    verdict.map_err(|refusal| hinted(refusal, snapshot, task, document))
}

/// Adds the repairs that would help to the detail of a body's refusal.
fn hinted(
    refusal: Refusal,
    snapshot: &Snapshot,
    task: BodyTask,
    document: &Document<'_>,
) -> Refusal {
    let judged = Judged::by(&snapshot.config.policy);
    let rule = refusal.rule;
    let off = || hint::for_body(rule, task.kind, document, task.repairs, judged);
    with_hint(refusal, off, snapshot.config.repairs.is_some())
}

/// Adds the repairs that would help to the detail of a refusal.
#[cold]
fn with_hint(mut refusal: Refusal, off: impl FnOnce() -> Repairs, possible: bool) -> Refusal {
    let off = if possible { off() } else { Repairs::NONE };
    if !off.is_empty() {
        hint::add(off, &mut refusal.detail);
    }
    refusal
}

/// The target with the userName in its filter in lower case.
fn lowered(target: &Target<'_>, raw: &[u8]) -> Option<Vec<u8>> {
    let query = target.query.filter(|query| user_name::may_have_capitals(query))?;
    let query = query::with_filter(query, user_name::lowered_filter)?;
    target.with_query(raw, &query)
}

/// The answer to CONNECT, which has no path.
///
/// SECURITY: always enforced, as nothing would judge the bytes in a tunnel.
pub(crate) fn no_tunnel() -> Refusal {
    let detail =
        "CONNECT is not served: this proxy opens no tunnels. Wire serves GET and HEAD everywhere.";
    let refusal = Refusal::new(Rule::MethodNotAllowed, detail);
    Refusal { allow: Some("GET, HEAD"), ..refusal }
}
