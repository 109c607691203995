//! Requests that HTTP/1 parsers read differently, sent as raw bytes: each is refused by its rule with a SCIM
//! error, and nothing reaches the backend.

use crate::support::{Backend, Guarded, control, h2c};

/// A POST with these bytes as its chunked body.
fn chunks(body: &str) -> Vec<u8> {
    let line = "Transfer-Encoding: chunked\r\n\r\n";
    (crate::support::head("POST", "/scim/v2/Users") + line + body).into_bytes()
}

/// A body in which one parser finds another request inside of a chunk, and another parser after the body.
fn control_after(first: &str) -> String {
    let hidden = String::from_utf8(control()).unwrap();
    format!("{first}{:x}\r\n0\r\n\r\n{hidden}\r\n0\r\n\r\n", hidden.len())
}

/// Request line and headers after `Host`, or the whole head if it does not begin with `/`.
fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let authorized = format!("Authorization: Bearer {}", crate::support::TOKEN);
    let get = |lines: &str| {
        format!("GET /scim/v2/Users HTTP/1.1\r\nHost: wire.example\r\n{authorized}\r\n{lines}\r\n")
            .into_bytes()
    };
    let post = |lines: &str, body: &str| {
        format!(
            "POST /scim/v2/Users HTTP/1.1\r\nHost: wire.example\r\n{authorized}\r\n\
             Content-Type: application/scim+json\r\n{lines}\r\n{body}"
        )
        .into_bytes()
    };
    let line = |line: &str| format!("{line}\r\nHost: wire.example\r\n\r\n").into_bytes();
    vec![
        ("framing.message", line("GET /scim/v2/Users")),
        ("framing.message", line("GET  /scim/v2/Users HTTP/1.1")),
        ("framing.message", line("GET /scim/v2/Users?filter=a b HTTP/1.1")),
        ("framing.message", line("GET /scim/v2/Users HTTP/1.1 ")),
        ("framing.message", line(" GET /scim/v2/Users HTTP/1.1")),
        ("framing.message", line("GET /scim/v2/Users HTTP/2.0")),
        ("framing.message", line("GET /scim/v2/Users HTTP/0.9")),
        ("framing.message", line("GET /scim/v2/Users http/1.1")),
        ("framing.message", line("GET /scim/v2\x00/Users HTTP/1.1")),
        ("framing.message", line("GET /scim/v2\x0b/Users HTTP/1.1")),
        ("framing.message", line("G\x08ET /scim/v2/Users HTTP/1.1")),
        ("framing.message", line("G(T /scim/v2/Users HTTP/1.1")),
        ("framing.message", line("PRI * HTTP/2.0")),
        ("framing.message", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("framing.message", b"GET /scim/v2/Users HTTP/1.1\nHost: wire.example\n\n".to_vec()),
        ("framing.message", b"GET /scim/v2/Users HTTP/1.1\r\nHost: wire.example\n\r\n".to_vec()),
        ("framing.message", get("X-A: 1\nX-B: 2\r\n")),
        ("framing.header", get("X-A: 1\r\n folded: 2\r\n")),
        ("framing.header", get("X-A: 1\r\n\tfolded\r\n")),
        ("framing.header", get("X-A : 1\r\n")),
        ("framing.header", get("X A: 1\r\n")),
        ("framing.header", get(": 1\r\n")),
        ("framing.header", get("no colon\r\n")),
        ("framing.header", get("X-A: a\x00b\r\n")),
        ("framing.header", get("X-A: a\rb\r\n")),
        ("framing.header", get("X-A: a\x7fb\r\n")),
        ("framing.header", get("Connection: close, Authorization\r\n")),
        ("framing.header", get("Connection: content-length\r\n")),
        ("framing.header", get("Connection: X-Forwarded-For\r\n")),
        ("framing.header", get("Connection: keep-alive;timeout=5, Content-Type\r\n")),
        ("framing.host", b"GET /scim/v2/Users HTTP/1.1\r\nX-A: 1\r\n\r\n".to_vec()),
        ("framing.host", b"GET /scim/v2/Users HTTP/1.0\r\n\r\n".to_vec()),
        ("framing.host", b"GET /scim/v2/Users HTTP/1.1\r\nHost:\r\n\r\n".to_vec()),
        ("framing.host", get("Host: wire.example\r\n")),
        ("framing.host", get("host: other.example\r\n")),
        ("framing.host", b"GET /scim/v2/Users HTTP/1.1\r\nHost: a@wire.example\r\n\r\n".to_vec()),
        ("framing.host", b"GET /scim/v2/Users HTTP/1.1\r\nHost: wire.example/x\r\n\r\n".to_vec()),
        ("framing.host", b"GET /scim/v2/Users HTTP/1.1\r\nHost: other.example\r\n\r\n".to_vec()),
        ("framing.host", b"GET /scim/v2/Users HTTP/1.1\r\nHost: wire.example:80:90\r\n\r\n".to_vec()),
        ("framing.host", b"GET /scim/v2/Users HTTP/1.1\r\nHost: wire.example:http\r\n\r\n".to_vec()),
        ("target.too_long", line(&format!("GET /scim/v2/Users?x={} HTTP/1.1", "a".repeat(40_000)))),
        ("framing.length", post("Content-Length: 2\r\nContent-Length: 2\r\n", "{}")),
        ("framing.length", post("Content-Length: 2\r\nContent-Length: 3\r\n", "{}")),
        ("framing.length", post("Content-Length: 2, 2\r\n", "{}")),
        ("framing.length", post("Content-Length: +2\r\n", "{}")),
        ("framing.length", post("Content-Length: 0x2\r\n", "{}")),
        ("framing.length", post("Content-Length: -1\r\n", "{}")),
        ("framing.length", post("Content-Length:\r\n", "{}")),
        ("framing.length", post("Content-Length: 9999999999999999999x\r\n", "{}")),
        ("body.too_large", post("Content-Length: 999999999999999999\r\n", "{}")),
        ("body.too_large", post("Content-Length: 18446744073709551615\r\n", "{}")),
        ("body.too_large", post("Content-Length: 99999999999999999999999999\r\n", "{}")),
        (
            "framing.transfer_encoding",
            post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "framing.transfer_encoding",
            post("Transfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "framing.transfer_encoding",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "2\r\n{}\r\n0\r\n\r\n",
            ),
        ),
        ("framing.transfer_encoding", post("Transfer-Encoding: identity\r\n", "{}")),
        ("framing.transfer_encoding", post("Transfer-Encoding: xchunked\r\n", "{}")),
        ("framing.header", post("Transfer-Encoding: \x0bchunked\r\n", "{}")),
        ("framing.header", get(&format!("Connection: {}\r\n", "a, ".repeat(40)))),
        ("framing.message", chunks("\r\n\r\n")),
        ("framing.message", chunks(";\r\n\r\n")),
        ("framing.message", chunks("2;\n{}\r\n0\r\n\r\n")),
        ("framing.message", chunks("2\n{}\n0\n\n")),
        ("framing.message", chunks("0x2\r\n{}\r\n0\r\n\r\n")),
        ("framing.message", chunks("2\r\n{}}\r\n0\r\n\r\n")),
        ("framing.message", chunks("11111111111111111\r\n{}\r\n0\r\n\r\n")),
        ("framing.message", chunks("2\r\n{}\r\n0\r\nno field\r\n\r\n")),
        (
            "framing.message",
            chunks(&control_after("2;\nxx\r\n")),
        ),
        ("framing.transfer_encoding", post("Transfer-Encoding:\r\n", "{}")),
        (
            "framing.transfer_encoding",
            b"POST /scim/v2/Users HTTP/1.0\r\nHost: wire.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        ),
        ("framing.upgrade", get("Upgrade: websocket\r\nConnection: Upgrade\r\n")),
        ("framing.upgrade", get("Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n")),
        ("method.not_allowed", b"CONNECT wire.example:443 HTTP/1.1\r\nHost: wire.example\r\n\r\n".to_vec()),
        ("method.not_allowed", line("CONNECT /scim/v2/Users HTTP/1.1")),
        ("target.ambiguous", line("GET http://wire.example/scim/v2/Users HTTP/1.1")),
        ("target.ambiguous", line("GET http://other.example/scim/v2/Users HTTP/1.1")),
        ("target.ambiguous", line("GET scim/v2/Users HTTP/1.1")),
        ("target.ambiguous", line("OPTIONS * HTTP/1.1")),
        ("target.ambiguous", line("GET /scim/v2/Users#x HTTP/1.1")),
        ("target.ambiguous", line("GET /scim/v2/Users?a=b#x HTTP/1.1")),
        ("target.ambiguous", line("GET /scim/v2\\Users HTTP/1.1")),
        ("target.ambiguous", line("GET /scim/v2/../../i/status HTTP/1.1")),
        ("target.ambiguous", line("GET /scim/v2/%2e%2e/Users HTTP/1.1")),
        ("limits.headers", get(&"X-A: 1\r\n".repeat(101))),
        ("limits.headers", get(&format!("X-A: {}\r\n", "a".repeat(40_000)))),
    ]
}

#[test]
fn each_ambiguous_request_is_refused_and_not_forwarded() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.hosts = vec!["wire.example".into()];
    });
    for (rule, request) in requests() {
        let shown = request.escape_ascii().to_string();
        let shown = &shown[..shown.len().min(300)];
        let mut client = guarded.client();
        client.send(&request);
        let response = client.response_to("GET").unwrap_or_else(|| panic!("no answer: {shown}"));
        assert_eq!(response.rule(), rule, "{shown}");
        response.refused(rule);
        assert!(response.header("x-request-id").is_some());
        assert!(response.header("date").is_some());
        if response.header("connection") == Some("close") {
            client.stream.end();
            client.ends();
        }
    }
    assert_eq!(backend.accepted(), 0);
    assert_eq!(guarded.ask(control()).status, 200);
    assert_eq!(backend.accepted(), 1);
    // The same host, written as a fully qualified name with a port.
    let full = "GET /scim/v2/Schemas HTTP/1.1\r\nHost: Wire.Example.:443\r\n\r\n";
    assert_eq!(guarded.ask(full).status, 200);
}

