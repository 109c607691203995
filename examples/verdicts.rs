//! Judges one request repeatedly, for counting instructions.
//!
//! ```text
//! cargo run --release --example verdicts -- user 1000
//! cargo run --release --example verdicts -- patch 1000 okta
//! cargo run --release --example verdicts -- shape 3 800 all
//! ```
//!
//! The kinds are `user`, `refused`, `patch`, `group`, `find` and `pathless` (a PATCH of 1 KB that repairs change), which
//! are judged this many times; or the body of a shape, which is generated in this size and judged once. `shapes` lists
//! them with a size for each. At the end a repair or a preset can be named, or `all` of them.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "it speaks to who starts it")]

use std::hint::black_box;
use std::process::ExitCode;

use http::{HeaderMap, HeaderValue, Method};
use wire_scim_guard::config::Config;
use wire_scim_guard::evaluator::{BodyTask, Evaluator, Head};
use wire_scim_guard::repair::{Repairs, preset};
use wire_scim_guard::snapshot::LoadErrors;
use wire_scim_guard::verdict::Outcome;

#[path = "../benches/shapes.rs"]
mod shapes;

const USER: &str = include_str!("../benches/instructions/user.json");
const PATCH: &str = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"displayName","value":"Alice Example"},{"op":"Replace","path":"active","value":true}]}"#;
const GROUP: &str = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Engineers","members":[{"type":"User","$ref":"x","value":"5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f"}]}"#;
const ONE: &[u8] = b"/scim/v2/Users/5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (kind, times) = (arguments.next().unwrap_or_default(), arguments.next());
    if kind == "shapes" {
        for shape in shapes::SHAPES {
            println!("{} {}", shape.small, shape.name);
        }
        return ExitCode::SUCCESS;
    }
    if kind == "shape" {
        let number = |text: Option<String>| text?.parse::<usize>().ok();
        let (which, size) = (number(times), number(arguments.next()));
        let Some((which, size)) = which.filter(|which| *which < shapes::SHAPES.len()).zip(size)
        else {
            eprintln!("usage: verdicts shape NUMBER SIZE");
            return ExitCode::from(2);
        };
        return judge_shape(&shapes::SHAPES[which], size, repairs(arguments.next().as_deref()));
    }
    let Some(times) = times.and_then(|times| times.parse::<u32>().ok()) else {
        eprintln!("usage: verdicts KIND TIMES");
        return ExitCode::from(2);
    };
    let repairs = repairs(arguments.next().as_deref());
    let pathless = pathless();
    let refused = USER.replace("alice.example\"", "Alice@example.com\"");
    let (method, target, body, passes) = match kind.as_str() {
        "user" => (Method::POST, &b"/scim/v2/Users"[..], USER, true),
        "refused" => (Method::POST, &b"/scim/v2/Users"[..], refused.as_str(), false),
        "patch" => (Method::PATCH, ONE, PATCH, true),
        "pathless" => (Method::PATCH, ONE, pathless.as_str(), !repairs.is_empty()),
        "group" => (Method::POST, &b"/scim/v2/Groups"[..], GROUP, true),
        "find" => {
            (Method::GET, &b"/scim/v2/Users?filter=userName%20eq%20%22alice%22"[..], "", true)
        }
        _ => {
            eprintln!("verdicts: {kind} is none of user, refused, patch, pathless, group, find");
            return ExitCode::from(2);
        }
    };
    let guard = match guard(repairs) {
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
        let head =
            Head { method: &method, target, headers: &headers, client: None, certificate: &[] };
        let verdict = black_box(guard.evaluate(black_box(head), black_box(body.as_bytes())));
        if matches!(verdict.outcome, Outcome::Forward { .. }) != passes {
            eprintln!("verdicts: {kind} is judged otherwise than expected");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The repairs under a name.
fn repairs(name: Option<&str>) -> Repairs {
    match name {
        None => Repairs::NONE,
        Some("all") => Repairs::all(),
        Some(name) => preset::named(name).unwrap_or_default(),
    }
}

fn guard(repairs: Repairs) -> Result<Evaluator, LoadErrors> {
    let mut config = Config::new(Vec::new(), Vec::new());
    config.repairs = Some(repairs);
    Evaluator::new(&config)
}

/// A PATCH without paths, as Entra ID sends it, of about 1 KB.
fn pathless() -> String {
    let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let filler = "x".repeat(450);
    format!(
        r#"{{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{{"op":"replace","value":{{"displayName":"Alice Example","active":true,"name.givenName":"Alice","name.familyName":"Example","{enterprise}:department":"Research","{enterprise}:employeeNumber":"701984"}}}},{{"op":"Replace","path":"title","value":"{filler}"}},{{"op":"Replace","path":"externalId","value":"alice@example.com"}}]}}"#
    )
}

/// Judges one body often enough for its generation to be negligible.
fn judge_shape(shape: &shapes::Shape, size: usize, repairs: Repairs) -> ExitCode {
    let Ok(guard) = guard(repairs) else {
        eprintln!("verdicts: no guard");
        return ExitCode::FAILURE;
    };
    let snapshot = guard.snapshots().current();
    let body = (shape.make)(size);
    let task = BodyTask { kind: shape.kind, gzip: false, identity: None, repairs };
    for _ in 0..20 {
        let verdict = Evaluator::judge_body(
            &snapshot,
            task,
            black_box(&body),
            &mut wire_scim_guard::findings::Remarks::default(),
        );
        let _ = black_box(verdict.is_ok());
    }
    ExitCode::SUCCESS
}
