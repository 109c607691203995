//! `config check` reports the errors in a config file without starting anything, and `config schema` describes config files to
//! editors.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Subcommand;

use super::{Failure, Outcome};
use crate::config::file::Overrides;
use crate::input::schema;
use crate::{config, registry};

/// Work with config files.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(CheckArguments),
    Schema(SchemaArguments),
}

/// Check a config file, and the schemas, certificates and the token registry that it names.
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

/// Print the JSON Schema of the config file, for editors.
///
/// With it, editors complete keys, show what they mean and mark errors, where the first line of the config names the file with the
/// schema: `# yaml-language-server: $schema=wire-scim-guard.schema.json`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
                        wire-scim-guard config schema > wire-scim-guard.schema.json\n  \
                        wire-scim-guard config schema --register > tokens.schema.json")]
struct SchemaArguments {
    /// Print that of the token registry instead
    #[arg(long)]
    register: bool,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    match &arguments.command {
        Command::Check(arguments) => check(&arguments.config, out),
        Command::Schema(arguments) => print_schema(arguments.register, out),
    }
}

fn check(path: &Path, out: &mut impl Write) -> Outcome {
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

fn print_schema(of_register: bool, out: &mut impl Write) -> Outcome {
    let schema = match of_register {
        true => schema::of_file("The token registry of wire-scim-guard", &registry::KEYS),
        false => schema::of_file("The config of wire-scim-guard", &config::KEYS),
    };
    serde_json::to_writer_pretty(&mut *out, &schema)
        .map_err(|error| Failure::from(io::Error::from(error)))?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}
