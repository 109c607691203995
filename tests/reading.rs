//! The stand-in's parsing and validation against the corpus: it is an independent implementation of the same
//! contract, and has to agree with Wire everywhere, also where the guard is stricter.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod support;

use std::collections::HashMap;

use serde_json::{Value, json};
use support::corpus;
use wire_scim_guard::release::Release;
use wire_scim_guard::standin::reading::{self, Email, Fault, Mode, User};

const MODES: [(Mode, &str); 2] = [(Mode::Email, "email"), (Mode::Saml, "saml")];

/// The stored user of the corpus, to which PATCHes are applied.
fn sample() -> User {
    User {
        user_name: "sample".into(),
        external_id: Some("sample@example.com".into()),
        display_name: Some("Sample User".into()),
        emails: vec![Email::plain("sample@example.com")],
        active: Some(true),
        preferred_language: Some("en".into()),
        roles: vec!["member".into()],
        rich_info: vec![("Dept".into(), "Ops".into())],
        password: None,
    }
}

/// The outcome in the form of the corpus: ok with the parsed values, or status, scimType and stage.
fn outcome<T: serde::Serialize>(result: Result<T, Fault>) -> Value {
    match result {
        Ok(reading) => json!({"ok": true, "reading": reading}),
        Err(Fault::Parse(_)) => {
            json!({"ok": false, "status": 400, "scimType": null, "parse": true})
        }
        Err(Fault::Rule { status, scim_type, .. }) => {
            json!({"ok": false, "status": status, "scimType": scim_type, "parse": false})
        }
    }
}

fn read(kind: &str, body: &[u8], mode: Mode, release: Release) -> Value {
    match kind {
        "user" => {
            outcome(reading::user(body).and_then(|user| reading::validate(&user, mode, release)))
        }
        "patch" => outcome(
            reading::patch(body)
                .and_then(|patch| patch.apply(&sample(), release))
                .and_then(|user| reading::validate(&user, mode, release)),
        ),
        "group" => outcome(reading::group(body).map(drop)),
        _ => {
            let Ok(text) = std::str::from_utf8(body) else {
                return outcome::<()>(Err(Fault::Parse(String::new())));
            };
            match kind {
                "filter" => outcome(reading::user_filter(text).map(drop)),
                _ => outcome(reading::group_filter(text).map(drop)),
            }
        }
    }
}

fn differs(wire: &Value, got: &Value) -> bool {
    let reading =
        wire["ok"] == true && wire["reading"].is_object() && wire["reading"] != got["reading"];
    let fault = wire["ok"] == false
        && (wire["status"] != got["status"]
            || wire["scimType"] != got["scimType"]
            || (wire["stage"].is_string() && (wire["stage"] == "parse") != (got["parse"] == true)));
    wire["ok"] != got["ok"] || reading || fault
}

/// The differences between the stand-in and Wire.
#[derive(Default)]
struct Comparison {
    compared: usize,
    differences: Vec<String>,
}

impl Comparison {
    /// Compares one row; `wire` is an outcome for each identity mode, or one for both.
    fn compare(&mut self, row: &Value, wire: &Value, release: Release) {
        let (kind, body) = (row["kind"].as_str().unwrap(), corpus::body(row));
        for (mode, name) in MODES {
            let wire = if matches!(kind, "user" | "patch") { &wire[name] } else { wire };
            assert!(wire["ok"].is_boolean(), "{row}");
            let got = read(kind, &body, mode, release);
            self.compared += 1;
            if differs(wire, &got) {
                let body: String = String::from_utf8_lossy(&body).chars().take(300).collect();
                self.differences.push(format!(
                    "{} {} {name}\n  wire {wire}\n  got  {got}\n  {body}",
                    row["id"],
                    release.as_str()
                ));
            }
        }
    }

    fn agrees(&self, least: usize) {
        let Self { compared, differences } = self;
        assert!(*compared >= least, "the corpus is incomplete: {compared}");
        assert!(
            differences.is_empty(),
            "{} differ:\n{}",
            differences.len(),
            differences.join("\n")
        );
    }
}

#[test]
fn the_stand_in_judges_every_corpus_payload_as_wire_does() {
    let mut comparison = Comparison::default();
    for row in corpus::rows("payloads.jsonl") {
        comparison.compare(&row, &row["wire"], Release::R5_34);
    }
    comparison.agrees(7500);
}

#[test]
fn the_5_35_stand_in_differs_only_in_the_changed_corpus_rows() {
    let changed: HashMap<String, Value> = corpus::rows("changed-in-5.35.jsonl")
        .into_iter()
        .filter(|row| row["file"] == "payloads.jsonl")
        .map(|row| (row["id"].as_str().unwrap().to_owned(), row["5.35"].clone()))
        .collect();
    let (mut comparison, mut overridden) = (Comparison::default(), 0);
    for row in corpus::rows("payloads.jsonl") {
        let now = changed.get(row["id"].as_str().unwrap());
        overridden += usize::from(now.is_some());
        comparison.compare(&row, now.unwrap_or(&row["wire"]), Release::R5_35);
    }
    assert!(overridden > 0 && overridden == changed.len(), "{overridden} of {}", changed.len());
    comparison.agrees(7500);
}

#[test]
fn the_stand_in_judges_the_changed_rows_as_each_release_does() {
    let mut comparison = Comparison::default();
    for row in corpus::rows("payloads-5.35.jsonl") {
        for release in Release::ALL {
            comparison.compare(&row, &row["wire"][release.as_str()], release);
        }
    }
    comparison.agrees(4800);
}
