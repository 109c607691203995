//! The running guard: listeners, workers, start and stop.
//!
//! Pingora's `Server` is not used: it passes connections to a random thread, sleeps its whole grace
//! period on SIGTERM even when it is idle, and then aborts requests that still run. An embedding
//! service that wants it hosts the [`Downstream`] as a `ServerApp`.
//!
//! Stopping: after `limits.shutdown_delay` no more connections are accepted, idle ones are closed,
//! requests in flight are finished, and the workers end as soon as that is done, or after
//! `limits.shutdown_timeout`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use pingora::apps::HttpServerOptions;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::admin::Admin;
use crate::config::Config;
use crate::evaluator::Evaluator;
use crate::logging::{self, AccessLog};
use crate::metrics::{ListServers, Metrics, SpanMetrics};
use crate::reload::{ConfigFile, ReloadRequests, ReloadStatus, Reloader};
use crate::service_manager;
use crate::snapshot::Snapshots;
use crate::spans::Tracer;

mod given;
mod live;
mod signals;
mod upgrade;

use given::Given;
use live::Live;
pub use signals::Signals;
use upgrade::Program;

use super::listeners::{self, Accepting, Listeners, Listening};
use super::memory_metrics::MemoryMetrics;
use super::upstream::{Upstreams, check};
use super::websocket::Upgrades;
use super::websocket::metrics::UpgradeMetrics;
use super::worker::Worker;
use super::{Connections, Downstream, GuardProxy, RequestFilter, expiry, trim};

/// How long the start waits for the names of the backend servers to be resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long stopping waits for spans to be sent, and for the store to be told what became of requests.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What systemd allows a stop beyond the limits for it, such as for [`FLUSH_TIMEOUT`].
const STOP_MARGIN: Duration = Duration::from_secs(15);

