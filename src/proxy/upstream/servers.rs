//! The backend servers: their names are resolved at intervals, and they are used in turn, but
//! skipped for a while after failures.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use pingora::Error;
use pingora::protocols::ALPN;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::config::{Config, Limits, Server};
use crate::metrics::ServerState;
use crate::snapshot::Snapshots;

use super::dial::{Destination, Dial};
use super::tls;

/// How often names are resolved again.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);

/// The minimum time between two resolutions that failures request.
const MIN_RESOLVE_INTERVAL: Duration = Duration::from_secs(2);

/// How long a server is skipped after a failure, as long as there are others.
const SKIP_TIME: Duration = Duration::from_secs(5);

/// How many requests in a row a server may fail before it is skipped.
const MAX_FAILURES: u32 = 3;

/// The backend servers.
#[derive(Debug)]
pub struct Upstreams {
    /// The servers of every configuration in use, each with the last good answer for its name.
    answers: Mutex<Vec<(Server, Vec<SocketAddr>)>>,
    /// The addresses of each configuration that is in use, the newest first: a request goes to the servers of
    /// the configuration that it began with.
    found: ArcSwap<Vec<Arc<Found>>>,
    turn: AtomicUsize,
    started: Instant,
    /// Requests an early resolution.
    wanted: Notify,
    /// Signals that another configuration is the newest.
    adopted: watch::Sender<()>,
}

/// The addresses of the servers of one configuration.
#[derive(Debug, Default)]
struct Found {
    config: Weak<Config>,
    endpoints: Vec<Arc<Endpoint>>,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    /// The server that has this address. Over TLS each name at an address is a server of its own.
    pub(super) server: Server,
    /// Milliseconds since the start until which the server is skipped because requests failed
    /// there.
    skipped_until: AtomicU64,
    /// The same because its health check failed.
    unhealthy_until: AtomicU64,
    /// Requests in a row that it accepted without a valid answer.
    failures: AtomicU32,
    /// Why it was skipped last.
    fault: Mutex<String>,
}

impl Endpoint {
    fn new(address: SocketAddr, server: &Server) -> Self {
        Self {
            address,
            server: server.clone(),
            skipped_until: AtomicU64::new(0),
            unhealthy_until: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            fault: Mutex::default(),
        }
    }

    fn is(&self, address: SocketAddr, server: &Server) -> bool {
        self.address == address && self.server.tls_name() == server.tls_name()
    }

    fn fault(&self) -> MutexGuard<'_, String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_healthy(&self, now: u64) -> bool {
        let until = |at: &AtomicU64| at.load(Ordering::Relaxed);
        until(&self.skipped_until).max(until(&self.unhealthy_until)) <= now
    }
}

/// The servers that one request has tried.
#[derive(Debug, Default)]
pub struct Attempts {
    found: Option<Arc<Found>>,
    /// Those that did not accept the connection; empty for nearly every request.
    refused: Vec<usize>,
    /// The server that is tried now.
    at: Option<usize>,
}

impl Attempts {
    /// The server that is tried now.
    pub(in crate::proxy) fn address(&self) -> Option<SocketAddr> {
        self.endpoint().map(|endpoint| endpoint.address)
    }

    /// The server that is tried now, as the configuration names it.
    pub(in crate::proxy) fn server(&self) -> Option<&Server> {
        self.endpoint().map(|endpoint| &endpoint.server)
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        self.found.as_ref()?.endpoints.get(self.at?).map(Arc::as_ref)
    }
}

impl Upstreams {
    pub fn new(config: &Arc<Config>) -> Self {
        let upstreams = Self {
            answers: Mutex::default(),
            found: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            started: Instant::now(),
            wanted: Notify::new(),
            adopted: watch::Sender::new(()),
        };
        upstreams.adopt(config);
        upstreams
    }

    /// Makes this configuration the newest. Servers that it shares with the previous one keep their
    /// addresses and their state.
    pub(in crate::proxy) fn adopt(&self, config: &Arc<Config>) {
        let mut answers = self.answers();
        self.add_answers(&mut answers, config);
        self.use_answers(&answers, Some((config, 0)));
        drop(answers);
        self.adopted.send_replace(());
    }

