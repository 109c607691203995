//! The users that all tokens have recently deleted or deactivated, and the reservations of requests
//! in flight.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::window::{Full, Taken, Window};
use super::{AccountChange, Allowance, Fate, Limit, Place};
use crate::digest::TokenDigest;
use crate::rate;

/// How many users may be remembered in total before unknown tokens get no further reservation.
///
/// SECURITY: anyone can send requests with made-up tokens. Wire refuses them, so their reservations
/// are released, but a failing backend lets them keep them for a while.
const MAX_WITH_UNKNOWN: usize = 65_536;

/// Nanoseconds between two sweeps of the windows of all tokens for expired users.
const SWEEP_INTERVAL: u64 = 60_000_000_000;

/// Counts for all tokens.
#[derive(Default)]
pub struct Counter(Mutex<State>);

#[derive(Default)]
struct State {
    tokens: HashMap<TokenDigest, TokenWindow>,
    /// How many users are remembered, of all tokens.
    users: usize,
    swept: u64,
    /// How many users were removed, by the label of the token.
    totals: HashMap<Option<Box<str>>, u64>,
}

struct TokenWindow {
    window: Window,
    /// The limit that was last in force.
    limit: Limit,
    /// The token's label in the registry.
    label: Option<Box<str>>,
}

/// A request that removes a user.
#[derive(Clone, Copy)]
pub struct Removal<'a> {
    pub token: TokenDigest,
    /// The token's label in the registry.
    pub label: Option<&'a str>,
    /// The token is valid according to the registry, or Wire accepted it lately.
    pub known: bool,
    /// The user's id.
    pub user: u128,
    pub change: AccountChange,
}

/// The usage of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The token's label in the registry; `None`: all other tokens together.
    pub label: Option<Box<str>>,
    /// Users that count now.
    pub used: u64,
    /// Users that were removed since the process began.
    pub total: u64,
}

impl Counter {
    /// Reserves a place for the user. `allowance`: one that has not expired. The error says after how
    /// long a place may be free.
    pub fn take(
        self: &Arc<Self>,
        limit: Limit,
        allowance: Option<Allowance>,
        removal: Removal<'_>,
    ) -> Result<Place, Duration> {
        let now = rate::now();
        let mut state = self.lock();
        state.sweep(now);
        let room = removal.known || state.users < MAX_WITH_UNKNOWN;
        let taken = state.change(removal, limit, |window| {
            window.take(limit, allowance, room, (removal.user, removal.change), now)
        });
        drop(state);
        match taken {
            Ok(Taken::Counted) => Ok(self.place(removal, true)),
            Ok(Taken::Free) => Ok(Place::without_effect()),
            Err(Full { wait }) => Err(Duration::from_nanos(wait)),
        }
    }

    /// Whether a token that may be unknown gets a place at all.
    pub fn has_room(&self, known: bool) -> bool {
        known || self.lock().users < MAX_WITH_UNKNOWN
    }

    /// The reservation of a request that is forwarded although none is free within the limit.
    pub fn beyond_limit(self: &Arc<Self>, removal: Removal<'_>) -> Place {
        self.place(removal, false)
    }

    /// Records that a request with this token activates a user.
    pub fn activate(&self, token: TokenDigest, user: u128) {
        if let Some(token) = self.lock().tokens.get_mut(&token) {
            token.window.activate(user);
        }
    }

    /// The current usage, and how many users were removed, for each token that removed any.
    pub fn usage(&self) -> Vec<Usage> {
        let mut state = self.lock();
        state.expire(rate::now());
        let mut used: HashMap<Option<&str>, u64> = HashMap::new();
        for token in state.tokens.values() {
            *used.entry(token.label.as_deref()).or_default() += u64::from(token.window.used());
        }
        for label in state.totals.keys() {
            used.entry(label.as_deref()).or_default();
        }
        let usage = used.into_iter().map(|(label, used)| {
            let label = label.map(Box::from);
            let total = state.totals.get(&label).copied().unwrap_or(0);
            Usage { label, used, total }
        });
        usage.collect()
    }

    /// `counted`: the user is counted in the window of the token.
    fn place(self: &Arc<Self>, removal: Removal<'_>, counted: bool) -> Place {
        let counter = Arc::clone(self);
        let Removal { token, user, change, .. } = removal;
        let label = removal.label.map(Box::from);
        Place::new(move |fate| {
            if counted {
                counter.settle(token, label, (user, change), fate);
            } else if fate != Fate::Refused {
                counter.lock().add_total(label);
            }
        })
    }

    fn settle(
        &self,
        token: TokenDigest,
        label: Option<Box<str>>,
        (user, change): (u128, AccountChange),
        fate: Fate,
    ) {
        let mut state = self.lock();
        let Some(entry) = state.tokens.get_mut(&token) else { return };
        let before = entry.window.len();
        let is_first = entry.window.settle(user, change, fate);
        let after = entry.window.len();
        state.users = state.users + after - before;
        if after == 0 {
            state.tokens.remove(&token);
        }
        if is_first {
            state.add_total(label);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Changes the window of a token, which begins with its first user.
    fn change<T>(
        &mut self,
        Removal { token, label, .. }: Removal<'_>,
        limit: Limit,
        change: impl FnOnce(&mut Window) -> T,
    ) -> T {
        let begin =
            || TokenWindow { window: Window::default(), limit, label: label.map(Box::from) };
        let entry = self.tokens.entry(token).or_insert_with(begin);
        if entry.label.as_deref() != label {
            entry.label = label.map(Box::from);
        }
        entry.limit = limit;
        let before = entry.window.len();
        let changed = change(&mut entry.window);
        let after = entry.window.len();
        self.users = self.users + after - before;
        if after == 0 {
            self.tokens.remove(&token);
        }
        changed
    }

    fn add_total(&mut self, label: Option<Box<str>>) {
        *self.totals.entry(label).or_default() += 1;
    }

    fn sweep(&mut self, now: u64) {
        if now.saturating_sub(self.swept) >= SWEEP_INTERVAL {
            self.expire(now);
        }
    }

    /// Removes expired users, of all tokens.
    fn expire(&mut self, now: u64) {
        self.swept = now;
        self.tokens.retain(|_, token| {
            token.window.expire(token.limit, now);
            token.window.len() > 0
        });
        self.users = self.tokens.values().map(|token| token.window.len()).sum();
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("users", &self.lock().users).finish_non_exhaustive()
    }
}
