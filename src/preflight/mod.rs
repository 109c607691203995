//! `preflight`: which users of a directory would be refused, before the first synchronisation.
//!
//! A [`source`] yields one [`candidate::Candidate`] for each person: for a directory with
//! ldap-scim-bridge, [`bridge`] computes what that program would do with the entry and what it
//! would send. [`verdict`] asks the guard, [`keys`] compares people with each other, [`proposal`]
//! finds handles, and a [`report`] is written.
//!
//! Everything is read at least twice, as conflicts are known only at the end; of a person only
//! hashes are kept, and the name if there is a conflict.

use std::collections::HashMap;
use std::io;

use indicatif::ProgressBar;

use self::bridge::note::{Note, Severity};
use self::candidate::{Candidate, Class, Name, Stage};
use self::keys::{Conflicts, Keys, MAX_RECORDS, On};
use self::proposal::Proposals;
use self::report::{Judged, Sink, Summary};
use self::source::{Item, Source};
use self::verdict::Verdict;
use crate::evaluator::Evaluator;

pub mod bridge;
pub mod candidate;
pub mod dn;
pub mod entry;
pub mod keys;
pub mod ldif;
pub mod proposal;
pub mod report;
pub mod source;
pub mod verdict;

/// What is judged, and how.
#[allow(missing_debug_implementations, reason = "a source may hold a password")]
pub struct Preflight<'a> {
    pub source: &'a dyn Source,
    pub guard: &'a Evaluator,
    /// The notes about the bridge's config so far.
    pub notes: Vec<Note>,
    pub propose: bool,
    pub bar: ProgressBar,
    /// Receives messages about what cannot be read.
    pub report_error: &'a dyn Fn(&str),
}

/// The outcome of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Somebody would be refused, or the bridge would fail.
    pub wrong: bool,
    /// Something could not be read.
    pub unusable: bool,
}

/// The result of the first pass.
#[derive(Default)]
struct Survey {
    keys: Keys,
    proposals: Proposals,
    stop: Option<(Stage, Name, String)>,
    outside: u64,
    change_records: u64,
    unusable: bool,
}

