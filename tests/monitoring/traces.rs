//! Traces over OTLP, as a collector receives them.

use std::collections::BTreeMap;
use std::net::TcpStream;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use wire_scim_guard::config::{Config, Tracing};
use wire_scim_guard::fraction::Fraction;
use wire_scim_guard::policy::Action;

use crate::support::tls::{self, Wire};
use crate::support::{
    Backend, Client, Guarded, Reply, TOKEN, USER, answer, control, entry, h2c, head, registry_file,
    unused_addr, user, wait_until, with_length,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn collector() -> Backend {
    Backend::start(|_| Reply::Bytes(answer(200, "")))
}

fn traced(backend: &Backend, collector: &Backend, change: impl FnOnce(&mut Config)) -> Guarded {
    let otlp = format!("http://{}", collector.addr);
    Guarded::configured(&[backend.addr], |config| {
        config.tracing = Some(Tracing { otlp, sample: Fraction::ALL });
        config.tokens = Some(registry_file(&[entry("okta", TOKEN, "")]));
        change(config);
    })
}

fn received(collector: &Backend) -> Vec<ExportTraceServiceRequest> {
    let seen = collector.seen();
    let read = |body: &[u8]| ExportTraceServiceRequest::decode(body).unwrap();
    seen.iter().map(|seen| read(&seen.body)).collect()
}

/// All spans received so far, once there are this many.
fn spans(collector: &Backend, count: usize) -> Vec<Span> {
    let all = || -> Vec<Span> {
        let requests = received(collector).into_iter();
        let scopes =
            requests.flat_map(|request| request.resource_spans).flat_map(|r| r.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    };
    wait_until("spans", || all().len() >= count);
    let spans = all();
    assert_eq!(spans.len(), count, "{spans:?}");
    spans
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|v| v.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::ArrayValue(array)) => format!("{} values", array.values.len()),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(&pair.value))).collect()
}

