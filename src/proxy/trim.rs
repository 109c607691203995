//! Makes the allocator return memory to the system that was freed a while ago.
//!
//! mimalloc does so when something large is freed, but not by itself: an idle guard would keep the
//! memory that an attack made it allocate.

use std::hint::black_box;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(10);

/// Large enough for the allocator to request it from the system, in bytes. It is never touched, so
/// that it takes no memory.
const LARGE: usize = 32 << 20;

/// Trims for as long as it is polled.
pub(super) async fn keep_trimming() {
    loop {
        tokio::time::sleep(EVERY).await;
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}
