//! A client, a guard with a preset, and a stand-in for Wire that records requests.

use std::cell::Cell;
use std::sync::Arc;

use serde_json::Value;
use wire_scim_guard::release::{Release, Releases};
use wire_scim_guard::repair::Repairs;
use wire_scim_guard::standin::{Request, TOKEN, Wire};

use crate::support::{Backend, Guarded, Reply, Response, Seen};

pub struct World {
    pub release: Release,
    wire: Arc<Wire>,
    backend: Backend,
    guarded: Guarded,
    shown: Cell<usize>,
}

impl World {
    pub fn new(release: Release, repairs: Repairs) -> Self {
        let wire = Arc::new(Wire::of_release(release));
        let served = Arc::clone(&wire);
        let backend = Backend::start(move |seen| Reply::Bytes(answer(&served, seen)));
        let guarded = Guarded::configured(&[backend.addr], |config| {
            config.repairs = Some(repairs);
            config.policy.releases = Releases::Only(release);
        });
        Self { release, wire, backend, guarded, shown: Cell::new(0) }
    }

    /// Sends a request as a client would; without a body for null.
    pub fn ask(&self, method: &str, target: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(
            method,
            target,
            "Accept: application/scim+json, application/json\r\n\
             Content-Type: application/scim+json\r\n",
            body.as_bytes(),
        )
    }

    /// As `ask`, with these header lines.
    pub fn send(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Response {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: wire.example\r\nAuthorization: Bearer {TOKEN}\r\n\
             {headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let mut client = self.guarded.client();
        client.send([head.as_bytes(), body].concat());
        client.response_to(method).unwrap()
    }

    /// The stand-in's resource at this path, without the guard; null if there is none.
    pub fn stored(&self, target: &str) -> Value {
        let header = |name: &str, value: String| (name.to_owned(), value.into_bytes());
        let answer = self.wire.handle(&Request {
            method: "GET".into(),
            target: target.into(),
            headers: vec![header("Authorization", format!("Bearer {TOKEN}"))],
            body: Vec::new(),
        });
        match answer.status {
            200 => serde_json::from_slice(&answer.body).unwrap(),
            _ => Value::Null,
        }
    }

    /// The requests that have reached the stand-in since the last call.
    pub fn arrived(&self) -> Vec<Seen> {
        let seen = self.backend.seen();
        let new = seen[self.shown.get()..].to_vec();
        self.shown.set(seen.len());
        new
    }
}

fn answer(wire: &Wire, seen: &Seen) -> Vec<u8> {
    let mut line = seen.line().split(' ');
    let method = line.next().unwrap().to_owned();
    let headers = seen.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let headers =
        headers.map(|(name, value)| (name.to_owned(), value.trim().as_bytes().to_vec())).collect();
    let target = line.next().unwrap().as_bytes().to_vec();
    let answer = wire.handle(&Request { method, target, headers, body: seen.body.clone() });
    let mut bytes = format!("HTTP/1.1 {} Fine\r\n", answer.status);
    if let Some(kind) = answer.content_type {
        bytes.push_str(&format!("Content-Type: {kind}\r\n"));
    }
    for (name, value) in &answer.headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    if answer.status != 204 {
        bytes.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
    }
    bytes.push_str("\r\n");
    [bytes.into_bytes(), answer.body].concat()
}
