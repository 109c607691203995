//! The users that one token has recently deleted or deactivated: a sliding window that contains
//! every single one, so that no interval of the configured length has more of them than allowed.

use std::collections::{BTreeSet, HashMap};

use super::{AccountChange, Allowance, Fate, Limit};

/// How many users are remembered as inactive after the window, for each token.
const MAX_INACTIVE: usize = 65_536;

/// Times are in nanoseconds, and only grow.
#[derive(Debug, Default)]
pub struct Window {
    users: HashMap<u128, Counted>,
    /// The users of `users` without a request in flight, by the time from which they count.
    idle: BTreeSet<(u64, u128)>,
    /// The users of `users` that count against the limit: all except those of an allowance.
    used: u32,
    allowance: Option<Spent>,
    /// Users whose deactivation Wire has confirmed, and which the client has repeated ever since:
    /// repeating it again removes nobody. With the time of the last repetition.
    inactive: HashMap<u128, u64>,
    inactive_by_time: BTreeSet<(u64, u128)>,
}

/// A user that was deleted or deactivated, or may have been.
#[derive(Debug)]
struct Counted {
    /// When it was last sent, unless that only repeated what Wire had confirmed.
    at: u64,
    in_flight: u32,
    /// Wire has carried out a request, or may have.
    kept: bool,
    /// What Wire has confirmed.
    confirmed: Option<AccountChange>,
    /// The user was activated while a request was in flight, so its answer confirms nothing.
    activated: bool,
    /// When the client last repeated what Wire had confirmed.
    repeated: Option<u64>,
    /// The user was counted against the allowance with this number, and not against the limit.
    allowed_by: Option<u64>,
}

/// An allowance, and how many users were counted against it.
#[derive(Debug)]
struct Spent {
    allowance: Allowance,
    number: u64,
    users: u32,
}

/// The result of a successful reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The user has a place until the answer shows whether it is kept.
    Counted,
    /// Wire has confirmed the same before, so nothing changes.
    Free,
}

/// No more users may be removed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Nanoseconds until the next place is free.
    pub wait: u64,
}

impl Window {
    /// Reserves a place for a user. `allowance`: how many more than the limit are allowed now;
    /// `room`: whether there is memory for another user.
    pub fn take(
        &mut self,
        limit: Limit,
        allowance: Option<Allowance>,
        room: bool,
        (user, change): (u128, AccountChange),
        now: u64,
    ) -> Result<Taken, Full> {
        self.expire(limit, now);
        if let Some(counted) = self.users.get_mut(&user) {
            if counted.in_flight == 0 {
                self.idle.remove(&(counted.at, user));
            }
            counted.in_flight += 1;
            if counted.confirmed.is_some_and(|confirmed| confirmed >= change) {
                counted.repeated = Some(now);
            } else {
                counted.at = now;
            }
            return Ok(Taken::Counted);
        }
        if change == AccountChange::Deactivates
            && let Some(last) = self.inactive.get_mut(&user)
        {
            self.inactive_by_time.remove(&(*last, user));
            *last = now;
            self.inactive_by_time.insert((now, user));
            return Ok(Taken::Free);
        }
        let full = Full { wait: self.wait(limit, now) };
        if !room {
            return Err(full);
        }
        let allowed_by = if self.used < limit.at_most {
            self.used += 1;
            None
        } else {
            Some(allowance.and_then(|allowance| self.spend(allowance)).ok_or(full)?)
        };
        self.forget_inactive(user);
        let counted = Counted {
            at: now,
            in_flight: 1,
            kept: false,
            confirmed: None,
            activated: false,
            repeated: None,
            allowed_by,
        };
        self.users.insert(user, counted);
        Ok(Taken::Counted)
    }

    /// Records the outcome of a request with a reservation. Returns whether it is the first one for
    /// this user that Wire has carried out, or may have.
    pub fn settle(&mut self, user: u128, change: AccountChange, fate: Fate) -> bool {
        let Some(counted) = self.users.get_mut(&user) else { return false };
        let was_kept = counted.kept;
        counted.in_flight -= 1;
        if fate != Fate::Refused {
            counted.kept = true;
        }
        if fate == Fate::Done && !counted.activated {
            counted.confirmed = counted.confirmed.max(Some(change));
        }
        let is_first = counted.kept && !was_kept;
        if counted.in_flight == 0 {
            counted.activated = false;
            if counted.kept {
                self.idle.insert((counted.at, user));
            } else {
                let allowed_by = counted.allowed_by;
                self.users.remove(&user);
                self.give_back(allowed_by);
            }
        }
        is_first
    }

    /// Records that the client activates a user: deactivating it again removes it again.
    pub fn activate(&mut self, user: u128) {
        self.forget_inactive(user);
        if let Some(counted) = self.users.get_mut(&user) {
            counted.confirmed = None;
            counted.repeated = None;
            counted.activated = counted.in_flight > 0;
        }
    }

    /// Removes what is older than the limit's interval.
    pub fn expire(&mut self, limit: Limit, now: u64) {
        let within = limit.within();
        let is_over = |at: u64| now.saturating_sub(at) > within;
        while let Some((at, user)) = self.idle.first().copied().filter(|(at, _)| is_over(*at)) {
            self.idle.remove(&(at, user));
            let Some(counted) = self.users.remove(&user) else { continue };
            if counted.allowed_by.is_none() {
                self.used = self.used.saturating_sub(1);
            }
            let repeated = counted.repeated.filter(|at| !is_over(*at));
            if let Some(repeated) = repeated.filter(|_| self.inactive.len() < MAX_INACTIVE) {
                self.inactive.insert(user, repeated);
                self.inactive_by_time.insert((repeated, user));
            }
        }
        while let Some((_, user)) = self.inactive_by_time.first().filter(|(at, _)| is_over(*at)) {
            let user = *user;
            self.forget_inactive(user);
        }
    }

    /// How many users count against the limit.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// How many users are remembered.
    pub fn len(&self) -> usize {
        self.users.len() + self.inactive.len()
    }

    /// Counts a user against an allowance, if it has any left. Returns the allowance's number.
    fn spend(&mut self, allowance: Allowance) -> Option<u64> {
        let number = match &self.allowance {
            Some(spent) if spent.allowance == allowance => spent.number,
            Some(spent) => spent.number + 1,
            None => 0,
        };
        let spent = match &mut self.allowance {
            Some(spent) if spent.number == number => spent,
            other => other.insert(Spent { allowance, number, users: 0 }),
        };
        if spent.users >= allowance.count {
            return None;
        }
        spent.users += 1;
        Some(number)
    }

    fn give_back(&mut self, allowed_by: Option<u64>) {
        match (allowed_by, &mut self.allowance) {
            (None, _) => self.used = self.used.saturating_sub(1),
            (Some(number), Some(spent)) if spent.number == number => {
                spent.users = spent.users.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn forget_inactive(&mut self, user: u128) {
        if let Some(last) = self.inactive.remove(&user) {
            self.inactive_by_time.remove(&(last, user));
        }
    }

    /// How long until a place is free within the limit, as far as that is known: for requests in
    /// flight it is not.
    fn wait(&self, limit: Limit, now: u64) -> u64 {
        let within = limit.within();
        // A limit that was lowered needs several places to become free.
        let missing = self.used.saturating_sub(limit.at_most) as usize;
        let is_limited =
            |user: &u128| self.users.get(user).is_some_and(|counted| counted.allowed_by.is_none());
        let next = self.idle.iter().filter(|(_, user)| is_limited(user)).nth(missing);
        next.map_or(within, |(at, _)| at.saturating_add(within).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests;
