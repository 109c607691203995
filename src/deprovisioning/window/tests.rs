use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::deprovisioning::AccountChange::{Deactivates, Deletes};

const SECOND: u64 = 1_000_000_000;

fn limit(at_most: u32, seconds: u64) -> Limit {
    Limit { at_most, within: Duration::from_secs(seconds) }
}

fn allowance(count: u32) -> Allowance {
    Allowance { count, until: SystemTime::UNIX_EPOCH }
}

/// Reserves a place at a second.
fn take(window: &mut Window, change: (u128, AccountChange), at: u64) -> Result<Taken, Full> {
    window.take(limit(2, 10), None, true, change, at * SECOND)
}

/// Deletes a user, with the answer of Wire.
fn delete(window: &mut Window, user: u128, fate: Fate, at: u64) -> bool {
    let taken = take(window, (user, Deletes), at).is_ok();
    if taken {
        window.settle(user, Deletes, fate);
    }
    taken
}

#[test]
fn the_wait_is_the_time_until_the_next_place_is_free() {
    let mut window = Window::default();
    assert!(delete(&mut window, 1, Fate::Done, 0));
    assert!(delete(&mut window, 2, Fate::Done, 4));
    let full = take(&mut window, (3, Deletes), 7);
    assert_eq!(full, Err(Full { wait: 3 * SECOND }));
    // The interval contains both of its ends.
    assert!(take(&mut window, (3, Deletes), 10).is_err());
    assert!(take(&mut window, (3, Deletes), 11).is_ok());
    // Of two missing places the second counts.
    let lowered = window.take(limit(1, 10), None, true, (5, Deletes), 11 * SECOND);
    assert_eq!(lowered, Err(Full { wait: 10 * SECOND }));
}

#[test]
fn an_unconfirmed_repetition_counts_from_its_own_time() {
    let mut window = Window::default();
    assert!(delete(&mut window, 1, Fate::Unknown, 0));
    assert!(delete(&mut window, 1, Fate::Done, 9));
    // What Wire has confirmed is not moved by a repetition.
    assert!(delete(&mut window, 1, Fate::Refused, 15));
    window.expire(limit(2, 10), 19 * SECOND);
    assert_eq!(window.used(), 1);
    window.expire(limit(2, 10), 20 * SECOND);
    assert_eq!(window.used(), 0);
}

#[test]
fn a_refused_repetition_releases_no_place() {
    let mut window = Window::default();
    for earlier in [Fate::Done, Fate::Unknown] {
        assert!(delete(&mut window, 1, earlier, 0));
        assert!(delete(&mut window, 1, Fate::Refused, 1));
        assert_eq!(window.used(), 1);
    }
    // Two at once: the place stays as long as one of them may be carried out.
    let mut window = Window::default();
    assert!(take(&mut window, (1, Deletes), 0).is_ok());
    assert!(take(&mut window, (1, Deletes), 0).is_ok());
    assert!(!window.settle(1, Deletes, Fate::Refused));
    assert_eq!(window.used(), 1);
    assert!(window.settle(1, Deletes, Fate::Done));
    assert_eq!(window.used(), 1);
    assert!(delete(&mut window, 2, Fate::Refused, 0));
    assert_eq!((window.used(), window.len()), (1, 1));
}

#[test]
fn a_user_kept_inactive_takes_one_place_until_activated() {
    let mut window = Window::default();
    let deactivate = |window: &mut Window, user, at| {
        let taken = take(window, (user, Deactivates), at);
        if taken == Ok(Taken::Counted) {
            window.settle(user, Deactivates, Fate::Done);
        }
        taken.is_ok()
    };
    // A client that repeats ten inactive users every five seconds: each is accepted, two in ten
    // seconds.
    let mut settled = [false; 10];
    for at in (0..100).step_by(5) {
        for (user, settled) in settled.iter_mut().enumerate() {
            let passed = deactivate(&mut window, user as u128, at);
            assert!(passed || !*settled, "user {user} at {at}");
            *settled |= passed;
        }
    }
    assert_eq!(settled, [true; 10]);
    window.expire(limit(2, 10), 104 * SECOND);
    assert_eq!((window.used(), window.len()), (0, 10));
    // A user that is activated or deleted is removed again.
    window.activate(0);
    assert!(deactivate(&mut window, 0, 104));
    assert!(delete(&mut window, 1, Fate::Done, 104));
    assert!(!delete(&mut window, 2, Fate::Done, 104));
    assert!(deactivate(&mut window, 2, 104));
    // Users that are no longer repeated are dropped.
    window.expire(limit(2, 10), 200 * SECOND);
    assert_eq!((window.used(), window.len()), (0, 0));
}

#[test]
fn an_answer_to_what_was_sent_before_an_activation_confirms_nothing() {
    let mut window = Window::default();
    assert!(take(&mut window, (1, Deactivates), 0).is_ok());
    window.activate(1);
    window.settle(1, Deactivates, Fate::Done);
    assert!(take(&mut window, (1, Deactivates), 5).is_ok());
    window.settle(1, Deactivates, Fate::Done);
    window.expire(limit(2, 10), 15 * SECOND);
    assert_eq!(window.used(), 1);
}

