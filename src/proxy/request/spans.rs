//! The trace of a request, from its head to its end.

use std::time::Duration;

use pingora::proxy::Session;

use crate::registry::TokenLabel;
use crate::rule::Rule;
use crate::spans::{Backend, Details, Trace, Tracer};
use crate::verdict::VerdictLabel;

use super::context::FilterCtx;
use super::recorder::RequestRecord;
use super::session::{is_tls, peer_ip};

/// Begins the trace that the request belongs to.
pub(super) fn begin(tracer: &Tracer, session: &Session, ctx: &mut FilterCtx) {
    let trusted = &ctx.snapshot.config.trusted_proxies;
    let is_trusted =
        peer_ip(session).is_some_and(|peer| trusted.iter().any(|network| network.contains(&peer)));
    let mut trace = tracer.begin(&session.req_header().headers, is_trusted);
    trace.is_tls = is_tls(session);
    ctx.record.trace = Some(trace);
}

/// Notes that the request was judged.
pub(super) fn judged(record: &mut RequestRecord) {
    let took = record.started.elapsed();
    if let Some(trace) = &mut record.trace {
        trace.judged = Some(took);
    }
}

/// Exports the spans.
pub(super) fn end(
    tracer: &Tracer,
    trace: &Trace,
    record: &RequestRecord,
    status: u16,
    verdict: VerdictLabel,
    took: Duration,
    repaired: Vec<&'static str>,
) {
    tracer.end(trace, || Details {
        handler: record.handler,
        method: record.method,
        status,
        verdict,
        rule: record.answered.map(|(rule, _)| Rule::id(rule)),
        reported: record.remarks.reported.iter().map(|hit| hit.rule.id()).collect(),
        repaired,
        token: record.token.as_ref().map(TokenLabel::as_str).map(str::to_owned),
        is_tls: trace.is_tls,
        took,
        backend: record.upstream_started.map(|at| {
            let after = at.saturating_duration_since(record.started);
            Backend {
                server: record.upstream,
                after,
                took: at.elapsed().min(took.saturating_sub(after)),
                status: record.wire_status,
            }
        }),
    });
}
