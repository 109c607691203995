//! The guard's metrics, in Prometheus' format.
//!
//! SECURITY: no label value comes from a client. Handlers are route templates, unknown methods
//! are `OTHER`, rule ids come from the table, a status is three digits, and the labels of tokens come from
//! the operator's token registry.
//!
//! Every counter that a request increments is looked up once and kept, so that counting is an atomic
//! addition without hashing labels.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use http::Method;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::activity::Activity;
use crate::agreement::Outcome;
use crate::api::Handler;
use crate::deprovisioning::Counter;
use crate::evaluator::Evaluator;
use crate::policy::Action;
use crate::repair::{Repair, Repairs};
use crate::rule::Rule;
use crate::verdict::VerdictLabel;

mod certificates;
mod config;
mod deprovisioning;
mod handshakes;
mod log_lines;
#[cfg(target_os = "linux")]
mod process;
mod reloads;
mod shared;
mod spans;
mod tokens;
mod upgrades;
mod upstreams;
mod wire_dashboard;

pub use handshakes::HandshakeFailure;
pub use spans::SpanMetrics;
pub use upstreams::{ListServers, ServerState};

/// Seconds of a whole request: from 250 µs, the duration of a forwarded request on an idle machine, to
/// the longest timeouts.
const REQUEST_SECONDS: &[f64] = &[
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0, 120.0,
];

/// Seconds of validation: a user of 1 KiB takes a few microseconds, 512 KiB less than 10 ms.
const VALIDATION_SECONDS: &[f64] = &[
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.05,
];

/// Bytes of a request body, up to the default limit.
const BODY_BYTES: &[f64] =
    &[256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 65536.0, 262_144.0, 524_288.0];

/// The values of the method label.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "OTHER"];

/// A status from 100 to 599 has its own slot; any other is counted as 599.
const STATUSES: usize = 500;

/// The label of a method: clients can send any method, but the number of labels is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodLabel(u8);

impl MethodLabel {
    pub const OTHER: Self = Self(7);

    pub fn of(method: &Method) -> Self {
        Self::of_bytes(method.as_str().as_bytes())
    }

    pub fn of_bytes(method: &[u8]) -> Self {
        let known = METHODS[..7].iter().position(|known| known.as_bytes() == method);
        known.map_or(Self::OTHER, |at| Self(at as u8))
    }

    pub fn as_str(self) -> &'static str {
        METHODS[usize::from(self.0)]
    }
}

/// The verdicts that are known before a request is forwarded; whether it fails is known only later.
const JUDGED: [VerdictLabel; 3] =
    [VerdictLabel::Forwarded, VerdictLabel::Refused, VerdictLabel::Reported];

/// All metrics of one guard, in their own Prometheus registry.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    deprovisioning: Arc<Counter>,
    requests: IntCounterVec,
    /// The children of `requests`, by handler, method and verdict, then by status.
    request_slots: Vec<OnceLock<Box<[OnceLock<IntCounter>]>>>,
    /// By handler: one for each of [`JUDGED`].
    verdicts: Vec<[IntCounter; JUDGED.len()]>,
    /// By rule: enforced, reported.
    rule_hits: Vec<[IntCounter; 2]>,
    /// By rule, and last for requests without a reported rule; then by outcome.
    agreement: Vec<Option<[IntCounter; Outcome::ALL.len()]>>,
    /// By repair.
    repairs: Vec<IntCounter>,
    request_seconds: Histogram,
    upstream_seconds: Histogram,
    validation_seconds: Histogram,
    body_bytes: Histogram,
    in_flight: IntGauge,
    activity: Activity,
    started: SystemTime,
    /// In the form of Wire's own services.
    wire_dashboard: Option<wire_dashboard::WireDashboard>,
    reloads: reloads::Reloads,
    upgrades: upgrades::Upgrades,
    handshake_failures: handshakes::Handshakes,
}

