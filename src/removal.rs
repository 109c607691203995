//! Decides whether a request that deletes or deactivates a user may be forwarded: by the limit of
//! its token, from the registry or the configuration. Judged last, as a request that is refused
//! removes nobody.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Config;
use crate::deprovisioning::{AccountChange, Counter, Limit, Place, Removal, TokenLimit};
use crate::digest::TokenDigest;
use crate::findings::{Findings, Remarks};
use crate::input::value::duration_text;
use crate::refusal::Refusal;
use crate::registry::TokenLabel;
use crate::rule::Rule;
use crate::snapshot::Snapshot;
use crate::target;

/// A request that may be forwarded unless it exceeds the limit.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub token: Option<TokenDigest>,
    pub label: Option<&'a TokenLabel>,
    /// The token is valid according to the registry, or Wire accepted it lately.
    pub known: bool,
    /// The target that is forwarded.
    pub target: &'a [u8],
}

/// Judges what `remarks` say of the user's account; a rule that is only reported is added to them.
/// The reservation is kept until the end of the request; there is none if nothing is limited, or
/// nobody is removed.
pub fn judge(
    snapshot: &Snapshot,
    counter: &Arc<Counter>,
    request: Request<'_>,
    remarks: &mut Remarks,
) -> Result<Option<Place>, Refusal> {
    let mut findings = Findings::new(&snapshot.config.policy);
    if remarks.account == AccountChange::None
        || !is_limited(snapshot)
        || !findings.wants(Rule::LimitsDeprovisioning)
    {
        return Ok(None);
    }
    // Requests without a readable token are counted together.
    let token = request.token.unwrap_or_else(|| TokenDigest::of(b""));
    let user = target::user_id(request.target);
    if !remarks.account.is_removal() {
        counter.activate(token, user);
        return Ok(None);
    }
    let entry = entry_of(snapshot, request.label);
    let own = entry.and_then(|entry| entry.limit);
    let Some(limit) = own.or(snapshot.config.deprovisioning) else { return Ok(None) };
    let label = request.label.map(TokenLabel::as_str);
    let (known, change) = (request.known, remarks.account);
    let removal = Removal { token, label, known, user, change };
    let wait = match counter.take(limit, entry.and_then(|entry| entry.allow), removal) {
        Ok(place) => return Ok(Some(place)),
        Err(wait) => wait,
    };
    let detail = || sentence(limit, label, own.is_some(), &snapshot.config);
    let held = findings.hit(Rule::LimitsDeprovisioning, place_of(change), detail);
    remarks.extend(findings.into_remarks());
    held.map_err(|refusal| refusal.with_retry_after(wait))?;
    Ok(Some(counter.beyond_limit(removal)))
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
