//! `token create`: creates a token, and adds its entry to the registry.

use std::io::Write;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;

use super::entry::Addition;
use super::wire::NewToken;
use super::{Access, Failure, report_error, with_code};
use crate::digest::StoredHash;
use crate::tls::subject::SubjectName;

/// Create a SCIM token, and add its hash to the registry with --register.
///
/// The token is written once to standard output, and nowhere else; all other output goes to standard
/// error.
///
/// The first token of a team turns off the creation of users by their first SSO login; deleting the
/// last one turns it on again. A token outlives the admin who created it. It is valid in all of Wire
/// until it is deleted there: an expiry in the registry is enforced by the guard alone.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: wire-scim-guard token create --backend https://wire.example.com \\\n    \
                  --email admin@example.com --description \"Okta, production\" --name okta \\\n    \
                  --register /etc/wire-scim-guard/tokens.yaml --label okta --expires 2027-06-30"
)]
pub struct Arguments {
    #[command(flatten)]
    access: Access,
    /// A description of what the token is for
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    description: String,
    /// The token's name in Wire's team management (API version 8 and newer)
    #[arg(long)]
    name: Option<String>,
    /// The id of the identity provider whose users are provisioned
    #[arg(long, value_name = "UUID", value_parser = super::manage::uuid)]
    idp: Option<String>,
    /// The second-factor code for creating a token, if Wire requires one; without it, you are asked for it
    #[arg(long, value_name = "CODE")]
    token_code: Option<String>,
    /// A token registry to which the hash is added
    #[arg(long, value_name = "FILE", requires = "label")]
    register: Option<PathBuf>,
    /// The token's label in the registry
    #[arg(long, requires = "register")]
    label: Option<String>,
    /// The token's last day in the registry (2027-06-30), or a time (2027-06-30T12:00:00Z)
    #[arg(long, value_name = "WHEN", requires = "register")]
    expires: Option<String>,
    /// A name that the client's certificate must have, in the registry: dns:NAME, uri:URI or email:ADDRESS
    #[arg(long, value_name = "NAME", requires = "register", value_parser = SubjectName::parse)]
    client_certificate: Option<SubjectName>,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<(), Failure> {
    let Arguments {
        access,
        description,
        name,
        idp,
        token_code,
        register,
        label,
        expires,
        client_certificate,
    } = arguments;
    // If the entry cannot be added, no token is created.
    let addition = match (register, label) {
        (Some(path), Some(label)) => {
            Some(Addition::prepare(path, label, expires.as_deref(), client_certificate.as_ref())?)
        }
        _ => None,
    };
    let (login, password) = access.login()?;
    if (name.is_some() || idp.is_some()) && !login.has_names() {
        return Err(Failure::Unusable(
            "on this Wire, tokens have no name and no identity provider (that needs API version 8); leave \
             out --name and --idp"
                .into(),
        ));
    }
    let wanted = NewToken { description, name: name.as_deref(), idp: idp.as_deref() };
    let (token, info) = with_code(
        token_code.as_deref(),
        "--token-code CODE",
        |code| login.create(&wanted, &password, code),
        || login.send_code("create_scim_token", &access.email),
    )?;
    // Before anything else can fail: Wire does not return it again.
    writeln!(out, "{}", token.reveal()).and_then(|()| out.flush()).map_err(|error| {
        Failure::Running(format!(
            "the token {} was created and cannot be written to standard output: {error}; delete it with \
             `token delete`",
            info.id
        ))
    })?;
    report_error(&format!("created token {}; it is not shown again", info.id));
    if let Some(addition) = addition {
        addition.write(&StoredHash::wire(token.reveal().as_bytes()))?;
        report_error(&format!("{}: entry added", addition.path().display()));
    }
    // The token was created; failure to count the team's tokens is not an error.
    if let Ok(tokens) = login.list() {
        report_error(&match tokens.len() {
            1 => "this is the team's first token: users are not created by their first SSO login any more"
                .into(),
            count => format!("the team has {count} tokens now"),
        });
    }
    Ok(())
}
