//! Decides whether a well-formed token is accepted: by the registry, if there is one, and by the
//! refusal cache. What is known of a token is kept with the request until its end.
//!
//! SECURITY: no message here repeats any part of a token.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;

use crate::api::Handler;
use crate::digest::TokenDigest;
use crate::findings::Findings;
use crate::policy::Identity;
use crate::rate::{self, Meter, Rate};
use crate::refusal::Refusal;
use crate::refusals::{RefusalCache, RefusalLimits};
use crate::registry::{Entry, TokenLabel, TokenRegistry};
use crate::rule::Rule;
use crate::snapshot::Snapshot;
use crate::tls::subject::SubjectName;
use crate::token::{Credentials, PLACE};

/// Authorizes tokens for one request.
#[derive(Debug)]
pub struct TokenAuthorizer<'a> {
    /// `None`: Wire alone judges well-formed tokens.
    registry: Option<&'a TokenRegistry>,
    refusals: &'a RefusalCache,
    limits: &'a RefusalLimits,
    /// Rates hold over several replicas.
    is_shared: bool,
}

/// A token that was looked up in the registry.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    pub digest: TokenDigest,
    pub entry: Option<&'a Entry>,
}

/// What a token is to be used for.
#[derive(Debug, Clone, Copy)]
pub struct Use<'a> {
    pub method: &'a Method,
    pub handler: Handler,
    pub client: Option<IpAddr>,
    /// The names of the client's verified certificate.
    pub certificate: &'a [SubjectName],
}

/// What is known of a request's token.
#[derive(Debug, Clone, Default)]
pub struct Bearer {
    /// Its label in the registry.
    pub label: Option<TokenLabel>,
    /// For the refusal cache, to be updated when Wire has answered.
    pub digest: Option<TokenDigest>,
    /// It is valid according to the registry, or Wire accepted it within the last hour.
    pub known: bool,
    /// How its team identifies users, according to the registry.
    pub identity: Option<Identity>,
    /// The rate that it used one request of, where replicas share it.
    pub metered: Option<Box<Metered>>,
}

/// A token's rate, and what this process has used of it.
#[derive(Debug, Clone)]
pub struct Metered {
    pub rate: Rate,
    pub meter: Arc<Meter>,
}

impl<'a> TokenAuthorizer<'a> {
    pub fn new(snapshot: &'a Snapshot, refusals: &'a RefusalCache) -> Self {
        let registry = snapshot.registry.as_ref().map(|registry| &*registry.tokens);
        let is_shared = snapshot.shared.is_some();
        Self { registry, refusals, limits: &snapshot.refusal_limits, is_shared }
    }

    /// Looks a token up in the registry.
    pub fn find(&self, token: &[u8]) -> Found<'a> {
        let digest = TokenDigest::of(token);
        let entry = self.registry.and_then(|registry| registry.find(token, Some(digest)));
        Found { digest, entry }
    }

    /// Judges a token. `found`: it was looked up already. `bearer` is filled in as far as judging
    /// gets.
    pub fn judge(
        &self,
        credentials: Credentials<'_>,
        found: Option<Found<'a>>,
        wanted: Use<'_>,
        bearer: &mut Bearer,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        let found = match credentials {
            // Wire refuses it, and so does the guard if the rule is enforced.
            Credentials::None => return Ok(()),
            // SECURITY: even if the form of tokens is not enforced, this one is in no registry.
            Credentials::Unreadable => None,
            Credentials::Token(token) => Some(found.unwrap_or_else(|| self.find(token))),
        };
        bearer.digest = found.map(|found| found.digest);
        let entry = self.registry.map(|_| found?.entry);
        let verdict = self.judge_all(entry, wanted, bearer, findings);
        // A request that is refused here gets no answer from Wire to be counted.
        if verdict.as_ref().is_err_and(|refusal| refusal.status() == 401) {
            self.refusals.failed(self.limits, wanted.client);
        }
        verdict
    }

    /// Judges what is known of a token; the outer `None` means that there is no registry.
    fn judge_all(
        &self,
        entry: Option<Option<&Entry>>,
        wanted: Use<'_>,
        bearer: &mut Bearer,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        let known = entry.flatten();
        // Without an entry nothing depends on the time.
        let now = known.map_or(SystemTime::UNIX_EPOCH, |_| SystemTime::now());
        if let Some(entry) = known {
            bearer.label = Some(entry.label.clone());
            bearer.identity = entry.identity;
        }
        // SECURITY: an address may be shared by many clients, so failures from it never slow a
        // token that is known to be valid.
        let good = known.is_some_and(|entry| !entry.has_expired(now))
            || bearer.digest.is_some_and(|digest| self.refusals.accepts(self.limits, digest));
        bearer.known = good;
        if !good {
            self.judge_failures(wanted.client, findings)?;
        }
        match entry {
            None => {}
            Some(None) => findings.hit(Rule::TokenUnknown, PLACE, || UNKNOWN)?,
            Some(Some(entry)) => judge_entry(entry, wanted, now, findings)?,
        }
        if bearer.digest.is_some_and(|digest| self.refusals.refuses(self.limits, digest)) {
            findings.hit(Rule::TokenRefused, PLACE, || REFUSED)?;
        }
        let Some(entry) = known else { return Ok(()) };
        judge_rate(entry, findings)?;
        if let Some(rate) = entry.rate.filter(|_| self.is_shared && findings.wants(Rule::TokenRate))
        {
            bearer.metered = Some(Box::new(Metered { rate, meter: Arc::clone(&entry.meter) }));
        }
        Ok(())
    }

    fn judge_failures(
        &self,
        client: Option<IpAddr>,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        if !findings.wants(Rule::LimitsFailures) {
            return Ok(());
        }
        let Some(wait) = self.refusals.retry_after(self.limits, client) else { return Ok(()) };
        findings
            .hit(Rule::LimitsFailures, PLACE, || FAILURES)
            .map_err(|refusal| refusal.with_retry_after(wait))
    }
}

