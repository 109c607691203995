//! What a store that fails costs, and that a request without a budget never asks it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use wire_scim_guard::config::{Config, OnFailure};
use wire_scim_guard::deprovisioning::Limit;

use crate::fake::{Reply, Store, numbers};
use crate::support::{
    self, Backend, Client, Guarded, TOKEN, answer, entry, head, registry_file, shared, wait_until,
};

const HELD: &str = "limits.deprovisioning";
const UNAVAILABLE: &str = "shared.unavailable";

const DROPPED: &str = "scim_guard_shared_events_total{outcome=\"dropped\"}";

/// The numbers of the script's answer that mean: the user counts from now on.
const COUNTED: [i64; 5] = [0, 1_000_000, 0, 1, 77];
const NOTHING: [i64; 5] = [0, 1_000_000, 0, 0, 0];

fn lookups(outcome: &str) -> String {
    format!("scim_guard_shared_lookups_total{{outcome=\"{outcome}\"}}")
}

fn guarded(backend: &Backend, port: u16, timeout: u64, on_failure: OnFailure) -> Guarded {
    Guarded::configured(&[backend.addr], |config: &mut Config| {
        config.deprovisioning = Some(Limit { at_most: 2, within: Duration::from_secs(3600) });
        config.shared = Some(shared(port, Duration::from_millis(timeout), on_failure));
    })
}

fn delete(user: usize) -> Vec<u8> {
    let path = format!("/scim/v2/Users/3aab60e5-5f1f-4c4d-a7d6-{user:012x}");
    format!("{}\r\n", head("DELETE", &path)).into_bytes()
}

fn get(user: usize) -> Vec<u8> {
    String::from_utf8(delete(user)).unwrap().replace("DELETE", "GET").into_bytes()
}

#[test]
fn without_shared_nothing_is_there() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    assert_eq!(guarded.ask(delete(1)).status, 200);
    assert!(!guarded.ready().contains("shared"));
    let metrics = String::from_utf8(guarded.running.as_ref().unwrap().metrics().text()).unwrap();
    assert!(!metrics.contains("scim_guard_shared"), "{metrics}");
}

#[test]
fn the_store_decides_and_is_told_what_became_of_the_request() {
    let store = Store::start(|call| match call[0].as_str() {
        "take" if call.len() > 6 => numbers(COUNTED),
        _ => numbers(NOTHING),
    });
    let backend = Backend::fine();
    let guarded = guarded(&backend, store.addr.port(), 10_000, OnFailure::Local);
    assert_eq!(guarded.ask(delete(1)).status, 200);
    assert_eq!(guarded.ask(get(1)).status, 200);
    wait_until("what became of it", || !store.calls("settle").is_empty());
    let (takes, settled) = (store.calls("take"), store.calls("settle"));
    assert_eq!((takes.len(), settled.len()), (1, 1));
    // The number of the record, a deletion, done.
    assert_eq!(settled[0][2..5], ["77", "2", "2"]);
    assert_eq!(guarded.metric(&lookups("answered")), 1.0);
    assert!(guarded.ready().contains("shared redis://127.0.0.1"), "{}", guarded.ready());
}

#[test]
fn the_page_and_the_state_say_whether_the_store_answers() {
    let store = Store::start(|_| numbers(NOTHING));
    let backend = Backend::fine();
    let guarded = guarded(&backend, store.addr.port(), 10_000, OnFailure::Refuse);
    let ask = |path: &str| {
        let mut client = Client::connect(guarded.running.as_ref().unwrap().admin_addr());
        client.send(format!("GET {path} HTTP/1.1\r\n\r\n"));
        String::from_utf8(client.response().body).unwrap()
    };
    wait_until("the store", || ask("/").contains("the store answers</span>"));
    assert!(ask("/").contains("<h2>Shared state</h2>"));
    let state: serde_json::Value = serde_json::from_str(&ask("/i/state")).unwrap();
    assert_eq!(state["shared"]["on_failure"], "refuse");
    assert_eq!(state["shared"]["failure"], serde_json::Value::Null);
}

#[test]
fn a_full_budget_holds_back_and_says_for_how_long() {
    let store = Store::start(|call| match call[0].as_str() {
        "take" => numbers([0, 1_000_000, 0, 4, 61_000_000]),
        _ => numbers(NOTHING),
    });
    let backend = Backend::fine();
    let guarded = guarded(&backend, store.addr.port(), 10_000, OnFailure::Local);
    let held = guarded.ask(delete(1));
    held.refused(HELD);
    assert_eq!(held.header("retry-after"), Some("61"));
    assert!(backend.seen().is_empty());
}

#[test]
fn an_allowance_counts_until_it_expires() {
    let backend = Backend::fine();
    for (until, third) in [("2020-01-01T00:00:00Z", 429), ("2120-01-01T00:00:00Z", 200)] {
        let store = Store::start(|_| numbers(COUNTED));
        let limit = format!(
            "deprovisioning: {{at_most: 2, within: 24h, allow: {{count: 5, until: {until}}}}}"
        );
        let guarded = Guarded::configured(&[backend.addr], |config: &mut Config| {
            config.tokens = Some(registry_file(&[entry("okta", TOKEN, &limit)]));
            config.shared =
                Some(shared(store.addr.port(), Duration::from_secs(10), OnFailure::Local));
        });
        let statuses = [1, 2, 3].map(|user| guarded.ask(delete(user)).status);
        assert_eq!(statuses, [200, 200, third], "{until}");
    }
}

