//! Bodies are forwarded byte for byte, whatever their size and framing, or not at all.

use wire_scim_guard::policy::Action;

use crate::support::{
    Backend, Guarded, Response, USER, chunked, control, h2c, head, user, wait_until, with_length,
};

const KIB: usize = 1024;
/// Sizes around Pingora's buffer of 64 KiB, and up to the limit.
const SIZES: [usize; 6] = [KIB, 63 * KIB, 64 * KIB, 65 * KIB, 200 * KIB, 512 * KIB];

fn arrived(backend: &Backend, nth: usize, body: &[u8]) {
    let seen = backend.wait(nth);
    assert_eq!(seen.line(), "POST /scim/v2/Users HTTP/1.1");
    assert_eq!(seen.header("content-length"), [body.len().to_string()]);
    assert!(!seen.chunked && seen.header("transfer-encoding").is_empty());
    assert!(seen.body == body, "{} bytes differ", body.len());
}

#[test]
fn http1_bodies_with_content_length_and_chunked_share_one_connection() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    let mut sent = 0;
    for size in SIZES {
        let body = user(size);
        for request in
            [with_length("POST", "/scim/v2/Users", &body), chunked("POST", "/scim/v2/Users", &body)]
        {
            client.send(request);
            let response = client.response();
            assert_eq!(response.status, 200, "{size}: {}", response.head);
            assert_eq!(response.header("connection"), Some("keep-alive"), "{size}");
            sent += 1;
            arrived(&backend, sent, &body);
        }
    }
    assert_eq!(guarded.running.as_ref().unwrap().connections(), 1);
}

#[test]
fn h2c_bodies_with_and_without_content_length_share_one_connection() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let bodies: Vec<Vec<u8>> = SIZES.iter().flat_map(|size| [user(*size), user(*size)]).collect();
    let requests = bodies
        .iter()
        .enumerate()
        .map(|(nth, body)| {
            let mut request = h2c::head("POST", "/scim/v2/Users", guarded.addr);
            if nth % 2 == 0 {
                request = request.header("content-length", body.len());
            }
            (request.body(()).unwrap(), body.clone())
        })
        .collect();
    for (nth, answer) in h2c::ask(guarded.addr, requests).into_iter().enumerate() {
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{}"[..]), "{nth}");
        arrived(&backend, nth + 1, &bodies[nth]);
    }
}

#[test]
fn the_backend_connection_is_reused() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| config.threads = 1);
    for nth in 1..=5 {
        let body = user(nth * 30 * KIB);
        assert_eq!(guarded.ask(with_length("POST", "/scim/v2/Users", &body)).status, 200);
        arrived(&backend, nth, &body);
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn no_byte_of_a_refused_body_reaches_the_backend() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    for body in [&b"{"[..], b"", &[b'['; 70 * KIB]] {
        for request in
            [with_length("POST", "/scim/v2/Users", body), chunked("POST", "/scim/v2/Users", body)]
        {
            client.send(request);
            let response = client.response();
            assert_eq!(response.status, 400, "{}", response.head);
            assert!(response.rule().starts_with("json."), "{}", response.rule());
            assert_eq!(response.header("connection"), Some("keep-alive"));
        }
    }
    assert_eq!(backend.accepted(), 0);
    client.send(control());
    assert_eq!(client.response().status, 200);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn an_oversized_body_is_refused_by_its_content_length_or_when_it_reaches_the_limit() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    client.send(format!("{}Content-Length: 600000\r\n\r\n", head("POST", "/scim/v2/Users")));
    let response = client.response();
    response.refused("body.too_large");
    assert_eq!(response.header("connection"), Some("close"));
    drop(client);
    let mut client = guarded.client();
    client.send(chunked("POST", "/scim/v2/Users", &user(512 * KIB + 1)));
    let response = client.response();
    response.refused("body.too_large");
    client.ends();
    assert_eq!(backend.accepted(), 0);
    let request = h2c::head("POST", "/scim/v2/Users", guarded.addr).body(()).unwrap();
    let answers = h2c::ask(guarded.addr, vec![(request, user(512 * KIB + 1))]);
    assert_eq!(answers[0].as_ref().unwrap().rule(), "body.too_large");
    assert_eq!(backend.accepted(), 0);
    assert_eq!(guarded.ask(control()).status, 200);
}

