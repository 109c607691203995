//! `token list`, `token rename` and `token delete`.

use std::io::Write;

use super::wire::Info;
use super::{Access, Failure, report_error};
use crate::cli::{printable, table};

/// List the SCIM tokens of a team; Wire does not return the tokens themselves again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: wire-scim-guard token list --backend https://wire.example.com \\\n    --email \
                  admin@example.com"
)]
pub struct ListArguments {
    #[command(flatten)]
    access: Access,
}

/// Give a SCIM token another name (API version 8 and newer).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: wire-scim-guard token rename 5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f \
                  'Okta, test' \\\n    --backend https://wire.example.com --email admin@example.com"
)]
pub struct RenameArguments {
    #[command(flatten)]
    access: Access,
    /// The token's id, from `token list`
    #[arg(value_parser = uuid)]
    id: String,
    /// The new name
    name: String,
}

/// Delete a SCIM token: Wire refuses it from then on.
///
/// Deleting the last token of a team turns the creation of users by their first SSO login on again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: wire-scim-guard token delete 5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f \
                  \\\n    --backend https://wire.example.com --email admin@example.com"
)]
pub struct DeleteArguments {
    #[command(flatten)]
    access: Access,
    /// The token's id, from `token list`
    #[arg(value_parser = uuid)]
    id: String,
}

pub fn list(arguments: &ListArguments, out: &mut impl Write) -> Result<(), Failure> {
    let (login, _) = arguments.access.login()?;
    let mut rows = vec![["ID", "CREATED", "NAME", "IDP", "DESCRIPTION"].map(String::from)];
    for token in login.list()? {
        let or_dash =
            |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or("-".into());
        rows.push(
            [
                token.id,
                or_dash(Some(token.created_at)),
                or_dash(token.name),
                or_dash(token.idp),
                token.description,
            ]
            .map(|text| printable(&text.replace('\n', " "))),
        );
    }
    table::write(&rows, out)?;
    Ok(())
}

pub fn rename(arguments: &RenameArguments) -> Result<(), Failure> {
    let (login, _) = arguments.access.login()?;
    if !login.has_names() {
        return Err(Failure::Unusable(
            "on this Wire, tokens have no names (that needs API version 8)".into(),
        ));
    }
    if arguments.name.is_empty() {
        return Err(Failure::Unusable("the new name is empty; give the token one".into()));
    }
    let RenameArguments { id, name, .. } = arguments;
    check_exists(&login.list()?, id)?;
    login.rename(id, name)?;
    report_error(&format!("renamed token {id}"));
    Ok(())
}

pub fn delete(arguments: &DeleteArguments) -> Result<(), Failure> {
    let (login, _) = arguments.access.login()?;
    let id = &arguments.id;
    let tokens = login.list()?;
    check_exists(&tokens, id)?;
    login.delete(id)?;
    report_error(&format!("deleted token {id}"));
    if tokens.len() == 1 {
        report_error(
            "it was the team's last token: users are created by their first SSO login again",
        );
    }
    Ok(())
}

/// Wire reports success for renaming and deleting a token that does not exist, so that is checked first.
fn check_exists(tokens: &[Info], id: &str) -> Result<(), Failure> {
    if tokens.iter().any(|token| token.id.eq_ignore_ascii_case(id)) {
        return Ok(());
    }
    Err(Failure::Running(format!("the team has no token {id}; `token list` shows them")))
}

pub fn uuid(text: &str) -> Result<String, &'static str> {
    match uuid::Uuid::try_parse(text) {
        Ok(id) => Ok(id.hyphenated().to_string()),
        Err(_) => Err("an id has the form 8-4-4-4-12"),
    }
}
