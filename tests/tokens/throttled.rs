//! Status 420, with which Wire's nginx throttles, and the answers that clients get instead.

use crate::support::{Backend, Guarded, Reply, TOKEN, answer, control, h2c};
use crate::{USER, get};

fn throttling(body: &'static str) -> Backend {
    Backend::start(move |_| Reply::Bytes(answer(420, body)))
}

#[test]
fn a_420_without_a_body_becomes_a_429_scim_error() {
    let backend = throttling("");
    let guarded = Guarded::before(&backend);
    for request in [get(TOKEN).into_bytes(), control()] {
        let answer = guarded.ask(request);
        answer.refused("upstream.throttled");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    guarded.wait_metric(
        "scim_guard_requests_total{handler=\"/scim/v2/Users\",method=\"POST\",status_code=\"429\",verdict=\"forwarded\"}",
        1.0,
    );
    let hits = "scim_guard_rule_hits_total{action=\"enforce\",rule=\"upstream.throttled\"}";
    assert_eq!(guarded.metric(hits), 2.0);
}

#[test]
fn a_420_with_an_empty_chunked_body_becomes_a_scim_error() {
    for (reply, wait) in [
        (
            Reply::Bytes(
                b"HTTP/1.1 420 Calm\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            ),
            "1",
        ),
        (Reply::Last(b"HTTP/1.1 420 Calm\r\nRetry-After: 9\r\n\r\n".to_vec()), "9"),
        (
            Reply::Bytes(
                b"HTTP/1.1 420 Calm\r\nContent-Length: 0\r\nRetry-After: 9\r\n\r\n".to_vec(),
            ),
            "9",
        ),
        (
            Reply::Last(
                b"HTTP/1.1 420 Calm\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n".to_vec(),
            ),
            "1",
        ),
    ] {
        let backend = Backend::start(move |_| reply.clone());
        let answer = Guarded::before(&backend).ask(get(TOKEN));
        answer.refused("upstream.throttled");
        assert_eq!(answer.header("retry-after"), Some(wait));
    }
}

#[test]
fn a_420_with_a_body_keeps_its_body() {
    let backend = throttling("{\"slow\":\"down\"}");
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    for _ in 0..2 {
        client.send(get(TOKEN));
        let answer = client.response();
        assert_eq!((answer.status, answer.rule()), (429, "-"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.body, b"{\"slow\":\"down\"}");
    }
}

#[test]
fn retry_after_of_the_backend_is_kept() {
    let backend = Backend::start(|_| {
        Reply::Bytes(b"HTTP/1.1 420 Calm\r\nRetry-After: 7\r\nContent-Length: 1\r\n\r\nx".to_vec())
    });
    let answer = Guarded::before(&backend).ask(get(TOKEN));
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
}

#[test]
fn a_420_can_be_passed_on_unchanged() {
    let backend = throttling("");
    let guarded = Guarded::configured(&[backend.addr], |config| config.map_420 = false);
    let answer = guarded.ask(get(TOKEN));
    assert_eq!((answer.status, answer.rule(), answer.body.len()), (420, "-", 0));
}

#[test]
fn over_http2_only_the_throttled_stream_ends() {
    let backend = throttling("");
    let guarded = Guarded::before(&backend);
    let request = || {
        http::Request::get(format!("http://wire.example{USER}"))
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(())
            .unwrap()
    };
    let answers = h2c::ask(guarded.addr, vec![(request(), vec![]), (request(), vec![])]);
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.rule()), (429, "upstream.throttled"));
        assert!(!answer.body.is_empty());
    }
}
