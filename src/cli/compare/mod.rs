//! `compare`: finds out which release of Wire a live backend behaves as, and where it differs from the known ones.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;
use ureq::http::Method;
use uuid::Uuid;

use super::backend::{Answer, Backend};
use super::{Failure, Outcome, REFUSED, report_error};
use crate::cli::secret_file::first_line;
use crate::repair::group_patch::PATCH_OP;
use crate::secret::{Secret, redacted};

mod client;
mod probe;
mod report;
mod table;
mod test_user;

use client::{Client, Request};
use probe::{Body, Got, Ids, Needs, Probe};
use report::Report;
use table::PROBES;
use test_user::TestUser;

/// Find out which release of Wire a live backend reads SCIM as, and where it differs from the known ones.
///
/// Sends GETs, and PUTs and PATCHes that Wire refuses: to a random id, and to the test user, who is not
/// changed. Never sends a POST or DELETE, and at most 5 requests per second. Without a token, sends only what
/// Wire answers before it looks at one; telling releases apart needs a test user.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
                        wire-scim-guard compare --backend https://wire.example.com\n  \
                        wire-scim-guard compare --backend http://spar:8080 --token-file token \
                        --test-user 5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f\n\n\
                        Exit codes: 0 it behaves as a known release, or no request told releases apart; \
                        1 it differs; 2 no comparison was possible.")]
pub struct Arguments {
    /// The Wire backend, such as `https://wire.example.com`; nginz or spar, not a guard
    #[arg(long, value_name = "URL")]
    backend: String,

    /// A file whose first line is a SCIM token of the team
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The id of an active user of the team, provisioned over SCIM and used for tests only
    #[arg(long, value_name = "ID", requires = "token_file", value_parser = user_id)]
    test_user: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// A file with certificates (PEM) of authorities to trust, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    let backend = Backend::new(&arguments.backend, arguments.ca.as_deref())?;
    let token = arguments.token_file.as_deref().map(token).transpose()?;
    if token.is_some() && backend.is_exposed() {
        report_error("warning: the token goes over the network in clear text (http://)");
    }
    let has_token = token.is_some();
    let mut comparison = Comparison {
        client: Client::new(backend, token),
        has_token,
        ids: Ids::new(arguments.test_user.clone()),
        has_test_user: arguments.test_user.is_some(),
    };
    let report = comparison.run()?;
    report.write(&comparison.ids, arguments.json, out)?;
    Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

fn user_id(text: &str) -> Result<String, &'static str> {
    match Uuid::try_parse(text) {
        // Wire accepts no other form of a UUID.
        Ok(_) if text.len() == 36 => Ok(text.to_owned()),
        _ => Err("a user's id is a UUID, such as 5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f"),
    }
}

fn token(path: &Path) -> Result<Secret, Failure> {
    // SECURITY: the token itself may have been passed instead of the file.
    let line = first_line(path).map_err(|failure| match failure {
        Failure::Unusable(sentence) => Failure::Unusable(redacted(&sentence)),
        other => other,
    })?;
    let token = line.reveal().trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::Unusable(format!(
            "{}: the first line is not a SCIM token; write the 44 characters that Wire returned, and nothing else",
            path.display()
        )));
    }
    Ok(Secret::new(token))
}

struct Comparison {
    client: Client,
    has_token: bool,
    has_test_user: bool,
    ids: Ids,
}

impl Comparison {
    fn run(&mut self) -> Result<Report, Failure> {
        self.check_backend()?;
        let before = if self.has_test_user { Some(self.test_user()?) } else { None };
        let mut report = Report::default();
        for probe in PROBES {
            let is_given = match probe.needs {
                Needs::Nothing => true,
                Needs::Token => self.has_token,
                Needs::TestUser => before.is_some(),
            };
            if !is_given {
                report.left_out.push(probe);
                continue;
            }
            let got = self.ask(probe, before.as_ref())?;
            let accepted = (200..300).contains(&got.status);
            report.answered.push((probe, got));
            // An accepted request may have changed the user; after a change, nothing more is sent.
            if let Some(before) = before.as_ref()
                && probe.needs == Needs::TestUser
                && accepted
            {
                report.changed = Some(before.changed(&self.test_user()?));
                if report.has_changed_user() {
                    return Ok(report);
                }
            }
        }
        if let Some(before) = before {
            report.changed = Some(before.changed(&self.test_user()?));
        }
        Ok(report)
    }

    /// Fails if the backend has no SCIM API.
    fn check_backend(&mut self) -> Result<(), Failure> {
        const CONFIG: &str = "/scim/v2/ServiceProviderConfig";
        let status = self.get(CONFIG, false)?.status;
        if status.as_u16() == 200 {
            return Ok(());
        }
        Err(self.client.unusable(&format!(
            "answered {} to {CONFIG}; is this the address of a Wire backend with SCIM?",
            status.as_u16()
        )))
    }

    fn test_user(&mut self) -> Result<TestUser, Failure> {
        let answer = self.get(&self.ids.fill("/scim/v2/Users/{user}"), true)?;
        let status = answer.status.as_u16();
        match (status, TestUser::read(&answer.body)) {
            (200, Some(user)) => Ok(user),
            (401 | 403, _) => Err(self.refused(status)),
            (404, _) => {
                Err(self.client.unusable("does not know the test user in the team of this token"))
            }
            _ => Err(self.client.unusable(&format!(
                "answered {status} to a GET of the test user, without a SCIM user"
            ))),
        }
    }

    fn refused(&self, status: u16) -> Failure {
        self.client.unusable(&format!(
            "refuses the token in --token-file ({status}); `wire-scim-guard token list` shows which tokens the \
             team has"
        ))
    }

    fn get(&mut self, target: &str, with_token: bool) -> Result<Answer, Failure> {
        self.client.ask(&Request {
            method: Method::GET,
            target,
            headers: &[],
            body: None,
            with_token,
        })
    }

    fn ask(&mut self, probe: &Probe, user: Option<&TestUser>) -> Result<Got, Failure> {
        let headers = probe.headers.iter().map(|(name, value)| (*name, self.ids.fill(value)));
        let headers: Vec<(&str, String)> = headers.collect();
        let with_token = probe.needs != Needs::Nothing;
        let answer = self.client.ask(&Request {
            method: probe.verb.method(),
            target: &self.ids.fill(probe.target),
            headers: &headers,
            body: self.body(probe, user),
            with_token,
        })?;
        let status = answer.status.as_u16();
        if with_token && matches!(status, 401 | 403) {
            return Err(self.refused(status));
        }
        // SECURITY: longer than every scimType, and bounded, so that a server cannot flood the report.
        let scim_type =
            answer.body["scimType"].as_str().map(|text| text.chars().take(64).collect());
        Ok(Got { status, scim_type })
    }

    fn body(&self, probe: &Probe, user: Option<&TestUser>) -> Option<String> {
        let patch = |operations: &str| {
            format!(r#"{{"schemas":["{PATCH_OP}"],"Operations":[{operations}]}}"#)
        };
        Some(match probe.body {
            Body::None => return None,
            Body::Raw(text) => self.ids.fill(text),
            Body::Patch(operations) => patch(&self.ids.fill(operations)),
            Body::Trial(operation) => {
                let operation: Value = serde_json::from_str(&self.ids.fill(operation))
                    .expect("the operations of trials are JSON");
                let operations = user?.trial(&operation);
                patch(&operations.iter().map(Value::to_string).collect::<Vec<_>>().join(","))
            }
        })
    }
}
