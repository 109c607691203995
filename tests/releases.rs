//! The guard in front of each release of Wire, over real sockets: what is forwarded to each
//! release, and how its answers are compared with the guard's verdicts.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod support;

use serde_json::{Value, json};
use support::{Backend, Guarded, Reply, Response, USER, answer, head, user, wait_until};
use wire_scim_guard::config::Config;
use wire_scim_guard::policy::{Action, Identity};
use wire_scim_guard::release::{Release, Releases};
use wire_scim_guard::standin::{Standin, TOKEN, USER_ID};

/// A change of a work address as Entra ID sends it.
const ENTRA: &str = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Add","path":"emails[type eq \"work\"].value","value":"new@example.com"}]}"#;

/// A request to the stand-in, with one of its tokens.
fn request(method: &str, target: &str, body: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: wire.example\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/scim+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn wire(release: Release) -> Standin {
    Standin::of_release("127.0.0.1:0".parse().unwrap(), release).unwrap()
}

fn guarded(standin: &Standin, releases: Releases) -> Guarded {
    Guarded::configured(&[standin.addr()], |config| config.policy.releases = releases)
}

/// Creates a user with a work address and returns its path.
fn created(guarded: &Guarded) -> String {
    let body = r#"{"userName":"anna.b","externalId":"anna@example.com","displayName":"Anna","emails":[{"value":"old@example.com","type":"work"}]}"#;
    let answer = guarded.ask(request("POST", "/scim/v2/Users", body));
    assert_eq!(answer.status, 201);
    format!("/scim/v2/Users/{}", answer.json()["id"].as_str().unwrap())
}

fn addresses(guarded: &Guarded, path: &str) -> Vec<String> {
    let user = guarded.ask(request("GET", path, "")).json();
    let emails = user["emails"].as_array().unwrap();
    emails.iter().map(|entry| entry["value"].as_str().unwrap().to_owned()).collect()
}

fn agreement(rule: &str, outcome: &str) -> String {
    format!("scim_guard_agreement_total{{outcome=\"{outcome}\",rule=\"{rule}\"}}")
}

#[test]
fn entra_work_address_patch_is_forwarded_to_a_release_that_serves_it() {
    for releases in [Releases::Any, Releases::Only(Release::R5_35)] {
        let standin = wire(Release::R5_35);
        let guarded = guarded(&standin, releases);
        let path = created(&guarded);
        let answer = guarded.ask(request("PATCH", &path, ENTRA));
        assert_eq!((answer.status, answer.rule()), (200, "-"), "{releases:?}");
        assert_eq!(addresses(&guarded, &path), ["new@example.com"]);
        guarded.wait_metric(&agreement("none", "agreed"), 3.0);
    }
}

#[test]
fn with_an_unknown_release_an_older_wire_refuses_the_patch_itself() {
    let standin = wire(Release::R5_34);
    let guarded = guarded(&standin, Releases::Any);
    let path = format!("/scim/v2/Users/{USER_ID}");
    let answer = guarded.ask(request("PATCH", &path, ENTRA));
    assert_eq!((answer.status, answer.rule()), (400, "-"));
    let error = answer.json();
    assert_eq!(error["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
    assert_eq!(error["scimType"], "invalidPath");
    // The guard left the verdict to Wire.
    guarded.wait_metric(&agreement("none", "agreed"), 1.0);
    assert_eq!(guarded.disagreements(), [] as [Value; 0]);
}

#[test]
fn with_a_known_older_release_the_guard_refuses_the_patch() {
    let standin = wire(Release::R5_34);
    let guarded = guarded(&standin, Releases::Only(Release::R5_34));
    let before = standin.connections();
    let answer = guarded.ask(request("PATCH", &format!("/scim/v2/Users/{USER_ID}"), ENTRA));
    answer.refused("patch.path");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    for said in
        ["Operations[0].path", "emails", "5.35", "wire.release", "Only during object creation"]
    {
        assert!(detail.contains(said), "{said}: {detail}");
    }
    assert_eq!(standin.connections(), before);
    let line = guarded.access_line(1);
    assert_eq!(line["at"], json!(["Operations[0].path"]));
}

/// A POST of a user with these attributes changed, to a backend that answers with this status
/// and body.
fn posted(
    change: &Value,
    configure: impl FnOnce(&mut Config),
    status: u16,
    body: &str,
) -> (Guarded, Response) {
    let bytes = answer(status, body);
    let backend = Backend::start(move |_| Reply::Bytes(bytes.clone()));
    let guarded = Guarded::configured(&[backend.addr], configure);
    let mut json: Value = serde_json::from_slice(&user(300)).unwrap();
    json.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let body = json.to_string();
    let request = head("POST", "/scim/v2/Users")
        + &format!("X-Request-Id: req.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = guarded.ask(request);
    (guarded, answer)
}

fn report(config: &mut Config) {
    config.policy.cap(Action::Report);
}

const REFUSED: &str = r#"{"detail":"alice@example.com is taken","schemas":[],"scimType":"invalidValue","status":"400"}"#;

#[test]
fn a_reported_rule_is_confirmed_when_wire_refuses() {
    let (guarded, _) = posted(&json!({"roles": ["king"]}), report, 400, REFUSED);
    guarded.wait_metric(&agreement("user.roles", "confirmed"), 1.0);
    let line = guarded.access_line(1);
    assert_eq!((&line["reported"], &line["at"]), (&json!(["user.roles"]), &json!(["roles[0]"])));
    assert_eq!(guarded.disagreements(), [] as [Value; 0]);
}

#[test]
fn a_reported_rule_is_overruled_and_logged_when_wire_serves() {
    let (guarded, _) = posted(&json!({"roles": ["king"]}), report, 201, r#"{"id":"alice"}"#);
    guarded.wait_metric(&agreement("user.roles", "overruled"), 1.0);
    wait_until("a line", || !guarded.disagreements().is_empty());
    let expected = json!({
        "level": "Warn", "msgs": ["agreement"], "request": "req.1", "handler": "/scim/v2/Users",
        "method": "POST", "outcome": "overruled", "rule": "user.roles", "at": "roles[0]",
        "status": 201, "scimType": null,
    });
    assert_eq!(guarded.disagreements(), [expected]);
}

#[test]
fn an_unpredicted_refusal_is_counted_as_missed_and_logged_with_its_scim_type() {
    for (body, scim_type) in [
        (REFUSED, json!("invalidValue")),
        ("plain text", Value::Null),
        (r#"{"scimType":"alice@example.com"}"#, Value::Null),
    ] {
        let (guarded, answer) = posted(&json!({}), |_| {}, 400, body);
        // The answer is passed on unchanged.
        assert_eq!((answer.status, answer.body.as_slice()), (400, body.as_bytes()));
        guarded.wait_metric(&agreement("none", "missed"), 1.0);
        wait_until("a line", || !guarded.disagreements().is_empty());
        let line = &guarded.disagreements()[0];
        assert_eq!(line["outcome"], "missed");
        assert_eq!((&line["rule"], &line["at"]), (&Value::Null, &Value::Null));
        assert_eq!((&line["status"], &line["scimType"]), (&json!(400), &scim_type), "{line}");
        assert!(!line.to_string().contains("alice@"), "{line}");
    }
}

#[test]
fn refusals_that_only_wire_can_decide_count_as_agreed() {
    for status in [201, 401, 403, 404, 409, 412] {
        let (guarded, _) = posted(&json!({}), |_| {}, status, "{}");
        guarded.wait_metric(&agreement("none", "agreed"), 1.0);
    }
    // The identity mode decides: without SAML, externalId would have to be an email address.
    let (guarded, _) = posted(&json!({"externalId": "name-id"}), |_| {}, 400, REFUSED);
    guarded.wait_metric(&agreement("none", "agreed"), 1.0);
    // With a known identity mode, the guard did not expect Wire's refusal.
    let saml = |config: &mut Config| config.policy.identity = Identity::Saml;
    let (guarded, _) = posted(&json!({"externalId": "name-id"}), saml, 400, REFUSED);
    guarded.wait_metric(&agreement("none", "missed"), 1.0);
}

#[test]
fn other_statuses_and_missing_answers_count_as_undecided() {
    for status in [302, 500, 503] {
        let (guarded, _) = posted(&json!({}), |_| {}, status, "{}");
        guarded.wait_metric(&agreement("none", "undecided"), 1.0);
    }
    let backend = Backend::start(|_| Reply::Reset);
    let guarded = Guarded::before(&backend);
    guarded.ask(support::control()).refused("upstream.answer");
    guarded.wait_metric(&agreement("none", "undecided"), 1.0);
}

#[test]
fn requests_that_are_not_judged_or_not_forwarded_are_not_counted() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    assert_eq!(guarded.ask(request("GET", "/scim/auth-tokens", "")).status, 200);
    guarded.ask(request("GET", "/scim/v2/Users", "")).refused("filter.required");
    assert_eq!(guarded.ask(request("DELETE", USER, "")).status, 200);
    guarded.wait_metric(&agreement("none", "agreed"), 1.0);
    let all: f64 = ["missed", "overruled", "confirmed", "undecided"]
        .iter()
        .map(|outcome| guarded.metric(&agreement("none", outcome)))
        .sum();
    assert!(all < 0.5, "{all}");
}

#[test]
fn a_429_from_wire_gets_a_retry_after() {
    for (status, body) in [(420, ""), (429, ""), (429, "slow down")] {
        let bytes = answer(status, body);
        let backend = Backend::start(move |_| Reply::Bytes(bytes.clone()));
        let guarded = Guarded::before(&backend);
        let answer = guarded.ask(support::control());
        assert_eq!(answer.status, 429, "{status} {body:?}");
        assert_eq!(answer.header("retry-after"), Some("1"), "{status} {body:?}");
        if body.is_empty() {
            answer.refused("upstream.throttled");
        } else {
            assert_eq!(answer.body, body.as_bytes());
        }
    }
}