#[test]
fn malformed_heads_are_answered_at_once() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    // None of these has the empty line that ends a head; they are answered before any deadline.
    let openings: [&[u8]; 4] = [
        b"GET /scim/v2/Users\r\n",
        b"GET /scim/v2/Users HTTP/1.1\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0",
    ];
    for opening in openings {
        let mut client = guarded.client();
        client.send(opening);
        client.response().refused("framing.message");
    }
    let tls = guarded.ask(openings[2]);
    assert!(tls.json()["detail"].as_str().unwrap().contains("TLS"));
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn an_upgrade_to_h2c_is_ignored() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let offer =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n";
    let mut client = guarded.client();
    for nth in 1..=2 {
        let body = crate::support::user(300);
        client.send(
            crate::support::head("POST", "/scim/v2/Users") + offer + "Content-Length: 300\r\n\r\n",
        );
        client.send(&body);
        assert_eq!(client.response().status, 200);
        let seen = backend.wait(nth);
        assert!(seen.body == body);
        for name in ["connection", "upgrade", "http2-settings"] {
            assert_eq!(seen.header(name), Vec::<&str>::new(), "{name}");
        }
    }
}

#[test]
fn an_empty_upgrade_and_invalid_connection_options_are_ignored() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let lines: [&[u8]; 8] = [
        b"Connection: keep-alive;timeout=5",
        b"Connection: \"keep-alive\"",
        b"Connection: keep-alive, max=100; x, \xe9\xff",
        b"Connection: \"authorization\"",
        b"Upgrade:",
        b"Upgrade: ,h2c, ",
        b"Connection: Upgrade\r\nUpgrade: ",
        b"Upgrade: h2c\r\nUpgrade:",
    ];
    for (nth, line) in (1..).zip(lines) {
        let body = crate::support::user(300);
        let head = crate::support::head("POST", "/scim/v2/Users");
        let length = b"\r\nContent-Length: 300\r\n\r\n";
        let mut client = guarded.client();
        client.send([head.as_bytes(), line, length, &body].concat());
        assert_eq!(client.response().status, 200, "{}", line.escape_ascii());
        let seen = backend.wait(2 * nth - 1);
        assert!(seen.body == body);
        assert_eq!(seen.header("authorization").len(), 1);
        for name in ["connection", "upgrade"] {
            assert_eq!(seen.header(name), Vec::<&str>::new(), "{}", line.escape_ascii());
        }
        // The connection still speaks HTTP/1.
        client.send(control());
        assert_eq!(client.response().status, 200);
    }
    let refused = guarded
        .ask(crate::support::head("GET", "/scim/v2/Users") + "Connection: close, Host\r\n\r\n");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("Connection names host, which is meant for the server"), "{detail}");
}

