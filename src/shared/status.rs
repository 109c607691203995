//! Whether the store answers, for requests, the log, metrics and `/i/ready`.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

/// After how many requests in a row that got no answer in time no more wait for one.
const MAX_TIMEOUTS: u32 = 3;

/// The upper bounds of the durations of look-ups, in seconds.
pub const SECONDS: [f64; 8] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.1];

#[derive(Debug, Default)]
pub struct Status {
    /// Requests may ask.
    is_up: AtomicBool,
    timeouts: AtomicU32,
    /// Requests got no answer in time.
    pub tripped: Notify,
    /// The events of other replicas arrive.
    is_listening: AtomicBool,
    /// Why and since when the store does not answer. The outer `None`: it was not asked yet.
    down: Mutex<Option<Option<Down>>>,
    first: Condvar,
}

/// Why and since when the store does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    pub why: String,
    pub since: SystemTime,
}

/// What was counted since the process began.
#[derive(Debug, Default)]
pub struct Counts {
    pub answered: AtomicU64,
    pub timed_out: AtomicU64,
    /// Requests that were decided without asking, as the store did not answer others.
    pub unavailable: AtomicU64,
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// What could not be told to the store: there was no room for it, or no connection.
    pub dropped: AtomicU64,
    /// Look-ups by duration: one for each of [`SECONDS`], and one for all that took longer.
    pub durations: [AtomicU64; SECONDS.len() + 1],
    pub nanoseconds: AtomicU64,
}

impl Counts {
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, took: Duration) {
        Self::add(&self.answered);
        let seconds = took.as_secs_f64();
        let place = SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(SECONDS.len());
        Self::add(&self.durations[place]);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

impl Status {
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    pub fn is_listening(&self) -> bool {
        self.is_listening.load(Ordering::Relaxed)
    }

    /// Why and since when the store does not answer; `None`: it does.
    fn down(&self) -> Option<Down> {
        self.lock().clone().flatten()
    }

    /// The same, also before the reason is known.
    pub fn failure(&self) -> Option<Down> {
        let unknown = || Down { why: "has not answered so far".into(), since: SystemTime::now() };
        self.down().or_else(|| (!self.is_up()).then(unknown))
    }

    /// Waits until the store was reached or was not, for the first time.
    pub fn wait_for_first(&self, most: Duration) {
        let deadline = Instant::now() + most;
        let mut down = self.lock();
        while down.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            down = self.first.wait_timeout(down, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn answered(&self) {
        // Written only where it changes, as all threads read it.
        if self.timeouts.load(Ordering::Relaxed) != 0 {
            self.timeouts.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn timed_out(&self) {
        if self.timeouts.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_TIMEOUTS {
            self.is_up.store(false, Ordering::Release);
            self.tripped.notify_one();
        }
    }

    /// No more requests ask.
    pub(super) fn close(&self) {
        self.is_up.store(false, Ordering::Release);
    }

    /// Returns whether it did not answer before, and that was known.
    pub(super) fn set_up(&self) -> bool {
        self.timeouts.store(0, Ordering::Relaxed);
        let before = self.lock().replace(None);
        // One that is left belongs to the connection before.
        let _ = pin!(self.tripped.notified()).enable();
        self.is_up.store(true, Ordering::Release);
        self.first.notify_all();
        before.is_some_and(|down| down.is_some())
    }

    /// Returns whether that is new.
    pub(super) fn set_down(&self, why: String) -> bool {
        self.is_up.store(false, Ordering::Release);
        let mut down = self.lock();
        let before = down.take().flatten();
        let is_new = before.is_none();
        let since = before.map_or_else(SystemTime::now, |down| down.since);
        *down = Some(Some(Down { why, since }));
        self.first.notify_all();
        is_new
    }

    pub(super) fn set_listening(&self, is_listening: bool) {
        self.is_listening.store(is_listening, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Option<Down>>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