#[test]
fn an_allowance_is_for_so_many_users_in_all_and_leaves_the_limit_as_it_was() {
    let mut window = Window::default();
    let mut pass = |user: u128, allowed: Option<u32>, fate, at: u64| {
        let allowed = allowed.map(allowance);
        let taken = window.take(limit(2, 10), allowed, true, (user, Deletes), at * SECOND).is_ok();
        if taken {
            window.settle(user, Deletes, fate);
        }
        taken
    };
    assert!(pass(1, Some(3), Fate::Done, 0) && pass(2, Some(3), Fate::Done, 0));
    assert!(pass(3, Some(3), Fate::Done, 0) && pass(4, Some(3), Fate::Refused, 0));
    assert!(pass(5, Some(3), Fate::Done, 0) && pass(6, Some(3), Fate::Unknown, 0));
    assert!(!pass(7, Some(3), Fate::Done, 0));
    // Retries cost nothing, and the count is not per interval.
    assert!(pass(5, Some(3), Fate::Done, 1));
    assert!(pass(7, Some(3), Fate::Done, 11) && pass(8, Some(3), Fate::Done, 11));
    assert!(!pass(9, Some(3), Fate::Done, 11));
    // Another allowance starts from zero.
    assert!(pass(9, Some(1), Fate::Done, 11));
    assert!(!pass(10, Some(1), Fate::Done, 11) && !pass(10, None, Fate::Done, 11));
}

#[test]
fn without_memory_no_new_user_is_counted() {
    let mut window = Window::default();
    assert!(delete(&mut window, 1, Fate::Done, 0));
    assert!(window.take(limit(2, 10), None, false, (2, Deletes), 0).is_err());
    assert!(window.take(limit(2, 10), None, false, (1, Deletes), 0).is_ok());
}

#[derive(Debug, Clone)]
enum Step {
    Send(u128, AccountChange),
    /// The oldest request of this user in flight is answered.
    Answer(u128, Fate),
    Activate(u128),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let user = 0..8u128;
    let change = prop_oneof![Just(Deactivates), Just(Deletes)];
    let fate = prop_oneof![Just(Fate::Refused), Just(Fate::Unknown), Just(Fate::Done)];
    let step = prop_oneof![
        4 => (user.clone(), change).prop_map(|(user, change)| Step::Send(user, change)),
        4 => (user.clone(), fate).prop_map(|(user, fate)| Step::Answer(user, fate)),
        1 => user.prop_map(Step::Activate),
        3 => (0..7u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..120)
}

/// One request that was forwarded, as the model remembers it.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: u64,
    change: AccountChange,
    /// It only repeated what was confirmed.
    repeats: bool,
    fate: Option<Fate>,
    before_activation: bool,
}

/// All requests of a user that were forwarded since the user last did not count.
type History = Vec<Sent>;

fn is_confirmed(history: &History, change: AccountChange) -> bool {
    history.iter().any(|sent| {
        sent.fate == Some(Fate::Done) && !sent.before_activation && sent.change >= change
    })
}

fn counts(history: &History, within: u64, now: u64) -> bool {
    let in_flight = history.iter().any(|sent| sent.fate.is_none());
    let kept = history.iter().any(|sent| !matches!(sent.fate, None | Some(Fate::Refused)));
    let last = history.iter().filter(|sent| !sent.repeats).map(|sent| sent.at).max();
    in_flight || (kept && last.is_some_and(|last| now - last <= within))
}

proptest! {
    /// Compares with a model that keeps every request and scans all of them each time.
    #[test]
    fn no_interval_has_more_users_than_allowed_and_none_is_refused_needlessly(
        steps in steps(),
        at_most in 1..4u32,
    ) {
        const WITHIN: u64 = 10;
        let limit = limit(at_most, WITHIN);
        let mut window = Window::default();
        let mut now = 0;
        let mut histories: BTreeMap<u128, History> = BTreeMap::new();
        // Forwarded requests that may remove a user, with their times.
        let mut removals: Vec<(u64, u128)> = Vec::new();
        for step in steps {
            histories.retain(|_, history| counts(history, WITHIN, now));
            match step {
                Step::Pass(seconds) => now += seconds,
                Step::Activate(user) => {
                    window.activate(user);
                    for sent in histories.entry(user).or_default() {
                        sent.before_activation = true;
                    }
                }
                Step::Answer(user, fate) => {
                    let history = histories.entry(user).or_default();
                    let Some(sent) = history.iter_mut().find(|sent| sent.fate.is_none()) else {
                        continue;
                    };
                    sent.fate = Some(fate);
                    window.settle(user, sent.change, fate);
                }
                Step::Send(user, change) => {
                    let used = histories.len();
                    let known = histories.contains_key(&user);
                    let taken = window.take(limit, None, true, (user, change), now * SECOND);
                    match taken {
                        Err(Full { .. }) => {
                            prop_assert!(!known && used >= at_most as usize);
                        }
                        Ok(Taken::Free) => prop_assert_eq!(change, Deactivates),
                        Ok(Taken::Counted) => {
                            prop_assert!(known || used < at_most as usize);
                            let history = histories.entry(user).or_default();
                            let repeats = is_confirmed(history, change);
                            // Answers can be distinguished only if no other is in flight.
                            let before_activation = history
                                .iter()
                                .any(|sent| sent.fate.is_none() && sent.before_activation);
                            let fate = None;
                            history.push(Sent { at: now, change, repeats, fate, before_activation });
                            if !repeats {
                                removals.push((now, user));
                            }
                        }
                    }
                }
            }
            // A user for whom every request was refused does not count.
            let is_refused = |user: &u128| {
                histories.get(user).is_none_or(|history| !counts(history, WITHIN, now))
            };
            let mut recent: Vec<u128> = removals
                .iter()
                .filter(|(at, user)| now - at <= WITHIN && !is_refused(user))
                .map(|(_, user)| *user)
                .collect();
            recent.sort_unstable();
            recent.dedup();
            prop_assert!(recent.len() <= at_most as usize, "{recent:?}");
        }
    }
}
