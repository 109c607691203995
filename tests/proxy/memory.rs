//! Memory is shared: when it is short, requests that wait for their client are aborted in favour of
//! others.

use std::thread;
use std::time::Duration;

use crate::support::{
    Backend, Client, Guarded, OTHER, TOKEN, USER, WAIT_TIMEOUT, control, head, user, wait_until,
    with_length,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A guard whose body limit is small enough for several shares.
fn guarded(
    backend: &Backend,
    change: impl FnOnce(&mut wire_scim_guard::config::Config),
) -> Guarded {
    Guarded::configured(&[backend.addr], |config| {
        config.limits.body = 64 * KIB;
        config.limits.buffered_bytes = 4 * MIB;
        change(config);
    })
}

fn held(guarded: &Guarded, kind: &str) -> f64 {
    guarded.metric(&format!("scim_guard_buffered_bytes{{kind=\"{kind}\"}}"))
}

fn refused(guarded: &Guarded, kind: &str) -> f64 {
    guarded.metric(&format!("scim_guard_buffered_refused_total{{kind=\"{kind}\"}}"))
}

/// Held bytes don't exceed this, apart from what each of two workers briefly reserves and releases.
fn stays_below(guarded: &Guarded, kind: &str, bytes: usize) {
    let held = held(guarded, kind);
    assert!(held <= (bytes + 2 * 64 * KIB) as f64, "{held} bytes for {kind}");
}

/// A request that is complete except for the last byte of its body.
fn stalled(guarded: &Guarded, token: &str, size: usize) -> Client {
    let body = user(size);
    let request = with_length("POST", "/scim/v2/Users", &body);
    let request = String::from_utf8(request).unwrap().replace(TOKEN, token);
    let mut client = guarded.client();
    client.send(&request[..request.len() - 1]);
    client
}

fn write(guarded: &Guarded) -> u16 {
    guarded.ask(with_length("POST", "/scim/v2/Users", &user(20 * KIB))).status
}

#[test]
fn stalled_bodies_are_evicted_for_other_requests() {
    let backend = Backend::fine();
    let guarded = guarded(&backend, |_| {});
    // Wire has accepted both tokens, so that they are not limited to the share of unknown tokens.
    for token in [TOKEN, OTHER] {
        let request = String::from_utf8(control()).unwrap().replace(TOKEN, token);
        assert_eq!(guarded.ask(request).status, 200);
    }
    let mut clients: Vec<_> = (0..100).map(|_| stalled(&guarded, OTHER, 60 * KIB)).collect();
    // One address has half of the memory.
    wait_until("memory to be used", || held(&guarded, "body") > (MIB + MIB / 2) as f64);
    for _ in 0..5 {
        assert_eq!(write(&guarded), 200);
        assert_eq!(guarded.ask(head("GET", USER) + "\r\n").status, 200);
    }
    stays_below(&guarded, "body", 2 * MIB);
    assert!(refused(&guarded, "body") > 0.0);
    clients[0].response().refused("limits.buffered_bytes");
    drop(clients);
    wait_until("memory to be released", || held(&guarded, "body") == 0.0);
}

#[test]
fn a_body_larger_than_its_share_is_refused_at_once() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.limits.buffered_bytes = 100 * KIB;
    });
    let refused = guarded.ask(with_length("POST", "/scim/v2/Users", &user(110 * KIB)));
    refused.refused("limits.buffered_bytes");
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(guarded.ask(with_length("POST", "/scim/v2/Users", &user(90 * KIB))).status, 200);
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn unknown_tokens_are_limited_to_a_share_of_body_memory() {
    let backend = Backend::fine();
    let guarded = guarded(&backend, |_| {});
    assert_eq!(guarded.ask(control()).status, 200);
    let unknown: Vec<_> = (0..100).map(|_| stalled(&guarded, OTHER, 60 * KIB)).collect();
    // Three sixteenths for unknown tokens of one address.
    let part = 4 * MIB / 16 * 3;
    wait_until("their share to be used", || held(&guarded, "body") > (part - 64 * KIB) as f64);
    stays_below(&guarded, "body", part);
    let before = refused(&guarded, "body");
    // A token that Wire has accepted uses the rest and evicts nobody.
    let accepted = stalled(&guarded, TOKEN, 60 * KIB);
    wait_until("memory for a known token", || held(&guarded, "body") > part as f64);
    assert_eq!(write(&guarded), 200);
    stays_below(&guarded, "body", part + 64 * KIB);
    // Requests for which there was no memory waited and were refused.
    wait_until("the others to be refused", || refused(&guarded, "body") > before);
    drop((unknown, accepted));
    wait_until("memory to be released", || held(&guarded, "body") == 0.0);
}

