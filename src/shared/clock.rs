//! The store's clock as this process knows it: when a request will have stopped waiting, by the store's own time.

use std::time::{Duration, Instant};

/// How far two clocks drift apart at most: microseconds for each second.
const DRIFT: i64 = 500;

/// Learns from each answer, which has the store's time: that was read after the question was sent and before the
/// answer arrived. No clock of this machine is compared with the store's, but only how long something took.
#[derive(Debug)]
pub struct StoreClock {
    origin: Instant,
    /// Between which bounds the store's time less the time since `origin` is, and when that was learned.
    range: Option<(i64, i64, Instant)>,
}

impl StoreClock {
    pub fn new() -> Self {
        Self { origin: Instant::now(), range: None }
    }

    /// Learns from an answer with the store's time in microseconds.
    pub fn learn(&mut self, store: i64, sent: Instant, received: Instant) {
        let seen = (store - self.since(received), store - self.since(sent));
        let known = self.range.map(|(low, high, at)| {
            let drift =
                DRIFT * i64::try_from((received - at).as_secs() + 1).unwrap_or(i64::MAX / DRIFT);
            (low - drift, high + drift)
        });
        let (low, high) = match known {
            // What agrees makes the bounds narrower.
            Some((low, high)) if seen.0 <= high && seen.1 >= low => {
                (low.max(seen.0), high.min(seen.1))
            }
            // The store's clock was set, or it is another server.
            _ => seen,
        };
        self.range = Some((low, high, received));
    }

    /// The store's time at a moment, or a little less; `None`: nothing is known of it.
    pub fn at(&self, moment: Instant) -> Option<i64> {
        self.range.map(|(low, _, _)| low + self.since(moment))
    }

    fn since(&self, moment: Instant) -> i64 {
        microseconds(moment.saturating_duration_since(self.origin))
    }
}

/// As the store counts.
pub fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_time_is_never_ahead_of_the_stores_and_gets_closer() {
        let mut clock = StoreClock::new();
        let start = clock.origin;
        // The store is 1,000 seconds ahead; answers take 10, 2 and 50 ms, and the time is read halfway.
        let store = |moment: Instant| 1_000_000_000 + microseconds(moment - start);
        assert_eq!(clock.at(start), None);
        let mut worst = i64::MAX;
        for (sent, took) in [(100, 10), (200, 2), (300, 50)] {
            let (sent, received) = (start + sent * MS, start + (sent + took) * MS);
            clock.learn(store(sent + took * MS / 2), sent, received);
            let behind = store(received) - clock.at(received).unwrap();
            assert!(behind >= 0 && behind <= worst, "{behind}");
            worst = behind + DRIFT;
        }
        assert!(worst < 2_500, "{worst}");
    }

    #[test]
    fn a_clock_that_was_set_is_learned_anew_from_one_answer() {
        let mut clock = StoreClock::new();
        let (sent, received) = (clock.origin + MS, clock.origin + 2 * MS);
        for store in [5_000_000, 5_000_000_000, 1_000] {
            clock.learn(store, sent, received);
            assert_eq!(clock.at(received), Some(store));
        }
    }
}