    /// Resolves the servers of a configuration that may become the newest, for at most `time`.
    /// Returns whether any of them has an address.
    pub(in crate::proxy) async fn prepare(&self, config: &Arc<Config>, time: Duration) -> bool {
        {
            let mut answers = self.answers();
            self.add_answers(&mut answers, config);
            self.use_answers(&answers, Some((config, usize::MAX)));
        }
        let unresolved = self.unresolved(config);
        let _ = tokio::time::timeout(time, self.ask(&unresolved)).await;
        !self.found(config).endpoints.is_empty()
    }

    /// Changes whenever another configuration is the newest.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.adopted.subscribe()
    }

    fn add_answers(&self, answers: &mut Vec<(Server, Vec<SocketAddr>)>, config: &Config) {
        let used: Vec<_> =
            self.found.load().iter().filter_map(|found| found.config.upgrade()).collect();
        answers.retain(|(known, _)| {
            config.upstream.contains(known) || used.iter().any(|used| used.upstream.contains(known))
        });
        for server in &config.upstream {
            if !answers.iter().any(|(known, _)| known == server) {
                // Literal addresses need no resolution and are available from the first request on.
                answers.push((server.clone(), literal(server).into_iter().collect()));
            }
        }
    }

    /// The servers of a configuration. One that was never adopted has those of the newest.
    fn found(&self, config: &Arc<Config>) -> Arc<Found> {
        let all = self.found.load();
        let of = |found: &&Arc<Found>| std::ptr::eq(found.config.as_ptr(), Arc::as_ptr(config));
        all.iter().find(of).or_else(|| all.first()).cloned().unwrap_or_default()
    }

    fn newest(&self) -> Arc<Found> {
        self.found.load().first().cloned().unwrap_or_default()
    }

    /// The next server in turn that this request has not tried; `None` when all were tried.
    ///
    /// Skipped servers come last, so that a request is refused only when every server refuses it,
    /// and a single server that recovers is found immediately.
    pub(in crate::proxy) fn next(
        &self,
        attempts: &mut Attempts,
        config: &Arc<Config>,
    ) -> Option<SocketAddr> {
        let Attempts { found, refused, at } = attempts;
        let found = found.get_or_insert_with(|| self.found(config));
        let count = found.endpoints.len();
        if count == 0 {
            self.wanted.notify_one();
            return None;
        }
        let start = self.turn.fetch_add(1, Ordering::Relaxed);
        let untried = || {
            (0..count)
                .map(|step| (start.wrapping_add(step)) % count)
                .filter(|at| !refused.contains(at))
        };
        let now = self.now();
        let healthy = |at: &usize| found.endpoints[*at].is_healthy(now);
        *at = untried().find(healthy).or_else(|| untried().next());
        at.map(|at| found.endpoints[at].address)
    }

    /// Records that the current server did not accept the connection. Returns whether another one
    /// is left to try.
    pub(in crate::proxy) fn refused(&self, attempts: &mut Attempts, error: &Error) -> bool {
        if let Some(endpoint) = attempts.endpoint() {
            self.skip(endpoint, tls::sentence(error).unwrap_or("it takes no connection"));
        }
        self.wanted.notify_one();
        Self::pass_over(attempts)
    }

    /// Records that no connection to the current server could be opened, for a reason that is not
    /// the server's. Returns whether another one is left to try.
    pub(in crate::proxy) fn pass_over(attempts: &mut Attempts) -> bool {
        attempts.refused.extend(attempts.at.take());
        attempts.found.as_ref().is_some_and(|found| attempts.refused.len() < found.endpoints.len())
    }

    /// Records that the current server accepted the request and gave no valid answer.
    pub(in crate::proxy) fn failed(&self, attempts: &Attempts, error: &Error) {
        if let Some(endpoint) = attempts.endpoint()
            && endpoint.failures.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_FAILURES
        {
            self.skip(endpoint, tls::sentence(error).unwrap_or("it gives no proper answers"));
        }
    }

    /// Records that the current server has answered, to the end of its answer.
    pub(in crate::proxy) fn answered(&self, attempts: &Attempts) {
        if let Some(endpoint) = attempts.endpoint() {
            self.works(endpoint);
        }
    }

    /// A server has answered. Written only if that changes something: all workers read it.
    fn works(&self, endpoint: &Endpoint) {
        if endpoint.failures.load(Ordering::Relaxed) != 0 {
            endpoint.failures.store(0, Ordering::Relaxed);
        }
        self.end(endpoint, &endpoint.skipped_until);
    }

    /// Ends the skipping of a server for one reason, and logs it if the server is back in rotation.
    fn end(&self, endpoint: &Endpoint, until: &AtomicU64) {
        if until.load(Ordering::Relaxed) != 0
            && until.swap(0, Ordering::Relaxed) != 0
            && endpoint.is_healthy(self.now())
        {
            tracing::info!(server = %endpoint.address, "a backend server is in rotation again");
        }
    }

    /// Records the outcome of a server's health check: why it is unhealthy, and how long that
    /// counts.
    pub(super) fn checked(&self, endpoint: &Endpoint, fault: Option<String>, counts: Duration) {
        match fault {
            None => {
                self.works(endpoint);
                self.end(endpoint, &endpoint.unhealthy_until);
            }
            Some(fault) => {
                let until = self.now() + counts.as_millis() as u64;
                endpoint.fault().clone_from(&fault);
                if endpoint.unhealthy_until.swap(until, Ordering::Relaxed) == 0 {
                    let server = endpoint.address;
                    tracing::warn!(%server, fault, "a backend server fails its check");
                }
            }
        }
    }

    /// Skips a server for a while, and logs it when that begins.
    fn skip(&self, endpoint: &Endpoint, why: &str) {
        let until = self.now() + SKIP_TIME.as_millis() as u64;
        why.clone_into(&mut endpoint.fault());
        if endpoint.skipped_until.swap(until, Ordering::Relaxed) == 0 {
            tracing::warn!(server = %endpoint.address, "a backend server is skipped: {why}");
        }
    }

    /// The servers of the newest configuration that have addresses.
    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.newest().endpoints.clone()
    }

    /// All servers with their states, for operators.
    pub fn report(&self) -> Vec<(String, ServerState)> {
        let now = self.now();
        let states = self.endpoints().into_iter().map(|endpoint| {
            let state = match endpoint.is_healthy(now) {
                true => ServerState::Healthy,
                false => ServerState::Unhealthy { why: endpoint.fault().clone() },
            };
            (endpoint.address.to_string(), state)
        });
        let newest = self.newest().config.upgrade();
        let unresolved =
            newest.map(|config| self.unresolved(&config)).unwrap_or_default().into_iter();
        states
            .chain(unresolved.map(|server| (server.to_string(), ServerState::Unresolved)))
            .collect()
    }

    /// The servers whose names have not been resolved so far.
    fn unresolved(&self, config: &Config) -> Vec<Server> {
        let answers = self.answers();
        let unresolved = answers.iter().filter(|(_, answer)| answer.is_empty());
        let configured = unresolved.filter(|(server, _)| config.upstream.contains(server));
        configured.map(|(server, _)| server.clone()).collect()
    }

    /// Resolves the names again and again, for as long as it is polled.
    pub async fn keep_resolving(&self, snapshots: &Snapshots) {
        loop {
            let early = async {
                tokio::time::sleep(MIN_RESOLVE_INTERVAL).await;
                self.wanted.notified().await;
            };
            let _ = tokio::time::timeout(RESOLVE_INTERVAL, early).await;
            self.resolve(&snapshots.current().config).await;
        }
    }

    /// Resolves every name once, all at the same time. A name that cannot be resolved keeps its last good
    /// answer, and the others do not wait for it.
    pub(in crate::proxy) async fn resolve(&self, config: &Config) {
        self.ask(&config.upstream).await;
    }

    async fn ask(&self, servers: &[Server]) {
        let mut asked = JoinSet::new();
        for (at, server) in servers.iter().enumerate() {
            if literal(server).is_none() {
                let (host, port) = (server.host.clone(), server.port);
                let ask =
                    async move { tokio::net::lookup_host((host, port)).await.map(Vec::from_iter) };
                asked.spawn(async move { (at, ask.await) });
            }
        }
        while let Some(Ok((at, answer))) = asked.join_next().await {
            let server = &servers[at];
            match answer {
                Ok(answer) if answer.is_empty() => {
                    tracing::warn!(%server, "a server of upstream.servers has no address");
                }
                Ok(answer) => {
                    self.set_answer(server, &answer);
                }
                Err(error) => {
                    tracing::warn!(%server, %error, "cannot resolve a server of upstream.servers");
                }
            }
        }
    }

    fn set_answer(&self, server: &Server, answer: &[SocketAddr]) {
        let mut answers = self.answers();
        for (_, known) in answers.iter_mut().filter(|(known, _)| known == server) {
            answer.clone_into(known);
        }
        self.use_answers(&answers, None);
    }

    fn answers(&self) -> MutexGuard<'_, Vec<(Server, Vec<SocketAddr>)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists the addresses of every configuration in use, each once and in order; existing ones
    /// keep their state. `added`: a configuration that is used from now on, and its place among the
    /// others.
    fn use_answers(
        &self,
        answers: &[(Server, Vec<SocketAddr>)],
        added: Option<(&Arc<Config>, usize)>,
    ) {
        let before = self.found.load();
        let mut configs: Vec<_> =
            before.iter().filter_map(|found| found.config.upgrade()).collect();
        if let Some((config, at)) = added {
            configs.retain(|known| !Arc::ptr_eq(known, config));
            configs.insert(at.min(configs.len()), Arc::clone(config));
        }
        let mut known: Vec<Arc<Endpoint>> =
            before.iter().flat_map(|found| &found.endpoints).cloned().collect();
        let mut endpoint = |address, server: &Server| {
            if let Some(known) = known.iter().find(|known| known.is(address, server)) {
                return Arc::clone(known);
            }
            let new = Arc::new(Endpoint::new(address, server));
            known.push(Arc::clone(&new));
            new
        };
        let found = configs.iter().map(|config| {
            let mut endpoints: Vec<Arc<Endpoint>> = Vec::new();
            for server in &config.upstream {
                let of = answers.iter().filter(|(known, _)| known == server);
                for address in of.flat_map(|(_, answer)| answer) {
                    if !endpoints.iter().any(|endpoint| endpoint.is(*address, server)) {
                        endpoints.push(endpoint(*address, server));
                    }
                }
            }
            Arc::new(Found { config: Arc::downgrade(config), endpoints })
        });
        let found = found.collect();
        self.found.store(Arc::new(found));
    }

    /// Milliseconds since the start, on a monotonic clock. Never 0.
    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + 1
    }
}

