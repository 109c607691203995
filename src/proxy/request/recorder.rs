//! What is recorded of a request, for metrics and the access log.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use prometheus::IntGauge;

use crate::activity::{Event, Subject};
use crate::agreement::{self, Outcome};
use crate::api::Handler;
use crate::audit::{AuditLog, Entry};
use crate::digest::TokenDigest;
use crate::findings::Remarks;
use crate::logging::{Access, AccessLog, Disagreement};
use crate::metrics::{MethodLabel, Metrics};
use crate::place::Place;
use crate::registry::TokenLabel;
use crate::repair::{Repair, Repairs};
use crate::rule::Rule;
use crate::spans::{Trace, Tracer};
use crate::verdict::VerdictLabel;

use super::spans;

/// Where records are written when the request has ended.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Recorder {
    pub metrics: Arc<Metrics>,
    pub access: AccessLog,
    pub audit: AuditLog,
    pub tracer: Option<Arc<Tracer>>,
}

/// The record of one request.
#[derive(Debug)]
pub(in crate::proxy) struct RequestRecord {
    pub started: Instant,
    /// When the answer had been sent, if that was before the request ended.
    pub ended: Option<Instant>,
    pub handler: Handler,
    pub method: MethodLabel,
    pub request_id: HeaderValue,
    pub client: Option<IpAddr>,
    /// The token's label in the registry.
    pub token: Option<TokenLabel>,
    pub digest: Option<TokenDigest>,
    pub remarks: Remarks,
    /// The repairs that have changed it.
    pub repaired: Repairs,
    /// The rule that answered, and the verdict that its answer is.
    pub answered: Option<(Rule, VerdictLabel)>,
    /// The position in the request at which the rule that answered matched.
    pub at: Option<Place>,
    /// The request was judged and sent to the backend.
    pub forwarded: bool,
    /// The status of the backend's answer.
    pub wire_status: Option<u16>,
    /// The body of an answer that disagrees, if it was read completely.
    pub wire_error: Option<Bytes>,
    pub validation: Duration,
    pub bytes_in: usize,
    pub bytes_out: usize,
    pub upstream: Option<SocketAddr>,
    pub upstream_started: Option<Instant>,
    /// The request's line in the audit log, until the answer is known.
    pub audit: Option<Box<Entry>>,
    /// The line was written.
    pub audited: bool,
    /// `None`: requests are not traced.
    pub trace: Option<Box<Trace>>,
}

impl RequestRecord {
    /// Writes the line of the audit log, with the status of the answer that the client is about to
    /// get.
    ///
    /// SECURITY: before the answer is written, as a client that reads slowly would hold its slot.
    pub(super) fn end_audit(&mut self, status: u16) {
        if let Some(entry) = self.audit.take() {
            let rule = self.answered.map(|(rule, _)| rule.id());
            entry.end(status, rule, self.wire_status, names(self.carried_out()));
            self.audited = true;
        }
    }

    /// The repairs with which the request was forwarded.
    fn carried_out(&self) -> Repairs {
        if self.forwarded { self.repaired } else { Repairs::NONE }
    }

    pub(in crate::proxy) fn new() -> Self {
        Self {
            started: Instant::now(),
            ended: None,
            handler: Handler::Invalid,
            method: MethodLabel::OTHER,
            request_id: HeaderValue::from_static("-"),
            client: None,
            token: None,
            digest: None,
            remarks: Remarks::default(),
            repaired: Repairs::NONE,
            answered: None,
            at: None,
            forwarded: false,
            wire_status: None,
            wire_error: None,
            validation: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
            upstream: None,
            upstream_started: None,
            audit: None,
            audited: false,
            trace: None,
        }
    }
}

impl RequestRecord {
    fn subject<'a>(&'a self, at: Option<&'a Place>) -> Subject<'a> {
        let (handler, method) = (self.handler, self.method);
        Subject { handler, method, token: self.token.as_ref(), at }
    }

    /// Whether Wire agreed with the verdict, as far as its answer is known.
    pub(in crate::proxy) fn agreement(&self) -> Outcome {
        Outcome::of(&self.remarks, self.wire_status)
    }
}

impl Recorder {
    /// Counts the verdict on a request and the rules that matched: before anything of it is
    /// forwarded.
    pub(in crate::proxy) fn judged(&self, record: &RequestRecord, verdict: VerdictLabel) {
        self.metrics.judged(record.handler, verdict);
        if record.validation > Duration::ZERO {
            self.metrics.validated(record.validation);
        }
        for hit in &record.remarks.reported {
            self.metrics.reported(hit.rule);
        }
    }

    /// Counts the repairs of a request that is forwarded.
    pub(in crate::proxy) fn repaired(&self, record: &RequestRecord) {
        if !record.repaired.is_empty() {
            self.metrics.repaired(record.repaired);
        }
    }

