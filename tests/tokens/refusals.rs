//! The refusal cache: tokens that Wire has just refused, and failures counted by client address.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::support::{
    Backend, Guarded, OTHER, Reply, TOKEN, answer, entry, registry_file, wait_until,
};
use crate::{USER, get, request, token};

/// A backend that accepts one token only.
fn accepting_one_token() -> Backend {
    Backend::start(|seen| {
        let good = seen.header("authorization") == [format!("Bearer {TOKEN}")];
        Reply::Bytes(answer(if good { 200 } else { 401 }, "{}"))
    })
}

#[test]
fn a_refused_token_is_cached_until_it_expires() {
    let backend = accepting_one_token();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.shield.refused_for = Duration::from_secs(3);
    });
    let first = guarded.ask(get(OTHER));
    assert_eq!((first.status, first.rule()), (401, "-"));
    guarded.ask(get(OTHER)).refused("token.refused");
    assert_eq!(backend.seen().len(), 1);
    assert_eq!(guarded.ask(get(TOKEN)).status, 200);
    wait_until("the token to be forwarded again", || guarded.ask(get(OTHER)).rule() == "-");
    assert_eq!(guarded.metric("scim_guard_shield_remembered{what=\"accepted_tokens\"}"), 1.0);
}

#[test]
fn an_accepted_token_is_never_cached_as_refused() {
    let status = std::sync::Arc::new(AtomicU16::new(200));
    let now = std::sync::Arc::clone(&status);
    let backend = Backend::start(move |_| Reply::Bytes(answer(now.load(Ordering::SeqCst), "{}")));
    let guarded = Guarded::before(&backend);
    assert_eq!(guarded.ask(get(TOKEN)).status, 200);
    status.store(401, Ordering::SeqCst);
    for _ in 0..5 {
        let answer = guarded.ask(get(TOKEN));
        assert_eq!((answer.status, answer.rule()), (401, "-"));
    }
    status.store(200, Ordering::SeqCst);
    assert_eq!(guarded.ask(get(TOKEN)).status, 200);
    assert_eq!(backend.seen().len(), 7);
}

#[test]
fn answers_without_a_scim_token_are_not_cached() {
    let backend = Backend::start(|_| Reply::Bytes(answer(401, "{}")));
    let guarded = Guarded::before(&backend);
    for _ in 0..3 {
        let login = guarded.ask(request("GET", "/scim/auth-tokens", TOKEN, ""));
        assert_eq!((login.status, login.rule()), (401, "-"));
    }
    assert_eq!(guarded.ask(get(TOKEN)).rule(), "-");
}

#[test]
fn an_address_with_many_failures_is_limited_but_its_valid_tokens_are_not() {
    let backend = accepting_one_token();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.shield.failures = 3;
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let from = |client: &str, token: &str| {
        guarded.ask(request("GET", USER, token, &format!("X-Forwarded-For: {client}\r\n")))
    };
    assert_eq!(from("192.0.2.1", TOKEN).status, 200);
    for number in 1..=3 {
        assert_eq!(from("192.0.2.1", &token(number)).rule(), "-");
    }
    let slowed = from("192.0.2.1", &token(4));
    slowed.refused("limits.failures");
    let wait: u32 = slowed.header("retry-after").unwrap().parse().unwrap();
    assert!((15..=20).contains(&wait), "{wait}");
    // Valid tokens are accepted, and so are clients from other addresses.
    assert_eq!(from("192.0.2.1", TOKEN).status, 200);
    assert_eq!(from("192.0.2.2", &token(5)).rule(), "-");
    // The answer to a malformed header explains the mistake, however often it arrives.
    for _ in 0..5 {
        from("192.0.2.1", "x").refused("token.malformed");
    }
    assert_eq!(backend.seen().len(), 6);
}

#[test]
fn unregistered_tokens_count_as_failures_and_registered_ones_pass() {
    let backend = Backend::fine();
    let path = registry_file(&[entry("known", TOKEN, "")]);
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.tokens = Some(path);
        config.shield.failures = 2;
        config.shield.by_address = Some(true);
    });
    for number in 1..=2 {
        guarded.ask(get(&token(number))).refused("token.unknown");
    }
    guarded.ask(get(&token(3))).refused("limits.failures");
    assert_eq!(guarded.ask(get(TOKEN)).status, 200);
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn the_refusal_cache_can_be_switched_off() {
    use wire_scim_guard::policy::Action;
    let backend = accepting_one_token();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.shield.failures = 1;
        config.shield.by_address = Some(true);
        config.policy.set("token.refused", Action::Off).unwrap();
        config.policy.set("limits.failures", Action::Off).unwrap();
    });
    for _ in 0..5 {
        assert_eq!(guarded.ask(get(OTHER)).rule(), "-");
    }
    assert_eq!(backend.seen().len(), 5);
}

#[test]
fn failures_are_not_counted_for_addresses_that_may_be_shared() {
    for (trusted, by_address, counted) in [
        (false, None, false),
        (false, Some(true), true),
        (true, None, true),
        (true, Some(false), false),
    ] {
        let backend = accepting_one_token();
        let guarded = Guarded::configured(&[backend.addr], |config| {
            config.shield.failures = 3;
            config.shield.by_address = by_address;
            if trusted {
                config.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
            }
        });
        for number in 1..=3 {
            assert_eq!(guarded.ask(get(&token(number))).rule(), "-");
        }
        // Answers of Wire are recorded before they are passed on.
        for number in 4..=10 {
            let answer = guarded.ask(get(&token(number)));
            assert_eq!(answer.rule() == "limits.failures", counted, "{trusted} {by_address:?}");
        }
        assert_eq!(guarded.ask(get(TOKEN)).status, if counted { 429 } else { 200 });
        // The other limits remain.
        if !counted {
            guarded.ask(get(&token(1))).refused("token.refused");
        }
        let addresses = guarded.metric("scim_guard_shield_remembered{what=\"addresses\"}");
        assert_eq!(addresses, f64::from(u8::from(counted)));
    }
}