/// Why the guard cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    /// The sockets that were passed to the process are not those of the configuration.
    #[error("{0}")]
    Given(String),
    #[error("cannot start a thread or a runtime: {0}")]
    Runtime(#[from] io::Error),
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs the guard until SIGTERM or SIGINT, and ends when the requests in flight are finished. A
/// second signal ends it immediately. `source`: what SIGHUP reloads.
///
/// It listens on the sockets that systemd passes to the process, and SIGUSR2 replaces the process
/// by the program that is installed then.
pub fn serve(evaluator: Evaluator, source: Option<ConfigFile>) -> Result<(), ServeError> {
    let mut given = Given::from_env();
    let config = Arc::clone(&evaluator.snapshots().current().config);
    logging::init(&config.log);
    let access = AccessLog::new(&config.log);
    let signals = Signals::listen()?;
    let program = Program::current()?;
    for warning in &config.warnings {
        tracing::warn!("config: {warning}");
    }
    let running = start_with(Arc::new(evaluator), access, source, &mut given)?;
    if given.is_upgrade() {
        tracing::info!(
            "upgraded: rates, refused tokens and counts of failures start empty, but for those that are shared"
        );
    }
    tracing::info!(listen = ?running.addrs(), admin = %running.admin_addr(), "ready");
    service_manager::ready(given.is_upgrade());
    given.report_ready();
    signals.until_stopped(running, Some(program));
    logging::flush();
    Ok(())
}

/// Starts the guard on separate threads and returns when it listens. Port 0 selects a free port.
pub fn start(evaluator: Arc<Evaluator>, access: AccessLog) -> Result<Running, ServeError> {
    start_with(evaluator, access, None, &mut Given::default())
}

fn start_with(
    evaluator: Arc<Evaluator>,
    access: AccessLog,
    source: Option<ConfigFile>,
    given: &mut Given,
) -> Result<Running, ServeError> {
    let snapshots = Arc::clone(evaluator.snapshots());
    let config = Arc::clone(&snapshots.current().config);
    let control = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()?;
    let (open, admin) = open(&config, given)?;
    let addrs = open.iter().map(|listening| listening.local_addr()).collect::<Result<_, _>>()?;
    let listeners = Arc::new(Listeners::new(open));
    let admin_addr = admin.local_addr()?;
    let admin_listener = {
        let _in_runtime = control.enter();
        TcpListener::from_std(admin.try_clone()?)?
    };
    let metrics = Arc::new(Metrics::new(&evaluator)?);
    let upstreams = Arc::new(Upstreams::new(&config));
    let listed = Arc::clone(&upstreams);
    let servers = ListServers::new(move || listed.report());
    metrics.watch_servers(servers.clone())?;
    let connections = Arc::new(Connections::default());
    let reloads = Arc::new(ReloadStatus::new(Arc::clone(&metrics)));
    let (stop, stopping) = watch::channel(false);
    let (leave, leaving) = watch::channel(false);
    let (replaced, mut is_replaced) = watch::channel(false);

    let operators = Admin {
        metrics: Arc::clone(&metrics),
        servers,
        snapshots: Arc::clone(&snapshots),
        reloads: Arc::clone(&reloads),
        stopping: leaving,
    };
    control.spawn(async move {
        tokio::select! {
            () = operators.serve(admin_listener) => {}
            // From then on the other process answers scrapes and probes.
            _ = is_replaced.wait_for(|replaced| *replaced) => {}
        }
    });
    control.spawn(trim::keep_trimming());
    control.spawn(expiry::keep_warning(Arc::clone(&snapshots)));
    let resolving = (Arc::clone(&upstreams), Arc::clone(&snapshots));
    let (resolved, first_answer) = std::sync::mpsc::channel();
    control.spawn(async move {
        let (upstreams, snapshots) = resolving;
        upstreams.resolve(&snapshots.current().config).await;
        let _ = resolved.send(());
        upstreams.keep_resolving(&snapshots).await;
    });
    control.spawn(check::keep_checking(Arc::clone(&upstreams), Arc::clone(&snapshots)));
    // The first requests find addresses, if the names can be resolved at all.
    let _ = first_answer.recv_timeout(RESOLVE_TIMEOUT);

    // One filter for all workers: memory is bounded for the whole process.
    let upgrades = Arc::<Upgrades>::default();
    metrics.watch(UpgradeMetrics::new(Arc::clone(&upgrades))?)?;
    let mut filter = RequestFilter::new(evaluator, Arc::clone(&metrics), access)
        .behind_downstream()
        .with_upgrades(upgrades);
    let tracer = config.tracing.as_ref().map(Tracer::start).transpose()?.map(Arc::new);
    if let Some(tracer) = &tracer {
        metrics.watch(SpanMetrics::new(Arc::clone(tracer.counts()))?)?;
        filter = filter.traced(Arc::clone(tracer));
    }
    let filter = Arc::new(filter);
    let memory = MemoryMetrics::new(Arc::clone(filter.budget()), Arc::clone(&connections))?;
    metrics.watch(memory)?;
    let live = Live {
        filter: Arc::clone(&filter),
        upstreams: Arc::clone(&upstreams),
        listeners: Arc::clone(&listeners),
        control: control.handle().clone(),
    };
    let reloader = Reloader::new(source, Arc::clone(&snapshots), reloads, Box::new(live));
    let reloader = Some(reloader.start()?);
    let mut workers = Vec::with_capacity(config.threads);
    for number in 0..config.threads.max(1) {
        let proxy = GuardProxy::new(Arc::clone(&filter), Arc::clone(&upstreams));
        let app = Arc::new(http_app(proxy));
        let downstream = Downstream::new(app, &filter, Arc::clone(&connections));
        let worker = Worker::new(&listeners, downstream, stopping.clone(), Arc::clone(&snapshots))?;
        let thread = std::thread::Builder::new().name(format!("worker-{number}"));
        workers.push(thread.spawn(move || worker.run())?);
    }
    let control = Some(control);
    Ok(Running {
        addrs,
        admin_addr,
        metrics,
        snapshots,
        connections,
        reloader,
        listeners,
        admin,
        replaced,
        leave,
        stop,
        workers,
        control,
        tracer,
    })
}

/// A running guard.
#[derive(Debug)]
pub struct Running {
    addrs: Vec<SocketAddr>,
    admin_addr: SocketAddr,
    metrics: Arc<Metrics>,
    snapshots: Arc<Snapshots>,
    connections: Arc<Connections>,
    /// `None`: the guard is stopping.
    reloader: Option<ReloadRequests>,
    listeners: Arc<Listeners>,
    admin: std::net::TcpListener,
    /// Another process has replaced this one.
    replaced: watch::Sender<bool>,
    /// The process is about to stop: `/i/ready` fails.
    leave: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    control: Option<Runtime>,
    tracer: Option<Arc<Tracer>>,
}

impl Running {
    /// Where clients could connect when the guard started.
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

    /// Reads the config file and the files that it names again, on a separate thread. The log, the
    /// metrics and `/i/ready` report the outcome.
    pub fn reload(&self) {
        if let Some(reloader) = &self.reloader {
            reloader.reload();
        }
    }

    /// Stops accepting, finishes the requests in flight, and returns when that is done.
    pub fn stop(mut self) {
        self.end(Accepting::Draining);
        self.join();
    }

    /// How long a stop may take.
    fn stop_limit(&self) -> Duration {
        let limits = &self.snapshots.current().config.limits;
        limits.shutdown_delay + limits.shutdown_timeout + STOP_MARGIN
    }

    /// Lets `/i/ready` fail, and serves on. Returns how long that is to last.
    fn leave(&mut self) -> Duration {
        // A reload could put an end to it.
        self.reloader = None;
        self.leave.send_replace(true);
        self.snapshots.current().config.limits.shutdown_delay
    }

    fn end(&mut self, how: Accepting) {
        self.reloader = None;
        // Probes that come to this process after another one has replaced it are about that one.
        if how != Accepting::HandedOver {
            self.leave.send_replace(true);
        }
        self.listeners.close(how);
        let _ = self.stop.send(true);
    }

    /// As [`Running::stop`], for callers inside a runtime. `replaced`: another process accepts from
    /// the same sockets.
    async fn stop_async(mut self, replaced: bool) {
        let stopped = tokio::task::spawn_blocking(move || {
            if replaced {
                self.replaced.send_replace(true);
                self.end(Accepting::HandedOver);
            } else {
                self.end(Accepting::Draining);
            }
            self.join();
        });
        if stopped.await.is_err() {
            tracing::error!("a thread ended in panic while stopping");
        }
    }

    /// All listening sockets, for the process that replaces this one.
    fn sockets(&self) -> io::Result<Vec<std::net::TcpListener>> {
        let mut sockets = vec![self.admin.try_clone()?];
        for listening in self.listeners.open() {
            sockets.push(listening.socket()?);
        }
        Ok(sockets)
    }

    fn join(&mut self) {
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker ended in panic");
            }
        }
        if let Some(shared) = &self.snapshots.current().shared {
            shared.flush(FLUSH_TIMEOUT);
        }
        if let Some(tracer) = self.tracer.take() {
            tracer.flush(FLUSH_TIMEOUT);
        }
        if let Some(control) = self.control.take() {
            control.shutdown_background();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(Accepting::Draining);
        if let Some(control) = self.control.take() {
            control.shutdown_background();
        }
    }
}

