use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;

const KIB: usize = 1024;

fn budget() -> Arc<Budget> {
    Budget::new(&Limits::default())
}

fn address(last: u8) -> Option<IpAddr> {
    Some(Ipv4Addr::new(192, 0, 2, last).into())
}

/// A share with a connection of its own, with or without a known token.
fn share(budget: &Arc<Budget>, address: Option<IpAddr>, known: bool) -> Share {
    let mut share = Share::of_connection(&budget.connection(address));
    if !known {
        share.mark_unknown();
    }
    share
}

/// Takes pieces of `bytes` until there is no room for another one.
fn fill(budget: &Arc<Budget>, address: Option<IpAddr>, kind: Kind, bytes: usize) -> Vec<Share> {
    let mut shares = Vec::new();
    loop {
        let mut next = share(budget, address, false);
        if !next.hold(kind, bytes) {
            return shares;
        }
        shares.push(next);
    }
}

#[tokio::test]
async fn answers_that_wait_take_no_place_from_a_body_that_has_come() {
    let budget = budget();
    let address = address(1);
    let _held = fill(&budget, address, Kind::Answer, 128 * KIB);
    let waiting: Vec<_> = (0..MAX_WAITING + 8)
        .map(|_| {
            let mut share = share(&budget, address, false);
            tokio::spawn(async move { share.grow(Kind::Answer, 128 * KIB).await })
        })
        .collect();
    while budget.waiting.load(Ordering::Relaxed) < waiting.len() {
        tokio::task::yield_now().await;
    }
    // Small heads have a reserve.
    assert!(share(&budget, address, false).grow(Kind::Head, 2 * KIB).await.is_ok());
    let mut other = share(&budget, address, true);
    other.add(Kind::Body, budget.bounds.load().address);
    let mut body = share(&budget, address, true);
    let (body, ()) = tokio::join!(body.grow(Kind::Body, 200 * KIB), async {
        tokio::task::yield_now().await;
        drop(other);
    });
    assert!(body.is_ok());
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn unknown_tokens_at_many_addresses_leave_room_for_known_ones() {
    let budget = budget();
    let _held: Vec<_> =
        (1..=4).flat_map(|last| fill(&budget, address(last), Kind::Answer, 64 * KIB)).collect();
    assert!(budget.used(Kind::Answer) > budget.bounds.load().unknown_data / 16 * 15 - 128 * KIB);
    let mut known = share(&budget, address(5), true);
    assert!(known.hold(Kind::Body, 512 * KIB));
    assert!(!share(&budget, address(6), false).hold(Kind::Body, 512 * KIB));
}

#[tokio::test]
async fn nothing_more_is_never_refused() {
    let budget = budget();
    let _held = fill(&budget, address(1), Kind::Head, 64 * KIB);
    let mut full = share(&budget, address(1), false);
    full.add(Kind::Head, budget.bounds.load().address);
    assert!(share(&budget, address(1), false).grow(Kind::Head, 0).await.is_ok());
}

#[test]
fn what_known_tokens_hold_is_given_back() {
    let budget = budget();
    let account = budget.connection(address(1));
    let held = budget.addresses.get(address(1).unwrap());
    let mut share = Share::of_connection(&account);
    assert!(share.hold(Kind::Head, KIB) && share.hold(Kind::Body, 2 * KIB));
    let used = || [&held.used, &held.known].map(|counter| counter.load(Ordering::Relaxed));
    assert_eq!(used(), [KIB, 2 * KIB]);
    drop(share);
    assert_eq!(used(), [0, 0]);
}
