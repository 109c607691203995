//! Limits the handshakes that a worker has in progress at a time.
//!
//! SECURITY: a handshake takes memory and computing time before anything is known of the client.
//! Handshakes that have waited for their client for a second give way to others, so that silent
//! clients do not keep others out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

/// The maximum number of concurrent handshakes.
const MAX_CONCURRENT: usize = 128;

/// How long a handshake may take before it may have to give way.
const GRACE: Duration = Duration::from_secs(1);

/// The handshakes of one worker.
#[derive(Debug)]
pub(in crate::proxy::downstream) struct Handshakes {
    places: Semaphore,
    /// One for each handshake that waits for a place: the handshake that receives it gives way.
    wanted: Semaphore,
    waiting: AtomicUsize,
}

impl Default for Handshakes {
    fn default() -> Self {
        let waiting = AtomicUsize::new(0);
        Self { places: Semaphore::new(MAX_CONCURRENT), wanted: Semaphore::new(0), waiting }
    }
}

impl Handshakes {
    /// Runs a handshake when there is a place for it. `None`: it gave way to another one.
    pub(super) async fn run<T>(&self, handshake: impl Future<Output = T>) -> Option<T> {
        let _place = match self.places.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                let _waiting = Waiting::new(self);
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
        tokio::time::sleep(GRACE).await;
        if let Ok(permit) = self.wanted.acquire().await {
            permit.forget();
        }
    }
}

/// A handshake that waits for a place.
struct Waiting<'h>(&'h Handshakes);

impl<'h> Waiting<'h> {
    fn new(handshakes: &'h Handshakes) -> Self {
        handshakes.waiting.fetch_add(1, Ordering::Relaxed);
        handshakes.wanted.add_permits(1);
        Self(handshakes)
    }
}

impl Drop for Waiting<'_> {
    /// Withdraws the request, unless another handshake gave way for it: then the remaining ones
    /// belong to others.
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
        for _ in 0..MAX_CONCURRENT {
            let handshakes = Arc::clone(&handshakes);
            silent.spawn(async move { handshakes.run(std::future::pending::<()>()).await });
        }
        while handshakes.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let began = tokio::time::Instant::now();
        assert_eq!(handshakes.run(async { 1 }).await, Some(1));
        assert!(began.elapsed() >= GRACE);
        assert_eq!(silent.join_next().await.unwrap().unwrap(), None);
        // A place is free again, and no other handshake gave way.
        assert_eq!(handshakes.run(async { 2 }).await, Some(2));
        tokio::time::sleep(10 * GRACE).await;
        assert_eq!(silent.len(), MAX_CONCURRENT - 1);
        assert!(silent.try_join_next().is_none());
    }
}
