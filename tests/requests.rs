//! Every whole request and every target of the corpus over real sockets, in the profile `as-served`: verdict,
//! status, scimType, and the target and body that the backend received.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use support::{Backend, Client, Guarded, Response, Seen, corpus};
use wire_scim_guard::config::{Config, PathPolicy};
use wire_scim_guard::policy::{Identity, Policy, Profile};
use wire_scim_guard::release::{Release, Releases};

/// Rows that are known to differ, with the reason. It should stay empty.
const DIFFERING: [(&str, &str); 0] = [];

/// The rules that may refuse what Wire serves, and whose status and scimType may differ from Wire's.
fn is_stricter(rule: &str) -> bool {
    rule.starts_with("json.")
        || rule.starts_with("token.")
        || rule.starts_with("framing.")
        || rule.starts_with("limits.")
        || ["target.ambiguous", "body.too_large", "body.encoding", "user.user_name.reserved"]
            .contains(&rule)
}

/// The two rules that the profile `documented` adds.
const DOCUMENTED: [&str; 2] = ["user.user_name.case", "user.display_name.required"];

fn judging(config: &mut Config, profile: Profile, releases: Releases) {
    // One row is a head that never ends.
    config.limits.header_timeout = Duration::from_millis(500);
    config.policy = Policy::new(profile, Identity::Any);
    config.policy.releases = releases;
}

/// The rows for a release: 5.35 serves some requests that 5.34 refuses.
fn rows(releases: Releases) -> Vec<Value> {
    let mut rows = corpus::rows("requests.jsonl");
    assert!(rows.len() > 500, "the corpus is incomplete");
    if releases == Releases::Only(Release::R5_34) {
        return rows;
    }
    let changed = corpus::rows("changed-in-5.35.jsonl");
    let changed: Vec<_> = changed.iter().filter(|row| row["file"] == "requests.jsonl").collect();
    assert!(!changed.is_empty());
    for change in changed {
        assert_eq!(change["what"], "served now", "{change}");
        let row = rows.iter_mut().find(|row| row["id"] == change["id"]).unwrap();
        row["wire"] = "accept".into();
        row["proxy"] = "forward".into();
        row["canonical_target"] = row["target"].clone();
    }
    rows
}

/// Wire treats an empty query like none; the guard forwards it unchanged.
fn carried(target: &str) -> &str {
    target.trim_end_matches('?')
}

/// Why a row's outcome differs from the corpus.
fn difference(row: &Value, answer: Option<&Response>, seen: &[Seen]) -> Option<String> {
    let Some(answer) = answer else { return Some("no answer".into()) };
    let rule = answer.rule();
    let proxy = row["proxy"].as_str().unwrap();
    if rule == "-" {
        if proxy == "reject" {
            return Some(format!("false pass, answered {}", answer.status));
        }
        let [seen, ..] = seen else {
            return Some(format!("the backend saw {} requests", seen.len()));
        };
        let target =
            row["canonical_target"].as_str().or(row["target"].as_str()).unwrap_or_default();
        let line = format!("{} {} HTTP/1.1", row["method"].as_str().unwrap(), carried(target));
        if seen.line().replace("? HTTP", " HTTP") != line {
            return Some(format!("the backend got {:?}, not {line:?}", seen.line()));
        }
        // Raw rows frame their body themselves; bodies of GET and DELETE are dropped.
        let judged = row["raw_base64"].is_null()
            && !matches!(row["method"].as_str(), Some("GET" | "HEAD" | "DELETE"));
        return (judged && seen.body != corpus::body(row))
            .then(|| "the backend got another body".into());
    }
    // What is pipelined after a refused request is a request of its own.
    let pipelined =
        row["raw_base64"].is_string() && seen.iter().all(|seen| seen.line().starts_with("DELETE"));
    if !seen.is_empty() && !pipelined {
        return Some(format!("refused by {rule}, but the backend saw it"));
    }
    if proxy == "forward" {
        return Some(format!("false refusal by {rule}: {}", String::from_utf8_lossy(&answer.body)));
    }
    if let Some(status) = row["proxy_status"].as_u64()
        && u64::from(answer.status) != status
    {
        return Some(format!("status {} by {rule}, not {status}", answer.status));
    }
    if answer.header("content-type") != Some("application/scim+json;charset=utf-8") {
        return Some(format!("refused by {rule} without a SCIM error"));
    }
    let scim_type = row["scim_type"].as_str();
    let answered = (!answer.body.is_empty()).then(|| answer.json()["scimType"].clone());
    let differs =
        scim_type.is_some() && answered.is_some_and(|answered| answered != row["scim_type"]);
    (differs && !is_stricter(rule))
        .then(|| format!("another scimType by {rule} than {scim_type:?}"))
}

