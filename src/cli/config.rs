//! `config check`: reports the errors in a config file without starting anything.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Subcommand;

use super::Outcome;
use crate::config::file::Overrides;

/// Work with config files.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(CheckArguments),
}

/// Check a config file, and the schemas, certificates and the token register that it names.
///
/// Prints `FILE: ok`, or every error as FILE:LINE:COLUMN: message on standard error, with exit
/// code 2. Warnings, as FILE:LINE:COLUMN: warning: message on standard error, do not change the exit code.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: wire-scim-guard config check --config /etc/wire-scim-guard/config.yaml"
)]
struct CheckArguments {
    /// The config file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    let Command::Check(CheckArguments { config: path }) = &arguments.command;
    let evaluator = super::load(path, Overrides::default())?;
    let snapshot = evaluator.snapshots().current();
    for warning in &snapshot.config.warnings {
        super::report_error(&format!("{}:{warning}", path.display()));
    }
    for warning in snapshot.warnings(SystemTime::now()) {
        super::report_error(&warning);
    }
    writeln!(out, "{}: ok", path.display())?;
    Ok(ExitCode::SUCCESS)
}
