//! The requests of these tests, and a guard with a limit.

use std::time::Duration;

use wire_scim_guard::config::Config;
use wire_scim_guard::deprovisioning::Limit;

use crate::support::{Backend, Client, Guarded, TOKEN, with_length};

pub const HELD: &str = "limits.deprovisioning";

/// The metric of users that count, for tokens outside the registry.
pub const USED: &str = "scim_guard_deprovisioning_used{token=\"other\"}";
pub const TOTAL: &str = "scim_guard_deprovisioned_total{token=\"other\"}";

pub fn at_most(at_most: u32) -> Limit {
    Limit { at_most, within: Duration::from_secs(3600) }
}

pub fn limited(backend: &Backend, count: u32) -> Guarded {
    limited_with(backend, count, |_| {})
}

pub fn limited_with(backend: &Backend, count: u32, change: impl FnOnce(&mut Config)) -> Guarded {
    Guarded::configured(&[backend.addr], |config| {
        config.deprovisioning = Some(at_most(count));
        change(config);
    })
}

/// The path of the nth user.
pub fn path(user: usize) -> String {
    format!("/scim/v2/Users/3aab60e5-5f1f-4c4d-a7d6-{user:012x}")
}

pub fn by(token: &str, request: &[u8]) -> Vec<u8> {
    String::from_utf8(request.to_vec()).unwrap().replace(TOKEN, token).into_bytes()
}

pub fn delete(user: usize) -> Vec<u8> {
    let head = crate::support::head("DELETE", &path(user));
    format!("{head}\r\n").into_bytes()
}

pub fn get(user: usize) -> Vec<u8> {
    let head = crate::support::head("GET", &path(user));
    format!("{head}\r\n").into_bytes()
}

/// A PUT of the whole user, with `active` as written here; empty: without it.
pub fn put(user: usize, active: &str) -> Vec<u8> {
    let active = if active.is_empty() { String::new() } else { format!(",\"active\":{active}") };
    let body = format!(
        r#"{{"userName":"u{user}","displayName":"U","externalId":"u{user}@example.com"{active}}}"#
    );
    with_length("PUT", &path(user), body.as_bytes())
}

/// A PATCH with these operations.
pub fn patch(user: usize, operations: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{operations}]}}"#
    );
    with_length("PATCH", &path(user), body.as_bytes())
}

pub fn deactivate(user: usize) -> Vec<u8> {
    patch(user, r#"{"op":"replace","path":"active","value":false}"#)
}

/// Sends a request on a connection that is used for all requests, as clients do.
pub fn ask(client: &mut Client, request: &[u8]) -> (u16, String) {
    client.send(request);
    let answer = client.response();
    (answer.status, answer.rule().to_owned())
}
