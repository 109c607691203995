//! `check`: judges payloads offline, with the same code as the proxy.

use std::fs::Metadata;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::value::RawValue;

use super::documents::{self, Document, KINDS, Name, Rows, Unusable};
use super::{Failure, Outcome, REFUSED, UNUSABLE, one_of, printable, report_error};
use crate::config::Config;
use crate::config::file::Overrides;
use crate::config::repairs;
use crate::config::words::{IDENTITIES, PROFILES};
use crate::evaluator::{CheckKind, CheckReport, Evaluator};
use crate::policy::{Identity, Policy, Profile};
use crate::release::Releases;
use crate::repair::{Repair, Repairs};
use crate::rule::ScimType;
use crate::scim::user::Reading;

/// Judge payloads and filters offline, with the same code as the proxy.
///
/// Users are judged as if they were new. Exit code 0: all accepted; 1: some refused; 2: something
/// could not be read, whatever the result of the rest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
                        wire-scim-guard check user.json\n  \
                        wire-scim-guard check --kind patch --identity email patch.json\n  \
                        echo 'userName eq \"alice\"' | wire-scim-guard check --kind filter -\n  \
                        wire-scim-guard check --profile as-served --json --rows payloads.jsonl")]
pub struct Arguments {
    /// What the files contain: a SCIM user, a PATCH of a user, a group, or the raw text of a filter
    /// for users or groups
    #[arg(long, value_name = "KIND", default_value = "user", conflicts_with = "rows",
          value_parser = one_of(&KINDS))]
    kind: CheckKind,

    /// Require what Wire's documentation requires, or only what Wire's server does; default: as
    /// configured, or else `documented`
    #[arg(long, value_name = "PROFILE", value_parser = one_of(&PROFILES))]
    profile: Option<Profile>,

    /// How the team logs in; default: as configured, or else `any`
    #[arg(long, value_name = "IDENTITY", value_parser = one_of(&IDENTITIES))]
    identity: Option<Identity>,

    /// The release of Wire that the backend runs: `any`, or a number such as 5.35; default: as
    /// configured, or else `any`
    #[arg(long, value_name = "RELEASE", value_parser = crate::config::value::releases)]
    release: Option<Releases>,

    /// Repair as the proxy would before judging: names of repairs and presets, with commas between them;
    /// default: as configured, or else none
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = repairs::named)]
    repairs: Option<Vec<Repairs>>,

    /// Judge with the rules, schemas and limits of this config file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print one JSON object per document, in order
    #[arg(long)]
    json: bool,

    /// Judge the rows of a JSON Lines file: kind, and body or body_base64; `-` is standard input
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,

    /// The files to judge; `-` is standard input
    #[arg(value_name = "FILE", required_unless_present = "rows", conflicts_with = "rows")]
    files: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    let guard = guard(arguments)?;
    let is_stdin = |file: &&PathBuf| file.as_path() == Path::new("-");
    if arguments.files.iter().filter(is_stdin).count() > 1 {
        return Err(Failure::Unusable("standard input (`-`) can be judged only once".into()));
    }
    let mut check = Check { guard, json: arguments.json, out, refused: false, unusable: false };
    match &arguments.rows {
        Some(path) => {
            let size = path.metadata().ok().filter(Metadata::is_file).map(|data| data.len());
            let bar = progress(size, "{wide_bar} {percent}% {eta}");
            let mut rows = Rows::open(path).map_err(Failure::Unusable)?;
            while let Some(row) = rows.next() {
                check.judge(row, &bar)?;
                bar.set_position(rows.position);
            }
            bar.finish_and_clear();
        }
        None => {
            let bar = progress(Some(arguments.files.len() as u64), "{wide_bar} {pos}/{len} {eta}");
            for path in &arguments.files {
                let limit = check.guard.snapshots().current().config.limits.body;
                check.judge(documents::read(path, arguments.kind, limit), &bar)?;
                bar.inc(1);
            }
            bar.finish_and_clear();
        }
    }
    Ok(match (check.unusable, check.refused) {
        (true, _) => ExitCode::from(UNUSABLE),
        (false, true) => ExitCode::from(REFUSED),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// The guard of the config file with the command line's own choices, or of the defaults with these.
fn guard(arguments: &Arguments) -> Result<Evaluator, Failure> {
    let Arguments { profile, identity, release: releases, .. } = *arguments;
    let repairs = arguments.repairs.as_ref();
    let repairs = repairs.map(|sets| sets.iter().copied().fold(Repairs::NONE, Repairs::and));
    if let Some(path) = &arguments.config {
        return super::load(path, Overrides { profile, identity, releases, repairs });
    }
    let mut config = Config::new(Vec::new(), Vec::new());
    let profile = profile.unwrap_or(Profile::Documented);
    config.policy = Policy::new(profile, identity.unwrap_or(Identity::Any));
    config.policy.releases = releases.unwrap_or(Releases::Any);
    config.repairs = Some(repairs.unwrap_or_default());
    super::guard(&config)
}

/// A progress bar on standard error, if that is a terminal.
fn progress(length: Option<u64>, template: &str) -> ProgressBar {
    match (length, ProgressStyle::with_template(template)) {
        (Some(length), Ok(style)) => ProgressBar::new(length).with_style(style),
        _ => ProgressBar::new_spinner(),
    }
}

/// Judges one document after the other.
struct Check<'o, W> {
    guard: Evaluator,
    json: bool,
    out: &'o mut W,
    refused: bool,
    unusable: bool,
}

impl<W: Write> Check<'_, W> {
    fn judge(&mut self, document: Result<Document, Unusable>, bar: &ProgressBar) -> io::Result<()> {
        let Document { name, kind, bytes } = match document {
            Ok(document) => document,
            Err(Unusable { name, why }) => {
                self.unusable = true;
                bar.suspend(|| report_error(&why));
                if self.json {
                    self.write_line(&Line::unusable(&name, &why))?;
                }
                return Ok(());
            }
        };
        let report = self.guard.check(kind, &bytes);
        self.refused |= report.refusal.is_some();
        if bar.is_hidden() || !io::stdout().is_terminal() {
            return self.write(&name, &report);
        }
        bar.suspend(|| self.write(&name, &report).and_then(|()| self.out.flush()))
    }

    fn write_line(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, line)?;
        writeln!(self.out)
    }

    fn write(&mut self, name: &Name, report: &CheckReport) -> io::Result<()> {
        if self.json {
            return self.write_line(&Line::new(name, report));
        }
        write!(self.out, "{}: ", printable(name.as_str()))?;
        match &report.refusal {
            None => write!(self.out, "ok")?,
            Some(refusal) => {
                write!(self.out, "refused, {} {}", refusal.status(), refusal.rule)?;
                if let Some(scim_type) = refusal.rule.entry().scim_type {
                    write!(self.out, " ({})", scim_type.as_str())?;
                }
                write!(self.out, ": {}", printable(&refusal.detail))?;
            }
        }
        if let Some(repaired) = &report.repaired {
            write!(self.out, " [repaired: {}]", repaired.by.names())?;
        }
        if !report.remarks.reported.is_empty() {
            write!(self.out, " [reported: {}]", ids(report).join(", "))?;
        }
        writeln!(self.out)
    }
}

