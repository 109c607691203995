//! Decides whether a request that deletes or deactivates a user may be forwarded: by the limit of
//! its token, from the registry or the configuration. Judged last, as a request that is refused
//! removes nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::deprovisioning::{AccountChange, Allowance, Counter, Limit, Place, Removal, TokenLimit};
use crate::digest::TokenDigest;
use crate::findings::{Findings, Remarks};
use crate::input::value::duration_text;
use crate::policy::Action;
use crate::refusal::Refusal;
use crate::registry::TokenLabel;
use crate::rule::Rule;
use crate::snapshot::Snapshot;
use crate::target;

/// A request that may be forwarded unless it exceeds the limit.
#[derive(Clone, Copy)]
pub struct Request<'l, 't> {
    pub token: Option<TokenDigest>,
    pub label: Option<&'l TokenLabel>,
    /// The token is valid according to the registry, or Wire accepted it lately.
    pub known: bool,
    /// The target that is forwarded.
    pub target: &'t [u8],
}

/// What a request does to a user whose token is limited.
pub enum Change<'a> {
    /// Nothing that counts.
    None,
    Activates {
        token: TokenDigest,
        user: u128,
    },
    Removes(Wanted<'a>),
}

/// A reservation that a request needs.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    pub removal: Removal<'a>,
    pub limit: Limit,
    pub allowance: Option<Allowance>,
    /// The limit is that of the token's entry.
    is_own: bool,
}

/// Finds what `remarks` say about the user's account.
pub fn find<'l>(snapshot: &Snapshot, request: Request<'l, '_>, remarks: &Remarks) -> Change<'l> {
    let change = remarks.account;
    if change == AccountChange::None
        || !is_limited(snapshot)
        || snapshot.config.policy.action(Rule::LimitsDeprovisioning) == Action::Off
    {
        return Change::None;
    }
    // Requests without a readable token are counted together.
    let token = request.token.unwrap_or_else(|| TokenDigest::of(b""));
    let user = target::user_id(request.target);
    if !change.is_removal() {
        return Change::Activates { token, user };
    }
    let entry = entry_of(snapshot, request.label);
    let own = entry.and_then(|entry| entry.limit);
    let Some(limit) = own.or(snapshot.config.deprovisioning) else { return Change::None };
    let label = request.label.map(TokenLabel::as_str);
    let removal = Removal { token, label, known: request.known, user, change };
    let allowance = entry.and_then(|entry| entry.allow);
    let allowance = allowance.filter(|allowance| allowance.until > SystemTime::now());
    Change::Removes(Wanted { removal, limit, allowance, is_own: own.is_some() })
}

/// Judges by the counts of this process; a rule that is only reported is added to the remarks. The
/// reservation is kept until the end of the request; there is none if nothing is limited, or nobody
/// is removed.
pub fn judge(
    snapshot: &Snapshot,
    counter: &Arc<Counter>,
    request: Request<'_, '_>,
    remarks: &mut Remarks,
) -> Result<Option<Place>, Refusal> {
    match find(snapshot, request, remarks) {
        Change::None => Ok(None),
        Change::Activates { token, user } => {
            counter.activate(token, user);
            Ok(None)
        }
        Change::Removes(wanted) => judge_wanted(snapshot, counter, wanted, remarks).map(Some),
    }
}

/// The same for a change that was found already.
pub fn judge_wanted(
    snapshot: &Snapshot,
    counter: &Arc<Counter>,
    wanted: Wanted<'_>,
    remarks: &mut Remarks,
) -> Result<Place, Refusal> {
    match counter.take(wanted.limit, wanted.allowance, wanted.removal) {
        Ok(place) => Ok(place),
        Err(wait) => {
            hold(snapshot, wanted, wait, remarks)?;
            Ok(counter.beyond_limit(wanted.removal))
        }
    }
}

/// Refuses a request for which no place is free, unless the rule is only reported.
pub fn hold(
    snapshot: &Snapshot,
    Wanted { removal, limit, is_own, .. }: Wanted<'_>,
    wait: Duration,
    remarks: &mut Remarks,
) -> Result<(), Refusal> {
    let mut findings = Findings::new(&snapshot.config.policy);
    let detail = || sentence(limit, removal.label, is_own, &snapshot.config);
    let held = findings.hit(Rule::LimitsDeprovisioning, place_of(removal.change), detail);
    remarks.extend(findings.into_remarks());
    held.map_err(|refusal| refusal.with_retry_after(wait))
}

/// How much of its limit a token has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitUse {
    /// The token's label in the registry; `None`: all other tokens together.
    pub label: Option<String>,
    pub limit: Limit,
    /// Users that count now.
    pub used: u64,
    /// Users that were removed since the process began.
    pub total: u64,
}

/// The tokens that are limited, with their usage.
pub fn uses(snapshot: &Snapshot, counter: &Counter) -> Vec<LimitUse> {
    if !is_limited(snapshot) {
        return Vec::new();
    }
    let mut usage: HashMap<_, _> =
        counter.usage().into_iter().map(|usage| (usage.label.clone(), usage)).collect();
    let configured = snapshot.config.deprovisioning;
    let entries = snapshot.registry.iter().flat_map(|registry| registry.tokens.entries());
    let entries = entries.filter_map(|entry| {
        let own = entry.deprovisioning.and_then(|own| own.limit);
        Some((Some(entry.label.as_str()), own.or(configured)?))
    });
    let others = configured.map(|limit| (None, limit));
    let uses = entries.chain(others).map(|(label, limit)| {
        let usage = usage.remove(&label.map(Box::from));
        let (used, total) = usage.map_or((0, 0), |usage| (usage.used, usage.total));
        LimitUse { label: label.map(str::to_owned), limit, used, total }
    });
    uses.collect()
}

/// Whether deletions and deactivations are limited for any token.
fn is_limited(snapshot: &Snapshot) -> bool {
    snapshot.config.deprovisioning.is_some()
        || snapshot.registry.as_ref().is_some_and(|registry| registry.tokens.limits_removals())
}

fn entry_of(snapshot: &Snapshot, label: Option<&TokenLabel>) -> Option<TokenLimit> {
    let registry = snapshot.registry.as_ref()?;
    registry.tokens.labelled(label?)?.deprovisioning
}

/// The part of the request that removes the user.
fn place_of(change: AccountChange) -> &'static str {
    if change == AccountChange::Deletes { "method" } else { "active" }
}

/// What happened, which limit applies, and who can lift it.
fn sentence(limit: Limit, label: Option<&str>, is_own: bool, config: &Config) -> String {
    let Limit { at_most, within } = limit;
    let within = duration_text(within);
    let whose = match label {
        Some(label) if is_own => {
            format!("the limit `deprovisioning` of the token's entry {label} in the token registry")
        }
        _ => "the limit `deprovisioning` in the configuration".to_owned(),
    };
    let how = match label {
        Some(label) if config.tokens.is_some() => format!(
            "for a limited number and time, with `wire-scim-guard deprovisioning allow --register FILE --label {label} \
             --count N --until TIME`"
        ),
        _ => "by raising that limit".to_owned(),
    };
    format!(
        "The request was held back and did not reach Wire: it would delete or deactivate one more user, and with this \
         token {at_most} users in {within} are the most, by {whose} of this proxy. If these users are not meant to \
         go, stop the client and check its scope or filter. If they are, the operator of this proxy can allow more, \
         {how}; else the client may go on when the time in Retry-After is over."
    )
}
