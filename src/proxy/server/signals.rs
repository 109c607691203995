//! The signals that stop the guard, reload its configuration and replace its program.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use super::Running;
use super::upgrade::Program;
use crate::input::value::duration_text;
use crate::service_manager;

/// SIGTERM, SIGINT, SIGHUP and SIGUSR2, handled from before the guard listens, so that none is
/// missed.
#[derive(Debug)]
pub struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

impl Signals {
    pub fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let in_runtime = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        let upgrade = signal(SignalKind::user_defined2())?;
        drop(in_runtime);
        Ok(Self { runtime, terminate, interrupt, hangup, upgrade })
    }

    /// Reloads on SIGHUP, until a signal stops the guard.
    pub fn then_stop(self, running: Running) {
        self.until_stopped(running, None);
    }

    /// Reloads on SIGHUP and upgrades on SIGUSR2, until a signal stops the guard or another process
    /// has replaced it. `program`: what an upgrade starts.
    pub(super) fn until_stopped(mut self, running: Running, program: Option<Program>) {
        self.runtime.block_on(async {
            let mut upgrade = Upgrade { program, replacing: None };
            let mut hung_up = false;
            let replaced = loop {
                tokio::select! {
                    _ = self.terminate.recv() => break false,
                    _ = self.interrupt.recv() => break false,
                    // A reload could close sockets that were just passed to the other process.
                    Some(()) = self.hangup.recv() => match upgrade.replacing {
                        Some(_) => hung_up = true,
                        None => running.reload(),
                    },
                    Some(()) = self.upgrade.recv() => upgrade.begin(&running),
                    replaced = upgrade.ended(&running) => {
                        if replaced {
                            break true;
                        }
                        if std::mem::take(&mut hung_up) {
                            running.reload();
                        }
                    }
                }
            };
            upgrade.cancel().await;
            let mut running = running;
            let mut delay = Duration::ZERO;
            if !replaced {
                service_manager::stopping(running.stop_limit());
                delay = running.leave();
            }
            let stopped = async {
                if !delay.is_zero() {
                    let delay = duration_text(delay);
                    tracing::info!("stopping: connections are accepted for another {delay} (limits.shutdown_delay)");
                }
                tokio::time::sleep(delay).await;
                tracing::info!("stopping: finishing the requests in flight");
                running.stop_async(replaced).await;
            };
            tokio::pin!(stopped);
            loop {
                tokio::select! {
                    () = &mut stopped => break tracing::info!("stopped"),
                    _ = self.terminate.recv() => break stopped_at_once(),
                    _ = self.interrupt.recv() => break stopped_at_once(),
                    Some(()) = self.upgrade.recv() => {
                        tracing::warn!("SIGUSR2 is ignored: this process is stopping");
                    }
                    Some(()) = self.hangup.recv() => {
                        tracing::warn!("SIGHUP is ignored: this process is stopping");
                    }
                }
            }
        });
        // A stop that was cut short continues in a thread; the process does not wait for it.
        self.runtime.shutdown_background();
    }
}

fn stopped_at_once() {
    tracing::warn!("stopped at once by a second signal");
}

/// The upgrade that is in progress, if any.
struct Upgrade {
    program: Option<Program>,
    replacing: Option<Replacing>,
}

struct Replacing {
    /// The id of the new process, once it is ready.
    outcome: JoinHandle<Result<u32, String>>,
    /// The process is stopping meanwhile.
    cancelled: Arc<AtomicBool>,
}

impl Upgrade {
    fn begin(&mut self, running: &Running) {
        let upgrades = running.metrics().upgrades();
        if self.replacing.is_some() {
            upgrades.refused.inc();
            tracing::warn!("SIGUSR2 is ignored: an upgrade is under way");
            return;
        }
        let Some(program) = self.program.clone().filter(|_| std::process::id() != 1) else {
            upgrades.refused.inc();
            tracing::warn!(
                "SIGUSR2 is ignored: an upgrade needs a process of its own to be replaced, and this one is process 1 \
                 of a container, which ends with it, or part of another program; start a new container instead"
            );
            return;
        };
        match running.sockets() {
            Ok(sockets) => {
                tracing::info!("upgrading: starting the installed program");
                let cancelled = Arc::new(AtomicBool::new(false));
                let flag = Arc::clone(&cancelled);
                let outcome = tokio::task::spawn_blocking(move || program.replace(sockets, &flag));
                self.replacing = Some(Replacing { outcome, cancelled });
            }
            Err(error) => failed(running, &format!("the sockets cannot be handed over: {error}")),
        }
    }

    /// Waits for the end of the upgrade that is in progress, forever if there is none. Returns
    /// whether this process has been replaced.
    async fn ended(&mut self, running: &Running) -> bool {
        let Some(replacing) = &mut self.replacing else { return std::future::pending().await };
        let outcome = (&mut replacing.outcome).await.unwrap_or_else(|error| Err(error.to_string()));
        self.replacing = None;
        match outcome {
            Ok(process) => {
                running.metrics().upgrades().done.inc();
                tracing::info!(process, "upgraded: the new process is ready and serves");
                true
            }
            Err(why) => {
                failed(running, &why);
                false
            }
        }
    }

    /// Ends the process that was started, if it is not ready yet.
    async fn cancel(&mut self) {
        if let Some(Replacing { outcome, cancelled }) = self.replacing.take() {
            cancelled.store(true, Ordering::Relaxed);
            let _ = outcome.await;
        }
    }
}

fn failed(running: &Running, why: &str) {
    running.metrics().upgrades().failed.inc();
    tracing::error!("the upgrade failed, and this process continues to serve: {why}");
}
