//! The rules that a request hits, collected while it is judged; whether a rule refuses, is reported
//! or is ignored is decided only here.

use http::Method;

use crate::deprovisioning::AccountChange;
use crate::place::{IntoPlace, Place};
use crate::policy::{Action, Identity, Policy};
use crate::refusal::Refusal;
use crate::release::Release;
use crate::rule::Rule;

/// A rule that was hit and only reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    pub rule: Rule,
    /// The first place in the request that hit it.
    pub at: Option<Place>,
}

/// What is recorded about a request without refusing it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Each rule once, in the order in which they were hit.
    pub reported: Vec<Hit>,
    /// Wire may still refuse the request by a rule that the guard judges: that depends on its
    /// release, the team's identity mode or the stored user.
    pub left_to_wire: bool,
    /// What it does to the account of the user that it names.
    pub account: AccountChange,
}

impl Remarks {
    /// Records a rule that is only reported.
    fn report(&mut self, rule: Rule, at: Option<Place>) {
        if !self.reported.iter().any(|hit| hit.rule == rule) {
            self.reported.push(Hit { rule, at });
        }
    }

    /// Adds remarks that were made later.
    pub fn extend(&mut self, later: Self) {
        self.left_to_wire |= later.left_to_wire;
        self.account = self.account.max(later.account);
        for Hit { rule, at } in later.reported {
            self.report(rule, at);
        }
    }
}

/// The rules that a request hits, in the order of judging: the first enforced one ends it.
#[derive(Debug, Clone)]
pub struct Findings<'p> {
    policy: &'p Policy,
    identity: Identity,
    remarks: Remarks,
}

impl<'p> Findings<'p> {
    pub fn new(policy: &'p Policy) -> Self {
        Self { policy, identity: policy.identity, remarks: Remarks::default() }
    }

    /// The same for a token whose team's identity mode is known.
    pub fn with_identity(self, identity: Option<Identity>) -> Self {
        Self { identity: identity.unwrap_or(self.identity), ..self }
    }

    /// The identity mode in which users are judged.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Records that a rule was hit. `Err` ends the judging; `Ok` means to continue, as the rule is
    /// off or only reported. `detail` is called only if it is sent.
    pub fn hit<D: Into<String>>(
        &mut self,
        rule: Rule,
        at: impl IntoPlace,
        detail: impl FnOnce() -> D,
    ) -> Result<(), Refusal> {
        match self.policy.action(rule) {
            Action::Enforce => {
                Err(Refusal { at: Some(at.into_place()), ..Refusal::new(rule, detail()) })
            }
            Action::Report => {
                self.remarks.report(rule, Some(at.into_place()));
                Ok(())
            }
            Action::Off => Ok(()),
        }
    }

    /// Judges for the newest release that the backend may run and, if that refuses by a rule that
    /// depends on the release (`by_release` in the rule table), for older ones until one serves the
    /// request. If none does, the newest one's refusal is the answer. What the newest would refuse
    /// and an older one serves is reported.
    pub fn for_releases<T>(
        &mut self,
        judge: impl Fn(Release, &mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let releases = self.releases();
        let (newest, older) = (releases[0], &releases[1..]);
        // Remarks are only ever added.
        let (reported, left_to_wire) = (self.remarks.reported.len(), self.remarks.left_to_wire);
        let refusal = match judge(newest, self) {
            // A rule that does not depend on the release is hit for all of them.
            Err(refusal) if refusal.rule.entry().by_release.is_some() => refusal,
            judged => return judged,
        };
        let of_newest = self.remarks.clone();
        for release in older {
            self.remarks.reported.truncate(reported);
            self.remarks.left_to_wire = left_to_wire;
            if let Ok(judged) = judge(*release, self) {
                self.remarks.report(refusal.rule, refusal.at);
                return Ok(judged);
            }
        }
        self.remarks = of_newest;
        Err(refusal)
    }

    /// The releases that the backend may run, newest first.
    pub fn releases(&self) -> &'static [Release] {
        self.policy.releases.candidates()
    }

    /// Records that Wire may refuse what the guard accepts.
    pub fn leave_to_wire(&mut self) {
        self.remarks.left_to_wire = true;
    }

    /// Records what the request does to the account of the user that it names.
    pub fn set_account(&mut self, change: AccountChange) {
        self.remarks.account = change;
    }

    /// Records a method that Wire does not serve on a path; `allow` lists those that it serves.
    pub fn hit_method(&mut self, method: &Method, allow: &'static str) -> Result<(), Refusal> {
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let name = if known.contains(&method.as_str()) { method.as_str() } else { "This method" };
        self.hit(Rule::MethodNotAllowed, "method", || {
            format!("{name} is not served on this path. Wire serves {allow} here.")
        })
        .map_err(|refusal| Refusal { allow: Some(allow), ..refusal })
    }

    /// Whether hitting `rule` would have an effect; if not, the check can be skipped.
    pub fn wants(&self, rule: Rule) -> bool {
        self.policy.action(rule) != Action::Off
    }

    /// The action for each rule.
    pub fn policy(&self) -> &'p Policy {
        self.policy
    }

    /// How many rules were hit and only reported.
    pub fn count(&self) -> usize {
        self.remarks.reported.len()
    }

    /// The remarks about the request.
    pub fn into_remarks(self) -> Remarks {
        self.remarks
    }
}