#[test]
fn every_corpus_request_is_judged_as_wire_judges_it() {
    for releases in [Releases::Only(Release::R5_34), Releases::Only(Release::R5_35), Releases::Any]
    {
        send_all_rows(Profile::AsServed, releases);
    }
}

#[test]
fn the_documented_profile_enforces_exactly_two_more_rules() {
    send_all_rows(Profile::Documented, Releases::Any);
}

#[allow(clippy::print_stdout, reason = "the counts of the corpus, for `--nocapture`")]
fn send_all_rows(profile: Profile, releases: Releases) {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        judging(config, profile, releases);
    });
    let rows = rows(releases);
    let (mut forwarded, mut refused) = (0, BTreeMap::<String, usize>::new());
    let (mut stricter, mut differences) = (BTreeMap::<String, usize>::new(), BTreeMap::new());
    for row in &rows {
        let before = backend.seen().len();
        let mut client = Client::connect(guarded.addr);
        client.send(corpus::request(row, None));
        let answer = client.response_to(row["method"].as_str().unwrap());
        // Everything that follows in a raw request is served too before the next row begins.
        client.finish();
        let seen = backend.seen().split_off(before);
        let rule = answer.as_ref().map(Response::rule);
        match rule {
            Some("-") => forwarded += 1,
            Some(rule) => *refused.entry(rule.to_owned()).or_default() += 1,
            None => {}
        }
        if let Some(rule) = rule.filter(|rule| *rule != "-" && row["wire"] == "accept") {
            *stricter.entry(rule.to_owned()).or_default() += 1;
        }
        if rule.is_some_and(|rule| profile == Profile::Documented && DOCUMENTED.contains(&rule)) {
            assert!(seen.is_empty(), "{}", row["id"]);
            continue;
        }
        if let Some(why) = difference(row, answer.as_ref(), &seen) {
            differences.insert(row["id"].as_str().unwrap(), why);
        }
    }
    println!(
        "{profile:?} {releases:?}: rows {}, forwarded {forwarded}, refused {}, stricter than Wire {stricter:?}; {refused:#?}",
        rows.len(),
        refused.values().sum::<usize>(),
    );
    let listed: BTreeSet<&str> = DIFFERING.iter().map(|(id, _)| *id).collect();
    let found: BTreeSet<&str> = differences.keys().copied().collect();
    let new: Vec<_> = differences.iter().filter(|(id, _)| !listed.contains(*id)).collect();
    let fixed: Vec<_> = listed.difference(&found).collect();
    assert!(new.is_empty(), "{new:#?}");
    assert!(fixed.is_empty(), "no longer differing, remove them from the list: {fixed:?}");
}

/// A user and a group whose only fault is a handle that Wire refuses.
const FAULTY: &str = r#"{"schemas":[],"userName":"bad one","externalId":"a@example.com","displayName":"A","members":[]}"#;

#[test]
fn no_target_that_wire_serves_bypasses_the_guard() {
    for other_paths in [PathPolicy::Refuse, PathPolicy::Forward] {
        let backend = Backend::fine();
        let guarded = Guarded::configured(&[backend.addr], |config| {
            judging(config, Profile::AsServed, Releases::Any);
            config.other_paths = other_paths;
        });
        let rows = corpus::rows("targets.jsonl");
        assert!(rows.len() > 400, "the corpus is incomplete");
        let (mut judged, mut refused, mut passed) = (0, 0, 0);
        for row in &rows {
            let id = &row["id"];
            let (method, target) =
                (row["method"].as_str().unwrap(), row["target"].as_str().unwrap());
            let before = backend.seen().len();
            let mut client = Client::connect(guarded.addr);
            client.send(support::with_length(method, target, FAULTY.as_bytes()));
            let answer = client.response();
            let seen = backend.seen().split_off(before);
            match answer.rule() {
                "-" => {
                    assert_eq!(row["served"], false, "{id}: {target} bypassed the guard");
                    assert_eq!(other_paths, PathPolicy::Forward, "{id}: {target} was forwarded");
                    let target = seen[0].line().to_ascii_lowercase();
                    assert!(!target.contains("scim"), "{id}: {target}");
                    passed += 1;
                }
                "user.user_name" => judged += 1,
                _ => refused += 1,
            }
            assert_eq!(seen.is_empty(), answer.rule() != "-", "{id}: {target}");
        }
        println!("{other_paths:?}: judged {judged}, refused {refused}, passed on {passed}");
        assert!(judged > 0 && refused > 0);
        // The backend is reachable: a valid request arrives there.
        guarded.ask(support::control());
        assert!(backend.wait(passed + 1).line().starts_with("POST /scim/v2/Users "));
    }
}
