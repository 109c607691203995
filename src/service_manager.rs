//! Notifications to systemd (`Type=notify`). Without `NOTIFY_SOCKET` none are sent.

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

pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        failed(&error);
    }
}

fn failed(error: &std::io::Error) {
    tracing::warn!(%error, "systemd cannot be notified (NOTIFY_SOCKET)");
}
