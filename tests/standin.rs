//! The stand-in over real sockets, without the guard: it answers the corpus as Wire did.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{Client, Response, corpus};
use wire_scim_guard::release::Release;
use wire_scim_guard::standin::{Standin, TOKEN, USER_ID};

fn start() -> Standin {
    of_release(Release::NEWEST)
}

fn of_release(release: Release) -> Standin {
    Standin::of_release("127.0.0.1:0".parse().unwrap(), release).unwrap()
}

fn ask(standin: &Standin, method: &str, target: &str, body: Option<&Value>) -> Response {
    let body = body.map_or_else(String::new, Value::to_string);
    let mut client = Client::connect(standin.addr());
    client.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: wire.example\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/scim+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    client.response_to(method).unwrap()
}

#[test]
fn a_provisioning_cycle() {
    let standin = start();
    let user =
        json!({"userName": "Alice", "externalId": "alice@example.com", "displayName": "Alice"});
    let created = ask(&standin, "POST", "/scim/v2/Users", Some(&user));
    assert_eq!(created.status, 201);
    assert_eq!(created.json()["userName"], "alice");
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let taken = ask(&standin, "POST", "/v8/scim/v2/Users/", Some(&user));
    assert_eq!((taken.status, &taken.json()["scimType"]), (409, &json!("uniqueness")));
    let found = ask(&standin, "GET", "/scim/v2/Users?filter=userName%20eq%20%22ALICE%22", None);
    assert_eq!(found.json()["Resources"][0]["id"], id.as_str());
    let off = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "Replace", "path": "active", "value": "False"}]
    });
    let target = format!("/scim/v2/Users/{id}");
    assert_eq!(ask(&standin, "PATCH", &target, Some(&off)).json()["active"], false);
    assert_eq!(ask(&standin, "PUT", &target, Some(&user)).json()["active"], true);
    assert_eq!(ask(&standin, "DELETE", &target, None).status, 204);
    assert_eq!(ask(&standin, "DELETE", &target, None).status, 204);
    assert_eq!(ask(&standin, "GET", &target, None).status, 404);
}

fn patch(standin: &Standin, target: &str, operation: &Value) -> Response {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [operation]
    });
    ask(standin, "PATCH", target, Some(&body))
}

/// Creates a user with these emails and returns its path.
fn provisioned(standin: &Standin, emails: &Value) -> (Response, String) {
    let user = json!({
        "userName": "bob", "externalId": "b-1", "displayName": "Bob", "emails": emails
    });
    let created = ask(standin, "POST", "/scim/v2/Users", Some(&user));
    assert_eq!(created.status, 201);
    let target = format!("/scim/v2/Users/{}", created.json()["id"].as_str().unwrap());
    (created, target)
}

#[test]
fn from_5_35_on_a_value_path_changes_an_address_with_a_type() {
    let standin = of_release(Release::R5_35);
    let sent = json!([
        {"value": "old@example.com", "type": "home"},
        {"value": "work@example.com", "type": "work", "primary": true}
    ]);
    let (created, target) = provisioned(&standin, &sent);
    // One address is stored, as it was sent.
    assert_eq!(created.json()["emails"], json!([sent[1]]));
    let new = json!({
        "op": "Add", "path": "emails[type eq \"work\"].value", "value": "new@example.com"
    });
    let changed = patch(&standin, &target, &new);
    let kept = json!([{"value": "new@example.com", "type": "work", "primary": true}]);
    assert_eq!((changed.status, &changed.json()["emails"]), (200, &kept));
    assert_eq!(ask(&standin, "GET", &target, None).json()["emails"], kept);
}

#[test]
fn a_value_path_has_no_effect_on_an_address_without_a_type() {
    let standin = of_release(Release::R5_35);
    let (_, target) = provisioned(&standin, &json!([{"value": "old@example.com"}]));
    let new = json!({
        "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "new@example.com"
    });
    let changed = patch(&standin, &target, &new);
    assert_eq!(
        (changed.status, &changed.json()["emails"]),
        (200, &json!([{"value": "old@example.com"}]))
    );
}

#[test]
fn before_5_35_value_paths_are_refused_and_types_are_dropped() {
    let standin = of_release(Release::R5_34);
    let sent = json!([{"value": "work@example.com", "type": "work", "primary": true}]);
    let (created, target) = provisioned(&standin, &sent);
    assert_eq!(created.json()["emails"], json!([{"value": "work@example.com"}]));
    let refused =
        patch(&standin, &target, &json!({"op": "remove", "path": "emails[type eq \"x\"]"}));
    assert_eq!((refused.status, &refused.json()["scimType"]), (400, &json!("invalidPath")));
}

