//! What the audit log records of a request, collected where it becomes known.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;

use crate::audit::{Action, AuditLog, Contents};
use crate::evaluator::BodyTask;
use crate::refusal::Refusal;
use crate::registry::TokenLabel;
use crate::rule::Rule;
use crate::snapshot::Snapshot;

use super::context::FilterCtx;
use super::judge_pool::JudgePool;
use super::recorder::RequestRecord;

/// Whether a request has a line in the audit log.
pub(super) fn concerns(snapshot: &Snapshot, record: &RequestRecord) -> bool {
    snapshot.config.audit.is_some() && Action::of(record.handler, record.method).is_some()
}

/// Reserves the audit log line of a request that changes something. An error: there is no room for
/// it.
///
/// SECURITY: only for requests whose head has passed and whose body was read, so that slow clients
/// cannot fill the queue.
pub(super) fn begin(
    audit: &AuditLog,
    record: &mut RequestRecord,
    target: &[u8],
) -> Result<(), Refusal> {
    let Some((action, resource)) = Action::of(record.handler, record.method) else {
        return Ok(());
    };
    let Some(mut entry) = audit.begin(action, resource) else { return Err(full()) };
    let token = record.token.as_ref().map(TokenLabel::as_str);
    entry.sent_by(record.request_id.to_str().unwrap_or("-"), token, record.client, target);
    record.audit = Some(entry);
    Ok(())
}

fn full() -> Refusal {
    Refusal::new(
        Rule::LimitsAudit,
        "The audit log cannot be written at the moment, and changes are not forwarded without it. Try again \
         later; the operator of this proxy finds the reason where its standard error goes.",
    )
}

/// Records what a body sets. An error: that was not found out in time.
pub(super) async fn describe(
    pool: &JudgePool,
    ctx: &mut FilterCtx,
    task: BodyTask,
    body: &Bytes,
) -> Result<(), Refusal> {
    let (limit, timeout) = (ctx.limits().body, ctx.limits().request_timeout);
    let Some(entry) = &mut ctx.record.audit else { return Ok(()) };
    let key = ctx.snapshot.config.audit.as_ref().and_then(|audit| audit.key.clone());
    let work = move |body: &[u8]| {
        let body = crate::body::decoded(body, task.gzip, limit).ok();
        body.map(|body| Contents::of(task.kind, &body, key.as_ref())).unwrap_or_default()
    };
    entry.sets(pool.run(timeout, body, task.gzip, work).await?);
    Ok(())
}

impl FilterCtx {
    /// Writes the line of the audit log, before the client gets an answer with this status.
    pub(in crate::proxy) fn end_audit(&mut self, status: StatusCode) {
        self.record.end_audit(status.as_u16());
    }

    /// Records the information in Wire's answer, if it was read completely, for the audit log.
    pub(in crate::proxy) fn audit_answer(&mut self, answer: &ResponseHeader, body: &Bytes) {
        if let Some(entry) = &mut self.record.audit {
            let encoding = answer.headers.get(header::CONTENT_ENCODING);
            entry.answered(answer.status, encoding.map(HeaderValue::as_bytes), body);
        }
    }
}
