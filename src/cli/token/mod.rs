//! `token`: manages Wire's SCIM tokens, and hashes them for the token registry.

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::secret_file::first_line;
use super::{Failure, Outcome, report_error};
use crate::secret::Secret;

mod create;
mod entry;
mod hash;
mod manage;
mod wire;

use wire::Login;

/// Create, list, rename and delete the SCIM tokens of a Wire team; hash tokens for the registry.
///
/// Logs in to the Wire backend as an admin of the team. Through a guard, that needs `other_paths:
/// forward` and `auth_tokens: forward` in the guard's config; or name Wire itself as --backend.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Box<create::Arguments>),
    List(manage::ListArguments),
    Rename(manage::RenameArguments),
    Delete(manage::DeleteArguments),
    Hash(hash::Arguments),
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    match &arguments.command {
        Command::Create(arguments) => create::run(arguments, out)?,
        Command::List(arguments) => manage::list(arguments, out)?,
        Command::Rename(arguments) => manage::rename(arguments)?,
        Command::Delete(arguments) => manage::delete(arguments)?,
        Command::Hash(arguments) => hash::run(arguments, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The backend and the account.
#[derive(Debug, clap::Args)]
struct Access {
    /// The Wire backend, such as `https://wire.example.com`
    #[arg(long, value_name = "URL")]
    backend: String,
    /// The email address of an admin or owner of the team
    #[arg(long)]
    email: String,
    /// A file whose first line is the admin's password; without it, you are asked for the password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The second-factor code of the login, if Wire requires one; without it, you are asked for it
    #[arg(long, value_name = "CODE")]
    login_code: Option<String>,
    /// A file with certificates (PEM) of authorities to trust, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Wire's API version; default: the newest that both sides support
    #[arg(long, value_name = "NUMBER")]
    api_version: Option<u32>,
}

impl Access {
    /// Logs in. Wire requires the password again to create a token.
    fn login(&self) -> Result<(Login, Secret), Failure> {
        let wire = wire::Wire::new(&self.backend, self.ca.as_deref(), self.api_version)?;
        if wire.is_exposed() {
            report_error("warning: the password goes over the network in clear text (http://)");
        }
        let password = match &self.password_file {
            Some(path) => first_line(path)?,
            None => ask("Password", "--password-file FILE")?,
        };
        let login = with_code(
            self.login_code.as_deref(),
            "--login-code CODE",
            |code| wire.login(&self.email, &password, code),
            || wire.send_code("login", &self.email),
        )?;
        Ok((login, password))
    }
}

/// Tries an operation that may need a second-factor code, which Wire sends by email on request.
fn with_code<T>(
    given: Option<&str>,
    option: &str,
    attempt: impl Fn(Option<&str>) -> Result<T, wire::Error>,
    send: impl FnOnce() -> Result<(), wire::Error>,
) -> Result<T, Failure> {
    match attempt(given) {
        Err(wire::Error::CodeRequired) if given.is_none() => {
            send()?;
            report_error(
                "Wire requires a second-factor code and has sent one to the email address.",
            );
            let code = ask("Code", option)?;
            Ok(attempt(Some(code.reveal().trim()))?)
        }
        other => Ok(other?),
    }
}

/// Prompts for a secret, without echo.
fn ask(what: &str, option: &str) -> Result<Secret, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Unusable(format!(
            "{what}: there is no terminal to prompt on; use {option}"
        )));
    }
    let text = rpassword::prompt_password(format!("{what}: "))
        .map_err(|error| Failure::Unusable(format!("{what}: cannot be read: {error}")))?;
    Ok(Secret::new(text))
}
