//! Which tokens may delete or deactivate more users than their limit: logged where that changes, and told to the audit log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::Snapshot;
use crate::deprovisioning::{Allowance, AllowanceChange};
use crate::timestamp::Timestamp;

/// Who audits changes.
#[derive(Default)]
pub(super) struct Auditor(OnceLock<Arc<Audit>>);

type Audit = dyn Fn(AllowanceChange) + Send + Sync;

impl Auditor {
    pub(super) fn set(&self, audit: Arc<Audit>) {
        // The first one stays: there is one audit log for each guard.
        let _ = self.0.set(audit);
    }

    /// Logs and audits what is allowed by the next snapshot and was not by the last one, and the reverse.
    pub(super) fn note(&self, next: &Snapshot, last: Option<&Snapshot>) {
        let now = SystemTime::now();
        let new = allowed(Some(next), now);
        let old = allowed(last, now);
        for (label, allowance) in &new {
            if old.get(label) != Some(allowance) {
                tracing::warn!(
                    token = label,
                    count = allowance.count,
                    until = %Timestamp(allowance.until),
                    "the token may delete or deactivate more users than its limit"
                );
                self.audit(next, label, Some(*allowance));
            }
        }
        for label in old.keys().filter(|label| !new.contains_key(*label)) {
            tracing::info!(
                token = label,
                "the token may no longer delete or deactivate more users than its limit"
            );
            self.audit(next, label, None);
        }
    }

    fn audit(&self, next: &Snapshot, label: &str, allowance: Option<Allowance>) {
        if let (Some(audit), true) = (self.0.get(), next.config.audit.is_some()) {
            audit(AllowanceChange { label: label.to_owned(), allowance });
        }
    }
}

/// The allowances that are not over, by the label of the token.
fn allowed(snapshot: Option<&Snapshot>, now: SystemTime) -> BTreeMap<String, Allowance> {
    let registry = snapshot.and_then(|snapshot| snapshot.registry.as_ref());
    let limiting = registry.filter(|registry| registry.tokens.limits_removals());
    let entries = limiting.iter().flat_map(|registry| registry.tokens.entries());
    let allowed = entries.filter_map(|entry| {
        let allowance = entry.deprovisioning.and_then(|own| own.allow)?;
        let is_over = allowance.until <= now;
        (!is_over).then(|| (entry.label.as_str().to_owned(), allowance))
    });
    allowed.collect()
}

impl fmt::Debug for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auditor").finish_non_exhaustive()
    }
}
