//! Connections over TLS are reused, sessions are resumed, and both follow the same rules as in
//! cleartext.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::support::{
    Backend, Reply, Seen, USER, answer, control, head, last, ok, user, with_length,
};
use crate::terminator::Chain;

fn get() -> Vec<u8> {
    (head("GET", USER) + "\r\n").into_bytes()
}

/// A backend that answers every second request of a connection in its own way.
fn deviating_on_second(reply: fn(&Seen) -> Reply) -> Backend {
    let turns = Mutex::new(HashMap::<usize, usize>::new());
    Backend::start(move |seen| {
        let mut turns = turns.lock().unwrap();
        let turn = turns.entry(seen.connection).or_default();
        *turn += 1;
        if *turn == 2 { reply(seen) } else { ok("{}") }
    })
}

#[test]
fn one_connection_serves_many_requests() {
    let chain = Chain::new(Backend::fine());
    for _ in 0..50 {
        // Including clients that connect and disconnect.
        assert_eq!(chain.guarded.ask(control()).status, 200);
        assert_eq!(chain.guarded.ask(get()).status, 200);
    }
    assert_eq!(chain.backend.seen().len(), 100);
    assert_eq!((chain.terminator.handshakes().len(), chain.backend.accepted()), (1, 1));
}

#[test]
fn sessions_are_resumed_if_connections_are_not_reused() {
    let chain = Chain::new(Backend::start(|_| last()));
    for _ in 0..10 {
        assert_eq!(chain.guarded.ask(get()).status, 200);
    }
    let handshakes = chain.terminator.handshakes();
    assert_eq!(handshakes.len(), 10);
    assert!(!handshakes[0].resumed && handshakes[1..].iter().all(|h| h.resumed), "{handshakes:?}");
    // Streamed requests share the sessions.
    let chain = Chain::new(Backend::start(|_| last()));
    for _ in 0..5 {
        let request = with_length("POST", "/scim/auth-tokens", b"{}");
        assert_eq!(chain.guarded.ask(request).status, 200);
    }
    let handshakes = chain.terminator.handshakes();
    assert_eq!(handshakes.len(), 5);
    assert!(handshakes[1..].iter().all(|handshake| handshake.resumed), "{handshakes:?}");
}

#[test]
fn a_post_is_never_retried_and_an_idempotent_request_once() {
    let patch = br#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[]}"#;
    for request in [
        control(),
        with_length("POST", "/scim/v2/Users", &user(100_000)),
        with_length("PATCH", USER, patch),
    ] {
        let chain = Chain::new(deviating_on_second(|_| Reply::Reset));
        assert_eq!(chain.guarded.ask(control()).status, 200);
        chain.guarded.ask(request).refused("upstream.answer");
        assert_eq!((chain.backend.seen().len(), chain.terminator.handshakes().len()), (2, 1));
    }
    for request in [get(), with_length("PUT", USER, &user(300))] {
        let chain = Chain::new(deviating_on_second(|_| Reply::Reset));
        assert_eq!(chain.guarded.ask(control()).status, 200);
        assert_eq!(chain.guarded.ask(request).status, 200);
        assert_eq!((chain.backend.seen().len(), chain.terminator.handshakes().len()), (3, 2));
    }
    // A connection that fails before anything was sent does not fail a request.
    let chain = Chain::new(Backend::start(|_| Reply::Stall));
    drop(chain.terminator);
    chain.guarded.ask(control()).refused("upstream.connect");
    assert_eq!(chain.backend.seen().len(), 0);
}

#[test]
fn bytes_after_an_answer_reach_no_client_and_a_close_is_noticed() {
    // Bytes that arrive immediately, and bytes that arrive while the connection is idle.
    let twice = |_: &Seen| {
        let first = answer(200, "{}");
        Reply::Bytes([first, answer(200, "\"another's\"")].concat())
    };
    let chain = Chain::new(Backend::start(twice));
    for _ in 0..5 {
        let answer = chain.guarded.ask(control());
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
    }
    assert_eq!(chain.backend.accepted(), 5);
    // A server that closes idle connections causes no failed request.
    let chain = Chain::new(Backend::start(|_| Reply::Last(answer(200, "{}"))));
    for _ in 0..5 {
        assert_eq!(chain.guarded.ask(get()).status, 200);
    }
    assert_eq!(chain.backend.seen().len(), 5);
}
