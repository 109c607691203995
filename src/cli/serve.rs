//! `serve`: runs the guard in front of a backend.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Failure, Outcome};
use crate::config::file::Overrides;
use crate::evaluator::Evaluator;
use crate::proxy::{self, ServeError};
use crate::reload::ConfigFile;

/// Run the guard in front of a Wire backend.
///
/// Stays in the foreground and logs to standard error, one JSON object per line. SIGTERM and SIGINT
/// stop it: requests in flight are finished first, for at most limits.shutdown_timeout. SIGHUP reloads the
/// config and the files that it names; if they have errors, nothing changes. SIGUSR2 replaces the process by the
/// installed program without closing a connection. Sockets from systemd (LISTEN_FDS) are used where their
/// addresses are those of listen or admin.listen.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: wire-scim-guard serve --config /etc/wire-scim-guard/config.yaml")]
pub struct Arguments {
    /// The config file (YAML); `config check` reports its errors without starting anything
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let source = ConfigFile::new(&arguments.config, Overrides::default());
    let loaded = source.load();
    let snapshot = loaded.map_err(|errors| Failure::Unusable(errors.to_string()))?;
    proxy::serve(Evaluator::of(snapshot), Some(source))?;
    Ok(ExitCode::SUCCESS)
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Given(errors) => Self::Unusable(errors),
            error => Self::Running(error.to_string()),
        }
    }
}
