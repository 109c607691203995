//! The running guard: listeners, workers, start and stop.
//!
//! Pingora's `Server` is not used: it hands connections to a random thread, sleeps its whole grace
//! period on SIGTERM even when it is idle, and cuts what still runs then. An embedding service that
//! wants it hosts the [`Downstream`] as a `ServerApp`.
//!
//! Stopping: no more is accepted, idle connections are closed, requests in flight are finished,
//! and the workers end as soon as that is done, or after `limits.shutdown_timeout`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use pingora::apps::HttpServerOptions;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::admin::Admin;
use crate::evaluator::Evaluator;
use crate::logging::{self, AccessLog};
use crate::metrics::{ListServers, Metrics};

use super::memory_metrics::MemoryMetrics;
use super::upgrade::Upgrades;
use super::upgrade::metrics::UpgradeMetrics;
use super::upstream::{Upstreams, check};
use super::worker::Worker;
use super::{Connections, Downstream, GuardProxy, RequestFilter, expiry, trim};

/// Connections that wait to be accepted: a burst of clients is not turned away.
const BACKLOG: u32 = 4096;

/// How long the start waits for the names of the backend servers to be resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why the guard cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot start a thread or a runtime: {0}")]
    Runtime(#[from] io::Error),
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs the guard until SIGTERM or SIGINT, and ends when the requests in flight are finished. A
/// second signal ends it at once.
pub fn serve(evaluator: Evaluator) -> Result<(), ServeError> {
    let config = Arc::clone(&evaluator.snapshots().current().config);
    logging::init(&config.log);
    let access = AccessLog::new(&config.log);
    let signals = Signals::listen()?;
    signals.note_hangups()?;
    for warning in &config.warnings {
        tracing::warn!("config: {warning}");
    }
    let running = start(Arc::new(evaluator), access)?;
    tracing::info!(listen = ?running.addrs(), admin = %running.admin_addr(), "ready");
    signals.then_stop(running);
    logging::flush();
    Ok(())
}

/// SIGTERM and SIGINT, held from before the guard listens, so that none is missed.
#[derive(Debug)]
pub struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let _in_runtime = runtime.enter();
        let (terminate, interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        drop(_in_runtime);
        Ok(Self { runtime, terminate, interrupt })
    }

    /// Logs on SIGHUP, which asks many programs to reload their config, that this one does not
    /// reload. Without a handler the signal would end the process.
    fn note_hangups(&self) -> io::Result<()> {
        let _in_runtime = self.runtime.enter();
        let mut hangup = signal(SignalKind::hangup())?;
        self.runtime.spawn(async move {
            while hangup.recv().await.is_some() {
                tracing::warn!("SIGHUP changes nothing: a changed config takes a restart");
            }
        });
        Ok(())
    }

    /// Waits for a signal, and then stops the guard.
    pub fn then_stop(mut self, running: Running) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            tracing::info!("stopping: finishing the requests in flight");
            let stopped = running.stop_async();
            tokio::select! {
                () = stopped => tracing::info!("stopped"),
                _ = self.terminate.recv() => tracing::warn!("stopped at once by a second signal"),
                _ = self.interrupt.recv() => tracing::warn!("stopped at once by a second signal"),
            }
        });
        // A stop that was cut short goes on in a thread; the process does not wait for it.
        self.runtime.shutdown_background();
    }
}