fn of_kind(spans: &[Span], kind: SpanKind) -> &Span {
    spans.iter().find(|span| span.kind == kind as i32).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn with_context(request: Vec<u8>, flags: &str) -> Vec<u8> {
    let line = format!("\r\ntraceparent: 00-{TRACE}-{PARENT}-{flags}\r\nContent-Type");
    String::from_utf8(request).unwrap().replacen("\r\nContent-Type", &line, 1).into_bytes()
}

#[test]
fn a_request_is_a_span_with_children_for_judging_and_the_backend() {
    let (backend, collector) = (Backend::fine(), collector());
    let guarded = traced(&backend, &collector, |config| {
        config.policy.set("user.roles", Action::Report).unwrap();
    });
    let body = String::from_utf8(user(300)).unwrap().replace("{\"", "{\"roles\":[\"king\"],\"");
    let target = "/v8/scim/v2/Users?secret=alice@example.com";
    let request = with_length("POST", target, body.as_bytes());
    assert_eq!(guarded.ask(with_context(request, "00")).status, 200);
    let spans = spans(&collector, 3);
    let (server, judging, client) = (
        of_kind(&spans, SpanKind::Server),
        of_kind(&spans, SpanKind::Internal),
        of_kind(&spans, SpanKind::Client),
    );
    assert_eq!((hex(&server.trace_id), hex(&server.parent_span_id)), (TRACE.into(), PARENT.into()));
    for child in [judging, client] {
        assert_eq!((&child.trace_id, &child.parent_span_id), (&server.trace_id, &server.span_id));
        assert!(child.start_time_unix_nano >= server.start_time_unix_nano);
        assert!(child.end_time_unix_nano <= server.end_time_unix_nano);
    }
    assert_eq!(server.name, "POST /scim/v2/Users");
    let attributes = texts(&server.attributes);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/scim/v2/Users"),
        ("url.path", "/scim/v2/Users"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("scim_guard.handler", "/scim/v2/Users"),
        ("scim_guard.verdict", "reported"),
        ("scim_guard.reported", "1 values"),
        ("scim_guard.token", "okta"),
    ] {
        assert_eq!(attributes.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(attributes.len(), 9, "{attributes:?}");
    let attributes = texts(&client.attributes);
    assert_eq!(attributes["server.port"], backend.addr.port().to_string());
    // The backend's own spans become children of the client span.
    let sent = backend.wait(1);
    let sent = sent.header("traceparent");
    assert_eq!(sent, [format!("00-{TRACE}-{}-01", hex(&client.span_id))]);
    let resource = received(&collector)[0].resource_spans[0].resource.clone().unwrap();
    assert_eq!(texts(&resource.attributes)["service.name"], "wire-scim-guard");
    for personal in ["alice", "king", "secret", TOKEN, "127.0.0.1:1"] {
        for seen in collector.seen() {
            assert!(!String::from_utf8_lossy(&seen.body).contains(personal), "{personal}");
        }
    }
}

#[test]
fn a_request_over_tls_has_the_scheme_https() {
    let backend = Backend::fine();
    for protocol in ["http/1.1", "h2"] {
        let collector = collector();
        let guarded = traced(&backend, &collector, |config| {
            config.listen[0].tls = Some(tls::listener());
        });
        let config = tls::shared_config(&[protocol]);
        if protocol == "h2" {
            let request = h2c::head("GET", USER, guarded.addr).body(()).unwrap();
            let answers = h2c::ask_over(guarded.addr, &config, vec![(request, Vec::new())]);
            assert_eq!(answers[0].as_ref().unwrap().status, 200);
        } else {
            let stream = TcpStream::connect(guarded.addr).unwrap();
            let mut client = Client::over(Wire::tls(stream, config, tls::NAME));
            client.send(head("GET", USER) + "\r\n");
            assert_eq!(client.response().status, 200);
        }
        let spans = spans(&collector, 3);
        let attributes = texts(&of_kind(&spans, SpanKind::Server).attributes);
        assert_eq!(attributes["url.scheme"], "https", "{protocol}");
    }
}

#[test]
fn a_refused_request_has_no_span_of_the_backend_and_names_the_rule() {
    let (backend, collector) = (Backend::fine(), collector());
    let guarded = traced(&backend, &collector, |_| {});
    guarded.ask(with_length("POST", "/scim/v2/Users", b"{")).refused("json.syntax");
    let spans = spans(&collector, 2);
    let attributes = texts(&of_kind(&spans, SpanKind::Server).attributes);
    assert_eq!(attributes["scim_guard.rule"], "json.syntax");
    assert_eq!(attributes["http.response.status_code"], "400");
    assert!(!attributes.contains_key("error.type"));
}

#[test]
fn the_sampled_flag_counts_from_trusted_proxies_only() {
    let (backend, collector) = (Backend::fine(), collector());
    let sampled = |trusted: bool, flags: &str| {
        let guarded = traced(&backend, &collector, |config| {
            config.tracing.as_mut().unwrap().sample = Fraction::NONE;
            if trusted {
                config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
            }
        });
        let before = backend.seen().len();
        assert_eq!(guarded.ask(with_context(control(), flags)).status, 200);
        let sent = backend.wait(before + 1);
        let sent = sent.header("traceparent")[0].to_owned();
        assert!(sent.starts_with(&format!("00-{TRACE}-")) && !sent.contains(PARENT), "{sent}");
        sent.ends_with("-01")
    };
    assert!(!sampled(false, "01"));
    assert!(!sampled(true, "00"));
    assert!(sampled(true, "01"));
    spans(&collector, 3);
}

#[test]
fn a_tracestate_is_passed_on_with_its_trace_only() {
    let (backend, collector) = (Backend::fine(), collector());
    let guarded = traced(&backend, &collector, |_| {});
    let line = "tracestate: a=b\r\n";
    let request = head("GET", USER) + line + "\r\n";
    assert_eq!(guarded.ask(&request).status, 200);
    assert_eq!(backend.wait(1).header("tracestate"), [""; 0]);
    let request =
        head("GET", USER) + line + &format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n\r\n");
    assert_eq!(guarded.ask(request).status, 200);
    assert_eq!(backend.wait(2).header("tracestate"), ["a=b"]);
    // Without tracing, both are passed on unchanged.
    let guarded = Guarded::before(&backend);
    let request = head("GET", USER) + line + "traceparent: x\r\n\r\n";
    assert_eq!(guarded.ask(request).status, 200);
    let seen = backend.wait(3);
    assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (vec!["x"], vec!["a=b"]));
}

#[test]
fn a_dead_or_refusing_collector_costs_only_its_spans() {
    let backend = Backend::fine();
    let unused = unused_addr();
    let refusing = Backend::start(|_| Reply::Bytes(answer(503, "")));
    for collector in [unused, refusing.addr] {
        let guarded = Guarded::configured(&[backend.addr], |config| {
            let otlp = format!("http://{collector}");
            config.tracing = Some(Tracing { otlp, sample: Fraction::ALL });
        });
        assert_eq!(guarded.ask(control()).status, 200);
        guarded.wait_metric("scim_guard_traced_requests_total{outcome=\"dropped\"}", 1.0);
    }
}

#[test]
fn a_collector_that_does_not_answer_delays_no_request_and_the_queue_is_bounded() {
    let (backend, collector) = (Backend::fine(), Backend::start(|_| Reply::Stall));
    let mut guarded = traced(&backend, &collector, |_| {});
    let mut client = guarded.client();
    // More than the queue has room for, while the first batch is not acknowledged.
    for _ in 0..3000 {
        client.send(head("GET", USER) + "\r\n");
        assert_eq!(client.response().status, 200);
    }
    let dropped = "scim_guard_traced_requests_total{outcome=\"dropped\"}";
    wait_until("dropped spans", || guarded.metric(dropped) > 0.0);
    drop(client);
    // Stopping does not wait for it either.
    guarded.running.take().unwrap().stop();
}

#[test]
fn spans_are_sent_before_the_process_ends() {
    let (backend, collector) = (Backend::fine(), collector());
    let mut guarded = traced(&backend, &collector, |_| {});
    assert_eq!(guarded.ask(control()).status, 200);
    guarded.running.take().unwrap().stop();
    assert_eq!(spans(&collector, 3).len(), 3);
}
