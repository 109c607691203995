//! What is reported about each entry, and about all of them.

use std::collections::BTreeMap;
use std::io;

use serde::{Serialize, Serializer};

use super::bridge::note::Note;
use super::candidate::{Candidate, Class, Name};
use super::keys::On;
use super::verdict::Verdict;
use crate::rule::Rule;

pub mod changes;
pub mod json;
pub mod people;
pub mod table;

/// One entry with everything that is known about it.
#[derive(Debug)]
pub struct Judged<'a> {
    pub candidate: &'a Candidate,
    /// `None` where nothing is sent.
    pub verdict: Option<Verdict>,
    /// What it has in common with which others.
    pub conflicts: Vec<(On, &'a Name)>,
    pub proposal: Option<&'a str>,
}

impl Judged<'_> {
    pub fn refusal(&self) -> Option<(Rule, &str)> {
        let (rule, detail) = self.verdict.as_ref()?.refusal.as_ref()?;
        Some((*rule, detail))
    }

    /// Whether the entry needs attention.
    pub fn is_wrong(&self) -> bool {
        let failed = matches!(self.candidate.class, Class::Skip | Class::Stop);
        failed || self.refusal().is_some() || !self.conflicts.is_empty()
    }
}

/// Receives the report.
pub trait Sink {
    fn line(&mut self, judged: &Judged<'_>) -> io::Result<()>;
    fn finish(&mut self, summary: &Summary) -> io::Result<()>;
}

/// Sums over all entries.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    pub entries: u64,
    #[serde(serialize_with = "all_classes")]
    pub class: BTreeMap<Class, u64>,
    /// By the rule that refuses.
    #[serde(serialize_with = "by_id")]
    pub rule: BTreeMap<Rule, u64>,
    /// Entries that have something in common with others.
    #[serde(serialize_with = "all_conflicts")]
    pub conflict: BTreeMap<On, u64>,
    /// Entries that no search returns.
    pub outside: u64,
    pub change_records: u64,
    /// The entry at which the bridge would end.
    pub stops_at: Option<Name>,
    #[serde(skip)]
    pub stop_reason: Option<String>,
    pub config: Vec<Note>,
}

impl Summary {
    pub fn count(&mut self, judged: &Judged<'_>) {
        self.entries += 1;
        *self.class.entry(judged.candidate.class).or_default() += 1;
        if let Some((rule, _)) = judged.refusal() {
            *self.rule.entry(rule).or_default() += 1;
        }
        for on in On::ALL {
            if judged.conflicts.iter().any(|(known, _)| *known == on) {
                *self.conflict.entry(on).or_default() += 1;
            }
        }
    }

    pub fn of_class(&self, class: Class) -> u64 {
        self.class.get(&class).copied().unwrap_or_default()
    }

    /// Whether there is an entry that needs attention.
    pub fn is_wrong(&self) -> bool {
        let failed = self.of_class(Class::Skip) + self.of_class(Class::Stop);
        failed > 0 || !self.rule.is_empty() || !self.conflict.is_empty()
    }
}

/// Every class, including empty ones.
fn all_classes<S: Serializer>(
    class: &BTreeMap<Class, u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let count = |known: &Class| class.get(known).copied().unwrap_or_default();
    serializer.collect_map(Class::ALL.iter().map(|known| (known.as_str(), count(known))))
}

fn by_id<S: Serializer>(rules: &BTreeMap<Rule, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(rules.iter().map(|(rule, count)| (rule.id(), count)))
}

fn all_conflicts<S: Serializer>(
    conflicts: &BTreeMap<On, u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let count = |on: &On| conflicts.get(on).copied().unwrap_or_default();
    serializer.collect_map(On::ALL.iter().map(|on| (on.as_str(), count(on))))
}
