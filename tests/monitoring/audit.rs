//! The audit log.

use serde_json::{Value, json};
use wire_scim_guard::config::Audit;
use wire_scim_guard::hash_key::HashKey;
use wire_scim_guard::repair::{Repair, Repairs};

use crate::support::h2c;
use crate::support::program::Place;
use crate::support::{
    Backend, Client, Guarded, Reply, TOKEN, USER, answer, entry, head, ok, registry_file,
    wait_until, with_length,
};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const ID: &str = "3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3";
const NEW: &str = "9d2f7c1a-3b4e-4c5d-a6f7-8091a2b3c4d5";
const GROUP: &str = "/scim/v2/Groups/3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3";
const ALICE: &str = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"alice","displayName":"Alice","externalId":"alice@example.com"}"#;

fn audited(backend: &Backend) -> Guarded {
    Guarded::configured(&[backend.addr], |config| {
        let key = HashKey::read(KEY).unwrap();
        config.audit = Some(Audit { key: Some(key) });
        config.tokens = Some(registry_file(&[entry("okta", TOKEN, "")]));
    })
}

fn patch(operations: &str) -> String {
    format!(
        r#"{{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{operations}]}}"#
    )
}

#[test]
fn each_change_has_a_line_and_reads_have_none() {
    let backend = Backend::start(|seen| match seen.line().split(' ').next() {
        Some("POST") => {
            Reply::Bytes(answer(201, &format!("{{\"id\":\"{NEW}\",\"userName\":\"a\"}}")))
        }
        Some("DELETE") => Reply::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".into()),
        Some("PATCH") => Reply::Bytes(answer(404, "{}")),
        _ => ok("{}"),
    });
    let guarded = audited(&backend);
    let hash = HashKey::read(KEY).unwrap().hash("alice@example.com");
    let group = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"g","members":[]}"#;
    let gone = ALICE.replace("\"userName\"", "\"active\":false,\"userName\"");
    let active =
        |value: &str| patch(&format!(r#"{{"op":"replace","path":"active","value":{value}}}"#));
    let named = ["userName", "displayName", "externalId"];
    let cases = [
        ("GET", USER, String::new(), Value::Null),
        (
            "POST",
            "/scim/v2/Users",
            ALICE.into(),
            json!(["create", "user", NEW, named, "done", 201, hash]),
        ),
        ("PUT", USER, ALICE.into(), json!(["replace", "user", ID, named, "done", 200, hash])),
        (
            "PUT",
            USER,
            gone,
            json!([
                "deactivate",
                "user",
                ID,
                ["active", "userName", "displayName", "externalId"],
                "done",
                200,
                hash
            ]),
        ),
        (
            "PATCH",
            USER,
            active("false"),
            json!(["deactivate", "user", ID, ["active"], "rejected", 404, null]),
        ),
        (
            "PATCH",
            USER,
            active("\"False\""),
            json!(["deactivate", "user", ID, ["active"], "rejected", 404, null]),
        ),
        (
            "PATCH",
            USER,
            active("true"),
            json!(["reactivate", "user", ID, ["active"], "rejected", 404, null]),
        ),
        (
            "PATCH",
            USER,
            patch(r#"{"op":"add","path":"externalId","value":"alice@example.com"}"#),
            json!(["patch", "user", ID, ["externalId"], "rejected", 404, hash]),
        ),
        ("DELETE", USER, String::new(), json!(["delete", "user", ID, [], "done", 204, null])),
        (
            "POST",
            "/scim/v2/Groups",
            group.into(),
            json!(["create", "group", NEW, ["displayName", "members"], "done", 201, null]),
        ),
        ("DELETE", GROUP, String::new(), json!(["delete", "group", ID, [], "done", 204, null])),
        (
            "POST",
            "/scim/auth-tokens",
            r#"{"description":"x","password":"secret"}"#.into(),
            json!(["create", "token", null, [], "done", 201, null]),
        ),
        (
            "DELETE",
            "/scim/auth-tokens?id=3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3",
            String::new(),
            json!(["delete", "token", ID, [], "done", 204, null]),
        ),
        (
            "POST",
            "/scim/v2/Users",
            "{".into(),
            json!(["create", "user", null, [], "refused", 400, null]),
        ),
    ];
    let mut expected = Vec::new();
    for (method, target, body, line) in cases {
        let request = match body.is_empty() {
            true => (head(method, target) + "\r\n").into_bytes(),
            false => with_length(method, target, body.as_bytes()),
        };
        let mut client = guarded.client();
        client.send(request);
        assert_ne!(client.response_to(method).unwrap().status, 0);
        if !line.is_null() {
            expected.push((line, target.starts_with("/scim/v2").then_some("okta")));
            let count = expected.len();
            wait_until("an audit line", || guarded.audit_lines().len() == count);
        }
    }
    let lines = guarded.audit_lines();
    for (line, (wanted, token)) in lines.iter().zip(expected) {
        let told = json!([
            line["action"],
            line["resource"],
            line["id"],
            line["attributes"],
            line["outcome"],
            line["status"],
            line["person"]
        ]);
        assert_eq!(told, wanted);
        assert_eq!(line["token"], json!(token), "{line}");
        assert_eq!(line["client"], "127.0.0.1");
        assert_eq!(line["request"].as_str().unwrap().len(), 36);
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
    assert_eq!(lines.last().unwrap()["rule"], "json.syntax");
    for personal in ["alice", "Alice", "secret"] {
        assert!(!guarded.logged().contains(personal), "{personal}");
    }
}

#[test]
fn a_patch_of_a_group_has_one_line_although_it_is_several_requests() {
    let backend =
        Backend::start(|_| ok(&format!(r#"{{"id":"{ID}","displayName":"Staff","members":[]}}"#)));
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.audit = Some(Audit::default());
        config.repairs = Some(Repairs::of(&[Repair::GroupsPatch]));
    });
    let add = patch(&format!(r#"{{"op":"add","path":"members","value":[{{"value":"{NEW}"}}]}}"#));
    let answer = guarded.ask(with_length("PATCH", GROUP, add.as_bytes()));
    assert_eq!(answer.status, 200);
    // The first GET shows that Wire accepts the token.
    assert!(backend.wait(3).line().starts_with("PUT "));
    wait_until("an audit line", || !guarded.audit_lines().is_empty());
    let lines = guarded.audit_lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    let read =
        json!([line["action"], line["resource"], line["id"], line["attributes"], line["outcome"]]);
    assert_eq!(read, json!(["patch", "group", ID, ["members"], "done"]));
    assert_eq!(line["repaired"], json!(["groups.patch"]));
}

#[test]
fn requests_with_unknown_tokens_have_no_line() {
    let backend = Backend::fine();
    let guarded = audited(&backend);
    let request = with_length("POST", "/scim/v2/Users", ALICE.as_bytes());
    let request = String::from_utf8(request).unwrap().replace(TOKEN, crate::support::OTHER);
    guarded.ask(request).refused("token.unknown");
    guarded.ask(with_length("POST", "/scim/v2/Users", ALICE.as_bytes()));
    wait_until("a line", || !guarded.audit_lines().is_empty());
    assert_eq!(guarded.audit_lines().len(), 1);
}

#[test]
fn a_change_with_an_unknown_outcome_has_a_line_as_well() {
    let backend = Backend::start(|_| Reply::Stall);
    let mut guarded = Guarded::configured(&[backend.addr], |config| {
        config.audit = Some(Audit::default());
        config.limits.shutdown_timeout = std::time::Duration::ZERO;
    });
    let mut client = guarded.client();
    client.send(with_length("PUT", USER, ALICE.as_bytes()));
    backend.wait(1);
    guarded.running.take().unwrap().stop();
    wait_until("a line", || !guarded.audit_lines().is_empty());
    let line = &guarded.audit_lines()[0];
    assert_eq!((&line["outcome"], &line["id"]), (&"unknown".into(), &ID.into()));
}

#[test]
fn changes_are_refused_when_the_audit_log_cannot_be_written() {
    let backend = Backend::fine();
    let key = Place::new("audit-key", &backend, "").config.with_extension("key");
    std::fs::write(&key, KEY).unwrap();
    let place = Place::new(
        "audit-full",
        &backend,
        &format!(
            "log: {{access: false, audit: true, audit_key_file: {:?}}}\n",
            key.to_str().unwrap()
        ),
    );
    let (_guard, refused) = place.fill_audit_log();
    refused.refused("limits.audit");
    assert!(refused.header("retry-after").is_some());
    let seen = backend.seen().len();
    let mut client = Client::connect(place.addr);
    let change = with_length("PUT", USER, ALICE.as_bytes());
    client.send(&change);
    client.response().refused("limits.audit");
    client.send(head("GET", USER) + "\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(backend.seen().len(), seen + 1);
}

/// More requests at a time than the audit log has room for lines.
const CONNECTIONS: usize = 11;
const STREAMS: usize = 100;

/// Requests whose body does not end, or whose answers are not read.
async fn slow_requests(
    guarded: &Guarded,
    method: &str,
    target: &str,
    reads: bool,
) -> Vec<(h2::client::ResponseFuture, h2::SendStream<bytes::Bytes>)> {
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut builder = h2::client::Builder::new();
        if !reads {
            builder.initial_window_size(0);
        }
        let stream = h2c::connect(guarded.addr).await;
        let (mut sender, connection) = builder.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..STREAMS {
            let request = h2c::head(method, target, guarded.addr).body(()).unwrap();
            sender = sender.ready().await.unwrap();
            held.push(sender.send_request(request, !reads).unwrap());
        }
    }
    held
}

#[test]
fn requests_whose_body_arrives_slowly_leave_room_for_others() {
    /// What each takes at least, in bytes.
    const A_HEAD: usize = 16 * 1024;
    let backend = Backend::fine();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for target in ["/scim/v2/Users", "/scim/auth-tokens"] {
        let guarded = audited(&backend);
        let held = runtime.block_on(slow_requests(&guarded, "POST", target, true));
        let memory = || guarded.metric("scim_guard_buffered_bytes{kind=\"head\"}");
        wait_until("all requests", || memory() > (CONNECTIONS * STREAMS * A_HEAD) as f64);
        let change = with_length("PUT", USER, ALICE.as_bytes());
        assert_eq!(guarded.ask(change).status, 200, "{target}");
        drop(held);
    }
}

#[test]
fn clients_that_do_not_read_their_answers_leave_room_for_others() {
    let backend = Backend::start(|_| Reply::Bytes(answer(401, "{\"label\":\"no\"}")));
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.audit = Some(Audit::default());
        // One client would not get enough memory for as many answers.
        config.limits.buffered_bytes *= 8;
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let target = format!("/scim/auth-tokens?id={ID}");
    let held = runtime.block_on(slow_requests(&guarded, "DELETE", &target, false));
    wait_until("all lines", || guarded.audit_lines().len() == CONNECTIONS * STREAMS);
    assert_eq!(guarded.ask(with_length("PUT", USER, ALICE.as_bytes())).status, 401);
    drop(held);
}
