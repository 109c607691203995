//! A directory as LDIF: the entries that the bridge would find, and what it would do with them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufReader};

use indicatif::ProgressBar;

use super::{Input, Item, Source, Visit};
use crate::preflight::bridge::config::{BridgeConfig, Placed};
use crate::preflight::bridge::membership::{Membership, Searches};
use crate::preflight::bridge::model::Model;
use crate::preflight::bridge::note::Note;
use crate::preflight::dn::Dn;
use crate::preflight::entry::{Entry, is_spelling_of};
use crate::preflight::ldif::{Fault, Reader, Record};

/// Bytes that are read at a time.
const BUFFER: usize = 256 * 1024;

/// How many entries a server may return at most by default: OpenLDAP 500, Active Directory 1000.
const LIMITS: [(u64, &str); 2] = [(500, "OpenLDAP"), (1000, "Active Directory")];

/// Entries of a directory, from files or from a server.
#[allow(missing_debug_implementations, reason = "the config holds a password")]
pub struct Directory<'c> {
    config: &'c BridgeConfig,
    model: Model<'c>,
    inputs: Vec<Input>,
    found: Found,
    /// The counts of the last pass.
    seen: RefCell<Seen>,
}

/// How it is determined which search returns an entry.
#[derive(Debug)]
pub enum Found {
    /// By applying the searches to an export.
    Applied(Searches),
    /// By a server's answers: the first input is that of `search`, the second that of
    /// `deleteFromDirectory`.
    Answered { search: HashSet<Dn>, delete: HashSet<Dn> },
}

/// What is counted during a pass.
#[derive(Debug, Default)]
struct Seen {
    /// Entries that `search` returns.
    found: u64,
    /// For each attribute of the mapping: how many entries have it under exactly this name.
    exact: BTreeMap<&'static str, u64>,
    /// Other names that a server considers the same attribute, and how many entries have only
    /// these.
    others: BTreeMap<(&'static str, String), u64>,
    /// The code of a result that `ldapsearch` has printed.
    result: Option<u32>,
}

impl<'c> Directory<'c> {
    /// Entries of an export.
    pub fn exported(config: &'c BridgeConfig, inputs: Vec<Input>) -> Self {
        Self::new(config, inputs, Found::Applied(Searches::new(config)))
    }

    pub fn new(config: &'c BridgeConfig, inputs: Vec<Input>, found: Found) -> Self {
        Self { config, model: Model::new(config), inputs, found, seen: RefCell::default() }
    }

    /// The attributes whose values are used.
    pub fn wanted(config: &BridgeConfig) -> Vec<String> {
        let mut names: Vec<String> =
            config.mapping.pairs().map(|(_, name)| name.value.clone()).collect();
        names.extend(config.delete_on.iter().map(|on| on.key.value.clone()));
        names.extend(Searches::new(config).attributes().map(str::to_string));
        names.sort();
        names.dedup();
        names
    }

    fn item(&self, input: usize, entry: &Entry, seen: &mut Seen) -> Item {
        let found = match &self.found {
            Found::Applied(searches) => searches.of(entry),
            Found::Answered { search, delete } => {
                let dn = Dn::new(&entry.dn_text());
                if input > 0 && search.contains(&dn) {
                    // It was in the first answer, and is judged there.
                    return Item::Nothing;
                }
                Membership { search: input == 0, delete: input > 0 || delete.contains(&dn) }
            }
        };
        if found == Membership::default() {
            let values = entry.values(&self.config.mapping.user_name.value).unwrap_or_default();
            let value = values.first().and_then(|value| String::from_utf8(value.clone()).ok());
            return Item::Outside { user_name: value };
        }
        if found.search {
            seen.count(self.config, entry);
        }
        Item::Candidate(Box::new(self.model.judge(entry, found)))
    }
}

impl Source for Directory<'_> {
    fn pass(&self, bar: &ProgressBar, visit: &mut Visit<'_>) -> io::Result<()> {
        let names = Self::wanted(self.config);
        let wanted = |name: &[u8]| names.iter().any(|known| is_spelling_of(name, known));
        let mut seen = Seen::default();
        let mut index = 0_u32;
        for (number, input) in self.inputs.iter().enumerate() {
            let file = bar.wrap_read(input.read()?);
            let mut reader = Reader::new(BufReader::with_capacity(BUFFER, file));
            while let Some(record) = reader.next(&wanted) {
                let item = match record {
                    Ok(Record::Entry(entry)) => self.item(number, &entry, &mut seen),
                    Ok(Record::Change) => Item::Change,
                    Ok(Record::Note { result }) => {
                        seen.result = seen.result.or(result);
                        Item::Nothing
                    }
                    Err(fault) => Item::Unread(sentence(&input.name(), fault)),
                };
                visit(index, item)?;
                index += 1;
            }
        }
        self.seen.replace(seen);
        Ok(())
    }

