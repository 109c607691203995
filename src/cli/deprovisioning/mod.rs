//! `deprovisioning allow`: lets a token delete or deactivate more users than its limit, for a planned change.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Subcommand;

use super::registry_file::RegistryFile;
use super::{Failure, Outcome};
use crate::config::deprovisioning::MOST_USERS;
use crate::deprovisioning::Allowance;
use crate::input::near;
use crate::registry::file;

mod edit;

/// Lift the limit of deletions and deactivations of a token for a planned change.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Allow(AllowArguments),
}

/// Let a token delete or deactivate more users than its limit, up to a number and a time.
///
/// Writes `deprovisioning: {allow: {count: N, until: TIME}}` into the token's entry in the registry; everything else
/// in the file stays byte for byte. A running guard applies it within 5 seconds. Another allowance of the same token
/// is replaced, and the new one begins unused.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: wire-scim-guard deprovisioning allow --register /etc/wire-scim-guard/tokens.yaml \\\n    \
                  --label okta --count 450 --until 2027-06-30T18:00:00Z"
)]
struct AllowArguments {
    /// The token registry (YAML)
    #[arg(long, value_name = "FILE")]
    register: PathBuf,
    /// The label of the token's entry
    #[arg(long)]
    label: String,
    /// How many users more than the limit: 1 to 1000000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_USERS as i64))]
    count: u32,
    /// Until when: a time such as 2027-06-30T18:00:00Z, or a day such as 2027-06-30, which counts to its end in UTC
    #[arg(long, value_name = "TIME")]
    until: String,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    let Command::Allow(arguments) = &arguments.command;
    let AllowArguments { register: registry, label, count, until } = arguments;
    let end = file::read_time(until).map_err(|why| Failure::Unusable(format!("--until: {why}")))?;
    if end <= SystemTime::now() {
        return Err(Failure::Unusable("--until is in the past".into()));
    }
    let allowance = Allowance { count: *count, until: end };
    let registry = RegistryFile::at(registry);
    if !registry.path().exists() {
        let path = registry.path().display();
        return Err(Failure::Unusable(format!("{path}: there is no such file")));
    }
    let mut has_limit = false;
    registry.change(|before| {
        let entries = registry.parse(before, "")?;
        let Some(at) = entries.entries().iter().position(|entry| entry.label.as_str() == label)
        else {
            return Err(unknown(registry.path(), label, &entries));
        };
        let entry = &entries.entries()[at];
        has_limit = entry.deprovisioning.is_some_and(|own| own.limit.is_some());
        let after = edit::with_allowance(before, at, *count, until);
        let is_meant = |after: &String| {
            registry
                .parse(after, "")
                .is_ok_and(|after| edit::differ_only_in_allowance(&entries, &after, at, allowance))
        };
        let after = after.filter(is_meant).ok_or_else(|| {
            Failure::Unusable(format!(
                "{}: the entry of {label} is written in a way that this command cannot change; add this to it by \
                 hand:\ndeprovisioning: {{allow: {{count: {count}, until: {until}}}}}",
                registry.path().display()
            ))
        })?;
        registry.check_size(&after)?;
        Ok(after)
    })?;
    writeln!(
        out,
        "{label}: {count} users more than the limit may be deleted or deactivated until {until}"
    )?;
    if !has_limit {
        writeln!(
            out,
            "{label}: the entry has no limit of its own; that of the config counts, if there is one"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(path: &Path, label: &str, entries: &crate::registry::TokenRegistry) -> Failure {
    let labels: Vec<&str> = entries.entries().iter().map(|entry| entry.label.as_str()).collect();
    let hint = near::hint(label, labels.iter().copied());
    let known = match labels.len() {
        _ if !hint.is_empty() => hint,
        0 => "; it has no entry".to_owned(),
        1..=20 => format!("; the labels are {}", labels.join(", ")),
        _ => String::new(),
    };
    Failure::Unusable(format!("{}: no entry has the label {label:?}{known}", path.display()))
}
