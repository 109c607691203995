//! Settings that are valid, but probably unintended.

use super::{Config, Listener};
use crate::input::diagnostic::{At, Diagnostics};
use crate::policy::Action;
use crate::rule::Rule;

/// Checks a config as a whole. `tuned`: where the number of failures was set; `idle`: where repairs
/// are named that have no effect.
pub(super) fn find(
    config: &Config,
    listen: &[(At, Listener)],
    tuned: Option<At>,
    idle: Option<At>,
    diagnostics: &Diagnostics,
) {
    // After a PROXY header, the peer's address is the client's.
    let is_exposed = |listener: &Listener| {
        listener.proxy_protocol.is_empty() && !listener.address.ip().to_canonical().is_loopback()
    };
    let exposed = listen.iter().find(|(_, listener)| is_exposed(listener));
    let unsaid = config.trusted_proxies.is_empty() && config.shield.by_address.is_none();
    if let Some((at, Listener { address, .. })) = exposed.filter(|_| unsaid) {
        let message = format!(
            "listen: {address} can be reached from other machines, and nothing says whether clients connect \
             directly: the peer's address is logged as the client's, and requests with invalid tokens are not \
             counted by address. Name the proxies in front under trusted_proxies, or write shield: \
             {{by_address: true}} if there are none"
        );
        diagnostics.warn(*at, message);
    }
    if let Some(at) = idle {
        diagnostics.warn(at, "repairs: they have no effect, as rules.mode is off".to_owned());
    }
    if let Some(at) = tuned.filter(|_| !config.counts_by_address()) {
        let why = match config.shield.by_address {
            Some(_) => "shield.by_address is false",
            None => {
                "neither trusted_proxies nor shield: {by_address: true} says whose address a request comes from"
            }
        };
        diagnostics.warn(at, format!("shield: failures and window have no effect, as {why}"));
    }
}

/// The rules of the token registry.
const REGISTRY: [Rule; 6] = [
    Rule::TokenUnknown,
    Rule::TokenExpired,
    Rule::TokenNetwork,
    Rule::TokenCertificate,
    Rule::TokenOperation,
    Rule::TokenRate,
];

/// Checks the token registry, which is named at this position.
pub(super) fn find_idle_registry(config: &Config, at: At, diagnostics: &Diagnostics) {
    let is_idle = |rule: &Rule| config.policy.action(*rule) != Action::Enforce;
    let idle: Vec<&str> = REGISTRY.into_iter().filter(is_idle).map(Rule::id).collect();
    if !idle.is_empty() {
        let mut message = format!(
            "tokens: what these rules would refuse is forwarded, as rules.mode or rules.actions has them only reported \
             or off: {}",
            idle.join(", ")
        );
        if [Rule::TokenUnknown, Rule::TokenExpired].iter().any(is_idle) {
            message.push_str(". A token that must stop working now has to be deleted in Wire");
        }
        diagnostics.warn(at, message);
    }
}

/// Checks the limit of deletions and deactivations, which is at this position.
pub(super) fn find_idle_limit(config: &Config, at: At, diagnostics: &Diagnostics) {
    if let Some(why) = why_no_limit(config) {
        diagnostics.warn(at, format!("deprovisioning: {why}"));
    }
}

/// Why a limit of deletions and deactivations does not refuse anything, if it does not.
pub(crate) fn why_no_limit(config: &Config) -> Option<&'static str> {
    match config.policy.action(Rule::LimitsDeprovisioning) {
        Action::Enforce => None,
        Action::Report => Some(
            "it refuses nothing, as rules.mode or rules.actions has limits.deprovisioning only reported",
        ),
        Action::Off => {
            Some("it has no effect, as rules.mode or rules.actions has limits.deprovisioning off")
        }
    }
}
