//! The cost of a verdict, from bytes to verdict, compared with a plain scan of the same bytes and with the
//! straightforward implementation (a tree of values, then the schema). Only compare ratios within one run.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method};
use serde::de::IgnoredAny;
use serde_json::Value;
use wire_scim_guard::api::BodyKind;
use wire_scim_guard::config::Config;
use wire_scim_guard::evaluator::{BodyTask, Evaluator, Head};
use wire_scim_guard::json;
use wire_scim_guard::repair::Repairs;
use wire_scim_guard::schema::Schemas;

#[path = "shapes.rs"]
mod shapes;

use shapes::{SHAPES, user};

fn guard() -> Evaluator {
    match Evaluator::new(&Config::new(Vec::new(), Vec::new())) {
        Ok(guard) => guard,
        Err(_) => unreachable!("the built-in schemas compile"),
    }
}

fn reading(c: &mut Criterion) {
    let body = user().to_string().into_bytes();
    let schemas = Schemas::built_in();
    let plain_schema: Value =
        serde_json::from_str(include_str!("../schemas/user.json")).expect("it is JSON");
    let plain = jsonschema::options()
        .with_format("wire-email", wire_scim_guard::wire::email::is_address)
        .with_format("wire-uri", wire_scim_guard::wire::uri::is_absolute)
        .with_format("wire-boolean", |_: &str| true)
        .build(&plain_schema)
        .expect("it is a schema");
    let mut group = c.benchmark_group("1 KB user");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("pure scan (serde_json, IgnoredAny)", |b| {
        b.iter(|| serde_json::from_slice::<IgnoredAny>(black_box(&body)));
    });
    group.bench_function("plain way (Value, then schema)", |b| {
        b.iter(|| {
            let value: Value = serde_json::from_slice(black_box(&body)).expect("it is JSON");
            plain.is_valid(&value)
        });
    });
    group.bench_function("document", |b| b.iter(|| json::parse(black_box(&body)).is_ok()));
    let document = json::parse(&body).expect("it is JSON");
    group
        .bench_function("schema", |b| b.iter(|| schemas.user.is_valid(black_box(document.root()))));
    let snapshot = guard().snapshots().current();
    let task =
        BodyTask { kind: BodyKind::NewUser, gzip: false, identity: None, repairs: Repairs::NONE };
    group.bench_function("whole verdict on the body", |b| {
        b.iter(|| {
            let mut remarks = wire_scim_guard::findings::Remarks::default();
            Evaluator::judge_body(&snapshot, task, black_box(&body), &mut remarks).is_ok()
        });
    });
    group.finish();
}

fn head(c: &mut Criterion) {
    let guard = guard();
    let snapshot = guard.snapshots().current();
    let mut headers = HeaderMap::new();
    let token = "Bearer AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    headers.insert("authorization", HeaderValue::from_static(token));
    headers
        .insert("content-type", HeaderValue::from_static("application/scim+json; charset=utf-8"));
    headers.insert("accept", HeaderValue::from_static("application/scim+json"));
    let mut group = c.benchmark_group("head");
    for (name, method, target) in [
        ("POST", Method::POST, "/scim/v2/Users"),
        ("GET with a filter", Method::GET, "/scim/v2/Users?filter=userName%20eq%20%22alice%22"),
        (
            "PATCH, non-canonical path",
            Method::PATCH,
            "/v7/scim/Users/5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f/",
        ),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let target = black_box(target.as_bytes());
                let head = Head {
                    method: &method,
                    target,
                    headers: &headers,
                    client: None,
                    certificate: &[],
                };
                guard.judge_head(&snapshot, head)
            });
        });
    }
    group.finish();
}

/// About the size of a large body; the limit is 512 KiB.
const LARGE: usize = 440 * 1024;

/// The cost per byte must not grow with the size.
fn linear(c: &mut Criterion) {
    let snapshot = guard().snapshots().current();
    let limit = snapshot.config.limits.body;
    let mut bench = c.benchmark_group("by size");
    for shape in SHAPES {
        let small = (shape.make)(shape.small);
        let large = (shape.make)(LARGE / small.len() * shape.small);
        for body in [small, large] {
            assert!(body.len() <= limit, "{} bytes are not examined", body.len());
            let task =
                BodyTask { kind: shape.kind, gzip: false, identity: None, repairs: Repairs::NONE };
            bench.throughput(Throughput::Bytes(body.len() as u64));
            bench.bench_with_input(BenchmarkId::new(shape.name, body.len()), &body, |b, body| {
                b.iter(|| {
                    let mut remarks = wire_scim_guard::findings::Remarks::default();
                    Evaluator::judge_body(&snapshot, task, black_box(body), &mut remarks).is_ok()
                });
            });
        }
    }
    bench.finish();
}

criterion_group!(benches, reading, head, linear);
criterion_main!(benches);