    fn size(&self) -> u64 {
        self.inputs.iter().map(Input::size).sum()
    }

    fn notes(&self) -> Vec<Note> {
        self.seen.borrow().notes(self.config)
    }
}

fn sentence(name: &str, fault: Fault) -> String {
    match fault {
        Fault::Io(error) => format!("{name}: cannot be read any further: {error}"),
        Fault::Encoding => {
            format!("{name}: is UTF-16, and LDIF is UTF-8; convert it (iconv -f utf-16 -t utf-8)")
        }
        Fault::Broken { line, why } => format!("{name}:{line}: {why}; the record is left out"),
    }
}

impl Seen {
    fn count(&mut self, config: &BridgeConfig, entry: &Entry) {
        self.found += 1;
        for (target, Placed { value: name, .. }) in config.mapping.pairs() {
            if entry.values(name).is_some() {
                *self.exact.entry(target).or_default() += 1;
                continue;
            }
            let spelled = entry.attributes().map(|(written, _)| written);
            if let Some(other) = spelled.into_iter().find(|written| is_spelling_of(written, name)) {
                let other = String::from_utf8_lossy(other).into_owned();
                *self.others.entry((target, other)).or_default() += 1;
            }
        }
    }

    fn notes(&self, config: &BridgeConfig) -> Vec<Note> {
        let mut notes = Vec::new();
        for (target, Placed { at, value: name }) in config.mapping.pairs() {
            let others = self.others.iter().filter(|((known, _), _)| *known == target);
            for ((_, other), count) in others {
                notes.push(Note::warning(
                    *at,
                    format!(
                        "mapping.{target} is {name}, and {count} entries have only {other}; the bridge compares names \
                         exactly, options included. Write the name as the server does."
                    ),
                ));
            }
            if self.found > 0
                && !self.exact.contains_key(target)
                && !self.others.keys().any(|(t, _)| *t == target)
            {
                let message =
                    format!("mapping.{target} is {name}, which no entry that the search finds has");
                notes.push(Note::warning(*at, message));
            }
        }
        let at = config.search.at;
        let found = self.found;
        if let Some((limit, server)) = LIMITS.iter().find(|(limit, _)| *limit == found) {
            notes.push(Note::warning(
                at,
                format!(
                    "the search finds exactly {limit} entries, the limit of {server} by default: there may be more, which \
                     the bridge never receives. Raise the limit for the bridge's account."
                ),
            ));
        } else if let Some((limit, server)) = LIMITS.iter().rev().find(|(limit, _)| *limit < found)
        {
            notes.push(Note::warning(
                at,
                format!(
                    "the search finds {found} entries; {server} returns {limit} by default, and the bridge does not ask \
                     for the rest. Raise the limit for the bridge's account."
                ),
            ));
        }
        if let Some(code @ (3 | 4 | 11)) = self.result {
            notes.push(Note::warning(
                at,
                format!(
                    "the export ended with result {code}, a limit of the server: it is not complete"
                ),
            ));
        }
        if found == 0 {
            notes.push(Note::warning(
                at,
                "the search finds no entry: check its base and its filters",
            ));
        }
        notes
    }
}