#[test]
fn continue_is_sent_only_when_the_body_will_be_read() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let body = user(2 * KIB);
    let mut client = guarded.client();
    let expecting = |length: usize| {
        format!(
            "{}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n",
            head("POST", "/scim/v2/Users")
        )
    };
    client.send(expecting(body.len()));
    assert_eq!(client.response().status, 100);
    client.send(&body);
    assert_eq!(client.response().status, 200);
    arrived(&backend, 1, &body);
    assert!(backend.wait(1).header("expect").is_empty());
    client.send(expecting(600_000));
    client.response().refused("body.too_large");
    client.ends();
    let mut client = guarded.client();
    client.send(expecting(10).replace(crate::support::TOKEN, "short"));
    let response: Response = client.response();
    response.refused("token.malformed");
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn a_body_that_wire_does_not_read_is_dropped() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    for (nth, method) in ["GET", "DELETE", "GET", "DELETE"].into_iter().enumerate() {
        let request = if nth < 2 {
            with_length(method, USER, b"GET /i/secret HTTP/1.1\r\nHost: a\r\n\r\n")
        } else {
            chunked(method, USER, &user(100 * KIB))
        };
        client.send(request);
        assert_eq!(client.response().status, 200, "{nth}");
        let seen = backend.wait(nth + 1);
        assert_eq!(seen.line(), format!("{method} {USER} HTTP/1.1"));
        assert!(seen.body.is_empty());
        assert!(seen.header("content-length").is_empty(), "{}", seen.head);
        assert!(seen.header("transfer-encoding").is_empty(), "{}", seen.head);
    }
    assert_eq!(backend.seen().len(), 4);
}

#[test]
fn bodies_to_the_token_api_are_streamed() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    let body = vec![b'x'; 100 * KIB];
    client.send(with_length("POST", "/scim/auth-tokens", &body));
    assert_eq!(client.response().status, 200);
    let seen = backend.wait(1);
    assert!(seen.body == body && !seen.chunked);
    client.send(chunked("POST", "/scim/auth-tokens", &body));
    assert_eq!(client.response().status, 200);
    let seen = backend.wait(2);
    assert!(seen.body == body && seen.chunked);
}

/// A user with this many emails of a wrong type, followed by this one.
fn many_faults(count: usize, last: &str) -> Vec<u8> {
    let user = String::from_utf8(user(300)).unwrap();
    let emails = format!("{{\"emails\":[{}{last}],", "1,".repeat(count));
    user.replacen('{', &emails, 1).into_bytes()
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_enforced_rule_refuses_after_any_number_of_reported_faults() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.policy.set("user.type", Action::Report).unwrap();
    });
    let fine = "{\"value\":\"a@example.com\"}";
    for (nth, count) in (1..).zip([10, 10_000, 260_000]) {
        let body = many_faults(count, fine);
        let response = guarded.ask(with_length("POST", "/scim/v2/Users", &body));
        assert_eq!(response.status, 200, "{count}: {}", response.head);
        assert!(backend.wait(nth).body == body);
        let line = guarded.access_line(2 * nth - 1);
        assert_eq!(line["reported"].to_string(), "[\"user.type\"]", "{line}");
        let body = many_faults(count, "{\"value\":\"no address\"}");
        guarded.ask(with_length("POST", "/scim/v2/Users", &body)).refused("user.emails");
    }
    assert_eq!(backend.seen().len(), 3);
}

#[test]
fn a_large_body_is_judged_like_a_small_one_compressed_or_not() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.limits.body = 2 << 20;
        config.threads = 1;
    });
    let packed = |body: &[u8]| {
        let body = gzipped(body);
        let length = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
        [head("POST", "/scim/v2/Users").as_bytes(), length.as_bytes(), &body].concat()
    };
    let plain = |body: &[u8]| with_length("POST", "/scim/v2/Users", body);
    let mut client = guarded.client();
    let mut forwarded = 0;
    for size in [KIB, 31 * KIB, 32 * KIB, 33 * KIB, 256 * KIB, 2048 * KIB] {
        let good = user(size);
        let bad =
            String::from_utf8(user(size)).unwrap().replacen("\"userName\"", "\"userNama\"", 1);
        for pack in [&plain as &dyn Fn(&[u8]) -> Vec<u8>, &packed] {
            client.send(pack(&good));
            assert_eq!(client.response().status, 200, "{size}");
            forwarded += 1;
            client.send(pack(bad.as_bytes()));
            client.response().refused("user.user_name");
        }
    }
    // Neither the compressed nor the inflated body may exceed the limit.
    client.send(packed(&user(2048 * KIB + 1)));
    client.response().refused("body.too_large");
    assert_eq!(backend.seen().len(), forwarded);
}

#[test]
fn a_worker_serves_other_requests_while_a_large_body_is_judged() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.limits.body = 8 << 20;
        config.threads = 1;
        config.policy.set("user.type", Action::Report).unwrap();
    });
    // Judging takes a second or more in a debug build; the metric shows when the whole body has arrived.
    let large = with_length("POST", "/scim/v2/Users", &many_faults(3_000_000, "1"));
    let mut slow = guarded.client();
    slow.send(large);
    wait_until("the body to be read", || {
        guarded.metric("scim_guard_request_body_bytes_count") == 1.0
    });
    let mut quick = guarded.client();
    quick.send(control());
    assert_eq!(quick.response().status, 200);
    assert_eq!(slow.response().status, 200);
    // In the order in which they arrived at the backend.
    assert!(backend.wait(2).body.len() > 1 << 20);
    assert!(backend.seen()[0].body.len() < 1 << 20);
}
