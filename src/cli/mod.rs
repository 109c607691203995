//! The command line: one file for each command; this one has the shared parts.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::Config;
use crate::config::file::Overrides;
use crate::config::words::Words;
use crate::evaluator::Evaluator;
use crate::reload::ConfigFile;
use crate::secret;

mod backend;
mod check;
mod compare;
mod completions;
mod config;
#[cfg(feature = "standin")]
mod demo;
mod deprovisioning;
mod documents;
mod man;
#[cfg(feature = "preflight")]
mod preflight;
mod registry_file;
mod rules;
mod secret_file;
mod serve;
#[cfg(feature = "standin")]
mod standin;
mod table;
mod token;

/// A reverse proxy in front of a Wire backend that guards its SCIM API.
///
/// Requests that Wire would refuse are answered at once, with a SCIM error that says what to fix;
/// they do not reach the backend.
#[derive(Debug, Parser)]
#[command(
    name = "wire-scim-guard",
    version,
    propagate_version = true,
    after_help = "Try it:           wire-scim-guard demo\n\
                  Run it:           wire-scim-guard serve --config /etc/wire-scim-guard/config.yaml\n\
                  Judge a payload:  wire-scim-guard check user.json\n\n\
                  Exit codes: 0 success; 1 refused (check) or failed while running; 2 unusable \
                  arguments, input or config."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Arguments),
    #[cfg(feature = "standin")]
    Demo(demo::Arguments),
    Config(config::Arguments),
    Rules(rules::Arguments),
    Check(check::Arguments),
    Compare(compare::Arguments),
    #[cfg(feature = "preflight")]
    Preflight(preflight::Arguments),
    Token(token::Arguments),
    Deprovisioning(deprovisioning::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
    #[cfg(feature = "standin")]
    #[command(hide = true)]
    Standin(standin::Arguments),
}

/// Why a command failed: one sentence for standard error.
#[derive(Debug)]
enum Failure {
    /// It failed while running: exit code 1.
    Running(String),
    /// Its arguments, input or config cannot be used: exit code 2.
    Unusable(String),
    /// The reader of standard output has closed it, as in `rules | head`: not an error.
    OutputClosed,
}

impl From<io::Error> for Failure {
    /// Errors of writing to standard output; all others are converted where they occur.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Running(format!("cannot write to standard output: {error}")),
        }
    }
}

const REFUSED: u8 = 1;
const UNUSABLE: u8 = 2;

/// How a command ended.
type Outcome = Result<ExitCode, Failure>;

/// The command line, from which the program's manual pages, completions and reference are generated.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse_from(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        #[cfg(feature = "standin")]
        Command::Demo(arguments) => demo::run(&arguments, &mut out),
        Command::Config(arguments) => config::run(&arguments, &mut out),
        Command::Rules(arguments) => rules::run(&arguments, &mut out),
        Command::Check(arguments) => check::run(&arguments, &mut out),
        Command::Compare(arguments) => compare::run(&arguments, &mut out),
        #[cfg(feature = "preflight")]
        Command::Preflight(arguments) => preflight::run(&arguments, &mut out),
        Command::Token(arguments) => token::run(&arguments, &mut out),
        Command::Deprovisioning(arguments) => deprovisioning::run(&arguments, &mut out),
        Command::Completions(arguments) => completions::run(&arguments, &mut out),
        Command::Man(arguments) => man::run(&arguments, &mut out),
        #[cfg(feature = "standin")]
        Command::Standin(arguments) => standin::run(&arguments, &mut out),
    };
    let outcome = outcome.and_then(|code| out.flush().map(|()| code).map_err(Failure::from));
    match outcome {
        Ok(code) => code,
        Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Running(message)) => fail(REFUSED, &message),
        Err(Failure::Unusable(message)) => fail(UNUSABLE, &message),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    report_error(message);
    ExitCode::from(code)
}

/// Writes a line to standard error. Failure to write is ignored, as there is nowhere to report it.
fn report_error(message: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(message));
}

/// SECURITY: text from files and servers must not contain control sequences for the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Help and version go to standard output; everything else is one sentence on standard error.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        // clap would print the name of the subcommand instead of the program's.
        ErrorKind::DisplayVersion => {
            let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
            let _ = writeln!(io::stdout(), "{name} {version}");
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(UNUSABLE)
        }
        _ => {
            let text = error.render().to_string();
            let sentence = text.split("\n\nUsage:").next().unwrap_or(&text);
            let sentence = sentence.split("\n\nFor more").next().unwrap_or(sentence);
            let words: Vec<&str> = sentence.split_whitespace().collect();
            let sentence = words.join(" ").replace(" tip: ", "; ");
            let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
            // SECURITY: a token may have been given where none belongs.
            let sentence = secret::redacted(sentence);
            fail(UNUSABLE, &format!("{sentence}; see {} --help", command_line()))
        }
    }
}

/// The program and the commands on the command line, for the hint at `--help`.
fn command_line() -> String {
    let program = command();
    let (mut line, mut command) = (program.get_name().to_owned(), &program);
    for word in std::env::args_os().skip(1) {
        let Some(named) = command.find_subcommand(&word) else { break };
        line.push(' ');
        line.push_str(named.get_name());
        command = named;
    }
    line
}

/// The snapshot of a config file. All errors in the file, and in those that it names, are reported
/// at once.
fn load(path: &Path, overrides: Overrides) -> Result<Evaluator, Failure> {
    let loaded = ConfigFile::new(path, overrides).load();
    loaded.map(Evaluator::of).map_err(|errors| Failure::Unusable(errors.to_string()))
}

/// The guard with a config that names no files.
fn guard(config: &Config) -> Result<Evaluator, Failure> {
    Evaluator::new(config).map_err(|errors| Failure::Unusable(errors.to_string()))
}

/// Parses one of a fixed set of words on the command line.
fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    words: &'static Words<T, N>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|(word, _)| *word)).try_map(move |given| {
        let found = words.iter().find(|(word, _)| *word == given);
        found.map(|(_, value)| *value).ok_or("unknown word")
    })
}
