//! The running guard: listeners, workers, start and stop.
//!
//! Pingora's `Server` is not used: it hands connections to a random thread, sleeps its whole grace
//! period on SIGTERM even when it is idle, and cuts what still runs then. An embedding service that
//! wants it hosts the [`Downstream`] as a `ServerApp`.
//!
//! Stopping: no more is accepted, resting connections are closed, requests in flight are finished,
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
use crate::config::Config;
use crate::guard::Guard;
use crate::logging::{self, AccessLog};
use crate::metrics::{ListServers, Metrics};

use super::connections::Connections;
use super::filter::RequestFilter;
use super::memory_metrics::MemoryMetrics;
use super::upstream::Upstreams;
use super::worker::Worker;
use super::{Downstream, GuardProxy, check, trim};

/// Connections that wait to be accepted: a burst of clients is not turned away.
const BACKLOG: u32 = 4096;

/// Bytes of an answer that a stream of HTTP/2 may have gathered.
const SEND_BUFFER: usize = 64 * 1024;

/// How long the start waits for the names of the backend servers.
const FIRST_ANSWER: Duration = Duration::from_secs(3);

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
pub fn serve(config: Config, guard: Guard) -> Result<(), ServeError> {
    logging::init(&config.log);
    let access = AccessLog::new(&config.log);
    let signals = Signals::listen()?;
    signals.note_hangups()?;
    for warning in &config.warnings {
        tracing::warn!("config: {warning}");
    }
    let running = start(config, Arc::new(guard), access)?;
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

    /// Has SIGHUP, by which many programs are told to read their config again, say that this one
    /// doesn't, instead of ending the process.
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
#[allow(clippy::needless_pass_by_value, reason = "what runs owns what it runs with")]
pub fn start(config: Config, guard: Arc<Guard>, access: AccessLog) -> Result<Running, ServeError> {
    let control = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()?;
    let (listeners, admin_listener) = {
        let _in_runtime = control.enter();
        let listeners: Vec<TcpListener> =
            config.listen.iter().map(|address| listen(*address)).collect::<Result<_, _>>()?;
        (listeners, listen(config.admin)?)
    };
    let addrs = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    let admin_addr = admin_listener.local_addr()?;
    let metrics = Arc::new(Metrics::new(&guard)?);
    let upstreams = Arc::new(Upstreams::new(config.upstream.clone()));
    let listed = Arc::clone(&upstreams);
    let servers = ListServers::new(move || listed.report());
    metrics.watch_servers(servers.clone())?;
    let connections = Arc::new(Connections::default());
    let (stop, stopping) = watch::channel(false);

    let admin = Admin {
        metrics: Arc::clone(&metrics),
        servers,
        register: guard.register().cloned(),
        stopping: stopping.clone(),
    };
    control.spawn(admin.serve(admin_listener));
    control.spawn(trim::keep_trimming());
    let resolving = Arc::clone(&upstreams);
    let (resolved, first_answer) = std::sync::mpsc::channel();
    control.spawn(async move {
        resolving.resolve().await;
        let _ = resolved.send(());
        resolving.keep_resolving().await;
    });
    if let Some(check) = config.upstream_check.clone() {
        control.spawn(check::keep_checking(Arc::clone(&upstreams), check));
    }
    // The first requests find addresses, if the names can be resolved at all.
    let _ = first_answer.recv_timeout(FIRST_ANSWER);

    let listeners: Vec<std::net::TcpListener> =
        listeners.into_iter().map(TcpListener::into_std).collect::<Result<_, _>>()?;
    // One gate for all: what is buffered is bounded for the process.
    let gate = RequestFilter::new(guard, &config, Arc::clone(&metrics), access.clone());
    let gate = Arc::new(gate.behind_edge());
    metrics.watch(MemoryMetrics::new(Arc::clone(gate.budget()), Arc::clone(&connections))?)?;
    let mut workers = Vec::with_capacity(config.threads);
    for number in 0..config.threads.max(1) {
        let upstreams = Arc::clone(&upstreams);
        let proxy = GuardProxy::new(Arc::clone(&gate), upstreams, &config.limits, stopping.clone());
        let proxy = Arc::new(http_app(&config, proxy));
        let edge = Downstream::new(
            proxy,
            &config,
            Arc::clone(&connections),
            Arc::clone(&metrics),
            access.clone(),
        );
        let edge = edge.in_front_of(&gate);
        let drain = config.limits.shutdown_timeout;
        let worker = Worker::new(&listeners, edge, stopping.clone(), drain)?;
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
fn http_app(config: &Config, proxy: GuardProxy) -> HttpProxy<GuardProxy> {
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
    options.h2_idle_timeout = Some(config.limits.keepalive_timeout);
    app.server_options = Some(options);
    let mut h2 = pingora::protocols::http::v2::server::default_h2_options();
    // What a stream gathers for a client that takes nothing.
    h2.max_send_buffer_size(SEND_BUFFER);
    h2.max_concurrent_streams(config.limits.streams);
    h2.max_header_list_size(u32::try_from(config.limits.header_bytes).unwrap_or(u32::MAX));
    app.h2_options = Some(h2);
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
