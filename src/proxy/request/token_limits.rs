//! Asks the store that several replicas share whether a request is within the budgets of its token: last of all, as
//! what is refused uses none of them.

use std::sync::Arc;

use pingora::proxy::Session;

use crate::authorizer;
use crate::config::OnFailure;
use crate::deprovisioning::Place;
use crate::digest::TokenDigest;
use crate::findings::Findings;
use crate::policy::Action;
use crate::refusal::Refusal;
use crate::removal::{self, Change, Wanted};
use crate::rule::Rule;
use crate::shared::{Answer, Claim, RateClaim, RemovalClaim, Removed, SharedState, Unavailable};
use crate::snapshot::Snapshot;
use crate::token::PLACE;

use super::context::{FilterCtx, State};
use super::filter::RequestFilter;
use super::judging::{Decision, Rest};

/// Seconds after which a request that was refused for want of the store may be tried again.
const RETRY_AFTER: u32 = 2;

impl RequestFilter {
    /// Judges a request that may leave by the budgets of its token.
    pub(super) async fn judge_shared(
        &self,
        session: &mut Session,
        ctx: &mut FilterCtx,
    ) -> Decision {
        let snapshot = Arc::clone(&ctx.snapshot);
        let Some(shared) = &snapshot.shared else { return Decision::Forward };
        let counter = self.evaluator.deprovisioning();
        let label = ctx.record.token.clone();
        let request = removal::Request {
            token: ctx.record.digest,
            label: label.as_ref(),
            known: ctx.known,
            target: ctx.target.as_deref().unwrap_or_else(|| session.req_header().raw_path()),
        };
        let wanted = match removal::find(&snapshot, request, &ctx.record.remarks) {
            Change::None => None,
            Change::Activates { token, user } => {
                counter.activate(token, user);
                shared.activate(token, user);
                None
            }
            Change::Removes(wanted) => Some(wanted),
        };
        if wanted.is_none() && ctx.metered.is_none() {
            return Decision::Forward;
        }
        let judged = match wanted {
            // SECURITY: made-up tokens take no more room in the store than here.
            Some(wanted) if !counter.has_room(wanted.removal.known) => {
                let remarks = &mut ctx.record.remarks;
                removal::judge_wanted(&snapshot, counter, wanted, remarks).map(Some)
            }
            _ => match shared.take(claim(&snapshot, shared, ctx, wanted)).await {
                Ok(answer) => self.judge_answer(&snapshot, answer, ctx, wanted),
                Err(Unavailable) => self.judge_alone(&snapshot, shared, ctx, wanted),
            },
        };
        ctx.decide(judged)
    }

    /// Judges while the store does not answer.
    fn judge_alone(
        &self,
        snapshot: &Snapshot,
        shared: &SharedState,
        ctx: &mut FilterCtx,
        wanted: Option<Wanted<'_>>,
    ) -> Result<Option<Place>, Refusal> {
        judge_unavailable(snapshot, shared, ctx, wanted)?;
        let (counter, remarks) = (self.evaluator.deprovisioning(), &mut ctx.record.remarks);
        let judged = wanted.map(|wanted| removal::judge_wanted(snapshot, counter, wanted, remarks));
        judged.transpose()
    }

    fn judge_answer(
        &self,
        snapshot: &Snapshot,
        answer: Answer,
        ctx: &mut FilterCtx,
        wanted: Option<Wanted<'_>>,
    ) -> Result<Option<Place>, Refusal> {
        let remarks = &mut ctx.record.remarks;
        if let Some(wait) = answer.rate_wait {
            let mut findings = Findings::new(&snapshot.config.policy);
            let exceeded = authorizer::hit_rate(wait, &mut findings);
            remarks.extend(findings.into_remarks());
            if let (Err(_), Some(metered)) = (&exceeded, &ctx.metered) {
                // This process has counted it already.
                metered.meter.give_back(metered.rate);
            }
            exceeded?;
        }
        let (Some(wanted), Some(removed)) = (wanted, answer.removal) else {
            answer.keep();
            return Ok(None);
        };
        let counter = self.evaluator.deprovisioning();
        let own = match removed {
            // What this process let pass while the store did not answer counts here alone.
            Removed::Counted(_) => removal::judge_wanted(snapshot, counter, wanted, remarks)?,
            Removed::Again(_) | Removed::Free => Place::without_effect(),
            Removed::Full(wait) => {
                // The rate has counted it.
                answer.keep();
                removal::hold(snapshot, wanted, wait, remarks)?;
                return Ok(Some(counter.beyond_limit(wanted.removal)));
            }
        };
        Ok(Some(match answer.keep() {
            Some(settle) => own.and(Place::new(settle)),
            None => own,
        }))
    }
}

impl FilterCtx {
    /// Lets a request pass with its place, or not.
    pub(super) fn decide(&mut self, judged: Result<Option<Place>, Refusal>) -> Decision {
        match judged {
            Ok(place) => {
                self.removal = place.map(Box::new);
                Decision::Forward
            }
            Err(refusal) => {
                self.state = State::Judging;
                Decision::Refuse(refusal, Rest::Drained)
            }
        }
    }
}

/// What the request needs of the store.
fn claim(
    snapshot: &Snapshot,
    shared: &SharedState,
    ctx: &FilterCtx,
    wanted: Option<Wanted<'_>>,
) -> Claim {
    let token = wanted.map(|wanted| wanted.removal.token).or(ctx.record.digest);
    let token = token.unwrap_or_else(|| TokenDigest::of(b""));
    let is_enforced = snapshot.config.policy.action(Rule::TokenRate) == Action::Enforce;
    let rate = ctx.metered.as_ref().map(|metered| RateClaim { rate: metered.rate, is_enforced });
    let removal = wanted.map(|wanted| RemovalClaim {
        user: shared.keys().user(token, wanted.removal.user),
        change: wanted.removal.change,
        limit: wanted.limit,
        allowance: wanted.allowance,
        hold: snapshot.config.limits.request_timeout,
    });
    Claim { token: shared.keys().token(token), rate, removal }
}

/// Refuses a request that no budget can be looked up for, if that is configured, and one of its budgets is enforced.
fn judge_unavailable(
    snapshot: &Snapshot,
    shared: &SharedState,
    ctx: &mut FilterCtx,
    wanted: Option<Wanted<'_>>,
) -> Result<(), Refusal> {
    let policy = &snapshot.config.policy;
    let is_enforced = |rule| policy.action(rule) == Action::Enforce;
    let matters = wanted.is_some() && is_enforced(Rule::LimitsDeprovisioning)
        || ctx.metered.is_some() && is_enforced(Rule::TokenRate);
    if shared.settings().on_failure == OnFailure::Local || !matters {
        return Ok(());
    }
    let mut findings = Findings::new(policy);
    let refused = findings.hit(Rule::SharedUnavailable, PLACE, || UNAVAILABLE);
    ctx.record.remarks.extend(findings.into_remarks());
    refused.map_err(|refusal| Refusal { retry_after: Some(RETRY_AFTER), ..refusal })
}

const UNAVAILABLE: &str = "The budget of this token cannot be looked up now, as the store that the replicas of this \
     proxy share does not answer. Nothing has reached Wire. Try again when the time in Retry-After is over.";
