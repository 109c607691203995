//! The command line: one file for each command, and what they have in common.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::Config;
use crate::config::file::{self, Overrides};
use crate::config::words::Words;
use crate::guard::Guard;
use crate::secret;

mod backend;
mod check;
mod compare;
mod config;
#[cfg(feature = "standin")]
mod demo;
mod documents;
#[cfg(feature = "preflight")]
mod preflight;
mod rules;
mod serve;
#[cfg(feature = "standin")]
mod standin;
mod table;
mod token;

/// A reverse proxy that stands in front of a Wire backend and guards its SCIM API.
///
/// Requests that Wire would refuse are answered at once, with a SCIM error that says what to mend;
/// nothing of them reaches the backend.
#[derive(Debug, Parser)]
#[command(
    name = "wire-scim-guard",
    version,
    propagate_version = true,
    after_help = "Try it:           wire-scim-guard demo\n\
                  Run it:           wire-scim-guard serve --config /etc/wire-scim-guard/config.yaml\n\
                  Judge a payload:  wire-scim-guard check user.json\n\n\
                  Exit codes: 0 fine; 1 refused (check) or failed while running; 2 unusable \
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
    #[cfg(feature = "standin")]
    #[command(hide = true)]
    Standin(standin::Arguments),
}

/// Why a command did not do what it was asked to: one sentence for standard error.
#[derive(Debug)]
enum Failure {
    /// It failed while running: exit code 1.
    Running(String),
    /// Its arguments, input or config cannot be used: exit code 2.
    Unusable(String),
    /// Whoever reads standard output went away, as in `rules | head`: nothing to say.
    OutputClosed,
}

impl From<io::Error> for Failure {
    /// Errors of writing to standard output; all others are told where they are met.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Running(format!("cannot write to standard output: {error}")),
        }
    }
}

const REFUSED: u8 = 1;
const UNUSABLE: u8 = 2;

/// What a command says at its end.
type Outcome = Result<ExitCode, Failure>;

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
    complain(message);
    ExitCode::from(code)
}

/// Writes a line to standard error; if nobody reads there, nobody is told.
fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "{}", shown(message));
}

/// SECURITY: what others have written, a file or a server, must not steer the terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Help and version are answers; everything else is one sentence on standard error.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        // clap would print the name of the subcommand in place of the program's.
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
            let sentence = secret::blotted(sentence);
            fail(UNUSABLE, &format!("{sentence}; see {} --help", command_line()))
        }
    }
}

/// The program and the commands that were named, for the hint at `--help`.
fn command_line() -> String {
    let program = Arguments::command();
    let (mut line, mut command) = (program.get_name().to_owned(), &program);
    for word in std::env::args_os().skip(1) {
        let Some(named) = command.find_subcommand(&word) else { break };
        line.push(' ');
        line.push_str(named.get_name());
        command = named;
    }
    line
}

/// The config of a file, and the guard that it asks for. All that is wrong with the file, and with those
/// that it names, is told at once.
fn load(path: &Path, overrides: Overrides) -> Result<(Config, Guard), Failure> {
    let (config, wrong) = file::load(path, overrides);
    let guard = config.as_ref().map(Guard::new).transpose();
    match (config, wrong, guard) {
        (Some(config), None, Ok(Some(guard))) => Ok((config, guard)),
        (_, wrong, guard) => {
            let wrong = [wrong.map(|e| e.to_string()), guard.err().map(|e| e.to_string())];
            Err(Failure::Unusable(wrong.into_iter().flatten().collect::<Vec<_>>().join("\n")))
        }
    }
}

/// The guard of a config that names no files.
fn guard(config: &Config) -> Result<Guard, Failure> {
    Guard::new(config).map_err(|errors| Failure::Unusable(errors.to_string()))
}

/// Takes one of a few words on the command line.
fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    words: &'static Words<T, N>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|(word, _)| *word)).try_map(move |given| {
        let found = words.iter().find(|(word, _)| *word == given);
        found.map(|(_, value)| *value).ok_or("unknown word")
    })
}