/// Starts the guard on threads of its own and returns when it listens. Port 0 takes a free port.
pub fn start(evaluator: Arc<Evaluator>, access: AccessLog) -> Result<Running, ServeError> {
    let snapshots = Arc::clone(evaluator.snapshots());
    let config = Arc::clone(&snapshots.current().config);
    let control = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()?;
    let (listeners, admin_listener) = {
        let _in_runtime = control.enter();
        let listeners: Vec<TcpListener> = config
            .listen
            .iter()
            .map(|listener| listen(listener.address))
            .collect::<Result<_, _>>()?;
        (listeners, listen(config.admin)?)
    };
    let addrs = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    let admin_addr = admin_listener.local_addr()?;
    let metrics = Arc::new(Metrics::new(&evaluator)?);
    let upstreams = Arc::new(Upstreams::new(&config.upstream));
    let listed = Arc::clone(&upstreams);
    let servers = ListServers::new(move || listed.report());
    metrics.watch_servers(servers.clone())?;
    let connections = Arc::new(Connections::default());
    let (stop, stopping) = watch::channel(false);

    let admin = Admin {
        metrics: Arc::clone(&metrics),
        servers,
        snapshots: Arc::clone(&snapshots),
        stopping: stopping.clone(),
    };
    control.spawn(admin.serve(admin_listener));
    control.spawn(trim::keep_trimming());
    control.spawn(expiry::keep_warning(Arc::clone(&snapshots)));
    let resolving = (Arc::clone(&upstreams), Arc::clone(&snapshots));
    let (resolved, first_answer) = std::sync::mpsc::channel();
    control.spawn(async move {
        let (upstreams, snapshots) = resolving;
        upstreams.resolve(&snapshots.current().config.upstream).await;
        let _ = resolved.send(());
        upstreams.keep_resolving(&snapshots).await;
    });
    control.spawn(check::keep_checking(Arc::clone(&upstreams), Arc::clone(&snapshots)));
    // The first requests find addresses, if the names can be resolved at all.
    let _ = first_answer.recv_timeout(RESOLVE_TIMEOUT);

    let configured = config.listen.iter().map(|listener| listener.address);
    let listeners: Vec<(SocketAddr, std::net::TcpListener)> = configured
        .zip(listeners)
        .map(|(address, listener)| Ok((address, listener.into_std()?)))
        .collect::<io::Result<_>>()?;
    // One filter for all workers: what is buffered is bounded for the process.
    let upgrades = Arc::<Upgrades>::default();
    metrics.watch(UpgradeMetrics::new(Arc::clone(&upgrades))?)?;
    let filter = RequestFilter::new(evaluator, Arc::clone(&metrics), access)
        .behind_downstream()
        .with_upgrades(upgrades);
    let filter = Arc::new(filter);
    let memory = MemoryMetrics::new(Arc::clone(filter.budget()), Arc::clone(&connections))?;
    metrics.watch(memory)?;
    let mut workers = Vec::with_capacity(config.threads);
    for number in 0..config.threads.max(1) {
        let upstreams = Arc::clone(&upstreams);
        let proxy = GuardProxy::new(Arc::clone(&filter), upstreams, stopping.clone());
        let app = Arc::new(http_app(proxy));
        let downstream = Downstream::new(app, &filter, Arc::clone(&connections));
        let snapshots = Arc::clone(&snapshots);
        let worker = Worker::new(&listeners, downstream, stopping.clone(), snapshots)?;
        let thread = std::thread::Builder::new().name(format!("worker-{number}"));
        workers.push(thread.spawn(move || worker.run())?);
    }
    Ok(Running { addrs, admin_addr, metrics, connections, stop, workers, control: Some(control) })
}

/// A guard that runs.
#[derive(Debug)]
pub struct Running {
    addrs: Vec<SocketAddr>,
    admin_addr: SocketAddr,
    metrics: Arc<Metrics>,
    connections: Arc<Connections>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    control: Option<Runtime>,
}

impl Running {
    /// Where clients connect.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Where metrics and probes are served.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Open client connections.
    pub fn connections(&self) -> usize {
        self.connections.open()
    }

    /// Stops accepting, finishes the requests in flight, and returns when that is done.
    pub fn stop(mut self) {
        let _ = self.stop.send(true);
        self.join();
    }

    /// As [`Running::stop`], for callers within a runtime.
    async fn stop_async(self) {
        let stopped = tokio::task::spawn_blocking(move || self.stop());
        if stopped.await.is_err() {
            tracing::error!("a thread ended in panic while stopping");
        }
    }

    fn join(&mut self) {
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker ended in panic");
            }
        }
        if let Some(control) = self.control.take() {
            control.shutdown_background();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(control) = self.control.take() {
            control.shutdown_background();
        }
    }
}

/// Pingora's HTTP proxy around ours, with HTTP/2 by prior knowledge.
fn http_app(proxy: GuardProxy) -> HttpProxy<GuardProxy> {
    let conf = ServerConf {
        threads: 1,
        // Connection attempts within one request; the proxy stops earlier, when it has no server
        // left to try.
        max_retries: 64,
        ..ServerConf::default()
    };
    let mut app = http_proxy(&Arc::new(conf), proxy);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    app.server_options = Some(options);
    app
}

/// A listening socket that can be bound again at once after a restart.
fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| ServeError::Listen { address, source })
}
