//! What was recently refused, reported, overruled, missed and repaired, by rule and by repair: for
//! the page of the admin listener.
//!
//! Requests that hit no rule are not recorded. The others are recorded after they have ended, so
//! that this does not delay them. Everything is bounded: counts by hour for a day, a few tokens,
//! one example for each rule.
//!
//! SECURITY: an example consists of the method, the route and the place, none of which a client can
//! choose freely.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::agreement::Outcome;
use crate::api::Handler;
use crate::metrics::MethodLabel;
use crate::place::Place;
use crate::registry::TokenLabel;
use crate::repair::Repair;
use crate::rule::Rule;
use crate::timestamp::Timestamp;

/// The number of hours that are kept.
const HOURS: usize = 24;

/// The maximum number of tokens that are listed for a rule.
const MAX_TOKENS: usize = 20;

/// What happened to a request because of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Refused,
    Reported,
    Confirmed,
    Overruled,
    Missed,
    Repaired,
}

impl Event {
    const COUNT: usize = 6;

    /// What Wire's answer means for a rule; `None`: nothing that is recorded.
    pub fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Confirmed => Some(Self::Confirmed),
            Outcome::Overruled => Some(Self::Overruled),
            Outcome::Missed => Some(Self::Missed),
            Outcome::Agreed | Outcome::Undecided => None,
        }
    }
}

/// The request that the event belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub handler: Handler,
    pub method: MethodLabel,
    pub token: Option<&'a TokenLabel>,
    pub at: Option<&'a Place>,
}

#[derive(Debug)]
pub struct Activity {
    /// By rule; the last entry is for requests for which no rule was reported.
    rules: Box<[Slot]>,
    repairs: Box<[Slot]>,
}

type Slot = Mutex<Option<Box<Noted>>>;

/// What was recorded of one rule, or of one repair.
#[derive(Debug)]
struct Noted {
    hours: [Hour; HOURS],
    total: Counts,
    last: SystemTime,
    handlers: [u64; Handler::ALL.len()],
    tokens: Vec<(TokenLabel, u64)>,
    other_tokens: u64,
    example: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Hour {
    /// Since 1970.
    number: u64,
    counts: [u64; Event::COUNT],
}

/// How often each event happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub refused: u64,
    pub reported: u64,
    pub confirmed: u64,
    pub overruled: u64,
    pub missed: u64,
    #[serde(skip)]
    pub repaired: u64,
}

/// What is shown of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// `none`: no rule was reported, and Wire refused the request.
    pub rule: &'static str,
    /// Within the last 24 hours.
    pub lately: Counts,
    pub since_start: Counts,
    pub last: Timestamp,
    /// Routes, most frequent first.
    pub handlers: Vec<(&'static str, u64)>,
    /// Labels of tokens in the registry, most frequent first.
    pub tokens: Vec<(String, u64)>,
    /// Requests with other tokens or without one.
    pub other_tokens: u64,
    pub example: String,
}

/// What is shown of one repair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepairSummary {
    pub repair: &'static str,
    /// Requests within the last 24 hours.
    pub lately: u64,
    pub since_start: u64,
    pub last: Timestamp,
    pub handlers: Vec<(&'static str, u64)>,
    pub tokens: Vec<(String, u64)>,
    pub other_tokens: u64,
    pub example: String,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            rules: (0..=Rule::COUNT).map(|_| Mutex::default()).collect(),
            repairs: Repair::ALL.iter().map(|_| Mutex::default()).collect(),
        }
    }
}

impl Activity {
    /// Records an event; `rule` is `None` for a request that the guard should have refused.
    pub fn note(&self, rule: Option<Rule>, event: Event, subject: Subject<'_>) {
        self.note_at(SystemTime::now(), rule, event, subject);
    }

    /// Records that a request was repaired and forwarded.
    pub fn note_repair(&self, repair: Repair, subject: Subject<'_>) {
        note_in(&self.repairs[repair as usize], SystemTime::now(), Event::Repaired, subject);
    }

