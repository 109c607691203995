//! Warns operators in time that certificates expire.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::snapshot::Snapshots;

const DAY: Duration = Duration::from_secs(86_400);

/// How often the clock is looked at: a timer of a day would not count the time that a machine sleeps.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Logs now and once a day which certificates expire soon, according to the files at that time.
pub(super) async fn keep_warning(snapshots: Arc<Snapshots>) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    let mut last = None;
    loop {
        looks.tick().await;
        let now = SystemTime::now();
        // A clock that was set back begins a new day.
        let passed = last.map(|last| now.duration_since(last).unwrap_or(DAY));
        if passed.is_none_or(|passed| passed >= DAY) {
            last = Some(now);
            for warning in snapshots.current().warnings(now) {
                tracing::warn!("{warning}");
            }
        }
    }
}
