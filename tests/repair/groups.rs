//! Groups: searches by name, and PATCH.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use wire_scim_guard::release::Release;
use wire_scim_guard::repair::{Repair, Repairs};
use wire_scim_guard::standin::{GROUP_ID, Standin, TOKEN, USER_ID};

use crate::support::{Backend, Guarded, Reply, Response, Seen, WAIT_TIMEOUT, answer, h2c, ok};

const OTHER_USER: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";
const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// A guard with these repairs in front of a stand-in or another backend.
fn guarded(backend: std::net::SocketAddr, repairs: &[Repair]) -> Guarded {
    let repairs = Repairs::of(repairs);
    Guarded::configured(&[backend], |config| {
        config.repairs = Some(repairs);
        config.limits.upstream_timeout = Duration::from_secs(20);
    })
}

fn request(method: &str, target: &str, body: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: wire.example\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/scim+json\r\nAccept-Encoding: gzip\r\nIf-Match: \"1\"\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn get(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: wire.example\r\nAuthorization: Bearer {TOKEN}\r\n\
         Accept-Encoding: gzip\r\nIf-None-Match: \"1\"\r\n\r\n"
    )
}

fn search(name: &str, more: &str) -> String {
    get(&format!(
        "/scim/v2/Groups?excludedAttributes=members&filter=displayName+eq+%22{name}%22{more}"
    ))
}

fn patch(operations: &Value) -> String {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": operations,
    });
    request("PATCH", &format!("/scim/v2/Groups/{GROUP_ID}"), &body.to_string())
}

/// The ids in a list response, and its totalResults.
fn listed(response: &Response) -> (u64, Vec<String>) {
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    let list = response.json();
    assert_eq!(list["schemas"], json!([LIST]));
    let groups = list["Resources"].as_array().unwrap();
    assert_eq!(list["itemsPerPage"], groups.len());
    let ids = groups.iter().map(|group| group["id"].as_str().unwrap().to_owned()).collect();
    (list["totalResults"].as_u64().unwrap(), ids)
}

fn standin(release: Release) -> Standin {
    let standin = Standin::of_release("127.0.0.1:0".parse().unwrap(), release).unwrap();
    standin.wire().add_user(OTHER_USER);
    standin
}

#[test]
fn a_search_by_name_finds_exactly_this_group_at_each_release() {
    for release in [Release::R5_34, Release::R5_35] {
        let standin = standin(release);
        let guarded = guarded(standin.addr(), &[Repair::GroupsFilter]);
        let create = |name: &str| {
            let group = json!({
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
                "displayName": name,
                "members": [],
            });
            let created = guarded.ask(request("POST", "/scim/v2/Groups", &group.to_string()));
            assert_eq!(created.status, 201);
            created.json()["id"].as_str().unwrap().to_owned()
        };
        let ids = ["Eng", "eng", "Eng 2", "Eng", "a \"b\" ü"].map(create);
        let mut exact = vec![ids[0].clone(), ids[3].clone()];
        exact.sort_unstable();
        let response = guarded.ask(search("Eng", ""));
        assert_eq!(response.header("scim-guard-repaired"), Some("groups.filter"));
        assert_eq!(listed(&response), (2, exact.clone()));
        assert_eq!(
            listed(&guarded.ask(search("Eng", "&startIndex=2&count=5"))),
            (2, vec![exact[1].clone()])
        );
        assert_eq!(listed(&guarded.ask(search("Eng", "&count=0"))), (2, vec![]));
        assert_eq!(listed(&guarded.ask(search("Engineering", ""))), (0, vec![]));
        assert_eq!(
            listed(&guarded.ask(search("a%20%5C%22b%5C%22%20%C3%BC", ""))),
            (1, vec![ids[4].clone()])
        );
        // Over HTTP/2, and without a body.
        let path = "/scim/v2/Groups?filter=displayName%20eq%20%22eng%22";
        let head = h2c::head("GET", path, guarded.addr);
        let mut head = head.body(()).unwrap();
        head.headers_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        let answers = h2c::ask(guarded.addr, vec![(head, Vec::new())]);
        let answer = answers[0].as_ref().unwrap();
        let list: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &list["Resources"][0]["id"]), (200, &json!(ids[1])));
        let mut client = guarded.client();
        client.send(search("Eng", "").replacen("GET", "HEAD", 1));
        let response = client.response_to("HEAD").unwrap();
        assert_eq!(
            (response.status, response.header("content-type")),
            (200, Some("application/scim+json;charset=utf-8"))
        );
        client.send(search("Eng", ""));
        assert_eq!(listed(&client.response()).0, 2);
    }
}

