//! What is forwarded to the backend, and what is returned to the client.

use std::io::Read;
use std::net::SocketAddr;

use wire_scim_guard::config::ZHeaders;

use crate::support::{
    Backend, Client, Guarded, Reply, USER, control, h2c, head, user, wait_until, with_length,
};

#[test]
fn a_request_is_forwarded_with_its_canonical_target_and_end_to_end_headers() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let body = user(300);
    let mut client = guarded.client();
    client.send(
        [
            (head("POST", "/v7//scim/Users/?a=%22b%22")
                + "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 9\r\nTE: trailers\r\n\
                   Proxy-Connection: x\r\nScim-Guard-Rule: forged\r\nZ-User: admin\r\n\
                   Via: 1.0 before\r\nX-Forwarded-For: 203.0.113.7\r\nX-Request-Id: id-1\r\n\
                   traceparent: 00-abc-def-01\r\nX-End: to-end\r\n")
                .into_bytes(),
            format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes(),
            body,
        ]
        .concat(),
    );
    assert_eq!(client.response().status, 200);
    let seen = backend.wait(1);
    assert_eq!(seen.line(), "POST /v7/scim/v2/Users?a=%22b%22 HTTP/1.1");
    for gone in ["connection", "x-hop", "keep-alive", "te", "proxy-connection", "z-user"] {
        assert!(seen.header(gone).is_empty(), "{gone}: {}", seen.head);
    }
    assert!(seen.header("scim-guard-rule").is_empty());
    assert_eq!(seen.header("host"), ["wire.example"]);
    assert_eq!(seen.header("via"), ["1.0 before", "1.1 wire-scim-guard"]);
    assert_eq!(seen.header("x-forwarded-for"), ["203.0.113.7, 127.0.0.1"]);
    assert_eq!(seen.header("x-request-id"), ["id-1"]);
    assert_eq!(seen.header("traceparent"), ["00-abc-def-01"]);
    assert_eq!(seen.header("x-end"), ["to-end"]);
    assert_eq!(seen.header("authorization").len(), 1);
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let mut client = guarded.client();
    client.send(head("GET", USER) + "X-Forwarded-For: 1.1.1.1, 203.0.113.7\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(backend.wait(1).header("x-forwarded-for"), ["1.1.1.1, 203.0.113.7"]);
    assert_eq!(guarded.access_line(1)["client"], "203.0.113.7");
}

#[test]
fn login_headers_are_kept_only_from_named_peers_on_the_token_api() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.z_headers = ZHeaders::KeepFrom(vec!["127.0.0.1/32".parse().unwrap()]);
        // The peer's address is an IPv4-mapped IPv6 address here.
        config.listen = vec!["[::]:0".parse::<SocketAddr>().unwrap().into()];
    });
    let port = guarded.addr.port();
    let ask = |request: String| {
        let mut client = Client::connect(([127, 0, 0, 1], port).into());
        client.send(request);
        client.response()
    };
    for (nth, (target, kept)) in
        [("/scim/auth-tokens", true), (USER, false)].into_iter().enumerate()
    {
        ask(head("GET", target) + "Z-User: me\r\n\r\n");
        assert_eq!(!backend.wait(nth + 1).header("z-user").is_empty(), kept, "{target}");
    }
}

/// Header names that some servers treat as one that the guard judges, sets or removes.
const LOOKALIKES: [(&str, &str); 14] = [
    ("Z_User", "admin"),
    ("z_user", "admin"),
    ("Z.User", "admin"),
    ("Z!Connection", "admin"),
    ("Z-User_Id", "admin"),
    ("X_Forwarded_For", "203.0.113.9"),
    ("x-forwarded_proto", "https"),
    ("X_Request_Id", "forged"),
    ("Scim_Guard_Rule", "forged"),
    ("Content_Length", "1"),
    ("Content_Type", "text/plain"),
    ("content.encoding", "gzip"),
    ("Transfer_Encoding", "chunked"),
    ("Proxy_Authorization", "Basic YTpi"),
];

