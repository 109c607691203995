//! Look-ups of users by an address, when addresses are repaired to handles.

use serde_json::{Value, json};
use wire_scim_guard::release::Release;
use wire_scim_guard::repair::{Repair, Repairs};
use wire_scim_guard::standin::{Standin, TOKEN};

use crate::support::{Backend, Guarded, Reply, Response, answer, ok};

fn guarded(backend: std::net::SocketAddr) -> Guarded {
    Guarded::configured(&[backend], |config| {
        config.repairs = Some(Repairs::of(&[Repair::UserNameLocalPart]));
    })
}

fn request(method: &str, target: &str, body: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: wire.example\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/scim+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn create(guarded: &Guarded, user: &Value) -> Response {
    guarded.ask(request("POST", "/scim/v2/Users", &user.to_string()))
}

fn look_up(guarded: &Guarded, name: &str) -> Response {
    let target = format!("/scim/v2/Users?filter=userName%20eq%20%22{name}%22&count=2");
    guarded.ask(request("GET", &target, ""))
}

/// The userNames that a look-up finds.
fn found(guarded: &Guarded, name: &str) -> Vec<String> {
    let response = look_up(guarded, name);
    assert_eq!(response.status, 200, "{name}");
    let list = response.json();
    let users = list["Resources"].as_array().unwrap();
    assert_eq!(list["totalResults"], users.len());
    users.iter().map(|user| user["userName"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn two_people_of_different_domains_are_never_confused() {
    for release in [Release::R5_34, Release::R5_35] {
        let standin = Standin::of_release("127.0.0.1:0".parse().unwrap(), release).unwrap();
        let guarded = guarded(standin.addr());
        let bob = |domain: &str| {
            let address = format!("bob@{domain}");
            json!({"schemas": [], "userName": address, "displayName": "Bob", "externalId": address})
        };
        assert_eq!(found(&guarded, "bob@a.example"), [""; 0]);
        let created = create(&guarded, &bob("a.example"));
        assert_eq!((created.status, &created.json()["userName"]), (201, &json!("bob")));
        // Each finds its own user; the one of another domain finds none and gets Wire's conflict.
        assert_eq!(found(&guarded, "bob@a.example"), ["bob"]);
        assert_eq!(found(&guarded, "bob@A.Example"), ["bob"]);
        assert_eq!(found(&guarded, "bob@b.example"), [""; 0]);
        assert_eq!(found(&guarded, "Bob@a.example"), [""; 0]);
        assert_eq!(create(&guarded, &bob("b.example")).status, 409);
        // A look-up by the handle itself is not changed.
        assert_eq!(found(&guarded, "bob"), ["bob"]);
        assert_eq!(look_up(&guarded, "bob").header("scim-guard-repaired"), None);
        // An address among the emails counts as well.
        let carol = json!({
            "userName": "Carol.X@c.example", "displayName": "Carol", "externalId": "c1",
            "emails": [{"value": "Carol.X@c.example", "type": "work"}],
        });
        assert_eq!(create(&guarded, &carol).status, 201);
        assert_eq!(found(&guarded, "Carol.X@c.example"), ["carol.x"]);
        assert_eq!(found(&guarded, "carol.x@c.example"), [""; 0]);
        let response = look_up(&guarded, "bob@b.example");
        assert_eq!(response.header("scim-guard-repaired"), Some("user_name.local_part"));
    }
}

#[test]
fn wire_is_asked_for_the_handle_and_its_answer_is_unchanged() {
    let list =
        r#"{"totalResults":1 ,"Resources":[{"userName":"bob","externalId":"bob@a.example"}]}"#;
    let backend = Backend::start(move |_| ok(list));
    let guarded = guarded(backend.addr);
    let response = look_up(&guarded, "bob@a.example");
    assert_eq!(response.body, list.as_bytes());
    let line = backend.wait(1).line().to_owned();
    assert_eq!(line, "GET /scim/v2/Users?filter=userName%20eq%20%22bob%22&count=2 HTTP/1.1");
    guarded.wait_metric("scim_guard_repairs_total{repair=\"user_name.local_part\"}", 1.0);
    guarded.wait_metric("scim_guard_agreement_total{outcome=\"agreed\",rule=\"none\"}", 1.0);
    // The connection stays open after an answer without a body.
    let target = "/scim/v2/Users?filter=userName%20eq%20%22bob@a.example%22";
    let mut client = guarded.client();
    client.send(request("HEAD", target, ""));
    let response = client.response_to("HEAD").unwrap();
    let length = list.len().to_string();
    assert_eq!((response.status, response.header("content-length")), (200, Some(length.as_str())));
    client.send(request("GET", target, ""));
    assert_eq!(client.response().body, list.as_bytes());
}

#[test]
fn an_unreadable_answer_finds_nobody_and_an_error_is_passed_on() {
    for body in ["no JSON", r#"{"Resources":[{"externalId":5}]}"#, r#"{"Resources":"x"}"#] {
        let backend = Backend::start(move |_| ok(body));
        look_up(&guarded(backend.addr), "bob@a.example").refused("upstream.answer");
    }
    let backend = Backend::start(|_| Reply::Bytes(answer(401, "why")));
    let response = look_up(&guarded(backend.addr), "bob@a.example");
    assert_eq!((response.status, response.body.as_slice()), (401, &b"why"[..]));
}
