use super::*;

const SECOND: u64 = 1_000_000_000;

fn shield() -> RefusalCache {
    let settings = RefusalCacheSettings {
        refused_for: Duration::from_secs(10),
        failures: 3,
        window: Duration::from_secs(60),
        by_address: Some(true),
    };
    RefusalCache::new(&settings, true)
}

fn token(number: u32) -> TokenDigest {
    TokenDigest::of(&number.to_be_bytes())
}

fn client(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn a_refused_token_is_remembered_for_its_time_and_no_longer() {
    let (shield, now) = (shield(), rate::now());
    assert!(!shield.is_refused(token(1), now));
    shield.answered_at(token(1), None, 401, now);
    assert!(shield.is_refused(token(1), now + 10 * SECOND - 1));
    assert!(!shield.is_refused(token(1), now + 10 * SECOND));
    assert!(!shield.is_refused(token(2), now));
}

#[test]
fn a_token_accepted_within_the_hour_is_never_entered() {
    let (shield, now) = (shield(), rate::now());
    shield.answered_at(token(1), None, 200, now);
    let within = now + 3599 * SECOND;
    shield.answered_at(token(1), None, 401, within);
    assert!(!shield.is_refused(token(1), within));
    let after = now + 3600 * SECOND;
    shield.answered_at(token(1), None, 401, after);
    assert!(shield.is_refused(token(1), after));
    // It works again: there is no need to wait.
    shield.answered_at(token(1), None, 201, after + 1);
    assert!(!shield.is_refused(token(1), after + 1));
}

#[test]
fn answers_that_say_nothing_of_the_token_teach_nothing() {
    let (shield, now) = (shield(), rate::now());
    for status in [400, 403, 404, 409, 420, 429, 500, 502, 503] {
        shield.answered_at(token(1), client("192.0.2.1"), status, now);
    }
    assert_eq!(shield.remembered(), Remembered { refused: 0, accepted: 0, addresses: 0 });
}

#[test]
fn failing_addresses_are_slowed_and_let_in_again_one_by_one() {
    let (shield, now) = (shield(), rate::now());
    let address = client("192.0.2.1");
    for _ in 0..3 {
        assert_eq!(shield.wait(address, now), None);
        shield.fail(address, now);
    }
    assert_eq!(shield.wait(address, now), Some(Duration::from_secs(20)));
    // However many come in the meantime, the wait does not grow.
    shield.fail(address, now);
    assert_eq!(shield.wait(address, now + 20 * SECOND), None);
    shield.fail(address, now + 20 * SECOND);
    assert!(shield.wait(address, now + 20 * SECOND).is_some());
    assert_eq!(shield.wait(client("192.0.2.2"), now), None);
    assert_eq!(shield.wait(None, now), None);
}

#[test]
fn a_network_of_64_bits_is_one_client() {
    let (shield, now) = (shield(), rate::now());
    for last in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"] {
        shield.fail(client(last), now);
    }
    assert!(shield.wait(client("2001:db8::4"), now).is_some());
    assert!(shield.wait(client("2001:db8:0:1::4"), now).is_none());
    // IPv4 in its IPv6 form is the same client, and not one with all others.
    for _ in 0..3 {
        shield.fail(client("::ffff:192.0.2.1"), now);
    }
    assert!(shield.wait(client("192.0.2.1"), now).is_some());
    assert!(shield.wait(client("192.0.2.2"), now).is_none());
}

#[test]
fn floods_of_tokens_and_addresses_are_bounded() {
    let (shield, now) = (shield(), rate::now());
    shield.answered_at(token(0), None, 204, now);
    for number in 1..100_000_u32 {
        let address = IpAddr::from(number.to_be_bytes());
        shield.answered_at(token(number), Some(address), 401, now);
    }
    let Remembered { refused, accepted, addresses } = shield.remembered();
    assert!(refused <= 2 * MOST && addresses <= 2 * MOST, "{refused} {addresses}");
    assert_eq!(accepted, 1);
    assert!(shield.is_accepted(token(0), now));
}