/// A page of groups: the numbers of the groups, and how many there are in total.
fn page(numbers: impl IntoIterator<Item = usize>, total: usize) -> Reply {
    let group = |number: usize| json!({"id": number.to_string(), "displayName": if number.is_multiple_of(2) { "Eng" } else { "Eng 2" }});
    let groups: Vec<Value> = numbers.into_iter().map(group).collect();
    ok(&json!({"totalResults": total, "Resources": groups}).to_string())
}

/// The startIndex of a request to the backend.
fn start(seen: &Seen) -> usize {
    let line = seen.line();
    let (_, rest) = line.split_once("&startIndex=").unwrap_or((line, "1"));
    rest.split([' ', '&']).next().unwrap().parse().unwrap()
}

#[test]
fn all_pages_are_read_and_one_request_is_counted() {
    let backend = Backend::start(|seen| {
        let start = start(seen);
        page(start..=(start + 2).min(7), 7)
    });
    let guarded = guarded(backend.addr, &[Repair::GroupsFilter]);
    let response = guarded.ask(search("Eng", "&startIndex=2&count=1"));
    assert_eq!(listed(&response), (3, vec!["4".into()]));
    let seen = backend.seen();
    let first = "/scim/v2/Groups?filter=displayName%20co%20%22Eng%22&excludedAttributes=members";
    let lines: Vec<&str> = seen.iter().map(Seen::line).collect();
    let line = |more: &str| format!("GET {first}{more} HTTP/1.1");
    assert_eq!(lines, [line(""), line("&startIndex=4"), line("&startIndex=7")]);
    for seen in &seen {
        assert_eq!(seen.header("authorization"), [format!("Bearer {TOKEN}")]);
        assert_eq!(seen.header("accept-encoding"), [""; 0]);
        assert_eq!(seen.header("if-none-match"), [""; 0]);
        assert_eq!(seen.connection, 1);
    }
    let series = "scim_guard_requests_total{handler=\"/scim/v2/Groups\",method=\"GET\",status_code=\"200\",verdict=\"forwarded\"}";
    guarded.wait_metric(series, 1.0);
    guarded.wait_metric("scim_guard_repairs_total{repair=\"groups.filter\"}", 1.0);
    guarded.wait_metric("scim_guard_agreement_total{outcome=\"agreed\",rule=\"none\"}", 1.0);
    assert_eq!(guarded.access_line(1)["repaired"], json!(["groups.filter"]));
}

