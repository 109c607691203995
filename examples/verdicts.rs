//! Judges one request again and again: what an instruction counter is held to.
//!
//! ```text
//! cargo run --release --example verdicts -- user 1000
//! ```
//!
//! The kinds are `user`, `refused`, `patch`, `group` and `find`.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "it speaks to who starts it")]

use std::hint::black_box;
use std::process::ExitCode;

use http::{HeaderMap, HeaderValue, Method};
use wire_scim_guard::config::Config;
use wire_scim_guard::guard::{Guard, Head};
use wire_scim_guard::verdict::Outcome;

const USER: &str = include_str!("../benches/instructions/user.json");
const PATCH: &str = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"displayName","value":"Alice Example"},{"op":"Replace","path":"active","value":true}]}"#;
const GROUP: &str = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Engineers","members":[{"type":"User","$ref":"x","value":"5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f"}]}"#;
const ONE: &[u8] = b"/scim/v2/Users/5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (kind, times) = (arguments.next().unwrap_or_default(), arguments.next());
    let Some(times) = times.and_then(|times| times.parse::<u32>().ok()) else {
        eprintln!("usage: verdicts KIND TIMES");
        return ExitCode::from(2);
    };
    let refused = USER.replace("alice.example\"", "Alice@example.com\"");
    let (method, target, body, passes) = match kind.as_str() {
        "user" => (Method::POST, &b"/scim/v2/Users"[..], USER, true),
        "refused" => (Method::POST, &b"/scim/v2/Users"[..], refused.as_str(), false),
        "patch" => (Method::PATCH, ONE, PATCH, true),
        "group" => (Method::POST, &b"/scim/v2/Groups"[..], GROUP, true),
        "find" => {
            (Method::GET, &b"/scim/v2/Users?filter=userName%20eq%20%22alice%22"[..], "", true)
        }
        _ => {
            eprintln!("verdicts: {kind} is none of user, refused, patch, group, find");
            return ExitCode::from(2);
        }
    };
    let guard = match Guard::new(&Config::new(Vec::new(), Vec::new())) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("verdicts: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut headers = HeaderMap::new();
    let token = "Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    headers.insert("authorization", HeaderValue::from_static(token));
    headers.insert("content-type", HeaderValue::from_static("application/scim+json"));
    for _ in 0..times {
        let head = Head { method: &method, target, headers: &headers, client: None };
        let verdict = black_box(guard.evaluate(black_box(head), black_box(body.as_bytes())));
        if matches!(verdict.outcome, Outcome::Forward { .. }) != passes {
            eprintln!("verdicts: {kind} is judged otherwise than expected");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