#[test]
fn a_head_sent_byte_by_byte_is_parsed_like_any_other() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    for byte in control() {
        client.send([byte]);
    }
    assert_eq!(client.response().status, 200);
}

#[test]
fn query_bytes_that_pingora_rejects_are_forwarded_unchanged() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.other_paths = wire_scim_guard::config::PathPolicy::Forward;
    });
    let query = "filter=userName%20eq%20\"alice\"&x={<é>}";
    let long = format!("filter=userName%20eq%20\"{}\"", "日".repeat(2600));
    let cases = [
        (format!("/scim/v2/Users?{query}"), format!("/scim/v2/Users?{query}")),
        (format!("/scim/Users/?{query}"), format!("/scim/v2/Users?{query}")),
        // As long as the limit allows, though percent-encoding would exceed it.
        (format!("/scim/v2/Users?{long}"), format!("/scim/v2/Users?{long}")),
        // Pingora itself forwards paths outside of SCIM.
        ("/search?q=\"x\"".into(), "/search?q=%22x%22".into()),
        ("/scim/v2/Schemas/%22%7b".into(), "/scim/v2/Schemas/%22%7B".into()),
    ];
    for (nth, (sent, seen)) in cases.into_iter().enumerate() {
        let mut client = guarded.client();
        client.send(format!("{}\r\n", crate::support::head("GET", &sent)));
        assert_eq!(client.response().status, 200, "{sent}");
        assert_eq!(backend.wait(nth + 1).line(), format!("GET {seen} HTTP/1.1"));
    }
}