fn judge_entry(
    entry: &Entry,
    wanted: Use<'_>,
    now: SystemTime,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    if entry.has_expired(now) {
        findings.hit(Rule::TokenExpired, PLACE, || EXPIRED)?;
    }
    if !entry.admits(wanted.client) {
        findings.hit(Rule::TokenNetwork, PLACE, || NETWORK)?;
    }
    if !entry.is_certified(wanted.certificate) {
        findings.hit(Rule::TokenCertificate, PLACE, || CERTIFICATE)?;
    }
    if !entry.methods.allow(wanted.method) {
        findings.hit(Rule::TokenOperation, PLACE, || METHOD)?;
    }
    if !entry.resources.allow(wanted.handler) {
        findings.hit(Rule::TokenOperation, PLACE, || RESOURCE)?;
    }
    Ok(())
}

/// Judges by what this process has seen: several replicas that share a rate have seen more.
fn judge_rate(entry: &Entry, findings: &mut Findings<'_>) -> Result<(), Refusal> {
    let Some(rate) = entry.rate.filter(|_| findings.wants(Rule::TokenRate)) else { return Ok(()) };
    let Err(wait) = entry.meter.take(rate, rate::now()) else { return Ok(()) };
    hit_rate(wait, findings)
}

/// Notes that the token's rate is exceeded, for this time.
pub fn hit_rate(wait: Duration, findings: &mut Findings<'_>) -> Result<(), Refusal> {
    findings.hit(Rule::TokenRate, PLACE, || RATE).map_err(|refusal| refusal.with_retry_after(wait))
}

const UNKNOWN: &str = "This proxy does not know the token. Use one that is registered here, or ask the operator of \
     this proxy to register it (`wire-scim-guard token hash`).";
const EXPIRED: &str = "The token has expired according to the token registry of this proxy. Create a new one in Wire, have its \
     hash added to the registry, and put it into the client.";
const NETWORK: &str = "The token may not be used from this network address. Ask the proxy's operator to add \
     the client's network to the token's entry, or use the token from a network that is allowed.";
const CERTIFICATE: &str = "The token may be used with its client's certificate only, and this connection has none with the name that the \
     token's entry in the token registry of this proxy requires. Have the client present its certificate over TLS.";
const METHOD: &str = "The token may not be used with this method: its entry in the token registry of this proxy \
     does not allow it.";
const RESOURCE: &str = "The token may not be used on this resource: its entry in the token registry of this proxy \
     does not allow it.";
const REFUSED: &str = "Wire refused this token a moment ago; it is not asked again for some seconds. The token \
     is mistyped or was deleted: create a new one in Wire and put it into the client.";
const RATE: &str = "The token is used more often than its entry in the token registry of this proxy allows. Wait \
     as long as Retry-After says.";
const FAILURES: &str = "Too many requests with tokens that are not valid came from this network address. Wait as \
     long as Retry-After says, and fix the token of the client.";