/// Pingora's HTTP proxy around ours, with HTTP/2 by prior knowledge.
fn http_app(proxy: GuardProxy) -> HttpProxy<GuardProxy> {
    let conf = ServerConf {
        threads: 1,
        // Connection attempts within one request; the proxy stops earlier when no server is left to
        // try.
        max_retries: 64,
        ..ServerConf::default()
    };
    let mut app = http_proxy(&Arc::new(conf), proxy);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    app.server_options = Some(options);
    app
}

/// Opens the sockets for clients and for operators, or takes those that were passed to the process.
fn open(
    config: &Config,
    given: &mut Given,
) -> Result<(Vec<Arc<Listening>>, std::net::TcpListener), ServeError> {
    let addresses = config.listen.iter().map(|listener| listener.address).chain([config.admin]);
    let taken: Vec<_> = addresses.map(|address| (address, given.take(address))).collect();
    given.finish(config)?;
    let sockets = taken.into_iter().map(|(address, socket)| {
        let bind = || listeners::bind(address);
        let socket = socket.map_or_else(bind, Ok);
        let socket = socket.map_err(|source| ServeError::Listen { address, source })?;
        Ok((address, socket))
    });
    let mut sockets = sockets.collect::<Result<Vec<_>, ServeError>>()?;
    // Iteration ends with the list.
    let (_, admin) = sockets.remove(config.listen.len());
    let open = sockets.into_iter().map(|(address, socket)| Listening::new(address, socket));
    Ok((open.collect(), admin))
}