#[test]
fn from_5_35_on_two_primary_addresses_are_refused() {
    let user = json!({
        "userName": "carol", "externalId": "c-1", "displayName": "Carol", "emails": [
            {"value": "one@example.com", "primary": "True"}, {"value": "two@example.com", "primary": true}
        ]
    });
    let served = ask(&of_release(Release::R5_34), "POST", "/scim/v2/Users", Some(&user));
    assert_eq!(
        (served.status, &served.json()["emails"][0]["value"]),
        (201, &json!("one@example.com"))
    );
    let refused = ask(&of_release(Release::R5_35), "POST", "/scim/v2/Users", Some(&user));
    assert_eq!((refused.status, &refused.json()["scimType"]), (400, &json!("invalidValue")));
}

/// Why an answer differs from Wire's status, where that does not depend on Wire's stored data.
fn differs(row: &Value, status: Option<u64>, answer: &Response) -> Option<String> {
    match status {
        Some(status) if u64::from(answer.status) == status => None,
        Some(status) => Some(format!("{} is not {status}", answer.status)),
        None if row["wire"] == "accept" && answer.status >= 400 && answer.status != 404 => {
            Some(format!("{} is a refusal", answer.status))
        }
        None => None,
    }
}

#[test]
fn the_stand_in_answers_corpus_requests_as_each_release_does() {
    let changed: BTreeMap<String, u64> = corpus::rows("changed-in-5.35.jsonl")
        .iter()
        .filter(|row| row["file"] == "requests.jsonl")
        .map(|row| {
            let now = &row["5.35"]["email"];
            (row["id"].to_string(), now["status"].as_u64().unwrap_or(200))
        })
        .collect();
    assert!(!changed.is_empty());
    for release in Release::ALL {
        let now = |row: &Value| match changed.get(&row["id"].to_string()) {
            Some(status) if release == Release::R5_35 => Some(*status),
            _ => row["wire_status"].as_u64(),
        };
        answers_the_requests_of_the_corpus(release, now);
    }
}

fn answers_the_requests_of_the_corpus(release: Release, wire: impl Fn(&Value) -> Option<u64>) {
    let mut differences = BTreeMap::new();
    let mut compared = 0;
    for row in corpus::rows("requests.jsonl") {
        let method = row["method"].as_str().unwrap();
        // Excluded: HTTP framing, which the stand-in does not model; refusals that depend on Wire's stored data;
        // and OPTIONS, which the nginx in front of Wire answers.
        let by_state = row["wire"] == "reject" && row["proxy"] == "forward";
        if row["raw_base64"].is_string() || by_state || method == "OPTIONS" {
            continue;
        }
        let standin = of_release(release);
        let body: Value = serde_json::from_slice(&corpus::body(&row)).unwrap_or_default();
        for member in body["members"].as_array().into_iter().flatten() {
            if let Some(id) = member["value"].as_str() {
                standin.wire().add_user(&id.to_lowercase());
            }
        }
        // Attack rows are judged by the target as it was sent, the others by the canonical one.
        let canonical = row["canonical_target"].as_str().filter(|_| row["attack"] != true);
        let mut request = corpus::request(&row, canonical);
        if row["target"].as_str().is_some_and(|target| target.contains("/scim/auth-tokens")) {
            // The header in which the nginx in front passes on who is logged in.
            let end = request.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
            request.splice(end..end, *b"Z-User: 00000000-0000-4000-8000-000000000002\r\n");
        }
        let mut client = Client::connect(standin.addr());
        client.send(request);
        let answer = client.response_to(method);
        compared += 1;
        let why = answer
            .as_ref()
            .map_or(Some("no answer".to_owned()), |answer| differs(&row, wire(&row), answer));
        if let Some(why) = why {
            differences.insert(
                row["id"].to_string(),
                format!("{} | {} | {}", why, row["what"], row["reason"]),
            );
        }
    }
    assert!(compared > 500, "the corpus is incomplete");
    assert!(differences.is_empty(), "{} of {compared}: {differences:#?}", differences.len());
}

#[test]
fn the_stand_in_routes_corpus_targets_as_wire_does() {
    let standin = start();
    let faulty = json!({
        "schemas": [], "userName": "bad one", "externalId": "a@example.com", "displayName": "A", "members": []
    });
    let mut differences = Vec::new();
    for row in corpus::rows("targets.jsonl") {
        let (method, target) = (row["method"].as_str().unwrap(), row["target"].as_str().unwrap());
        // A group has no handle that could be invalid.
        let answer = ask(&standin, method, target, Some(&faulty));
        let status = row["wire_status"].as_u64().unwrap();
        if u64::from(answer.status) != status {
            differences.push(format!("{} {target}: {} is not {status}", row["id"], answer.status));
        }
    }
    assert!(differences.is_empty(), "{}: {differences:#?}", differences.len());
    assert_eq!(ask(&standin, "GET", &format!("/scim/v2/Users/{USER_ID}"), None).status, 200);
}