#[test]
fn headers_that_resemble_guarded_ones_never_reach_the_backend() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.other_paths = wire_scim_guard::config::PathPolicy::Forward;
        config.z_headers = ZHeaders::KeepFrom(vec!["127.0.0.0/8".parse().unwrap()]);
    });
    let lines: String =
        LOOKALIKES.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut expected = 0;
    let mut gone = |what: &str| {
        expected += 1;
        let seen = backend.wait(expected);
        for (name, _) in LOOKALIKES {
            assert!(seen.header(name).is_empty(), "{what}: {name}: {}", seen.head);
        }
        assert_eq!(seen.header("x_custom"), ["kept"], "{what}: {}", seen.head);
        assert!(seen.body.is_empty() || seen.body == user(300), "{what}");
    };
    // Buffered requests, requests without a body, and streamed ones.
    for (method, target) in [
        ("POST", "/scim/v2/Users"),
        ("GET", USER),
        ("POST", "/scim/auth-tokens"),
        ("GET", "/scim/auth-tokens"),
        ("POST", "/other"),
    ] {
        let head = head(method, target) + &lines + "x_custom: kept\r\n";
        let body = if method == "POST" { user(300) } else { Vec::new() };
        let length = format!("Content-Length: {}\r\n\r\n", body.len());
        let answer = guarded.ask([head.as_bytes(), length.as_bytes(), &body].concat());
        assert_eq!(answer.status, 200, "{method} {target}");
        gone(target);
        if method == "POST" {
            // Trailers of a chunked body are never forwarded.
            let trailers = format!(
                "12c\r\n{}\r\n0\r\nZ-User: me\r\n{lines}\r\n",
                String::from_utf8(body).unwrap()
            );
            let answer = guarded.ask(head + "Transfer-Encoding: chunked\r\n\r\n" + &trailers);
            assert_eq!(answer.status, 200, "{method} {target}");
            gone(target);
        }
    }
    let mut requests = Vec::new();
    for target in ["/scim/v2/Users", "/scim/auth-tokens"] {
        let mut head = h2c::head("POST", target, guarded.addr).header("x_custom", "kept");
        for (name, value) in LOOKALIKES {
            head = head.header(name, value);
        }
        requests.push((head.body(()).unwrap(), user(300)));
    }
    for answer in h2c::ask(guarded.addr, requests) {
        assert_eq!(answer.unwrap().status, 200);
        gone("HTTP/2");
    }
}

#[test]
fn answers_are_reframed_for_the_client_and_malformed_ones_become_502() {
    let cases = [
        ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204),
        ("HTTP/1.0 204 No Content\r\n\r\n", 204),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", 200),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", 502),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            200,
        ),
    ];
    for (answer, status) in cases {
        let backend = Backend::start(|_| Reply::Last(answer.as_bytes().to_vec()));
        let guarded = Guarded::configured(&[backend.addr], |config| {
            config.other_paths = wire_scim_guard::config::PathPolicy::Forward;
        });
        let requests = [("GET", USER), ("HEAD", USER), ("GET", "/scim/auth-tokens")];
        for (nth, (method, target)) in (1..).zip(requests) {
            let mut client = guarded.client();
            client.send(head(method, target) + "\r\n");
            let response = client.response_to(method).unwrap();
            assert_eq!(response.status, status, "{answer} {method} {target}");
            wait_until("the backend to close", || backend.closed() == nth);
            assert!(response.head.starts_with("HTTP/1.1 "), "{}", response.head);
            let framings = ["content-length:", "transfer-encoding:"]
                .map(|name| response.head.to_ascii_lowercase().matches(name).count());
            assert!(framings[0] + framings[1] <= 1, "{answer} {method} {target} {}", response.head);
            if status == 200 && method == "GET" && answer.contains("ok") {
                assert_eq!(response.body, b"ok", "{answer}");
            }
            if status == 204 {
                assert_eq!(response.header("transfer-encoding"), None, "{answer}");
                assert_eq!(response.header("content-length"), None, "{answer}");
            }
        }
    }
}