#[test]
fn a_search_that_cannot_be_completed_finds_nothing() {
    type Script = fn(&Seen) -> Reply;
    let cases: [(&str, Script); 9] = [
        // Endless.
        ("filter.unsupported", |seen| page([start(seen)], 900)),
        ("filter.unsupported", |_| page([1], 1001)),
        ("filter.unsupported", |_| page(0..1001, 3)),
        ("filter.unsupported", |_| ok(&" ".repeat(5 << 20))),
        // There are fewer than announced, or the same ones again.
        ("upstream.answer", |seen| page((start(seen)..4).take(1), 9)),
        ("upstream.answer", |_| page([1, 2], 5)),
        ("upstream.answer", |_| ok("no JSON")),
        ("upstream.answer", |_| ok(r#"{"totalResults":1,"Resources":[{"id":"1"}]}"#)),
        ("upstream.answer", |_| {
            Reply::Bytes(
                b"HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}".into(),
            )
        }),
    ];
    for (nth, (rule, script)) in cases.into_iter().enumerate() {
        let backend = Backend::start(script);
        let guarded = guarded(backend.addr, &[Repair::GroupsFilter]);
        let response = guarded.ask(search("Eng", ""));
        assert_eq!(response.rule(), rule, "{nth}");
        response.refused(rule);
        assert!(backend.seen().len() <= 101, "{nth}: {}", backend.seen().len());
        let line = guarded.access_line(1);
        let verdict = if rule == "upstream.answer" { "failed" } else { "refused" };
        assert_eq!((&line["rule"], &line["verdict"]), (&json!(rule), &json!(verdict)), "{nth}");
    }
}

#[test]
fn an_error_on_any_page_is_the_answer() {
    for (status, expected) in
        [(400, 400), (401, 401), (404, 404), (420, 429), (500, 500), (503, 503)]
    {
        for failing in [1, 3] {
            let backend = Backend::start(move |seen| match start(seen) {
                start if start == failing => Reply::Bytes(answer(status, "why")),
                start => page([start, start + 1], 7),
            });
            let guarded = guarded(backend.addr, &[Repair::GroupsFilter]);
            let response = guarded.ask(search("Eng", ""));
            assert_eq!((response.status, response.body.as_slice()), (expected, &b"why"[..]));
        }
    }
    let backend = Backend::start(|seen| match start(seen) {
        1 => page([1], 7),
        _ => Reply::Reset,
    });
    guarded(backend.addr, &[Repair::GroupsFilter])
        .ask(search("Eng", ""))
        .refused("upstream.answer");
}

#[test]
fn other_searches_are_not_changed() {
    let backend = Backend::fine();
    let guarded = guarded(backend.addr, &[Repair::GroupsFilter]);
    for query in ["", "?count=5", "?filter=displayName+co+%22Eng%22&startIndex=2"] {
        let response = guarded.ask(get(&format!("/scim/v2/Groups{query}")));
        assert_eq!((response.status, response.header("scim-guard-repaired")), (200, None));
        let line = backend.seen().last().unwrap().line().to_owned();
        assert_eq!(line, format!("GET /scim/v2/Groups{query} HTTP/1.1"));
    }
    let refused = [
        ("filter=externalId+eq+%22x%22", "filter.unsupported"),
        ("filter=displayName+eq+%22x%22+and+a+eq+%22b%22", "filter.syntax"),
        ("filter=displayName+eq+%22x%22&count=x", "query.pagination"),
    ];
    for (query, rule) in refused {
        guarded.ask(get(&format!("/scim/v2/Groups?{query}"))).refused(rule);
    }
    assert_eq!(backend.seen().len(), 3);
    // Without the repair an operation is interpreted as before.
    let off = self::guarded(backend.addr, &[Repair::GroupsPatch]);
    off.ask(search("Eng", "")).refused("filter.unsupported");
}

fn stored(guarded: &Guarded) -> (String, Vec<String>) {
    let group = guarded.ask(get(&format!("/scim/v2/Groups/{GROUP_ID}"))).json();
    let members = group["members"].as_array().unwrap().iter();
    let members = members.map(|member| member["value"].as_str().unwrap().to_owned()).collect();
    (group["displayName"].as_str().unwrap().to_owned(), members)
}

#[test]
fn a_patch_changes_members_and_name_at_each_release() {
    for release in [Release::R5_34, Release::R5_35] {
        let standin = standin(release);
        let guarded = guarded(standin.addr(), &[Repair::GroupsPatch, Repair::GroupsMembers]);
        let both = [USER_ID, OTHER_USER];
        let upper = OTHER_USER.to_uppercase();
        for (operations, name, members) in [
            // As sent by Entra ID.
            (
                json!([{"op": "Add", "path": "members", "value": [{"$ref": null, "value": USER_ID}]}]),
                "Sample Group",
                vec![USER_ID],
            ),
            // As sent by authentik, with one that is a member already.
            (
                json!([{"op": "add", "path": "members", "value": [{"value": USER_ID}]},
                    {"op": "add", "path": "members", "value": [{"value": OTHER_USER}]}]),
                "Sample Group",
                both.to_vec(),
            ),
            (
                json!([{"op": "remove", "path": "members", "value": [{"value": upper}]}]),
                "Sample Group",
                vec![USER_ID],
            ),
            (
                json!([{"op": "Remove", "path": format!("members[value eq \"{USER_ID}\"]")}]),
                "Sample Group",
                vec![],
            ),
            (
                json!([{"op": "remove", "path": "members", "value": [{"value": USER_ID}]}]),
                "Sample Group",
                vec![],
            ),
            (
                json!([{"op": "Replace", "path": "displayName", "value": "Umbenannt"}]),
                "Umbenannt",
                vec![],
            ),
            (
                json!([{"op": "replace", "path": "members", "value": [{"value": OTHER_USER}, {"value": USER_ID}]}]),
                "Umbenannt",
                vec![OTHER_USER, USER_ID],
            ),
            (
                json!([{"op": "replace", "path": "members", "value": []}, {"op": "replace", "path": "displayName", "value": "x"},
                    {"op": "add", "path": "members", "value": {"value": USER_ID}}]),
                "x",
                vec![USER_ID],
            ),
            (json!([]), "x", vec![USER_ID]),
        ] {
            let response = guarded.ask(patch(&operations));
            assert_eq!(
                response.status,
                200,
                "{operations}: {}",
                String::from_utf8_lossy(&response.body)
            );
            assert_eq!(response.header("scim-guard-repaired"), Some("groups.patch"));
            let group = response.json();
            assert_eq!((&group["id"], &group["displayName"]), (&json!(GROUP_ID), &json!(name)));
            assert_eq!(group["members"].as_array().unwrap().len(), members.len());
            let members: Vec<String> = members.into_iter().map(str::to_owned).collect();
            assert_eq!(stored(&guarded), (name.to_owned(), members), "{operations}");
        }
        // Wire does not know this user, and the group stays as it is.
        let unknown = json!([{"op": "add", "path": "members", "value": [{"value": GROUP_ID}]}]);
        assert_eq!(guarded.ask(patch(&unknown)).status, 404);
        assert_eq!(stored(&guarded), ("x".into(), vec![USER_ID.into()]));
    }
}

#[test]
fn the_put_has_all_that_wire_requires_and_no_header_of_the_patch() {
    let stored = json!({"id": GROUP_ID, "displayName": "n", "meta": {}, "members": [{"value": USER_ID, "type": "User", "$ref": "x"}]});
    let backend = Backend::start(move |seen| match seen.line().starts_with("PUT") {
        true => ok("{\"put\":1}"),
        false => ok(&stored.to_string()),
    });
    let guarded = guarded(backend.addr, &[Repair::GroupsPatch]);
    let add = json!([{"op": "add", "path": "members", "value": [{"value": OTHER_USER}]}]);
    let response = guarded.ask(patch(&add));
    assert_eq!((response.status, response.body.as_slice()), (200, &b"{\"put\":1}"[..]));
    let seen = backend.seen();
    let lines: Vec<&str> = seen.iter().map(Seen::line).collect();
    let target = format!("/scim/v2/Groups/{GROUP_ID} HTTP/1.1");
    // The first one shows that Wire accepts the token, which the guard did not know.
    let get = format!("GET {target}");
    assert_eq!(lines, [get.clone(), get, format!("PUT {target}")]);
    for seen in &seen[..2] {
        assert!(seen.body.is_empty() && seen.header("content-length").is_empty(), "{}", seen.head);
        assert!(seen.header("content-type").is_empty(), "{}", seen.head);
    }
    for seen in &seen {
        assert!(seen.header("if-match").is_empty() && seen.header("accept-encoding").is_empty());
        assert_eq!(seen.header("authorization"), [format!("Bearer {TOKEN}")]);
    }
    assert_eq!(seen[2].header("content-type"), ["application/scim+json;charset=utf-8"]);
    let put: Value = serde_json::from_slice(&seen[2].body).unwrap();
    let member = |id: &str| json!({"value": id, "type": "User", "$ref": ""});
    assert_eq!(
        put,
        json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "n",
               "members": [member(USER_ID), member(OTHER_USER)]})
    );
    // A PATCH that changes nothing is not sent, and the token is known by now.
    let present =
        json!([{"op": "add", "path": "members", "value": [{"value": USER_ID.to_uppercase()}]}]);
    let response = guarded.ask(patch(&present));
    assert_eq!((response.status, &response.json()["displayName"]), (200, &json!("n")));
    assert_eq!(backend.seen().len(), 4);
    let series = "scim_guard_requests_total{handler=\"/scim/v2/Groups/:gid\",method=\"PATCH\",status_code=\"200\",verdict=\"forwarded\"}";
    guarded.wait_metric(series, 2.0);
    guarded.wait_metric("scim_guard_agreement_total{outcome=\"agreed\",rule=\"none\"}", 2.0);
}

