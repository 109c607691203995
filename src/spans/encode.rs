//! Encodes requests in OTLP, with attributes according to the semantic conventions for HTTP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use uuid::Uuid;

use crate::api::Handler;
use crate::metrics::MethodLabel;

use super::span::{Backend, Details, Request};

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The body of a request to the collector. `instance`: identifies this process.
pub fn encode(requests: &[Request], instance: &str) -> Vec<u8> {
    let spans = requests.iter().flat_map(spans).collect();
    let scope = InstrumentationScope {
        name: NAME.into(),
        version: VERSION.into(),
        ..InstrumentationScope::default()
    };
    let resource = Resource {
        attributes: vec![
            text("service.name", NAME),
            text("service.version", VERSION),
            text("service.instance.id", instance),
        ],
        ..Resource::default()
    };
    let scope_spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
}

fn spans(request: &Request) -> impl Iterator<Item = Span> {
    let judging = request.judged.map(|took| judging(request, took));
    let backend = request.details.backend.as_ref().map(|backend| self::backend(request, backend));
    [Some(server(request)), judging, backend].into_iter().flatten()
}

/// The whole request.
fn server(request: &Request) -> Span {
    let Details {
        handler,
        method,
        status,
        verdict,
        rule,
        reported,
        repaired,
        token,
        is_tls,
        took,
        ..
    } = &request.details;
    let mut attributes = vec![
        method_attribute(*method),
        text("url.scheme", if *is_tls { "https" } else { "http" }),
        number("http.response.status_code", *status),
        text("scim_guard.handler", handler.as_str()),
        text("scim_guard.verdict", verdict.as_str()),
    ];
    if let Some(route) = route(*handler) {
        attributes.extend([text("http.route", route), text("url.path", route)]);
    }
    attributes.extend(rule.map(|rule| text("scim_guard.rule", rule)));
    attributes.extend(token.as_deref().map(|token| text("scim_guard.token", token)));
    for (key, values) in [("scim_guard.reported", reported), ("scim_guard.repaired", repaired)] {
        if !values.is_empty() {
            let values = values.iter().map(|name| AnyValue { value: Some(string(name)) }).collect();
            attributes.push(attribute(key, Value::ArrayValue(ArrayValue { values })));
        }
    }
    let failed = (*status >= 500).then(|| status.to_string());
    let name = [Some(method_name(*method)), route(*handler)];
    let name: Vec<&str> = name.into_iter().flatten().collect();
    Span {
        parent_span_id: request.parent.map(bytes).unwrap_or_default(),
        ..span(request, request.span, &name.join(" "), SpanKind::Server, Duration::ZERO, *took)
    }
    .with(attributes, failed)
}

/// The span of reading and judging.
fn judging(request: &Request, took: Duration) -> Span {
    let id = Uuid::new_v4().as_u64_pair().1;
    span(request, id, "judge", SpanKind::Internal, Duration::ZERO, took).with(Vec::new(), None)
}

/// The backend's part.
fn backend(request: &Request, backend: &Backend) -> Span {
    let Details { handler, method, .. } = &request.details;
    let Backend { server, after, took, status } = backend;
    let mut attributes = vec![method_attribute(*method)];
    attributes.extend(route(*handler).map(|route| text("url.template", route)));
    if let Some(server) = server {
        attributes.push(text("server.address", &server.ip().to_string()));
        attributes.push(number("server.port", server.port()));
    }
    attributes.extend(status.map(|status| number("http.response.status_code", status)));
    let failed = match status {
        None => Some("no answer".into()),
        Some(status) => (*status >= 400).then(|| status.to_string()),
    };
    let name = [Some(method_name(*method)), route(*handler)];
    let name: Vec<&str> = name.into_iter().flatten().collect();
    let name = name.join(" ");
    span(request, request.backend_span, &name, SpanKind::Client, *after, *took)
        .with(attributes, failed)
}

/// A child of the request's own span; the caller sets its parent.
fn span(
    request: &Request,
    id: u64,
    name: &str,
    kind: SpanKind,
    after: Duration,
    took: Duration,
) -> Span {
    let start = request.started + after;
    Span {
        trace_id: request.trace.to_be_bytes().to_vec(),
        span_id: bytes(id),
        parent_span_id: bytes(request.span),
        flags: 1,
        name: name.into(),
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(start),
        end_time_unix_nano: nanoseconds(start + took),
        ..Span::default()
    }
}

trait With {
    fn with(self, attributes: Vec<KeyValue>, failed: Option<String>) -> Self;
}

impl With for Span {
    fn with(mut self, attributes: Vec<KeyValue>, failed: Option<String>) -> Self {
        self.attributes = attributes;
        if let Some(error) = failed {
            self.attributes.push(text("error.type", &error));
            let code = StatusCode::Error.into();
            self.status = Some(Status { code, ..Status::default() });
        }
        self
    }
}

/// The template of a route, if the path has one.
fn route(handler: Handler) -> Option<&'static str> {
    match handler {
        Handler::Other | Handler::Invalid => None,
        handler => Some(handler.as_str()),
    }
}

fn method_attribute(method: MethodLabel) -> KeyValue {
    let name = if method == MethodLabel::OTHER { "_OTHER" } else { method.as_str() };
    text("http.request.method", name)
}

fn method_name(method: MethodLabel) -> &'static str {
    if method == MethodLabel::OTHER { "HTTP" } else { method.as_str() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, string(value))
}

fn number(key: &str, value: u16) -> KeyValue {
    attribute(key, Value::IntValue(value.into()))
}

fn string(value: &str) -> Value {
    Value::StringValue(value.into())
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn bytes(id: u64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