    fn note_at(&self, now: SystemTime, rule: Option<Rule>, event: Event, subject: Subject<'_>) {
        let slot = &self.rules[rule.map_or(Rule::COUNT, |rule| rule as usize)];
        note_in(slot, now, event, subject);
    }

    /// The repairs that were used, most frequent first.
    pub fn repairs(&self) -> Vec<RepairSummary> {
        let now = SystemTime::now();
        let slots = Repair::ALL.iter().zip(&self.repairs);
        let mut repairs: Vec<RepairSummary> = slots
            .filter_map(|(repair, slot)| {
                let noted = slot.lock().unwrap_or_else(PoisonError::into_inner);
                noted.as_ref().map(|noted| noted.summary(repair.name(), now).into())
            })
            .collect();
        repairs.sort_by_key(|summary| std::cmp::Reverse(summary.lately));
        repairs
    }

    /// The recorded rules, those with the most events in the last day first.
    pub fn summaries(&self) -> Vec<Summary> {
        self.summaries_at(SystemTime::now())
    }

    fn summaries_at(&self, now: SystemTime) -> Vec<Summary> {
        let ids = Rule::all().map(Rule::id).chain(["none"]);
        let mut summaries: Vec<Summary> = ids
            .zip(&self.rules)
            .filter_map(|(rule, slot)| {
                let noted = slot.lock().unwrap_or_else(PoisonError::into_inner);
                noted.as_ref().map(|noted| noted.summary(rule, now))
            })
            .collect();
        summaries.sort_by_key(|summary| {
            let Counts { refused, reported, missed, .. } = summary.lately;
            std::cmp::Reverse(refused + reported + missed)
        });
        summaries
    }
}

fn note_in(slot: &Slot, now: SystemTime, event: Event, subject: Subject<'_>) {
    let mut noted = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let noted = noted.get_or_insert_with(|| Box::new(Noted::new(now)));
    noted.count(now, event);
    // The first event of a request counts the request, later ones record its outcome.
    if !matches!(event, Event::Confirmed | Event::Overruled) {
        noted.describe(subject);
    }
}

impl From<Summary> for RepairSummary {
    fn from(summary: Summary) -> Self {
        let Summary { rule, lately, since_start, last, handlers, tokens, other_tokens, example } =
            summary;
        Self {
            repair: rule,
            lately: lately.repaired,
            since_start: since_start.repaired,
            last,
            handlers,
            tokens,
            other_tokens,
            example,
        }
    }
}

impl Noted {
    fn new(now: SystemTime) -> Self {
        Self {
            hours: [Hour::default(); HOURS],
            total: Counts::default(),
            last: now,
            handlers: [0; Handler::ALL.len()],
            tokens: Vec::new(),
            other_tokens: 0,
            example: String::new(),
        }
    }

    fn count(&mut self, now: SystemTime, event: Event) {
        self.last = now;
        let number = hour(now);
        let hour = &mut self.hours[(number % HOURS as u64) as usize];
        if hour.number != number {
            *hour = Hour { number, ..Hour::default() };
        }
        hour.counts[event as usize] += 1;
        let mut one = [0; Event::COUNT];
        one[event as usize] = 1;
        self.total.add(one);
    }

    fn describe(&mut self, subject: Subject<'_>) {
        let Subject { handler, method, token, at } = subject;
        self.handlers[handler as usize] += 1;
        let known = token.map(|token| self.tokens.iter().position(|(known, _)| known == token));
        match (token, known.flatten()) {
            (Some(_), Some(at)) => self.tokens[at].1 += 1,
            (Some(token), None) if self.tokens.len() < MAX_TOKENS => {
                self.tokens.push((token.clone(), 1));
            }
            _ => self.other_tokens += 1,
        }
        self.example.clear();
        self.example.push_str(method.as_str());
        self.example.push(' ');
        self.example.push_str(handler.as_str());
        if let Some(at) = at {
            self.example.push_str(", at ");
            self.example.push_str(at.as_str());
        }
    }