fn ids(report: &CheckReport) -> Vec<&'static str> {
    report.remarks.reported.iter().map(|hit| hit.rule.id()).collect()
}

/// A line of the JSON output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    ok: bool,
    status: Option<u16>,
    rule: Option<&'static str>,
    scim_type: Option<&'static str>,
    detail: Option<&'a str>,
    reported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reading: Option<&'a Reading>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    repaired: Vec<&'static str>,
    /// The document after its repair, which is what was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
}

impl<'a> Line<'a> {
    fn new(name: &'a Name, report: &'a CheckReport) -> Self {
        let refusal = report.refusal.as_ref();
        let rule = refusal.map(|refusal| refusal.rule.entry());
        let repaired = report.repaired.as_ref();
        Self {
            ok: refusal.is_none(),
            status: rule.map(|rule| rule.status),
            rule: rule.map(|rule| rule.id),
            scim_type: rule.and_then(|rule| rule.scim_type).map(ScimType::as_str),
            detail: refusal.map(|refusal| refusal.detail.as_str()),
            reported: ids(report),
            reading: report.reading.as_ref(),
            repaired: repaired
                .iter()
                .flat_map(|repaired| repaired.by.iter())
                .map(Repair::name)
                .collect(),
            body: repaired.and_then(|repaired| serde_json::from_slice(&repaired.body).ok()),
            ..Self::unusable(name, "")
        }
    }

    /// The line of a document that was not judged.
    fn unusable(name: &'a Name, why: &'a str) -> Self {
        let (file, id) = match name {
            Name::File(name) => (Some(name.as_str()), None),
            Name::Id(name) => (None, Some(name.as_str())),
        };
        Self {
            file,
            id,
            ok: false,
            status: None,
            rule: None,
            scim_type: None,
            detail: Some(why),
            reported: Vec::new(),
            reading: None,
            repaired: Vec::new(),
            body: None,
        }
    }
}
