//! `token create`: a new token, and its entry in the register.

use std::io::Write;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;

use super::entry::Addition;
use super::wire::Wanted;
use super::{Access, Failure, complain, with_code};
use crate::digest::StoredHash;

/// Create a SCIM token, and write its hash to the register if asked to.
///
/// The token goes to standard output, once and nowhere else; everything around it goes to standard
/// error.
///
/// The first token of a team turns off the creation of users by their first SSO login; deleting the
/// last one turns it on again. A token outlives the admin who made it. It is valid in all of Wire
/// until it is deleted there: an expiry in the register is kept by the guard alone.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: wire-scim-guard token create --backend https://wire.example.com \\\n    \
                  --email admin@example.com --description \"Okta, production\" --name okta \\\n    \
                  --register /etc/wire-scim-guard/tokens.yaml --label okta --expires 2027-06-30"
)]
pub struct Arguments {
    #[command(flatten)]
    access: Access,
    /// What the token is for, in words
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    description: String,
    /// The token's name in Wire's team management (API version 8 and newer)
    #[arg(long)]
    name: Option<String>,
    /// The id of the identity provider whose users are provisioned
    #[arg(long, value_name = "UUID", value_parser = super::manage::uuid)]
    idp: Option<String>,
    /// The second-factor code for creating a token, if Wire demands one; without it, it is asked for
    #[arg(long, value_name = "CODE")]
    token_code: Option<String>,
    /// A register of tokens to which the hash is added
    #[arg(long, value_name = "FILE", requires = "label")]
    register: Option<PathBuf>,
    /// The token's label in the register
    #[arg(long, requires = "register")]
    label: Option<String>,
    /// The token's last day in the register (2027-06-30), or a time (2027-06-30T12:00:00Z)
    #[arg(long, value_name = "WHEN", requires = "register")]
    expires: Option<String>,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
    let Arguments { access, description, name, idp, token_code, register, label, expires } =
        arguments;
    // What cannot be written down is not created.
    let addition = match (register, label) {
        (Some(path), Some(label)) => Some(Addition::prepare(path, label, expires.as_deref())?),
        _ => None,
    };
    let (login, password) = access.login()?;
    if (name.is_some() || idp.is_some()) && !login.has_names() {
        return Err(Failure::Unusable(
            "this Wire gives no name and no identity provider to tokens (that takes API version 8); leave \
             out --name and --idp"
                .into(),
        ));
    }
    let wanted = Wanted { description, name: name.as_deref(), idp: idp.as_deref() };
    let (token, info) = with_code(
        token_code.as_deref(),
        "--token-code CODE",
        |code| login.create(&wanted, &password, code),
        || login.send_code("create_scim_token", &access.email),
    )?;
    // First of all: it is never told again.
    writeln!(out, "{}", token.reveal()).and_then(|()| out.flush()).map_err(|error| {
        Failure::Running(format!(
            "the token {} was created and cannot be written to standard output: {error}; delete it with \
             `token delete`",
            info.id
        ))
    })?;
    complain(&format!("created token {}; it is shown this once", info.id));
    if let Some(addition) = addition {
        addition.write(&StoredHash::wire(token.reveal().as_bytes()))?;
        complain(&format!("{}: entry added", addition.path().display()));
    }
    // The token is there; that it cannot be counted is no failure.
    if let Ok(tokens) = login.list() {
        complain(&match tokens.len() {
            1 => "this is the team's first token: users are not created by their first SSO login any more"
                .into(),
            count => format!("the team has {count} tokens now"),
        });
    }
    Ok(())
}