    fn summary(&self, rule: &'static str, now: SystemTime) -> Summary {
        let oldest = (hour(now) + 1).saturating_sub(HOURS as u64);
        let mut lately = Counts::default();
        for hour in self.hours.iter().filter(|hour| hour.number >= oldest) {
            lately.add(hour.counts);
        }
        let handlers = Handler::ALL.iter().map(|handler| handler.as_str()).zip(self.handlers);
        let mut handlers: Vec<(&str, u64)> = handlers.filter(|(_, count)| *count > 0).collect();
        handlers.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let tokens = self.tokens.iter().map(|(token, count)| (token.as_str().to_owned(), *count));
        let mut tokens: Vec<(String, u64)> = tokens.collect();
        tokens.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Summary {
            rule,
            lately,
            since_start: self.total,
            last: Timestamp(self.last),
            handlers,
            tokens,
            other_tokens: self.other_tokens,
            example: self.example.clone(),
        }
    }
}

impl Counts {
    fn add(&mut self, counts: [u64; Event::COUNT]) {
        let [refused, reported, confirmed, overruled, missed, repaired] = counts;
        self.refused += refused;
        self.reported += reported;
        self.confirmed += confirmed;
        self.overruled += overruled;
        self.missed += missed;
        self.repaired += repaired;
    }
}

fn hour(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() / 3600
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::StoredHash;
    use crate::place::IntoPlace as _;
    use crate::registry::Entry;
    use http::Method;

    fn subject(token: Option<&TokenLabel>) -> Subject<'_> {
        Subject { handler: Handler::Users, method: MethodLabel::of(&Method::POST), token, at: None }
    }

    #[test]
    fn counts_are_of_the_last_day_and_since_the_start() {
        let activity = Activity::default();
        let start = UNIX_EPOCH + Duration::from_secs(1_000_000 * 3600);
        let hours = |count: u64| start + Duration::from_secs(count * 3600);
        for at in [0, 1, 23, 24, 25] {
            activity.note_at(hours(at), Some(Rule::UserRoles), Event::Refused, subject(None));
        }
        activity.note_at(hours(25), Some(Rule::UserRoles), Event::Overruled, subject(None));
        activity.note_at(hours(25), None, Event::Missed, subject(None));
        let [roles, none] = &activity.summaries_at(hours(25))[..] else { panic!("two rules") };
        assert_eq!((roles.rule, none.rule), ("user.roles", "none"));
        let lately = Counts { refused: 3, overruled: 1, ..Counts::default() };
        assert_eq!((roles.lately, roles.since_start.refused), (lately, 5));
        assert_eq!(roles.handlers, [("/scim/v2/Users", 5)]);
        assert_eq!(none.lately.missed, 1);
        assert_eq!(activity.summaries_at(hours(100))[0].lately, Counts::default());
    }

    #[test]
    fn tokens_are_bounded_and_the_example_has_the_place() {
        let activity = Activity::default();
        let note = |label: &str| {
            let entry = Entry::new(label, StoredHash::short(b"a"));
            let place = "userName".into_place();
            let subject = Subject { at: Some(&place), ..subject(Some(&entry.label)) };
            activity.note(Some(Rule::UserUserName), Event::Refused, subject);
        };
        for number in 0..30 {
            note(&format!("token-{number}"));
        }
        note("token-3");
        let summary = activity.summaries().remove(0);
        assert_eq!(summary.tokens.len(), MAX_TOKENS);
        assert_eq!(summary.tokens[0], ("token-3".into(), 2));
        assert_eq!(summary.other_tokens, 10);
        assert_eq!(summary.example, "POST /scim/v2/Users, at userName");
    }
}