impl Metrics {
    /// All series at zero, with those of the token registry and the refusal cache.
    pub fn new(evaluator: &Evaluator) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let snapshots = Arc::clone(evaluator.snapshots());
        let config = Arc::clone(&snapshots.current().config);
        registry.register(Box::new(certificates::Certificates::new(Arc::clone(&snapshots))?))?;
        let counter = evaluator.deprovisioning();
        let removals =
            deprovisioning::Deprovisioning::new(Arc::clone(&snapshots), Arc::clone(counter))?;
        registry.register(Box::new(removals))?;
        registry.register(Box::new(shared::Shared::new(Arc::clone(&snapshots))?))?;
        let tokens = tokens::Tokens::new(snapshots, Arc::clone(evaluator.refusals()))?;
        registry.register(Box::new(tokens))?;
        let settings = config::Settings::new(Arc::clone(evaluator.snapshots()))?;
        registry.register(Box::new(settings))?;
        let requests = register(
            &registry,
            IntCounterVec::new(
                Opts::new(
                    "scim_guard_requests_total",
                    "Requests, counted when their response has ended.",
                ),
                &["handler", "method", "status_code", "verdict"],
            )?,
        )?;
        let verdicts = register(
            &registry,
            IntCounterVec::new(
                Opts::new(
                    "scim_guard_verdicts_total",
                    "Verdicts, counted before the request is forwarded.",
                ),
                &["handler", "verdict"],
            )?,
        )?;
        let verdicts = Handler::ALL
            .map(|handler| {
                JUDGED.map(|verdict| {
                    verdicts.with_label_values(&[handler.as_str(), verdict.as_str()])
                })
            })
            .into();
        let hits = register(
            &registry,
            IntCounterVec::new(
                Opts::new(
                    "scim_guard_rule_hits_total",
                    "Rules that requests hit; those of validation are counted before the request is forwarded, the others when they refuse it; limits.connections and limits.address also count connections that were closed without an answer.",
                ),
                &["rule", "action"],
            )?,
        )?;
        let rule_hits = Rule::all()
            .map(|rule| {
                [Action::Enforce, Action::Report]
                    .map(|action| hits.with_label_values(&[rule.id(), action.as_str()]))
            })
            .collect();
        let agreement = register(
            &registry,
            IntCounterVec::new(
                Opts::new(
                    "scim_guard_agreement_total",
                    "Judged requests that were forwarded, by their first reported rule and by whether Wire's answer agrees with it.",
                ),
                &["rule", "outcome"],
            )?,
        )?;
        let repairs = register(
            &registry,
            IntCounterVec::new(
                Opts::new(
                    "scim_guard_repairs_total",
                    "Repairs of requests, counted before the repaired request is forwarded.",
                ),
                &["repair"],
            )?,
        )?;
        let repairs =
            Repair::ALL.iter().map(|repair| repairs.with_label_values(&[repair.name()])).collect();
        let by_outcome = |rule: &str| {
            Outcome::ALL.map(|outcome| agreement.with_label_values(&[rule, outcome.as_str()]))
        };
        let reportable = |rule: Rule| rule.entry().enforcement.fixed().is_none();
        let agreement = Rule::all()
            .map(|rule| reportable(rule).then(|| by_outcome(rule.id())))
            .chain([Some(by_outcome("none"))])
            .collect();
        let build = register(
            &registry,
            IntGaugeVec::new(
                Opts::new("scim_guard_build_info", "Always 1; the version is a label."),
                &["version"],
            )?,
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(process::Process::new()?))?;
        registry.register(Box::new(log_lines::DroppedLines::new()?))?;
        let wire_dashboard = match config.metrics.wire_dashboard {
            true => Some(wire_dashboard::WireDashboard::register(&registry)?),
            false => None,
        };
        let slots = Handler::ALL.len() * METHODS.len() * VerdictLabel::ALL.len();
        Ok(Self {
            deprovisioning: Arc::clone(counter),
            request_slots: (0..slots).map(|_| OnceLock::new()).collect(),
            requests,
            verdicts,
            rule_hits,
            agreement,
            repairs,
            request_seconds: histogram(
                &registry,
                "scim_guard_request_duration_seconds",
                "From the end of the request head to the end of the response.",
                REQUEST_SECONDS,
            )?,
            upstream_seconds: histogram(
                &registry,
                "scim_guard_upstream_duration_seconds",
                "From the choice of a backend server to the end of its response.",
                REQUEST_SECONDS,
            )?,
            validation_seconds: histogram(
                &registry,
                "scim_guard_validation_duration_seconds",
                "Validation of one request, without the time to receive its body.",
                VALIDATION_SECONDS,
            )?,
            body_bytes: histogram(
                &registry,
                "scim_guard_request_body_bytes",
                "Bytes of the request bodies that were judged.",
                BODY_BYTES,
            )?,
            in_flight: register(
                &registry,
                IntGauge::new(
                    "scim_guard_requests_in_flight",
                    "Requests whose head was read and whose response has not ended.",
                )?,
            )?,
            activity: Activity::default(),
            started: SystemTime::now(),
            wire_dashboard,
            reloads: reloads::Reloads::new(&registry)?,
            upgrades: upgrades::Upgrades::new(&registry)?,
            handshake_failures: handshakes::counters(&registry)?,
            registry,
        })
    }

    /// Counts a TLS handshake that failed.
    pub fn handshake_failed(&self, reason: HandshakeFailure) {
        self.handshake_failures[reason as usize].inc();
    }

    /// Adds the states of the backend servers.
    pub fn watch_servers(&self, servers: ListServers) -> Result<(), prometheus::Error> {
        self.watch(upstreams::Servers::new(servers)?)
    }

    /// Adds a collector, which is called on each scrape.
    pub fn watch(&self, collector: impl Collector + 'static) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(collector))
    }

    /// Counts a request whose response has ended.
    pub fn request(
        &self,
        handler: Handler,
        method: MethodLabel,
        status: u16,
        verdict: VerdictLabel,
        took: Duration,
    ) {
        self.request_seconds.observe(took.as_secs_f64());
        let status = if (100..600).contains(&status) { status } else { 599 };
        if let Some(wire_dashboard) = &self.wire_dashboard {
            wire_dashboard.observe(handler, method, status, took);
        }
        let slot = (handler as usize * METHODS.len() + usize::from(method.0))
            * VerdictLabel::ALL.len()
            + verdict as usize;
        let by_status = self.request_slots[slot]
            .get_or_init(|| (0..STATUSES).map(|_| OnceLock::new()).collect());
        by_status[usize::from(status) - 100]
            .get_or_init(|| {
                self.requests.with_label_values(&[
                    handler.as_str(),
                    method.as_str(),
                    &status.to_string(),
                    verdict.as_str(),
                ])
            })
            .inc();
    }

    /// Counts the verdict on a request before it is forwarded.
    pub fn judged(&self, handler: Handler, verdict: VerdictLabel) {
        if let Some(at) = JUDGED.iter().position(|judged| *judged == verdict) {
            self.verdicts[handler as usize][at].inc();
        }
    }

    /// Counts a rule that refused a request.
    pub fn enforced(&self, rule: Rule) {
        self.rule_hits[rule as usize][0].inc();
    }

    /// Counts a rule that was only reported.
    pub fn reported(&self, rule: Rule) {
        self.rule_hits[rule as usize][1].inc();
    }

    /// Counts whether Wire's answer to a forwarded request agrees with the first reported rule.
    pub fn agreed(&self, rule: Option<Rule>, outcome: Outcome) {
        let slot = rule.map_or(Rule::COUNT, |rule| rule as usize);
        if let Some(by_outcome) = &self.agreement[slot] {
            by_outcome[outcome as usize].inc();
        }
    }

    /// Counts the repairs of a request.
    pub fn repaired(&self, repairs: Repairs) {
        for repair in repairs.iter() {
            self.repairs[repair as usize].inc();
        }
    }

    pub fn validated(&self, took: Duration) {
        self.validation_seconds.observe(took.as_secs_f64());
    }

    pub fn upstream(&self, took: Duration) {
        self.upstream_seconds.observe(took.as_secs_f64());
    }

    pub fn body(&self, bytes: usize) {
        self.body_bytes.observe(bytes as f64);
    }

    pub fn in_flight(&self) -> &IntGauge {
        &self.in_flight
    }

    /// Since when everything is counted.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// How many users each token has recently deleted or deactivated.
    pub fn deprovisioning(&self) -> &Arc<Counter> {
        &self.deprovisioning
    }

    /// What was recently refused and reported.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    pub fn reloads(&self) -> &reloads::Reloads {
        &self.reloads
    }

    pub fn upgrades(&self) -> &upgrades::Upgrades {
        &self.upgrades
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(64 * 1024);
        // Writing to a vector fails only for a malformed metric family, and none is registered.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
) -> Result<Histogram, prometheus::Error> {
    let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(registry, Histogram::with_opts(opts)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn metrics() -> Metrics {
        let evaluator = Evaluator::new(&Config::new(Vec::new(), Vec::new())).unwrap();
        Metrics::new(&evaluator).unwrap()
    }

    #[test]
    fn every_rule_has_its_series_at_the_start() {
        let text = String::from_utf8(metrics().text()).unwrap();
        for rule in Rule::all() {
            for action in ["enforce", "report"] {
                let series = format!(
                    "scim_guard_rule_hits_total{{action=\"{action}\",rule=\"{}\"}} 0",
                    rule.id()
                );
                assert!(text.contains(&series), "{series}");
            }
        }
        assert!(text.contains("scim_guard_build_info{version="));
        assert!(text.contains("scim_guard_requests_in_flight 0"));
        for handler in Handler::ALL {
            for verdict in ["forwarded", "refused", "reported"] {
                let series = format!(
                    "scim_guard_verdicts_total{{handler=\"{}\",verdict=\"{verdict}\"}} 0",
                    handler.as_str()
                );
                assert!(text.contains(&series), "{series}");
            }
        }
    }

    #[test]
    fn labels_stay_bounded_whatever_clients_and_backends_send() {
        let metrics = metrics();
        let method = MethodLabel::of(&Method::from_bytes(b"BREW").unwrap());
        metrics.request(Handler::Other, method, 999, VerdictLabel::Forwarded, Duration::ZERO);
        metrics.request(
            Handler::Users,
            MethodLabel::of(&Method::GET),
            200,
            VerdictLabel::Reported,
            Duration::ZERO,
        );
        let text = String::from_utf8(metrics.text()).unwrap();
        assert!(text.contains(
            r#"scim_guard_requests_total{handler="other",method="OTHER",status_code="599",verdict="forwarded"} 1"#
        ));
        assert!(text.contains(
            r#"scim_guard_requests_total{handler="/scim/v2/Users",method="GET",status_code="200",verdict="reported"} 1"#
        ));
    }
}