/// A server in the form that Pingora's own path to the backend uses, with the configured limits.
pub(in crate::proxy) fn peer(server: SocketAddr, limits: &Limits) -> HttpPeer {
    let mut peer = HttpPeer::new(server, false, String::new());
    let options = &mut peer.options;
    options.alpn = ALPN::H1;
    options.connection_timeout = Some(limits.upstream_connect_timeout);
    options.total_connection_timeout = Some(limits.upstream_connect_timeout);
    options.read_timeout = Some(limits.upstream_timeout);
    options.write_timeout = Some(limits.upstream_timeout);
    options.idle_timeout = Some(limits.upstream_idle_timeout);
    // The request filter drops hop-by-hop headers by its own, stricter rules.
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
    peer
}

/// The same for a server that may speak TLS, which Pingora must not open itself.
pub(in crate::proxy) fn peer_at(destination: Destination, limits: &Limits) -> HttpPeer {
    let mut peer = peer(destination.address, limits);
    if destination.secured.is_some() {
        let timeout = limits.upstream_connect_timeout;
        peer.options.custom_l4 = Some(Arc::new(Dial { destination, timeout }));
    }
    peer
}

fn literal(server: &Server) -> Option<SocketAddr> {
    server.host.parse().ok().map(|ip| SocketAddr::new(ip, server.port))
}

#[cfg(test)]
mod tests;
