//! How many handshakes a worker has under way at one time.
//!
//! SECURITY: a handshake takes memory and computing before anything is known of the client. Those that have waited
//! for their client for a second give way to others, so that silent clients do not keep others out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

/// How many at one time.
const AT_ONCE: usize = 128;

/// How long one is let alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// The handshakes of one worker.
#[derive(Debug)]
pub(in crate::proxy::downstream) struct Handshakes {
    places: Semaphore,
    /// One for each handshake that waits for a place: whoever takes it gives way.
    wanted: Semaphore,
    waiting: AtomicUsize,
}

impl Default for Handshakes {
    fn default() -> Self {
        let waiting = AtomicUsize::new(0);
        Self { places: Semaphore::new(AT_ONCE), wanted: Semaphore::new(0), waiting }
    }
}

impl Handshakes {
    /// Does a handshake when there is a place for it. `None`: it gave way to another one.
    pub(super) async fn run<T>(&self, handshake: impl Future<Output = T>) -> Option<T> {
        let _place = match self.places.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                let _wish = Wish::new(self);
                self.places.acquire().await.ok()?
            }
        };
        tokio::select! {
            biased;
            done = handshake => Some(done),
            () = self.gives_way() => None,
        }
    }

    /// Waits until the handshake is old and another one waits for its place.
    async fn gives_way(&self) {
        tokio::time::sleep(PATIENCE).await;
        if let Ok(wish) = self.wanted.acquire().await {
            wish.forget();
        }
    }
}

/// A handshake that waits for a place.
struct Wish<'h>(&'h Handshakes);

impl<'h> Wish<'h> {
    fn new(handshakes: &'h Handshakes) -> Self {
        handshakes.waiting.fetch_add(1, Ordering::Relaxed);
        handshakes.wanted.add_permits(1);
        Self(handshakes)
    }
}

impl Drop for Wish<'_> {
    /// Withdraws the wish, unless another one gave way for it: then those that are left are the others'.
    fn drop(&mut self) {
        let Handshakes { wanted, waiting, .. } = self.0;
        let others = waiting.fetch_sub(1, Ordering::Relaxed) - 1;
        wanted.forget_permits(wanted.available_permits().saturating_sub(others));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn old_handshakes_give_way_one_for_each_that_waits() {
        let handshakes = Arc::new(Handshakes::default());
        let mut silent = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let handshakes = Arc::clone(&handshakes);
            silent.spawn(async move { handshakes.run(std::future::pending::<()>()).await });
        }
        while handshakes.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let began = tokio::time::Instant::now();
        assert_eq!(handshakes.run(async { 1 }).await, Some(1));
        assert!(began.elapsed() >= PATIENCE);
        assert_eq!(silent.join_next().await.unwrap().unwrap(), None);
        // There is a place again, and nobody else gave way.
        assert_eq!(handshakes.run(async { 2 }).await, Some(2));
        tokio::time::sleep(10 * PATIENCE).await;
        assert_eq!(silent.len(), AT_ONCE - 1);
        assert!(silent.try_join_next().is_none());
    }
}