#[test]
fn an_answer_to_head_has_a_content_length_and_no_body() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    client.send("HEAD /nowhere HTTP/1.1\r\nHost: wire.example\r\n\r\n");
    let response = client.response_to("HEAD").unwrap();
    assert_eq!((response.status, response.rule()), (404, "target.not_found"));
    assert_ne!(response.header("content-length"), Some("0"));
    client.send("HEAD /nowhere HTTP/1.1\r\n\r\n");
    let response = client.response_to("HEAD").unwrap();
    assert_eq!((response.status, response.rule()), (400, "framing.host"));
    client.ends();
}

#[test]
fn the_same_rules_apply_to_http2_requests() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.hosts = vec!["127.0.0.1".into()];
    });
    let build = |path: &str| h2c::head("GET", path, guarded.addr);
    let empty = |builder: http::request::Builder| (builder.body(()).unwrap(), Vec::new());
    let foreign: std::net::SocketAddr = "127.0.0.2:80".parse().unwrap();
    let cases = vec![
        ("framing.host", empty(h2c::head("GET", "/scim/v2/Users", foreign))),
        ("target.ambiguous", empty(build("/scim/v2/../Users"))),
        ("target.not_found", empty(build("/i/status"))),
        ("target.not_found", empty(build("/nowhere"))),
    ];
    let (rules, requests): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    for (rule, answer) in rules.iter().zip(h2c::ask(guarded.addr, requests)) {
        assert_eq!(answer.unwrap().rule(), *rule);
    }
    // What HTTP/2 itself forbids is answered by Pingora or its codec: a reset or an empty 400.
    let malformed = vec![
        empty(build("/scim/v2/Users").header("host", "other.example")),
        (
            build("/scim/v2/Users").method("POST").header("content-length", "5").body(()).unwrap(),
            b"{}".to_vec(),
        ),
    ];
    for answer in h2c::ask(guarded.addr, malformed) {
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 400));
    }
    assert_eq!(backend.accepted(), 0);
    let control = h2c::head("POST", "/scim/v2/Users", guarded.addr).body(()).unwrap();
    let answers = h2c::ask(guarded.addr, vec![(control, crate::support::user(300))]);
    assert_eq!(answers[0].as_ref().unwrap().status, 200);
    assert_eq!(backend.accepted(), 1);
}