#[test]
fn a_patch_that_is_not_allowed_is_refused_and_nothing_is_sent() {
    let backend = Backend::fine();
    let guarded = guarded(backend.addr, &[Repair::GroupsPatch]);
    for (operation, rule) in [
        (json!({"op": "remove", "path": "members"}), "group.members"),
        (json!({"op": "remove", "path": "members", "value": []}), "group.members"),
        (json!({"op": "replace", "path": "members"}), "group.members"),
        (json!({"op": "add", "path": "members", "value": [{"value": "alice"}]}), "group.members"),
        (json!({"op": "replace", "path": "externalId", "value": "x"}), "group.patch"),
        (json!({"op": "replace", "value": {"displayName": "x"}}), "group.patch"),
        (json!({"op": "remove", "path": "displayName"}), "patch.mutability"),
        (json!({"op": "replace", "path": "displayName", "value": ""}), "group.display_name"),
        (json!({"op": "copy", "path": "members"}), "patch.op"),
    ] {
        // Only the first operation could be carried out.
        let first = json!({"op": "add", "path": "members", "value": [{"value": USER_ID}]});
        let response = guarded.ask(patch(&json!([first, operation])));
        assert_eq!(response.rule(), rule, "{operation}");
        response.refused(rule);
    }
    let off = self::guarded(backend.addr, &[Repair::GroupsFilter]);
    off.ask(patch(&json!([]))).refused("group.patch");
    assert_eq!(backend.accepted(), 0);
}

