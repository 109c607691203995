//! Warns operators in time that certificates expire.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::snapshot::Snapshots;

const DAY: Duration = Duration::from_secs(86_400);

/// Logs now and once a day which certificates expire soon, according to the files at that time.
pub(super) async fn keep_warning(snapshots: Arc<Snapshots>) {
    let mut days = tokio::time::interval(DAY);
    loop {
        days.tick().await;
        for warning in snapshots.current().warnings(SystemTime::now()) {
            tracing::warn!("{warning}");
        }
    }
}
