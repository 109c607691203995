//! The configuration, valid by construction, as the rest of the guard uses it. Its file format, and
//! the possible errors, are defined in `file`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::admin::AdminToken;
use crate::deprovisioning::Limit;
use crate::fraction::Fraction;
use crate::hash_key::HashKey;
use crate::input::Warning;
use crate::policy::{Identity, Policy, Profile};
use crate::repair::Repairs;

mod addresses;
pub mod deprovisioning;
pub mod file;
pub(crate) mod forms;
mod keys;
mod limits;
mod listen;
mod log;
pub mod repairs;
mod rules;
pub mod shared;
mod upstream;
pub(crate) mod value;
pub(crate) mod warnings;
pub mod words;

pub use keys::CONFIG as KEYS;
pub use listen::{CertificateFiles, ClientAuth, Listener, ListenerTls};
pub use shared::{OnFailure, Shared};
pub use upstream::{Server, UpstreamCheck, UpstreamHost, UpstreamTls};

/// Everything an operator can configure.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients connect; no two have the same address.
    pub listen: Vec<Listener>,
    /// Where metrics and probes are served.
    pub admin: SocketAddr,
    /// The token that is required to read them; `None`: none is.
    pub admin_token: Option<AdminToken>,
    /// `None`: they are served in cleartext.
    pub admin_tls: Option<ListenerTls>,
    pub upstream: Vec<Server>,
    pub upstream_host: UpstreamHost,
    pub upstream_tls: UpstreamTls,
    /// Checks whether each server is healthy; `None`: only failing requests reveal that it is not.
    pub upstream_check: Option<UpstreamCheck>,
    /// Worker threads.
    pub threads: usize,
    /// Paths outside of SCIM.
    pub other_paths: PathPolicy,
    /// Wire's own token API, `/scim/auth-tokens`.
    pub auth_tokens: PathPolicy,
    pub z_headers: ZHeaders,
    pub policy: Policy,
    /// How requests are repaired before they are judged; `None`: not at all, whatever the registry
    /// says, as nothing is judged.
    pub repairs: Option<Repairs>,
    /// The folder of the operator's own schemas; `None`: the built-in ones.
    pub schemas: Option<std::path::PathBuf>,
    /// Host values that are served, in lower case and without port; empty: all.
    pub hosts: Vec<String>,
    /// Peers whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The token registry; `None`: Wire alone judges well-formed tokens.
    pub tokens: Option<std::path::PathBuf>,
    pub shield: RefusalCacheSettings,
    /// How many users each token may delete or deactivate; `None`: any number. The registry may
    /// override it for a token.
    pub deprovisioning: Option<Limit>,
    /// What is shared with other replicas; `None`: nothing.
    pub shared: Option<Shared>,
    /// Whether 420, with which Wire's nginx throttles, is passed on as 429.
    pub map_420: bool,
    pub log: Log,
    /// `None`: changes are not audited.
    pub audit: Option<Audit>,
    pub metrics: MetricsSettings,
    /// `None`: there are no traces.
    pub tracing: Option<Tracing>,
    pub limits: Limits,
    /// The file that it was read from.
    pub file: Option<std::path::PathBuf>,
    /// The files with keys and tokens that were read with it.
    pub secret_files: Vec<std::path::PathBuf>,
    /// A number that differs if the file's text differs; 0 without a file.
    pub fingerprint: u64,
    /// Whether changed files are applied without a signal.
    pub reload_watch: bool,
    /// What the file contains although it is probably unintended.
    pub warnings: Vec<Warning>,
}

/// How requests with invalid tokens are kept away from Wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalCacheSettings {
    /// How long the guard itself refuses a token that Wire refused.
    pub refused_for: Duration,
    /// How many requests with invalid tokens may come from one address within `window`.
    pub failures: u32,
    pub window: Duration,
    /// Whether failures are counted by address; `None`: where proxies are trusted. See
    /// [`Config::counts_by_address`].
    pub by_address: Option<bool>,
}

impl Default for RefusalCacheSettings {
    fn default() -> Self {
        Self {
            refused_for: Duration::from_secs(10),
            failures: 100,
            window: Duration::from_secs(60),
            by_address: None,
        }
    }
}

/// Whether requests of a kind are forwarded to the backend at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathPolicy {
    Refuse,
    Forward,
}

/// What happens to `Z-*` headers, with which Wire's nginx tells its services which user is logged
/// in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZHeaders {
    Strip,
    /// Accepted from these peers, on `/scim/auth-tokens` only; stripped otherwise.
    KeepFrom(Vec<IpNet>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    pub level: tracing::Level,
    /// For which requests a line is written.
    pub access: AccessLines,
    /// Whether each line contains the time.
    pub time: bool,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: tracing::Level::INFO,
            access: AccessLines::All,
            time: false,
            format: LogFormat::Json,
        }
    }
}

/// A line for each request that changes something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// The key for hashes of externalIds, with which people can be followed.
    pub key: Option<HashKey>,
}

