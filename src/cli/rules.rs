//! `rules`: the table of all rules.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::{Failure, Outcome, table};
use crate::config::words::PROFILES;
use crate::policy::default_action;
use crate::repair::{Repair, hint};
use crate::rule::{Entry, ScimType, TABLE};

/// List all rules: id, status, scimType, action in each profile, and what they check.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
                        wire-scim-guard rules | grep '^patch'\n  \
                        wire-scim-guard rules --json | jq -r '.[] | select(.switchable) | .id'")]
pub struct Arguments {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    if arguments.json {
        let rules: Vec<Row> = TABLE.iter().map(Row::new).collect();
        serde_json::to_writer_pretty(&mut *out, &rules)
            .map_err(|error| Failure::from(io::Error::from(error)))?;
        writeln!(out)?;
    } else {
        write_table(out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A rule, as printed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: &'static str,
    status: u16,
    scim_type: Option<&'static str>,
    actions: Actions,
    switchable: bool,
    policy: bool,
    /// How the rule depends on the release of Wire; null if it does not.
    by_release: Option<&'static str>,
    /// The repairs that can help a client whose requests hit the rule.
    repairs: Vec<&'static str>,
    checks: &'static str,
}

/// The action in each profile, by the profile's name.
struct Actions([(&'static str, &'static str); PROFILES.len()]);

impl Serialize for Actions {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0)
    }
}

impl Row {
    fn new(entry: &'static Entry) -> Self {
        Self {
            id: entry.id,
            status: entry.status,
            scim_type: entry.scim_type.map(ScimType::as_str),
            actions: Actions(
                PROFILES
                    .map(|(name, profile)| (name, default_action(entry.rule, profile).as_str())),
            ),
            switchable: entry.enforcement.fixed().is_none(),
            policy: entry.policy,
            by_release: entry.by_release,
            repairs: hint::of_rule(entry.rule).iter().map(Repair::name).collect(),
            checks: entry.checks,
        }
    }
}

fn write_table(out: &mut impl Write) -> io::Result<()> {
    let [(first, _), (second, _)] = PROFILES;
    let head = ["RULE", "STATUS", "SCIMTYPE", first, second, "SWITCH", "CHECKS"].map(String::from);
    let rows = TABLE.iter().map(Row::new).map(|row| {
        let [(_, first), (_, second)] = row.actions.0;
        [
            row.id.to_string(),
            row.status.to_string(),
            row.scim_type.unwrap_or("-").to_string(),
            first.to_string(),
            second.to_string(),
            if row.switchable { "yes" } else { "no" }.to_string(),
            match row.by_release {
                Some(how) => format!("{} {how}", row.checks),
                None => row.checks.to_string(),
            },
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(rows).collect();
    table::write(&rows, out)
}
