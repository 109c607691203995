//! A summary that an admin can act on.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{Judged, Sink, Summary};
use crate::preflight::candidate::Class;
use crate::preflight::keys::On;
use crate::rule::Rule;

/// How many entries are shown by default, and how many examples of each kind.
const ROWS: u64 = 20;
const EXAMPLES: usize = 3;
const MAX_SAMPLES: usize = 5;

/// Collects what is shown at the end.
#[derive(Debug)]
pub struct Overview<W> {
    out: W,
    /// The bridge's config, if there is one.
    config: Option<String>,
    left: u64,
    rows: Vec<String>,
    more: u64,
    rules: BTreeMap<Rule, (String, Vec<String>)>,
    reasons: BTreeMap<Class, Vec<String>>,
    conflicts: BTreeMap<On, Vec<String>>,
    samples: Vec<[String; 4]>,
    proposals: u64,
}

impl<W: Write> Overview<W> {
    pub fn new(out: W, config: Option<String>, limit: Option<u64>) -> Self {
        Self {
            out,
            config,
            left: limit.unwrap_or(ROWS),
            rows: Vec::new(),
            more: 0,
            rules: BTreeMap::new(),
            reasons: BTreeMap::new(),
            conflicts: BTreeMap::new(),
            samples: Vec::new(),
            proposals: 0,
        }
    }

    fn config(&mut self, summary: &Summary) -> io::Result<()> {
        let Some(file) = self.config.clone() else { return Ok(()) };
        if summary.config.is_empty() {
            return writeln!(self.out, "{file}: nothing to report\n");
        }
        writeln!(self.out, "THE BRIDGE'S CONFIG")?;
        for note in &summary.config {
            writeln!(self.out, "  {}", clean(&note.shown(&file)))?;
        }
        writeln!(self.out)
    }

    fn stop(&mut self, summary: &Summary) -> io::Result<()> {
        let Some(name) = &summary.stops_at else { return Ok(()) };
        writeln!(self.out, "WHAT STOPS THE BRIDGE")?;
        writeln!(self.out, "  {}", clean(&name.to_string()))?;
        writeln!(self.out, "    {}", clean(summary.stop_reason.as_deref().unwrap_or_default()))?;
        let stops = summary.of_class(Class::Stop);
        writeln!(
            self.out,
            "  The whole run ends there. Entries to fix before a run completes: {stops}\n"
        )
    }

    fn counts(&mut self, summary: &Summary) -> io::Result<()> {
        let is_bridge = self.config.is_some();
        writeln!(self.out, "{} ENTRIES", summary.entries)?;
        let words = [
            (Class::Keep, "would be written"),
            (Class::Leave, "would be deleted"),
            (Class::Skip, "would be skipped, with a log line"),
            (Class::Stop, "would end the run"),
        ];
        for (class, what) in
            words.into_iter().filter(|(class, _)| is_bridge || *class == Class::Keep)
        {
            writeln!(self.out, "  {:>7}  {:<5}  {what}", summary.of_class(class), class.as_str())?;
            for example in self.reasons.get(&class).into_iter().flatten() {
                writeln!(self.out, "                    {example}")?;
            }
        }
        if is_bridge {
            writeln!(
                self.out,
                "  {:>7}         found by no search, and left out here",
                summary.outside
            )?;
        }
        if summary.change_records > 0 {
            writeln!(
                self.out,
                "  {:>7}         changes that are not entries, skipped",
                summary.change_records
            )?;
        }
        writeln!(self.out)
    }

    fn refusals(&mut self, summary: &Summary) -> io::Result<()> {
        if summary.rule.is_empty() {
            return writeln!(self.out, "NOBODY WOULD BE REFUSED by a rule of the guard\n");
        }
        let refused: u64 = summary.rule.values().sum();
        writeln!(self.out, "{refused} WOULD BE REFUSED")?;
        let mut rules: Vec<_> = summary.rule.iter().collect();
        rules.sort_by_key(|(rule, count)| (std::cmp::Reverse(**count), **rule));
        for (rule, count) in rules {
            writeln!(self.out, "  {count:>7}  {rule}")?;
            let Some((detail, examples)) = self.rules.get(rule) else { continue };
            writeln!(self.out, "           {}", clean(detail))?;
            for example in examples {
                writeln!(self.out, "             {example}")?;
            }
        }
        writeln!(self.out)
    }