impl Preflight<'_> {
    /// Reads the source, and writes a line for each entry and a summary.
    pub fn run(mut self, sink: &mut dyn Sink) -> io::Result<Outcome> {
        let survey = self.survey();
        let Survey { keys, mut proposals, stop, outside, change_records, unusable } = survey;
        let conflicts = keys.into_conflicts();
        let people = self.names(&conflicts);
        if self.propose {
            ask_for_conflicts(&conflicts, &people, &mut proposals);
        }
        let proposals = proposals.assign();
        let (stops_at, stop_reason) = match stop {
            Some((_, name, reason)) => (Some(name), Some(reason)),
            None => (None, None),
        };
        let mut summary =
            Summary { outside, change_records, stops_at, stop_reason, ..Summary::default() };
        self.notes.extend(self.source.notes());
        self.notes.sort_by_key(|note| (note.line, note.column));
        summary.config = std::mem::take(&mut self.notes);
        self.write(&conflicts, &people, &proposals, &mut summary, sink)?;
        self.bar.finish_and_clear();
        let fails = summary.config.iter().any(|note| note.severity != Severity::Warning);
        let outcome = Outcome { wrong: fails || summary.is_wrong(), unusable };
        sink.finish(&summary)?;
        Ok(outcome)
    }

    /// The first pass: identifiers, where the bridge would stop, and what cannot be read.
    fn survey(&self) -> Survey {
        let mut survey = Survey::default();
        let read = self.source.pass(&self.bar, &mut |index, item| {
            if index >= MAX_RECORDS {
                return Err(io::Error::other(format!("there are more than {MAX_RECORDS} records")));
            }
            match item {
                Item::Candidate(candidate) => self.look_at(index, &candidate, &mut survey),
                Item::Outside { user_name } => {
                    survey.outside += 1;
                    if let Some(name) = user_name.filter(|_| self.propose) {
                        survey.proposals.hold(index, &name);
                    }
                }
                Item::Change => survey.change_records += 1,
                Item::Unread(sentence) => {
                    survey.unusable = true;
                    self.bar.suspend(|| (self.report_error)(&sentence));
                }
                Item::Nothing => {}
            }
            Ok(())
        });
        if let Err(error) = read {
            survey.unusable = true;
            self.bar.suspend(|| {
                (self.report_error)(&format!("the source cannot be read any further: {error}"));
            });
        }
        survey
    }

    fn look_at(&self, index: u32, candidate: &Candidate, survey: &mut Survey) {
        survey.keys.add(index, candidate);
        if let Some(stage) = candidate.stage {
            // Within one stage the bridge meets the last entry of the source first.
            match &survey.stop {
                Some((earlier, ..)) if *earlier < stage => {}
                _ => {
                    let reason = candidate.reason.clone().unwrap_or_default();
                    survey.stop = Some((stage, candidate.name.clone(), reason));
                }
            }
        }
        if !self.propose {
            return;
        }
        if let Some(name) = &candidate.identifiers.user_name {
            survey.proposals.hold(index, name);
        }
        let refused = || self.verdict(candidate).is_some_and(|verdict| verdict.refusal.is_some());
        if candidate.lacks_user_name || refused() {
            survey.proposals.ask(index, candidate.name.clone(), &candidate.identifiers);
        }
    }

    fn verdict(&self, candidate: &Candidate) -> Option<Verdict> {
        candidate.body.as_ref().map(|body| verdict::judge(self.guard, body))
    }

    /// Reads the records with conflicts again.
    fn names(&self, conflicts: &Conflicts) -> HashMap<u32, Candidate> {
        let mut people = HashMap::new();
        if conflicts.is_empty() {
            return people;
        }
        let wanted = conflicts.records();
        let last = wanted.last().copied();
        // What cannot be read has been reported; nothing after the last of them has to be read.
        let _ = self.source.pass(&self.bar, &mut |index, item| {
            if let Item::Candidate(mut candidate) = item
                && wanted.binary_search(&index).is_ok()
            {
                candidate.body = None;
                people.insert(index, *candidate);
            }
            if Some(index) == last { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        });
        people
    }

    /// The last pass: a line for each entry.
    fn write(
        &self,
        conflicts: &Conflicts,
        people: &HashMap<u32, Candidate>,
        proposals: &HashMap<u32, String>,
        summary: &mut Summary,
        sink: &mut dyn Sink,
    ) -> io::Result<()> {
        let mut failed = None;
        let mut line = |index: u32, candidate: &Candidate| {
            let others = conflicts.of(index);
            let named = |(on, other): (On, u32)| Some((on, &people.get(&other)?.name));
            let judged = Judged {
                candidate,
                verdict: self.verdict(candidate),
                conflicts: others.into_iter().filter_map(named).collect(),
                proposal: proposals.get(&index).map(String::as_str),
            };
            summary.count(&judged);
            sink.line(&judged)
        };
        // What cannot be read has been reported.
        let _ = self.source.pass(&self.bar, &mut |index, item| match item {
            Item::Candidate(candidate) => line(index, &candidate).map_err(|error| {
                failed = Some(error);
                io::Error::other("the output has failed")
            }),
            _ => Ok(()),
        });
        failed.map_or(Ok(()), Err)
    }
}

/// Of those with the same handle one keeps it, and the others are given another.
fn ask_for_conflicts(
    conflicts: &Conflicts,
    people: &HashMap<u32, Candidate>,
    proposals: &mut Proposals,
) {
    for group in conflicts.same_handle() {
        let unasked = |index: &u32| !proposals.has_asked(*index);
        let mut others: Vec<(&Candidate, u32)> = group
            .iter()
            .filter(|index| unasked(index))
            .filter_map(|index| Some((people.get(index)?, *index)))
            .filter(|(candidate, _)| candidate.class != Class::Stop)
            .collect();
        others.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        for (candidate, index) in others.into_iter().skip(1) {
            proposals.ask(index, candidate.name.clone(), &candidate.identifiers);
        }
    }
}
