//! The stand-in's own reading of payloads, held against the corpus: it is a second reading of the
//! same contract, so it has to agree with Wire everywhere, not only where the guard does.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wire_scim_guard::standin::reading::{self, Fault, Mode, User};

/// The stored user of the corpus, to whom a PATCH is applied.
fn sample() -> User {
    User {
        user_name: "sample".into(),
        external_id: Some("sample@example.com".into()),
        display_name: Some("Sample User".into()),
        emails: vec![("sample@example.com".into(), false)],
        active: Some(true),
        preferred_language: Some("en".into()),
        roles: vec!["member".into()],
        rich_info: vec![("Dept".into(), "Ops".into())],
        password: None,
    }
}

/// The outcome in the form of the corpus: ok with a reading, or status, scimType and stage.
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

fn read(kind: &str, body: &[u8], mode: Mode) -> Value {
    match kind {
        "user" => outcome(reading::user(body).and_then(|user| reading::validate(&user, mode))),
        "patch" => outcome(
            reading::patch(body)
                .and_then(|patch| patch.apply(&sample()))
                .and_then(|user| reading::validate(&user, mode)),
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

#[test]
fn the_stand_in_reads_every_payload_of_the_corpus_as_wire_does() {
    let text = std::fs::read_to_string("tests/corpus/payloads.jsonl").unwrap();
    let (mut compared, mut differences) = (0, Vec::new());
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let body = match row["body_base64"].as_str() {
            Some(encoded) => STANDARD.decode(encoded).unwrap(),
            None => row["body"].as_str().unwrap().as_bytes().to_vec(),
        };
        let kind = row["kind"].as_str().unwrap();
        for (mode, name) in [(Mode::Email, "email"), (Mode::Saml, "saml")] {
            let wire =
                if matches!(kind, "user" | "patch") { &row["wire"][name] } else { &row["wire"] };
            let got = read(kind, &body, mode);
            compared += 1;
            if differs(wire, &got) {
                let body: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                differences
                    .push(format!("{} {name}\n  wire {wire}\n  got  {got}\n  {body}", row["id"]));
            }
        }
    }
    assert!(compared > 7000, "the corpus is not whole");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