/// A backend whose group has no members, and that answers a PUT with this.
fn before_put(put: fn() -> Reply) -> Backend {
    Backend::start(move |seen| match seen.line().starts_with("PUT") {
        true => put(),
        false => ok(r#"{"displayName":"n","members":[]}"#),
    })
}

fn add() -> String {
    patch(&json!([{"op": "add", "path": "members", "value": [{"value": USER_ID}]}]))
}

#[test]
fn a_failure_of_either_step_is_the_answer() {
    for (status, expected) in
        [(400, 400), (401, 401), (404, 404), (409, 409), (420, 429), (500, 500)]
    {
        let backend = Backend::start(move |_| Reply::Bytes(answer(status, "why")));
        let response = guarded(backend.addr, &[Repair::GroupsPatch]).ask(add());
        assert_eq!((response.status, response.body.as_slice()), (expected, &b"why"[..]));
        assert_eq!(backend.seen().len(), 1);
    }
    let puts: [(u16, fn() -> Reply); 4] = [
        (404, || Reply::Bytes(answer(404, "why"))),
        (409, || Reply::Bytes(answer(409, "why"))),
        (429, || Reply::Bytes(answer(420, "why"))),
        (500, || Reply::Bytes(answer(500, "why"))),
    ];
    for (status, put) in puts {
        let response = guarded(before_put(put).addr, &[Repair::GroupsPatch]).ask(add());
        assert_eq!((response.status, response.body.as_slice()), (status, &b"why"[..]));
    }
    // With `answers`, as a SCIM error.
    let both = guarded(before_put(puts[0].1).addr, &[Repair::GroupsPatch, Repair::Answers]);
    let response = both.ask(add());
    assert_eq!((response.status, &response.json()["status"]), (404, &json!("404")));
    assert_eq!(response.header("scim-guard-repaired"), Some("groups.patch, answers"));
    for (rule, put) in [
        ("upstream.answer", (|| Reply::Reset) as fn() -> Reply),
        ("upstream.timeout", || Reply::Stall),
    ] {
        let backend = before_put(put);
        let guarded = Guarded::configured(&[backend.addr], |config| {
            config.repairs = Some(Repairs::of(&[Repair::GroupsPatch]));
            config.limits.upstream_timeout = Duration::from_millis(300);
        });
        let response = guarded.ask(add());
        assert_eq!(response.rule(), rule);
        response.refused(rule);
        assert!(response.json()["detail"].as_str().unwrap().contains("may have been processed"));
    }
}

#[test]
fn all_steps_together_have_the_time_limit_of_one_request() {
    let backend = before_put(|| Reply::Stall);
    let repairs = Some(Repairs::of(&[Repair::GroupsPatch]));
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.repairs = repairs;
        // Longer than the test waits: only the time of the whole request ends it.
        config.limits.upstream_timeout = 2 * WAIT_TIMEOUT;
        config.limits.request_timeout = Duration::from_secs(1);
    });
    let response = guarded.ask(add());
    assert_eq!((response.status, response.rule()), (504, "upstream.timeout"));
    let sent: Vec<_> = backend.seen().iter().map(|seen| seen.line()[..3].to_owned()).collect();
    // A token that Wire has not accepted yet reads the group once before it waits for its turn.
    assert_eq!(sent, ["GET", "GET", "PUT"]);
}