#[test]
fn an_answer_is_passed_on_unchanged() {
    let backend = Backend::start(|_| {
        Reply::Bytes(
            b"HTTP/1.1 418 Odd\r\nContent-Type: text/odd\r\nX-Odd: 1\r\nX-Odd: 2\r\n\
              Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
              Scim-Guard-Rule: forged\r\nCache-Control: max-age=1\r\nContent-Encoding: gzip\r\n\
              Content-Length: 5\r\n\r\n\x1f\x8b\x00\x01\xff"
                .to_vec(),
        )
    });
    let guarded = Guarded::before(&backend);
    let response = guarded.ask(control());
    assert_eq!((response.status, response.body.as_slice()), (418, &b"\x1f\x8b\x00\x01\xff"[..]));
    assert!(response.head.starts_with("HTTP/1.1 418 Odd\r\n"), "{}", response.head);
    assert_eq!(response.head.matches("X-Odd").count(), 2);
    assert_eq!(response.header("cache-control"), Some("max-age=1"));
    for gone in ["x-hop", "keep-alive", "scim-guard-rule"] {
        assert_eq!(response.header(gone), None, "{gone}");
    }
    assert_eq!(response.header("connection"), Some("keep-alive"));
    assert_eq!(response.header("x-request-id").map(str::len), Some(36));
    assert_eq!(
        response.header("x-request-id"),
        backend.wait(1).header("x-request-id").first().copied()
    );
}

#[test]
fn answers_of_unknown_length_and_without_a_body_keep_the_connection() {
    let backend = Backend::start(|seen| {
        if seen.line().starts_with("DELETE") {
            Reply::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())
        } else {
            Reply::Last(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec())
        }
    });
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    for _ in 0..2 {
        client.send(with_length("DELETE", USER, b""));
        assert_eq!(client.response().status, 204);
        client.send(head("GET", USER) + "\r\n");
        let response = client.response();
        assert_eq!(response.body, b"until the end");
    }
}

#[test]
fn an_http_1_0_client_gets_no_chunks() {
    let chunked = |body: &str| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes()
    };
    let until_the_end = |body: &str| format!("HTTP/1.1 200 OK\r\n\r\n{body}").into_bytes();
    for body in ["a".repeat(30), "b".repeat(200_000)] {
        for (answer, last) in [(chunked(&body), false), (until_the_end(&body), true)] {
            let backend = Backend::start(move |_| {
                let reply = if last { Reply::Last } else { Reply::Bytes };
                reply(answer.clone())
            });
            let guarded = Guarded::before(&backend);
            let mut client = guarded.client();
            client.send(head("GET", USER).replace("HTTP/1.1", "HTTP/1.0") + "\r\n");
            let mut seen = String::new();
            client.stream.read_to_string(&mut seen).unwrap();
            let (lines, came) = seen.split_once("\r\n\r\n").unwrap();
            assert!(!lines.to_ascii_lowercase().contains("transfer-encoding"), "{lines}");
            assert!(came == body, "{} bytes", came.len());
            // The end of the connection is announced, as it marks the end of the answer.
            let keeping = lines.replace("\r\n", " ").to_ascii_lowercase();
            assert!(keeping.contains("connection: close"), "{lines}");
            // Answers to HEAD have no Transfer-Encoding either.
            let mut client = guarded.client();
            client.send(head("HEAD", USER).replace("HTTP/1.1", "HTTP/1.0") + "\r\n");
            let mut seen = String::new();
            client.stream.read_to_string(&mut seen).unwrap();
            assert!(!seen.to_ascii_lowercase().contains("transfer-encoding"), "{seen}");
            // Streamed answers are not chunked either.
            for request in [
                head("GET", "/scim/auth-tokens") + "\r\n",
                head("POST", "/scim/auth-tokens") + "Content-Length: 2\r\n\r\n{}",
            ] {
                let mut client = guarded.client();
                client.send(request.replace("HTTP/1.1", "HTTP/1.0"));
                let mut seen = String::new();
                client.stream.read_to_string(&mut seen).unwrap();
                assert!(seen.split_once("\r\n\r\n").unwrap().1 == body);
            }
            // An HTTP/1.1 client gets chunks.
            let response = guarded.ask(head("GET", USER) + "\r\n");
            assert!(response.body == body.as_bytes());
            assert_eq!(response.header("transfer-encoding"), Some("chunked"));
        }
    }
}
