//! What a verdict costs, from bytes to verdict, beside a pure scan of the same bytes and the plain
//! way (a tree of values, then the schema). Only ratios within one run count.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use wire_scim_guard::config::Config;
use wire_scim_guard::guard::{BodyKind, BodyTask, Guard, Head};
use wire_scim_guard::json;
use wire_scim_guard::schema::Schemas;

/// A user as Entra ID sends one: about 1 KB, with the attributes that Wire ignores.
fn user() -> Vec<u8> {
    json!({
        "schemas": [
            "urn:ietf:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
        ],
        "externalId": "alice.example@example.com",
        "userName": "alice.example",
        "active": true,
        "displayName": "Alice Example-Müller",
        "title": "Senior Engineer",
        "preferredLanguage": "en-US",
        "emails": [{"primary": true, "type": "work", "value": "alice.example@example.com"}],
        "addresses": [{
            "primary": false, "type": "work", "streetAddress": "1 Example Street",
            "locality": "Berlin", "postalCode": "10178", "country": "DE", "formatted": "1 Example Street, Berlin"
        }],
        "phoneNumbers": [
            {"type": "mobile", "value": "+49 30 1234567"}, {"type": "work", "value": "+49 30 7654321"}
        ],
        "name": {"formatted": "Alice Example-Müller", "givenName": "Alice", "familyName": "Example-Müller"},
        "roles": ["member"],
        "meta": {"resourceType": "User", "location": "https://example.com/scim/v2/Users/1"},
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
            "department": "Research", "employeeNumber": "701984", "manager": "26118915-6090-4610-87e4-49d8ca9f808d"
        },
        "urn:ietf:params:scim:schemas:extension:wire:1.0:User": {"Department": "Research"}
    })
    .to_string()
    .into_bytes()
}

fn group(members: usize) -> Vec<u8> {
    let member =
        json!({"value": "5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f", "type": "User", "$ref": "x"});
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Engineers",
        "members": vec![member; members]
    })
    .to_string()
    .into_bytes()
}

fn patch(operations: usize) -> Vec<u8> {
    let operation = json!({"op": "Replace", "path": "displayName", "value": "Alice"});
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": vec![operation; operations]
    })
    .to_string()
    .into_bytes()
}

/// A user with an attribute that nobody reads, of a given length.
fn padded(length: usize) -> Vec<u8> {
    let mut user: Value = serde_json::from_slice(&user()).expect("it was written above");
    user["x-notes"] = "n".repeat(length).into();
    user.to_string().into_bytes()
}

/// A user with many unknown keys.
fn many_keys(keys: usize) -> Vec<u8> {
    let mut user: Value = serde_json::from_slice(&user()).expect("it was written above");
    for key in 0..keys {
        user[format!("x{key}")] = key.into();
    }
    user.to_string().into_bytes()
}

fn guard() -> Guard {
    match Guard::new(&Config::new(Vec::new(), Vec::new())) {
        Ok(guard) => guard,
        Err(_) => unreachable!("the built-in schemas compile"),
    }
}

fn reading(c: &mut Criterion) {
    let body = user();
    let schemas = Schemas::built_in();
    let plain_schema: Value =
        serde_json::from_str(include_str!("../schemas/user.json")).expect("it is JSON");
    let plain = jsonschema::options()
        .with_format("wire-email", wire_scim_guard::scim::email::is_address)
        .with_format("wire-uri", wire_scim_guard::scim::uri::is_absolute)
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
    let guard = guard();
    let task = BodyTask { kind: BodyKind::NewUser, gzip: false, identity: None };
    group.bench_function("whole verdict on the body", |b| {
        b.iter(|| guard.judge_body(task, black_box(&body), &mut Vec::new()).is_ok());
    });
    group.finish();
}

fn head(c: &mut Criterion) {
    let guard = guard();
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
            "PATCH, path to mend",
            Method::PATCH,
            "/v7/scim/Users/5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f/",
        ),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let target = black_box(target.as_bytes());
                guard.judge_head(Head { method: &method, target, headers: &headers, client: None })
            });
        });
    }
    group.finish();
}

/// The cost for each byte must not grow with the size.
fn linear(c: &mut Criterion) {
    let guard = guard();
    type Make = fn(usize) -> Vec<u8>;
    let cases: [(&str, BodyKind, Make, [usize; 2]); 4] = [
        ("long text", BodyKind::NewUser, padded, [10_000, 500_000]),
        ("unknown keys", BodyKind::NewUser, many_keys, [500, 25_000]),
        ("members", BodyKind::Group, group, [100, 5_000]),
        ("operations", BodyKind::Patch, patch, [100, 5_000]),
    ];
    let mut bench = c.benchmark_group("by size");
    for (name, kind, make, sizes) in cases {
        for size in sizes {
            let body = make(size);
            let task = BodyTask { kind, gzip: false, identity: None };
            assert!(guard.judge_body(task, &body, &mut Vec::new()).is_ok(), "{name} {size}");
            bench.throughput(Throughput::Bytes(body.len() as u64));
            bench.bench_with_input(BenchmarkId::new(name, body.len()), &body, |b, body| {
                b.iter(|| guard.judge_body(task, black_box(body), &mut Vec::new()).is_ok());
            });
        }
    }
    bench.finish();
}

criterion_group!(benches, reading, head, linear);
criterion_main!(benches);