    fn conflicts(&mut self, summary: &Summary) -> io::Result<()> {
        if summary.conflict.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "ENTRIES THAT HAVE THE SAME")?;
        let words = [
            (On::Handle, "handle: Wire refuses all but the first"),
            (
                On::ExternalId,
                "externalId: they are one user to Wire, and overwrite each other in each run",
            ),
            (On::Email, "address: Wire refuses all but the first"),
        ];
        for (on, what) in words {
            let Some(count) = summary.conflict.get(&on) else { continue };
            writeln!(self.out, "  {count:>7}  {what}")?;
            for example in self.conflicts.get(&on).into_iter().flatten() {
                writeln!(self.out, "             {example}")?;
            }
        }
        writeln!(self.out)
    }

    fn samples(&mut self) -> io::Result<()> {
        if self.samples.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "HOW USERS WILL APPEAR IN WIRE")?;
        for [handle, name, email, role] in &self.samples {
            writeln!(self.out, "  @{handle:<24} {name:<28} {email:<36} {role}")?;
        }
        writeln!(self.out)
    }

    fn rows(&mut self) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "TO DO")?;
        for row in &self.rows {
            writeln!(self.out, "  {row}")?;
        }
        if self.more > 0 {
            let more = self.more;
            writeln!(
                self.out,
                "  and {more} more; --limit N shows more, --format csv and --format json all of them"
            )?;
        }
        writeln!(self.out)
    }
}

impl<W: Write> Sink for Overview<W> {
    fn line(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        let candidate = judged.candidate;
        let name = clean(&candidate.name.to_string());
        let now = candidate.identifiers.user_name.as_deref();
        let changed = judged.proposal.filter(|handle| Some(*handle) != now);
        let proposal = changed.map_or_else(String::new, |handle| format!("  ->  {handle}"));
        self.proposals += u64::from(changed.is_some());
        let add = |examples: &mut Vec<String>, example: String| {
            if examples.len() < EXAMPLES {
                examples.push(example);
            }
        };
        if let Some(reason) = &candidate.reason {
            let example = format!("{name}: {}", clean(reason));
            add(self.reasons.entry(candidate.class).or_default(), example);
        }
        if let Some((rule, detail)) = judged.refusal() {
            let (_, examples) =
                self.rules.entry(rule).or_insert_with(|| (detail.to_string(), Vec::new()));
            add(examples, format!("{name}{proposal}"));
        }
        // Both have a line; one of them is enough here.
        for (on, other) in judged.conflicts.iter().filter(|(_, other)| candidate.name < **other) {
            let example = format!("{name}  and  {}", clean(&other.to_string()));
            add(self.conflicts.entry(*on).or_default(), example);
        }
        if let Some(reading) = judged.verdict.as_ref().and_then(|verdict| verdict.reading.as_ref())
            && self.samples.len() < MAX_SAMPLES
            && candidate.class == Class::Keep
        {
            let role = reading.role.as_deref().unwrap_or("member");
            let email = reading.emails.first().map_or("", String::as_str);
            self.samples.push([&*reading.handle, &*reading.name, email, role].map(clean));
        }
        if judged.is_wrong() {
            if self.left > 0 {
                self.left -= 1;
                self.rows.push(format!("{name}: {}{proposal}", wrong(judged)));
            } else {
                self.more += 1;
            }
        }
        Ok(())
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        self.config(summary)?;
        self.stop(summary)?;
        self.counts(summary)?;
        self.refusals(summary)?;
        self.conflicts(summary)?;
        self.samples()?;
        self.rows()?;
        if self.proposals > 0 {
            writeln!(self.out, "{} handles are proposed.", self.proposals)?;
        }
        self.out.flush()
    }
}

/// What is wrong with an entry, in a few words.
fn wrong(judged: &Judged<'_>) -> String {
    let mut words = Vec::new();
    if let (Class::Skip | Class::Stop, Some(reason)) =
        (judged.candidate.class, &judged.candidate.reason)
    {
        words.push(format!("{}, {}", judged.candidate.class.as_str(), clean(reason)));
    }
    words.extend(judged.refusal().map(|(rule, _)| rule.id().to_string()));
    let conflict = |on| judged.conflicts.iter().any(|(known, _)| *known == on);
    let same = On::ALL.into_iter().filter(|on| conflict(*on)).map(On::as_str);
    let same: Vec<&str> = same.collect();
    if !same.is_empty() {
        words.push(format!("same {} as others", same.join(", ")));
    }
    words.join("; ")
}

/// SECURITY: text from a directory must not control the terminal.
fn clean(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}