#[test]
fn known_tokens_have_memory_that_others_at_the_same_address_cannot_use() {
    let backend = Backend::fine();
    let guarded = guarded(&backend, |config| config.limits.header_timeout = WAIT_TIMEOUT);
    assert_eq!(guarded.ask(control()).status, 200);
    let part = head("GET", USER) + &format!("X-Long: {}\r\n", "a".repeat(30_000));
    let attackers: Vec<_> = (0..100)
        .map(|_| {
            let mut client = guarded.client();
            client.send(&part);
            client
        })
        .collect();
    // Half of the memory is for one address.
    let full = (2 * MIB - 256 * KIB) as f64;
    wait_until("unfinished heads to use the share of the address", || {
        held(&guarded, "head") > full
    });
    let known: Vec<_> = (0..12).map(|_| stalled(&guarded, TOKEN, 60 * KIB)).collect();
    wait_until("memory for known tokens", || {
        held(&guarded, "body") > (12 * 56 * KIB) as f64 && held(&guarded, "head") > full
    });
    assert_eq!(refused(&guarded, "body"), 0.0);
    for _ in 0..5 {
        assert_eq!(write(&guarded), 200);
    }
    drop((attackers, known));
    wait_until("memory to be released", || {
        held(&guarded, "body") == 0.0 && held(&guarded, "head") == 0.0
    });
}

#[test]
fn stalled_heads_are_counted_and_evicted() {
    let backend = Backend::fine();
    let guarded = guarded(&backend, |config| config.limits.buffered_bytes = MIB);
    let part = head("GET", USER) + &format!("X-Long: {}\r\n", "a".repeat(30_000));
    let mut clients: Vec<_> = (0..40)
        .map(|_| {
            let mut client = guarded.client();
            client.send(&part);
            client
        })
        .collect();
    wait_until("heads to be counted", || held(&guarded, "head") > (MIB / 4) as f64);
    // A head of the same size, which needs memory from the same share.
    for _ in 0..3 {
        assert_eq!(guarded.ask(part.clone() + "\r\n").status, 200);
        assert_eq!(write(&guarded), 200);
    }
    stays_below(&guarded, "head", MIB);
    clients[0].response().refused("limits.buffered_bytes");
    clients[0].ends();
    drop(clients);
    wait_until("memory to be released", || held(&guarded, "head") == 0.0);
    assert_eq!(guarded.metric("scim_guard_buffered_bytes_limit"), MIB as f64);
}

#[test]
fn a_silent_connection_is_closed_after_the_header_timeout() {
    let backend = Backend::fine();
    let guarded = guarded(&backend, |config| {
        config.limits.header_timeout = Duration::from_millis(200);
        config.limits.keepalive_timeout = Duration::from_secs(3600);
    });
    let mut used = guarded.client();
    used.send(control());
    assert_eq!(used.response().status, 200);
    let mut silent = guarded.client();
    silent.ends();
    // A connection that has carried a request may stay idle longer.
    thread::sleep(Duration::from_millis(300));
    used.send(control());
    assert_eq!(used.response().status, 200);
    wait_until("connections to be counted", || guarded.metric("scim_guard_connections") == 1.0);
}