/// For which requests an access line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLines {
    None,
    All,
    /// For this fraction of the requests, and for all that were refused, failed, repaired or are
    /// audited.
    Sample(Fraction),
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object for each line, as Wire's services write them.
    Json,
    /// For people at a terminal.
    Text,
}

/// Which metrics there are besides the guard's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetricsSettings {
    /// `http_request_duration_seconds`, which the dashboard of Wire's services shows.
    pub wire_dashboard: bool,
}

/// Where spans are sent, and for which requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracing {
    /// The collector's base URL.
    pub otlp: String,
    pub sample: Fraction,
}

impl fmt::Display for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.sample, self.otlp)
    }
}

/// Bounds on what clients and backends may take: bytes, counts and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body, before and after decompression.
    pub body: usize,
    /// Bytes of all bodies that are being read and judged, of all HTTP/2 requests, and of buffered
    /// answers, at a time.
    pub buffered_bytes: usize,
    /// Bytes of a request head over HTTP/1.
    pub header_bytes: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// From the first byte of a head to its end.
    pub header_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// From the end of the head to the end of the answer, for all requests that are not streamed.
    pub request_timeout: Duration,
    /// How long a connection may be idle between two requests: longer than a load balancer in front
    /// keeps it, so that the balancer is the one that closes it.
    pub keepalive_timeout: Duration,
    /// How long a client may read nothing of its answer.
    pub write_timeout: Duration,
    /// Requests on one connection.
    pub requests_per_connection: u32,
    /// Open client connections, on all listeners together.
    pub connections: usize,
    /// Open connections of one address (IPv6: one /64) that is not a trusted proxy.
    pub connections_per_address: usize,
    /// Streams of one HTTP/2 connection.
    pub streams: u32,
    pub upstream_connect_timeout: Duration,
    /// Between two reads or writes of the backend's connection.
    pub upstream_timeout: Duration,
    /// How long a backend connection is kept for reuse: less than the backend keeps it.
    pub upstream_idle_timeout: Duration,
    /// How long a PATCH of a group waits for others of the same group.
    pub group_patch_wait: Duration,
    /// How long connections are still accepted after SIGTERM, while `/i/ready` fails.
    pub shutdown_delay: Duration,
    /// How long requests in flight may take to finish after that.
    pub shutdown_timeout: Duration,
    /// Concurrent connections that switched to WebSocket.
    pub upgrades: usize,
    /// How long such a connection may be without a byte in either direction.
    pub upgrade_idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 512 * 1024,
            buffered_bytes: 64 * 1024 * 1024,
            header_bytes: 32 * 1024,
            headers: 100,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(120),
            keepalive_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
            requests_per_connection: 10_000,
            connections: 10_000,
            connections_per_address: 10_000,
            streams: 100,
            upstream_connect_timeout: Duration::from_secs(5),
            upstream_timeout: Duration::from_secs(60),
            upstream_idle_timeout: Duration::from_secs(15),
            group_patch_wait: Duration::from_secs(10),
            shutdown_delay: Duration::ZERO,
            shutdown_timeout: Duration::from_secs(30),
            upgrades: 1000,
            upgrade_idle_timeout: Duration::from_secs(3600),
        }
    }
}

impl Config {
    /// The defaults, with cleartext listeners on these addresses, in front of these servers.
    pub fn new(listen: Vec<SocketAddr>, upstream: Vec<Server>) -> Self {
        Self {
            listen: listen.into_iter().map(Listener::from).collect(),
            admin: SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 9090),
            admin_token: None,
            admin_tls: None,
            upstream,
            upstream_host: UpstreamHost::ByScheme,
            upstream_tls: UpstreamTls::default(),
            upstream_check: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            other_paths: PathPolicy::Refuse,
            auth_tokens: PathPolicy::Forward,
            z_headers: ZHeaders::Strip,
            policy: Policy::new(Profile::Documented, Identity::Any),
            repairs: Some(Repairs::NONE),
            schemas: None,
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            tokens: None,
            shield: RefusalCacheSettings::default(),
            deprovisioning: None,
            shared: None,
            map_420: true,
            log: Log::default(),
            audit: None,
            metrics: MetricsSettings::default(),
            tracing: None,
            limits: Limits::default(),
            file: None,
            secret_files: Vec::new(),
            fingerprint: 0,
            reload_watch: false,
            warnings: Vec::new(),
        }
    }

    /// The listener with this address.
    pub fn listener(&self, address: SocketAddr) -> Option<&Listener> {
        self.listen.iter().find(|listener| listener.address == address)
    }

    /// Whether failures are counted by the client's address: only if it is known to be the
    /// client's. With an untrusted proxy in front, all clients share one address, and any of them
    /// could cause the others to be refused.
    pub fn counts_by_address(&self) -> bool {
        self.shield.by_address.unwrap_or(!self.trusted_proxies.is_empty())
    }
}