    /// Records the rule that answers, and counts it.
    pub(in crate::proxy) fn answered(
        &self,
        record: &mut RequestRecord,
        rule: Rule,
        verdict: VerdictLabel,
    ) {
        self.metrics.enforced(rule);
        record.answered = Some((rule, verdict));
    }

    /// Closes a record. A `status` of 0 means that the client disconnected before its answer: it is
    /// counted as 499, as in nginx.
    pub(in crate::proxy) fn close(&self, record: &mut RequestRecord, status: u16) {
        let status = if status == 0 { 499 } else { status };
        let took = record.ended.unwrap_or_else(Instant::now) - record.started;
        let upstream_took = record.upstream_started.map(|at| at.elapsed());
        if let Some(took) = upstream_took {
            self.metrics.upstream(took);
        }
        let verdict = match record.answered {
            Some((_, verdict)) => verdict,
            None if status == 499 => VerdictLabel::Failed,
            None => VerdictLabel::of_passed(&record.remarks),
        };
        if let Some(token) = &record.token {
            token.count(verdict);
        }
        self.metrics.request(record.handler, record.method, status, verdict, took);
        let repaired = record.carried_out();
        self.note_activity(record, verdict, repaired);
        if record.forwarded {
            self.agree(record);
        }
        let repaired = names(repaired);
        if let (Some(tracer), Some(trace)) = (&self.tracer, record.trace.take()) {
            let repaired = repaired.clone();
            spans::end(tracer, &trace, record, status, verdict, took, repaired);
        }
        record.end_audit(status);
        let always = matches!(verdict, VerdictLabel::Refused | VerdictLabel::Failed)
            || record.audited
            || !repaired.is_empty();
        if !self.access.wants(always) {
            return;
        }
        let hits = &record.remarks.reported;
        let reported: Vec<&str> = hits.iter().map(|hit| hit.rule.id()).collect();
        let mut at: Vec<Option<&str>> =
            hits.iter().map(|hit| hit.at.as_ref().map(Place::as_str)).collect();
        if record.answered.is_some() {
            at.push(record.at.as_ref().map(Place::as_str));
        }
        self.access.write(&Access {
            level: "Info",
            msgs: ["request"],
            request_id: record.request_id.to_str().unwrap_or("-"),
            handler: record.handler.as_str(),
            method: record.method.as_str(),
            status,
            verdict: verdict.as_str(),
            rule: record.answered.map(|(rule, _)| rule.id()),
            reported: &reported,
            at: &at,
            repaired: &repaired,
            duration: took,
            validation: record.validation,
            upstream_duration: upstream_took,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            client: record.client,
            token: record.token.as_ref().map(TokenLabel::as_str),
            upstream: record.upstream,
        });
    }
}

fn names(repairs: Repairs) -> Vec<&'static str> {
    match repairs.is_empty() {
        true => Vec::new(),
        false => repairs.iter().map(Repair::name).collect(),
    }
}

impl Recorder {
    /// Records what rules did to the request, for the page of the admin listener.
    fn note_activity(&self, record: &RequestRecord, verdict: VerdictLabel, repaired: Repairs) {
        let activity = self.metrics.activity();
        let subject = |at| record.subject(at);
        for repair in repaired.iter() {
            activity.note_repair(repair, subject(None));
        }
        for hit in &record.remarks.reported {
            activity.note(Some(hit.rule), Event::Reported, subject(hit.at.as_ref()));
        }
        if let (Some((rule, _)), VerdictLabel::Refused | VerdictLabel::Failed) =
            (record.answered, verdict)
        {
            activity.note(Some(rule), Event::Refused, subject(record.at.as_ref()));
        }
    }

    /// Counts whether Wire's answer agrees with the verdict, and logs if it does not.
    fn agree(&self, record: &RequestRecord) {
        let outcome = record.agreement();
        let first = record.remarks.reported.first();
        let rule = first.map(|hit| hit.rule);
        self.metrics.agreed(rule, outcome);
        if let Some(event) = Event::of(outcome) {
            let at = first.and_then(|hit| hit.at.as_ref());
            self.metrics.activity().note(rule, event, record.subject(at));
        }
        let (Outcome::Overruled | Outcome::Missed) = outcome else { return };
        self.access.write_disagreement(&Disagreement {
            level: "Warn",
            msgs: ["agreement"],
            request_id: record.request_id.to_str().unwrap_or("-"),
            handler: record.handler.as_str(),
            method: record.method.as_str(),
            outcome: outcome.as_str(),
            rule: rule.map(Rule::id),
            at: first.and_then(|hit| hit.at.as_ref()).map(Place::as_str),
            status: record.wire_status.unwrap_or_default(),
            scim_type: record.wire_error.as_deref().and_then(agreement::scim_type),
        });
    }
}

/// A gauge that is one higher while this lives.
#[derive(Debug)]
pub(in crate::proxy) struct InFlight(IntGauge);

impl InFlight {
    pub(in crate::proxy) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
