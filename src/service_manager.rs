//! Notifications to systemd (`Type=notify`). Without `NOTIFY_SOCKET` none are sent.

use std::time::Duration;

use sd_notify::NotifyState;

/// The process serves. `took_over`: instead of another one, which was the service's main process so
/// far.
pub(crate) fn ready(took_over: bool) {
    let main = took_over.then(|| NotifyState::MainPid(std::process::id()));
    let states: Vec<_> = main.into_iter().chain([NotifyState::Ready]).collect();
    tell(&states);
}

/// A reload has begun. [`ready`] reports its end.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => failed(&error),
    }
}

/// A stop has begun, which takes `within` at most. Where that is longer than the unit's
/// `TimeoutStopSec=`, systemd waits for it nevertheless.
pub(crate) fn stopping(within: Duration) {
    let extend = format!("EXTEND_TIMEOUT_USEC={}", within.as_micros());
    tell(&[NotifyState::Stopping, NotifyState::Custom(&extend)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        failed(&error);
    }
}

fn failed(error: &std::io::Error) {
    tracing::warn!(%error, "systemd cannot be notified (NOTIFY_SOCKET)");
}