#[test]
fn a_connection_that_is_lost_between_the_steps_is_replaced() {
    // A PUT of the whole group may be sent again (RFC 9110 §9.2.2).
    let backend = Backend::start(|seen| match (seen.line().starts_with("PUT"), seen.connection) {
        (true, 1) => Reply::Reset,
        (true, _) => ok("{}"),
        (false, _) => ok(r#"{"displayName":"n","members":[]}"#),
    });
    let response = guarded(backend.addr, &[Repair::GroupsPatch]).ask(add());
    assert_eq!((response.status, response.body.as_slice()), (200, &b"{}"[..]));
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn a_group_that_cannot_be_read_is_not_changed() {
    let large = format!(r#"{{"displayName":"{}","members":[]}}"#, "x".repeat(5 << 20));
    for body in
        ["", "[]", "{}", r#"{"displayName":"n"}"#, r#"{"displayName":"n","members":null}"#, &large]
    {
        let body = body.to_owned();
        let backend = Backend::start(move |_| ok(&body));
        let response = guarded(backend.addr, &[Repair::GroupsPatch]).ask(add());
        response.refused("upstream.answer");
        assert!(backend.seen().iter().all(|seen| seen.line().starts_with("GET")));
    }
    let backend = Backend::start(|_| {
        Reply::Bytes(b"HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\nContent-Length: 32\r\n\r\n{\"displayName\":\"n\",\"members\":[]}".into())
    });
    guarded(backend.addr, &[Repair::GroupsPatch]).ask(add()).refused("upstream.answer");
}

#[test]
fn a_group_that_becomes_larger_than_a_body_may_be_is_not_sent() {
    let id = |number: usize| format!("{number:08x}-0000-4000-8000-000000000000");
    let members: Vec<Value> = (0..9000).map(|number| json!({"value": id(number)})).collect();
    let group = json!({"displayName": "n", "members": members}).to_string();
    let backend = Backend::start(move |_| ok(&group));
    guarded(backend.addr, &[Repair::GroupsPatch]).ask(add()).refused("body.too_large");
    assert!(backend.seen().iter().all(|seen| seen.line().starts_with("GET")));
}

#[test]
fn patches_of_one_group_are_done_one_at_a_time() {
    const CLIENTS: usize = 12;
    let standin = standin(Release::R5_35);
    // Every request is passed on to the stand-in, and recorded.
    let wire = Arc::new(standin);
    let backend = {
        let wire = Arc::clone(&wire);
        Backend::start(move |seen| forwarded(&wire, seen))
    };
    let guarded = guarded(backend.addr, &[Repair::GroupsPatch]);
    // Wire accepts the token, and the guard knows it.
    assert_eq!(stored(&guarded).1.len(), 0);
    let ids: Vec<String> =
        (0..CLIENTS).map(|number| format!("{number:08x}-0000-4000-8000-000000000000")).collect();
    ids.iter().for_each(|id| wire.wire().add_user(id));
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for id in &ids {
            let (guarded, done) = (&guarded, &done);
            scope.spawn(move || {
                let add = json!([{"op": "add", "path": "members", "value": [{"value": id}]}]);
                assert_eq!(guarded.ask(patch(&add)).status, 200);
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    assert_eq!(done.load(Ordering::SeqCst), CLIENTS);
    let mut members = stored(&guarded).1;
    members.sort_unstable();
    assert_eq!(members, ids);
    let seen = backend.seen();
    let methods: Vec<&str> =
        seen[1..=2 * CLIENTS].iter().map(|seen| seen.line().split(' ').next().unwrap()).collect();
    assert_eq!(methods, ["GET", "PUT"].repeat(CLIENTS));
}

/// The stand-in's answer to a request that a backend has read.
fn forwarded(standin: &Standin, seen: &Seen) -> Reply {
    let mut parts = seen.line().split(' ');
    let request = wire_scim_guard::standin::Request {
        method: parts.next().unwrap().to_owned(),
        target: parts.next().unwrap().as_bytes().to_vec(),
        headers: seen
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .collect(),
        body: seen.body.clone(),
    };
    let response = standin.wire().handle(&request);
    Reply::Bytes(answer(response.status, std::str::from_utf8(&response.body).unwrap()))
}

#[test]
fn a_client_that_does_not_read_its_answer_delays_no_other() {
    // An answer that is larger than the socket buffers, and that is never read.
    let large = "x".repeat(3 << 20);
    let group = format!(r#"{{"displayName":"{large}","members":[]}}"#);
    let backend = Backend::start(move |_| ok(&group));
    let guarded = guarded(backend.addr, &[Repair::GroupsPatch]);
    let mut idle = guarded.client();
    idle.send(patch(&json!([])));
    backend.wait(2);
    let mut client = guarded.client();
    client.stream.set_read_timeout(WAIT_TIMEOUT);
    client.send(patch(&json!([])));
    assert_eq!(client.response().status, 200);
}