#[test]
fn three_requests_wait_for_a_frozen_store_and_then_none() {
    let is_frozen = Arc::new(AtomicBool::new(false));
    let frozen = Arc::clone(&is_frozen);
    let store = Store::start(move |call| {
        if call[0] == "take" {
            frozen.store(true, Ordering::SeqCst);
        }
        if frozen.load(Ordering::SeqCst) { Reply::Nothing } else { numbers(NOTHING) }
    });
    let backend = Backend::fine();
    let guarded = guarded(&backend, store.addr.port(), 50, OnFailure::Local);
    wait_until("the store", || guarded.metric("scim_guard_shared_up") == 1.0);
    let mut client = guarded.client();
    for user in 0..10 {
        client.send(delete(user));
        // This process decides alone.
        let answer = client.response();
        assert_eq!(answer.rule() == HELD, user >= 2, "{user}: {}", answer.head);
    }
    assert_eq!(guarded.metric(&lookups("timeout")), 3.0);
    assert_eq!(guarded.metric(&lookups("unavailable")), 7.0);
    assert_eq!(guarded.metric("scim_guard_shared_up"), 0.0);
    wait_until("the reason", || guarded.ready().contains("did not answer within 50ms"));
    assert!(guarded.ready().contains("each replica decides by its own budgets"));
    is_frozen.store(false, Ordering::SeqCst);
    wait_until("recovery", || guarded.metric("scim_guard_shared_up") == 1.0);
}

#[test]
fn a_store_that_is_not_there_is_waited_for_by_nobody() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    for (on_failure, expected) in [(OnFailure::Local, "-"), (OnFailure::Refuse, UNAVAILABLE)] {
        let backend = Backend::fine();
        let guarded = guarded(&backend, port, 10_000, on_failure);
        let answer = guarded.ask(delete(1));
        assert_eq!(answer.rule(), expected, "{}", answer.head);
        if on_failure == OnFailure::Refuse {
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
            assert!(backend.seen().is_empty());
        }
        // No budget concerns it.
        assert_eq!(guarded.ask(get(1)).status, 200);
        assert_eq!(guarded.metric(&lookups("unavailable")), 1.0);
        assert!(guarded.ready().contains("cannot be reached"), "{}", guarded.ready());
    }
}

#[test]
fn an_answer_that_comes_too_late_is_given_back() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let held = Arc::clone(&gate);
    let store = Store::start(move |call| {
        if call[0] == "take" {
            let (is_open, opened) = &*held;
            drop(opened.wait_while(is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
            return numbers(COUNTED);
        }
        numbers(NOTHING)
    });
    let backend = Backend::fine();
    let guarded = guarded(&backend, store.addr.port(), 30, OnFailure::Refuse);
    wait_until("the store", || guarded.metric("scim_guard_shared_up") == 1.0);
    guarded.ask(delete(1)).refused(UNAVAILABLE);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    wait_until("the place to be given back", || !store.calls("settle").is_empty());
    // The number of the record, a deletion, nothing has changed.
    assert_eq!(store.calls("settle")[0][2..5], ["77", "2", "0"]);
}

#[test]
fn what_the_store_is_not_told_is_counted() {
    let failures: [fn() -> Reply; 3] = [
        || Reply::Bytes(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n".to_vec()),
        || Reply::Close,
        || Reply::Nothing,
    ];
    for (nth, failure) in failures.into_iter().enumerate() {
        let store = Store::start(move |call| match call[0].as_str() {
            "take" => numbers(COUNTED),
            "settle" => failure(),
            _ => numbers(NOTHING),
        });
        // An answer that says nothing of the token, so that no event is lost as well.
        let backend = Backend::start(|_| support::Reply::Bytes(answer(500, "{}")));
        let guarded = guarded(&backend, store.addr.port(), 900, OnFailure::Local);
        wait_until("the store", || guarded.metric("scim_guard_shared_up") == 1.0);
        assert_eq!(guarded.ask(delete(1)).status, 500);
        wait_until(&format!("the count of {nth}"), || guarded.metric(DROPPED) == 1.0);
        assert_eq!(store.calls("settle").len(), 1);
    }
}

#[test]
fn a_store_that_loses_the_script_or_the_connection_is_used_on() {
    let forgets = Arc::new(AtomicBool::new(false));
    let forgotten = Arc::clone(&forgets);
    let store = Store::start(move |call| match call[0].as_str() {
        "take" if forgotten.swap(false, Ordering::SeqCst) => {
            Reply::Bytes(b"-NOSCRIPT No matching script.\r\n".to_vec())
        }
        "take" if call[5].is_empty() => numbers(NOTHING),
        "take" if call[6] == "1" => Reply::Close,
        "take" => numbers(COUNTED),
        _ => numbers(NOTHING),
    });
    let backend = Backend::fine();
    let guarded = guarded(&backend, store.addr.port(), 10_000, OnFailure::Refuse);
    wait_until("the store", || guarded.metric("scim_guard_shared_up") == 1.0);
    forgets.store(true, Ordering::SeqCst);
    assert_eq!(guarded.ask(delete(1)).status, 200);
    // A deactivation has this server close the connection: the request is decided at once.
    let body = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"active","value":false}]}"#;
    let path = "/scim/v2/Users/3aab60e5-5f1f-4c4d-a7d6-000000000002";
    let deactivate = support::with_length("PATCH", path, body.as_bytes());
    guarded.ask(deactivate).refused(UNAVAILABLE);
    wait_until("the connection", || guarded.metric("scim_guard_shared_up") == 1.0);
    assert_eq!(guarded.ask(delete(3)).status, 200);
}
