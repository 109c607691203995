//! `preflight`: reports which users of a directory would be refused, before the first synchronisation.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use super::secret_file::first_line;
use super::{Failure, Outcome, REFUSED, UNUSABLE, one_of, report_error};
use crate::config::Config;
use crate::config::file::Overrides;
use crate::config::words::Words;
use crate::evaluator::Evaluator;
use crate::preflight::Preflight;
use crate::preflight::bridge::advice::advise;
use crate::preflight::bridge::config::{self, BridgeConfig};
use crate::preflight::bridge::note::{Note, Severity};
use crate::preflight::report::changes::{Changes, Writer};
use crate::preflight::report::json::JsonLines;
use crate::preflight::report::people::Overview;
use crate::preflight::report::table::Rows;
use crate::preflight::report::{Sink, Summary};
use crate::preflight::source::directory::Directory;
use crate::preflight::source::scim::Users;
use crate::preflight::source::table::Table;
use crate::preflight::source::{Input, Source, live};
use crate::secret::Secret;

/// Report which users of a directory would be refused, before the first synchronisation.
///
/// With --bridge-config, judges everybody whom ldap-scim-bridge would find with its config: in the export of
/// --ldif, or else in the live directory. Nothing is sent to Wire, and nothing is changed. Exit code 0: all are
/// accepted; 1: somebody would be refused, or the bridge would stop; 2: something could not be read, whatever the
/// result of the rest.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("source").required(true).args(["bridge_config", "csv", "scim"])),
    after_help = "Examples:\n  \
                  wire-scim-guard preflight --bridge-config bridge.yaml --ldif export.ldif\n  \
                  wire-scim-guard preflight --bridge-config bridge.yaml --ldif export.ldif --propose --changes handles.ldif\n  \
                  wire-scim-guard preflight --csv people.csv --map userName=Login --map externalId=Mail \
                  --map displayName='{First} {Last}'\n  \
                  wire-scim-guard preflight --scim users.jsonl --format json | jq 'select(.ok == false)'"
)]
pub struct Arguments {
    /// The config of ldap-scim-bridge
    #[arg(long, value_name = "FILE")]
    bridge_config: Option<PathBuf>,

    /// An export of the directory, instead of the live one; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "bridge_config")]
    ldif: Vec<PathBuf>,

    /// Read the password of the live directory from this file, one line, instead of the bridge's config
    #[arg(long, value_name = "FILE", requires = "bridge_config", conflicts_with_all = ["ldif", "ask_password"])]
    password_file: Option<PathBuf>,

    /// Ask for the password of the live directory at the terminal
    #[arg(long, requires = "bridge_config", conflicts_with = "ldif")]
    ask_password: bool,

    /// A table of people whose first line has the names of the columns; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "map")]
    csv: Option<PathBuf>,

    /// Maps a column of the table to an attribute: userName, externalId, displayName, email, role or active, such as
    /// userName=Login or displayName="{First} {Last}"
    #[arg(long, value_name = "ATTRIBUTE=COLUMN", requires = "csv")]
    map: Vec<String>,

    /// SCIM users as a client would send them, one per line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    scim: Option<PathBuf>,

    /// Judge with the rules, schemas and limits of this config file of the guard
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Propose a handle for each user who would be refused
    #[arg(long)]
    propose: bool,

    /// Write the proposed handles to this file, to be loaded into the directory: changes for ldapmodify if its name ends in
    /// .ldif, or else CSV
    #[arg(long, value_name = "FILE", requires = "propose")]
    changes: Option<PathBuf>,

    /// The attribute that these changes set; default: the one that userName is mapped from. Any other one is set
    /// for all users who are kept
    #[arg(long, value_name = "NAME", requires = "changes")]
    attribute: Option<String>,

    /// A summary for people, or everything as CSV or JSON lines
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = one_of(&FORMATS))]
    format: Format,

    /// The most entries to show; default: 20 in a table, all in the other formats
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Table,
    Csv,
    Json,
}

const FORMATS: Words<Format, 3> =
    [("table", Format::Table), ("csv", Format::Csv), ("json", Format::Json)];

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    let guard = guard(arguments.config.as_deref())?;
    if let Some(path) = &arguments.bridge_config {
        return bridge(arguments, path, &guard, out);
    }
    let attribute = "userName";
    if let Some(path) = &arguments.csv {
        let input = Input::open(path).map_err(Failure::Unusable)?;
        let table = Table::new(input, &arguments.map).map_err(Failure::Unusable)?;
        return judge(arguments, &table, &guard, Vec::new(), attribute, out);
    }
    let path = arguments.scim.as_deref().unwrap_or(Path::new("-"));
    let users = Users::new(Input::open(path).map_err(Failure::Unusable)?);
    judge(arguments, &users, &guard, Vec::new(), attribute, out)
}

/// The guard of the config file, or of the defaults.
fn guard(path: Option<&Path>) -> Result<Evaluator, Failure> {
    match path {
        Some(path) => super::load(path, Overrides::default()),
        None => super::guard(&Config::new(Vec::new(), Vec::new())),
    }
}

