//! Answers of the backend that are replaced for clients.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use wire_scim_guard::repair::{Repair, Repairs};

use crate::support::{Backend, Guarded, Reply, Response, USER, head, with_length};

fn guarded(backend: &Backend, repair: Repair) -> Guarded {
    Guarded::configured(&[backend.addr], |config| config.repairs = Some(Repairs::of(&[repair])))
}

/// An answer with these header lines, and a length.
fn written(status: u16, lines: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\n{lines}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// What the client receives of such an answer to a GET of a user.
fn got(answer: Vec<u8>) -> Response {
    let backend = Backend::start(move |_| Reply::Bytes(answer.clone()));
    let guarded = guarded(&backend, Repair::Answers);
    let mut client = guarded.client();
    let get = format!("{}\r\n", head("GET", USER));
    client.send(&get);
    let response = client.response();
    // The connection stays open.
    client.send(get);
    assert_eq!(client.response().status, response.status);
    response
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn errors_that_are_not_scim_errors_become_scim_errors_of_the_same_status() {
    let html = "Content-Type: text/html\r\n";
    let text = "Error in $.roles[0]: parsing Text failed";
    let said_nothing = "and gave no reason.";
    let long = "x".repeat(3000);
    let far_too_long = "y".repeat(70_000);
    for (status, lines, body, detail) in [
        (400, "", text.as_bytes(), text),
        (400, "Content-Type: text/plain;charset=utf-8\r\n", text.as_bytes(), text),
        (404, "", b"", said_nothing),
        (405, "Allow: GET\r\n", b"", said_nothing),
        (403, html, b"<html>nginx/1.2 at 10.0.0.1</html>", said_nothing),
        (500, "", b"Something went wrong", "Something went wrong"),
        (
            404,
            "Content-Type: application/json\r\n",
            br#"{"code":404,"label":"unsupported-version","message":"no such version"}"#,
            "no such version",
        ),
        (400, "", long.as_bytes(), &long[..1024]),
        (400, "", far_too_long.as_bytes(), said_nothing),
        (400, "Content-Encoding: gzip\r\n", &gzipped(text.as_bytes()), said_nothing),
        (400, "Content-Encoding: br\r\nETag: \"1\"\r\n", b"not read", said_nothing),
        // One that claims to be a SCIM error, but is not.
        (400, "Content-Type: application/scim+json\r\n", b"{}", said_nothing),
    ] {
        let response = got(written(status, lines, body));
        let context = format!("{status} {lines} {}", response.head);
        assert_eq!(response.status, status, "{context}");
        let error = response.json();
        assert_eq!(error["status"], status.to_string(), "{context}");
        assert_eq!(error["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
        let told = error["detail"].as_str().unwrap();
        assert!(
            told == detail || (detail == said_nothing && told.ends_with(detail)),
            "{context} {told}"
        );
        assert_eq!(response.header("content-type"), Some("application/scim+json;charset=utf-8"));
        assert_eq!(response.header("scim-guard-repaired"), Some("answers"));
        assert_eq!(response.header("content-encoding"), None);
        assert_eq!(response.header("etag"), None);
        assert_eq!(response.header("allow"), (status == 405).then_some("GET"));
        // Wire has answered.
        assert_eq!(response.rule(), "-");
    }
}

#[test]
fn scim_errors_and_successes_pass_byte_for_byte() {
    let scim = "Content-Type: application/scim+json;charset=utf-8\r\n";
    let error = br#"{"detail":"x", "schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"404"}"#;
    let filler = "z".repeat(100_000);
    let large =
        json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "detail": filler});
    for (status, lines, body) in [
        (404, scim, &error[..]),
        (404, "", error),
        (400, scim, large.to_string().as_bytes()),
        (200, "", b"not JSON"),
        (204, "", b""),
        (302, "Location: /x\r\n", b"moved"),
    ] {
        let response = got(written(status, lines, body));
        assert_eq!((response.status, response.body.as_slice()), (status, body));
        assert_eq!(response.header("scim-guard-repaired"), None);
    }
}

#[test]
fn headers_with_instructions_for_the_client_are_kept() {
    let response = got(written(401, "WWW-Authenticate: Bearer realm=\"x\"\r\n", b"no"));
    assert_eq!(response.header("www-authenticate"), Some("Bearer realm=\"x\""));
    for status in [420, 429] {
        let response = got(written(status, "Retry-After: 7\r\n", b"<html></html>"));
        assert_eq!((response.status, response.header("retry-after")), (429, Some("7")));
        assert_eq!(response.json()["status"], "429");
    }
}

#[test]
fn the_answer_to_a_head_has_no_body_and_no_length() {
    let backend = Backend::start(|_| {
        Reply::Bytes(
            b"HTTP/1.1 404 X\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n".into(),
        )
    });
    let guarded = guarded(&backend, Repair::Answers);
    let mut client = guarded.client();
    for _ in 0..2 {
        client.send(format!("{}\r\n", head("HEAD", USER)));
        let response = client.response_to("HEAD").unwrap();
        assert_eq!(response.status, 404);
        assert_eq!(response.header("content-type"), Some("application/scim+json;charset=utf-8"));
        assert_eq!(response.header("content-length"), None);
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn answers_outside_scim_and_without_the_repair_are_unchanged() {
    let backend = Backend::start(|_| Reply::Bytes(written(404, "", b"nothing")));
    let token_api = "GET /scim/auth-tokens HTTP/1.1\r\nHost: a\r\n\r\n";
    let get = format!("{}\r\n", head("GET", USER));
    let on = guarded(&backend, Repair::Answers);
    assert_eq!(on.ask(token_api).body, b"nothing");
    assert_ne!(on.ask(&get).body, b"nothing");
    let off = guarded(&backend, Repair::Discovery);
    assert_eq!(off.ask(&get).body, b"nothing");
}

#[test]
fn a_replaced_answer_is_counted_logged_and_compared_with_the_verdict() {
    let backend = Backend::start(|_| {
        Reply::Bytes(written(400, "", br#"{"scimType":"invalidPath","message":"m"}"#))
    });
    let guarded = guarded(&backend, Repair::Answers);
    assert_eq!(guarded.ask(format!("{}\r\n", head("GET", USER))).status, 400);
    guarded.wait_metric("scim_guard_repairs_total{repair=\"answers\"}", 1.0);
    assert_eq!(guarded.access_line(1)["repaired"], json!(["answers"]));
    guarded.wait_metric("scim_guard_agreement_total{outcome=\"missed\",rule=\"none\"}", 1.0);
    assert_eq!(guarded.disagreements()[0]["scimType"], "invalidPath");
}

const CONFIG: &str = "/scim/v2/ServiceProviderConfig";

#[test]
fn the_service_provider_config_describes_what_is_supported() {
    let location = "https://wire.example/scim/v2/ServiceProviderConfig";
    let wires = json!({"filter": {"supported": false}, "meta": {"location": location}}).to_string();
    for (lines, body, location) in [
        ("", wires.as_bytes(), json!(location)),
        ("Content-Encoding: gzip\r\n", &gzipped(wires.as_bytes()), Value::Null),
        ("Content-Type: text/plain\r\n", b"?", Value::Null),
    ] {
        let answer = written(200, lines, body);
        let backend = Backend::start(move |_| Reply::Bytes(answer.clone()));
        let guarded = guarded(&backend, Repair::Discovery);
        let response = guarded.ask(format!("GET {CONFIG} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(response.status, 200);
        assert_eq!(response.header("scim-guard-repaired"), Some("discovery"));
        assert_eq!(response.header("content-type"), Some("application/scim+json;charset=utf-8"));
        let config = response.json();
        for (feature, supported) in [
            ("patch", true),
            ("filter", true),
            ("bulk", false),
            ("sort", false),
            ("etag", false),
            ("changePassword", false),
        ] {
            assert_eq!(config[feature]["supported"], supported, "{feature}");
        }
        // All that RFC 7643 §5 requires.
        assert!(
            config["bulk"]["maxOperations"].is_u64() && config["bulk"]["maxPayloadSize"].is_u64()
        );
        assert!(config["filter"]["maxResults"].is_u64());
        assert_eq!(
            config["schemas"],
            json!(["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"])
        );
        let [scheme] = config["authenticationSchemes"].as_array().unwrap().as_slice() else {
            panic!("one scheme expected");
        };
        assert_eq!(scheme["type"], "oauthbearertoken");
        assert!(scheme["name"].is_string() && scheme["description"].is_string());
        assert_eq!(config["meta"]["location"], location);
        assert_eq!(config["meta"]["resourceType"], "ServiceProviderConfig");
    }
}

#[test]
fn only_a_success_of_wire_is_replaced_by_the_service_provider_config() {
    let backend = Backend::start(|seen| match seen.line().contains("Schemas") {
        true => Reply::Bytes(written(200, "", b"schemas")),
        false => Reply::Bytes(written(503, "", b"down")),
    });
    let guarded = guarded(&backend, Repair::Discovery);
    let response = guarded.ask(format!("GET {CONFIG} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!((response.status, response.body.as_slice()), (503, &b"down"[..]));
    let response = guarded.ask("GET /scim/v2/Schemas HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(response.body, b"schemas");
    // A request that is refused is not turned into a success either.
    assert_eq!(guarded.ask(with_length("POST", CONFIG, b"{}")).status, 405);
}
