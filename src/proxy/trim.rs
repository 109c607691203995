//! Has the allocator give memory back to the system that was freed a while ago.
//!
//! mimalloc does so when something large is freed, and not by itself: a guard that has nothing to do
//! after an attack would keep what the attack took.

use std::hint::black_box;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(10);

/// Large enough for the allocator to ask the system for it, in bytes. It is never touched, so that it takes
/// no memory.
const LARGE: usize = 32 << 20;

/// Trims for as long as it is polled.
pub(super) async fn keep_trimming() {
    loop {
        tokio::time::sleep(EVERY).await;
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}
