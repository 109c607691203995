//! `serve`: runs the guard in front of a backend.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Failure, Outcome};
use crate::config::file::Overrides;
use crate::proxy::{self, ServeError};

/// Run the guard in front of a Wire backend.
///
/// Stays in the foreground and logs to standard error, one JSON object per line. SIGTERM and SIGINT
/// stop it: requests in flight are finished first, for at most limits.shutdown_timeout.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: wire-scim-guard serve --config /etc/wire-scim-guard/config.yaml")]
pub struct Arguments {
    /// The config file (YAML); `config check` reports its errors without starting anything
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let evaluator = super::load(&arguments.config, Overrides::default())?;
    proxy::serve(evaluator)?;
    Ok(ExitCode::SUCCESS)
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        Self::Running(error.to_string())
    }
}