fn bridge(arguments: &Arguments, path: &Path, guard: &Evaluator, out: &mut impl Write) -> Outcome {
    let (config, mut notes) = config::load(path).map_err(Failure::Unusable)?;
    let Some(config) = config else {
        return unreadable(arguments, path, notes, out);
    };
    notes.extend(advise(&config));
    let attribute = config.mapping.user_name.value.clone();
    if arguments.ldif.is_empty() {
        return live(arguments, &config, guard, notes, &attribute, out);
    }
    let inputs = arguments.ldif.iter().map(|path| Input::open(path));
    let inputs = inputs.collect::<Result<Vec<Input>, _>>().map_err(Failure::Unusable)?;
    judge(arguments, &Directory::exported(&config, inputs), guard, notes, &attribute, out)
}

/// The bridge exits at once with such a config; all of its errors are reported.
fn unreadable(
    arguments: &Arguments,
    path: &Path,
    notes: Vec<Note>,
    out: &mut impl Write,
) -> Outcome {
    let file = path.display().to_string();
    for note in &notes {
        report_error(&note.shown(&file));
    }
    if arguments.format == Format::Json {
        let summary = Summary { config: notes, ..Summary::default() };
        JsonLines::new(out, None).finish(&summary)?;
    }
    Ok(ExitCode::from(UNUSABLE))
}

/// Queries the live directory. Entries that it returned before an error are judged all the same.
fn live(
    arguments: &Arguments,
    config: &BridgeConfig,
    guard: &Evaluator,
    mut notes: Vec<Note>,
    mapped: &str,
    out: &mut impl Write,
) -> Outcome {
    let password = password(arguments)?;
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{pos} entries {per_sec}") {
        bar.set_style(style);
    }
    let answer = live::ask(config, password.as_ref(), &bar)
        .map_err(|error| Failure::Unusable(format!("the directory cannot be queried: {error}")))?;
    bar.finish_and_clear();
    notes.extend(answer.notes);
    if let Some(fault) = &answer.fault {
        report_error(fault);
    }
    let directory = Directory::new(config, answer.inputs, answer.found);
    let code = judge(arguments, &directory, guard, notes, mapped, out)?;
    Ok(if answer.fault.is_some() { ExitCode::from(UNUSABLE) } else { code })
}

/// The password that the options of the command line name.
fn password(arguments: &Arguments) -> Result<Option<Secret>, Failure> {
    if arguments.ask_password {
        let asked = rpassword::prompt_password("Password of ldapSource.dn: ");
        let failed = |error| Failure::Unusable(format!("the password cannot be read: {error}"));
        return asked.map(|text| Some(Secret::new(text))).map_err(failed);
    }
    let Some(path) = &arguments.password_file else { return Ok(None) };
    first_line(path).map(Some)
}

/// Judges everybody; `mapped` is the attribute that userName comes from.
fn judge(
    arguments: &Arguments,
    source: &dyn Source,
    guard: &Evaluator,
    notes: Vec<Note>,
    mapped: &str,
    out: &mut impl Write,
) -> Outcome {
    let limit = arguments.limit;
    let config = arguments.bridge_config.as_ref().map(|path| path.display().to_string());
    if arguments.format != Format::Table {
        for note in notes.iter().filter(|note| note.severity == Severity::Error) {
            report_error(&note.shown(config.as_deref().unwrap_or_default()));
        }
    }
    let mut sink: Box<dyn Sink + '_> = match arguments.format {
        Format::Table => Box::new(Overview::new(out, config, limit)),
        Format::Csv => Box::new(Rows::new(out, limit)?),
        Format::Json => Box::new(JsonLines::new(out, limit)),
    };
    let preflight = Preflight {
        source,
        guard,
        notes,
        propose: arguments.propose,
        bar: progress(source.size(), arguments.format),
        report_error: &report_error,
    };
    let outcome = match &arguments.changes {
        None => preflight.run(&mut *sink)?,
        Some(path) => {
            if is_ldif(path) && arguments.bridge_config.is_none() {
                let why = "rows have no name in a directory; let the name of the file end in .csv";
                return Err(Failure::Unusable(format!("{}: {why}", path.display())));
            }
            let writer = writer(path)?;
            let attribute = arguments.attribute.clone().unwrap_or_else(|| mapped.to_string());
            let mut sink = Changes::new(&mut *sink, writer, attribute, mapped)?;
            preflight.run(&mut sink)?
        }
    };
    Ok(match (outcome.unusable, outcome.wrong) {
        (true, _) => ExitCode::from(UNUSABLE),
        (false, true) => ExitCode::from(REFUSED),
        (false, false) => ExitCode::SUCCESS,
    })
}

fn is_ldif(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("ldif"))
}

/// Creates the file of the changes.
fn writer(path: &Path) -> Result<Writer, Failure> {
    let file = File::create(path).map_err(|error| {
        Failure::Unusable(format!("{}: cannot be written: {error}", path.display()))
    })?;
    let file: Box<dyn Write> = Box::new(BufWriter::new(file));
    Ok(match is_ldif(path) {
        true => Writer::Ldif(file),
        false => Writer::Csv(Box::new(csv::Writer::from_writer(file))),
    })
}

/// A progress bar on standard error, if that is a terminal and rows are not printed to it. Every source is read at
/// least twice.
fn progress(size: u64, format: Format) -> ProgressBar {
    let template = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    match ProgressStyle::with_template(template) {
        Ok(style) if format == Format::Table || !io::stdout().is_terminal() => {
            ProgressBar::new(size.saturating_mul(2)).with_style(style)
        }
        _ => ProgressBar::hidden(),
    }
}
