//! Judging a single document, without a request.

use super::{
    BodyTask, Evaluator, RepairedBody, hinted, judge_document, read_document, repair_document,
};
use crate::api::BodyKind;
use crate::findings::{Findings, Remarks};
use crate::refusal::Refusal;
use crate::scim::user::{self, Lifecycle, Reading};
use crate::snapshot::Snapshot;
use crate::{body, query};

/// The kind of document to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    User,
    Patch,
    Group,
    Filter,
    GroupFilter,
}

/// The verdict on a single document.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckReport {
    pub refusal: Option<Refusal>,
    pub remarks: Remarks,
    /// What Wire stores for an accepted user.
    pub reading: Option<Reading>,
    /// What was judged instead of the document, if a configured repair has changed it.
    pub repaired: Option<RepairedBody>,
}

impl Evaluator {
    /// Judges a single document; users as if they were new.
    pub fn check(&self, kind: CheckKind, bytes: &[u8]) -> CheckReport {
        let snapshot = self.snapshots.current();
        let mut findings = Findings::new(&snapshot.config.policy);
        let mut repaired = None;
        let verdict = Self::check_document(&snapshot, kind, bytes, &mut repaired, &mut findings);
        let (refusal, reading) = match verdict {
            Ok(reading) => (None, reading),
            Err(refusal) => (Some(refusal), None),
        };
        CheckReport { refusal, remarks: findings.into_remarks(), reading, repaired }
    }

    fn check_document(
        snapshot: &Snapshot,
        kind: CheckKind,
        bytes: &[u8],
        repaired: &mut Option<RepairedBody>,
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
        let limit = snapshot.config.limits.body;
        if bytes.len() > limit {
            return Err(body::too_large(limit));
        }
        let mut document = read_document(bytes)?;
        let body_kind = match kind {
            CheckKind::User => BodyKind::NewUser,
            CheckKind::Patch => BodyKind::Patch,
            _ => BodyKind::NewGroup,
        };
        let repairs = snapshot.config.repairs.unwrap_or_default();
        let task = BodyTask { kind: body_kind, gzip: false, identity: None, repairs };
        if !repairs.is_empty()
            && let Some(edited) = repair_document(snapshot, task, &document, limit)
        {
            document = read_document(&repaired.insert(edited?).body)?;
        }
        let verdict = if kind == CheckKind::User && document.root().as_object().is_some() {
            let schema = &snapshot.schemas.user;
            user::judge(document.root(), Lifecycle::New, schema, findings)
                .map(|user| user.map(|(user, mode)| user.reading(mode)))
        } else {
            judge_document(&snapshot.schemas, body_kind, &document, findings).map(|()| None)
        };
        verdict.map_err(|refusal| hinted(refusal, snapshot, task, &document))
    }
}
