//! Rate limiting, and how long to wait when the rate is exceeded: the generic cell rate algorithm,
//! whose whole state is one point in time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Nanoseconds since the first call in the process.
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    // A margin of one year, so that no subtraction goes below zero.
    const MARGIN: u64 = 365 * 24 * 3600 * 1_000_000_000;
    MARGIN + nanoseconds(START.get_or_init(Instant::now).elapsed())
}

/// A rate: a burst, and over time no more than its size in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds for each request.
    interval: u64,
    /// How far ahead of time a burst may be.
    tolerance: u64,
}

impl Rate {
    /// `count` requests in every `period`, and as many at once. Both are at least 1, the period in
    /// nanoseconds.
    pub fn new(count: u32, period: Duration) -> Self {
        let count = u64::from(count.max(1));
        let interval = (nanoseconds(period) / count).max(1);
        Self { interval, tolerance: interval.saturating_mul(count - 1) }
    }

    /// How long to wait until one more request is within the rate; `None` if it is now.
    pub fn wait(&self, state: u64, now: u64) -> Option<Duration> {
        let free_from = state.saturating_sub(self.tolerance);
        (free_from > now).then(|| Duration::from_nanos(free_from - now))
    }

    /// The time for each request, and how far ahead of time a burst may be, in microseconds.
    pub fn microseconds(&self) -> (f64, f64) {
        (self.interval as f64 / 1000.0, self.tolerance as f64 / 1000.0)
    }

    /// The state after one more request.
    pub fn after(&self, state: u64, now: u64) -> u64 {
        state.max(now).saturating_add(self.interval)
    }
}

/// How much of a rate is used, shared by all threads.
#[derive(Debug, Default)]
pub struct Meter(AtomicU64);

impl Meter {
    /// Counts one request, or returns how long to wait for it.
    pub fn take(&self, rate: Rate, now: u64) -> Result<(), Duration> {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            if let Some(wait) = rate.wait(state, now) {
                return Err(wait);
            }
            let next = rate.after(state, now);
            match self.0.compare_exchange_weak(state, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(current) => state = current,
            }
        }
    }
}

impl Meter {
    /// Gives one back.
    pub fn give_back(&self, rate: Rate) {
        let less = |state: u64| Some(state.saturating_sub(rate.interval));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// Whole seconds for a Retry-After header: rounded up, so that a client that waits is admitted.
pub fn retry_after(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_of_the_whole_count_is_let_in_and_then_one_for_each_share_of_the_period() {
        let rate = Rate::new(10, Duration::from_secs(1));
        let meter = Meter::default();
        let start = now();
        for _ in 0..10 {
            assert_eq!(meter.take(rate, start), Ok(()));
        }
        assert_eq!(meter.take(rate, start), Err(Duration::from_millis(100)));
        assert!(meter.take(rate, start + SECOND / 10 - 1).is_err());
        assert_eq!(meter.take(rate, start + SECOND / 10), Ok(()));
        assert!(meter.take(rate, start + SECOND / 10).is_err());
        // A pause refills it, but no further.
        let later = start + 3600 * SECOND;
        let taken = (0..20).filter(|_| meter.take(rate, later).is_ok()).count();
        assert_eq!(taken, 10);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let rate = Rate::new(2, Duration::from_secs(1));
        let meter = Meter::default();
        let start = now();
        for _ in 0..2 {
            assert_eq!(meter.take(rate, start), Ok(()));
        }
        meter.give_back(rate);
        assert_eq!(meter.take(rate, start), Ok(()));
        assert!(meter.take(rate, start).is_err());
    }

    #[test]
    fn the_seconds_to_wait_are_rounded_up() {
        for (wait, seconds) in [(1, 1), (1000, 1), (1001, 2), (59_001, 60)] {
            assert_eq!(retry_after(Duration::from_millis(wait)), seconds);
        }
    }

    #[test]
    fn extreme_rates_do_not_overflow() {
        for (count, period) in [(0, Duration::ZERO), (u32::MAX, Duration::MAX), (1, Duration::MAX)]
        {
            let meter = Meter::default();
            assert_eq!(meter.take(Rate::new(count, period), now()), Ok(()));
        }
    }
}
