use super::*;
use crate::config::Server;
use crate::config::shared::{Location, OnFailure, Shared, Store};
use crate::hash_key::HashKey;

const SECOND: u64 = 1_000_000_000;

fn cache() -> RefusalCache {
    RefusalCache::default()
}

fn limits() -> RefusalLimits {
    let mut config = Config::new(Vec::new(), Vec::new());
    config.shield.refused_for = Duration::from_secs(10);
    config.shield.failures = 3;
    config.shield.window = Duration::from_secs(60);
    config.shield.by_address = Some(true);
    RefusalLimits::of(&config, None)
}

fn token(number: u32) -> TokenDigest {
    TokenDigest::of(&number.to_be_bytes())
}

fn client(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn a_refused_token_is_remembered_for_its_time_and_no_longer() {
    let (cache, limits, now) = (cache(), limits(), rate::now());
    assert!(!cache.is_refused(&limits, token(1), || now));
    cache.answered_at(&limits, token(1), None, 401, now);
    assert!(cache.is_refused(&limits, token(1), || now + 10 * SECOND - 1));
    assert!(!cache.is_refused(&limits, token(1), || now + 10 * SECOND));
    assert!(!cache.is_refused(&limits, token(2), || now));
}

#[test]
fn a_token_accepted_within_the_hour_is_never_refused() {
    let (cache, limits, now) = (cache(), limits(), rate::now());
    cache.answered_at(&limits, token(1), None, 200, now);
    let within = now + 3599 * SECOND;
    cache.answered_at(&limits, token(1), None, 401, within);
    assert!(!cache.is_refused(&limits, token(1), || within));
    let after = now + 3600 * SECOND;
    cache.answered_at(&limits, token(1), None, 401, after);
    assert!(cache.is_refused(&limits, token(1), || after));
    // The token works again: there is no need to wait.
    cache.answered_at(&limits, token(1), None, 201, after + 1);
    assert!(!cache.is_refused(&limits, token(1), || after + 1));
}

#[test]
fn answers_that_say_nothing_about_the_token_change_nothing() {
    let (cache, limits, now) = (cache(), limits(), rate::now());
    for status in [400, 403, 404, 409, 420, 429, 500, 502, 503] {
        cache.answered_at(&limits, token(1), client("192.0.2.1"), status, now);
    }
    assert_eq!(cache.remembered(), Remembered { refused: 0, accepted: 0, addresses: 0 });
}

#[test]
fn failing_addresses_are_throttled_and_admitted_again_one_by_one() {
    let (cache, limits, now) = (cache(), limits(), rate::now());
    let address = client("192.0.2.1");
    for _ in 0..3 {
        assert_eq!(cache.wait(&limits, address, || now), None);
        cache.fail(&limits, address, now);
    }
    assert_eq!(cache.wait(&limits, address, || now), Some(Duration::from_secs(20)));
    // However many requests arrive in the meantime, the wait does not grow.
    cache.fail(&limits, address, now);
    assert_eq!(cache.wait(&limits, address, || now + 20 * SECOND), None);
    cache.fail(&limits, address, now + 20 * SECOND);
    assert!(cache.wait(&limits, address, || now + 20 * SECOND).is_some());
    assert_eq!(cache.wait(&limits, client("192.0.2.2"), || now), None);
    assert_eq!(cache.wait(&limits, None, || now), None);
}

#[test]
fn a_network_of_64_bits_is_one_client() {
    let (cache, limits, now) = (cache(), limits(), rate::now());
    for last in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"] {
        cache.fail(&limits, client(last), now);
    }
    assert!(cache.wait(&limits, client("2001:db8::4"), || now).is_some());
    assert!(cache.wait(&limits, client("2001:db8:0:1::4"), || now).is_none());
    // IPv4 in its IPv6 form is the same client, and not one with all others.
    for _ in 0..3 {
        cache.fail(&limits, client("::ffff:192.0.2.1"), now);
    }
    assert!(cache.wait(&limits, client("192.0.2.1"), || now).is_some());
    assert!(cache.wait(&limits, client("192.0.2.2"), || now).is_none());
}

#[test]
fn floods_of_tokens_and_addresses_are_bounded() {
    let (cache, limits, now) = (cache(), limits(), rate::now());
    cache.answered_at(&limits, token(0), None, 204, now);
    for number in 1..100_000_u32 {
        let address = IpAddr::from(number.to_be_bytes());
        cache.answered_at(&limits, token(number), Some(address), 401, now);
    }
    let Remembered { refused, accepted, addresses } = cache.remembered();
    assert!(
        refused <= 2 * MAX_REMEMBERED && addresses <= 2 * MAX_REMEMBERED,
        "{refused} {addresses}"
    );
    assert_eq!(accepted, 1);
    assert!(cache.is_accepted(token(0), || now));
}

/// The limits of a replica that shares what it learns, with nobody so far.
fn shared_limits() -> RefusalLimits {
    let store = Store {
        location: Location::Server(Server::cleartext("127.0.0.1", 1)),
        database: 0,
        tls: false,
        ca: None,
        prefix: "test:".into(),
        key: Some(HashKey::read(&"k".repeat(32)).unwrap()),
        username: None,
        password: None,
    };
    let (timeout, on_failure) = (Duration::from_millis(20), OnFailure::Local);
    let shared = Arc::new(SharedState::new(Shared { store, timeout, on_failure }));
    RefusalLimits { shared: Some(shared), ..limits() }
}

#[test]
fn what_another_replica_learned_counts_here() {
    let (cache, limits) = (cache(), shared_limits());
    let keys = limits.shared.as_ref().unwrap().keys();
    cache.heard(&limits, Event::Refused(keys.token(token(1))));
    assert!(cache.refuses(&limits, token(1)) && !cache.refuses(&limits, token(2)));
    cache.heard(&limits, Event::Accepted(keys.token(token(1))));
    assert!(!cache.refuses(&limits, token(1)) && cache.accepts(&limits, token(1)));
    // One failure here and two there.
    let address = client("192.0.2.1");
    let network = keys.address(bits_of(address.unwrap())).unwrap();
    cache.failed(&limits, address);
    for _ in 0..2 {
        assert_eq!(cache.retry_after(&limits, address), None);
        cache.heard(&limits, Event::Failed(network));
    }
    assert!(cache.retry_after(&limits, address).is_some());
    assert_eq!(cache.retry_after(&limits, client("192.0.2.2")), None);
}

#[test]
fn no_replica_can_have_a_token_refused_that_was_accepted_within_the_hour() {
    let (cache, limits) = (cache(), shared_limits());
    let keys = limits.shared.as_ref().unwrap().keys();
    cache.answered(&limits, token(1), None, 200);
    cache.heard(&limits, Event::Refused(keys.token(token(1))));
    assert!(!cache.refuses(&limits, token(1)));
    cache.heard(&limits, Event::Accepted(keys.token(token(2))));
    cache.answered(&limits, token(2), None, 401);
    assert!(!cache.refuses(&limits, token(2)));
}
