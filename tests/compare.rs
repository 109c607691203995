//! `compare` against stand-ins of each release, and against servers that are not Wire.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use support::{Backend, Guarded, Reply, Seen, answer};
use wire_scim_guard::release::Release;
use wire_scim_guard::standin::{self, Standin, TOKEN, USER_ID};

#[path = "compare/naive.rs"]
mod naive;

/// Runs `compare` and returns its exit code, standard output and standard error.
fn compare(addr: SocketAddr, more: &[&str]) -> (i32, String, String) {
    let backend = format!("http://{addr}");
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_wire-scim-guard"))
        .args(["compare", "--backend", &backend])
        .args(more)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, errors) = (text(stdout), text(stderr));
    assert!(!out.contains(TOKEN) && !errors.contains(TOKEN), "{out}{errors}");
    (status.code().unwrap(), out, errors)
}

/// A file that contains a token.
fn token_file(token: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("compare-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, format!("{token}\n")).unwrap();
    path
}

/// Runs `compare` with the token and the test user of the stand-in.
fn compare_all(addr: SocketAddr, more: &[&str]) -> (i32, String, String) {
    let file = token_file(TOKEN);
    let given = ["--token-file", file.to_str().unwrap(), "--test-user", USER_ID];
    compare(addr, &[&given, more].concat())
}

fn standin_of(release: Release) -> Standin {
    Standin::of_release("127.0.0.1:0".parse().unwrap(), release).unwrap()
}

/// A backend that answers like a stand-in of this release, unless `quirk` returns another answer.
fn wire(
    release: Release,
    quirk: impl Fn(&Seen) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Backend {
    let wire = standin::Wire::of_release(release);
    Backend::start(move |seen| {
        Reply::Bytes(quirk(seen).unwrap_or_else(|| {
            let mut words = seen.line().split(' ');
            let (method, target) = (words.next().unwrap(), words.next().unwrap());
            let headers = seen.head.lines().skip(1).filter_map(|line| line.split_once(": "));
            let response = wire.handle(&standin::Request {
                method: method.into(),
                target: target.into(),
                headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
                body: seen.body.clone(),
            });
            answer(response.status, &String::from_utf8(response.body).unwrap())
        }))
    })
}

fn is_recognised(release: Release) {
    let standin = standin_of(release);
    let (code, out, errors) = compare_all(standin.addr(), &[]);
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    assert!(out.starts_with(&format!("release: {}\n", release.as_str())), "{out}");
    assert!(out.contains(&format!("wire: {{release: \"{}\"}}", release.as_str())), "{out}");
    assert!(out.contains("test user: unchanged\n") && !out.contains("left out"), "{out}");
}

#[test]
fn each_known_release_is_recognised() {
    // In parallel, as the request rate limit alone makes each run slow.
    std::thread::scope(|scope| {
        for release in Release::ALL {
            scope.spawn(move || is_recognised(release));
        }
    });
}

#[test]
fn answers_of_no_known_release_are_listed() {
    // This server supports searching groups by `eq`.
    let backend = wire(Release::R5_35, |seen| {
        let searched = seen.line().starts_with("GET /scim/v2/Groups?filter=displayName%20eq");
        searched.then(|| answer(200, r#"{"Resources":[]}"#))
    });
    let (code, out, errors) = compare_all(backend.addr, &["--json"]);
    assert_eq!((code, errors.as_str()), (1, ""), "{out}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["release"], &report["nearest"]), (&json!("unknown"), &json!("5.35")));
    assert_eq!(report["suggestion"], json!({"wire": {"release": "any"}}));
    assert_eq!(report["left_out"], json!([]));
    assert_eq!(report["test_user"], json!({"changed": []}));
    let [difference] = report["differences"].as_array().unwrap().as_slice() else {
        panic!("{out}")
    };
    assert_eq!(difference["probe"], "groups.search.equal");
    let request = &difference["request"];
    assert_eq!((&request["method"], &request["body"]), (&json!("GET"), &Value::Null));
    assert!(request["target"].as_str().unwrap().starts_with("/scim/v2/Groups?filter="));
    let expected = json!({"status": 500, "scimType": null});
    assert_eq!(difference["expected"], json!({"5.34": expected, "5.35": expected}));
    assert_eq!(difference["got"], json!({"status": 200, "scimType": null}));
}

#[test]
fn without_a_token_the_release_is_undetermined_and_skipped_probes_are_reported() {
    let standin = standin_of(Release::R5_35);
    let (code, out, errors) = compare(standin.addr(), &[]);
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("release: undetermined\n") && out.contains("release: any}"), "{out}");
    assert!(out.contains("probes that need --token-file\n"), "{out}");
    assert!(out.contains("probes that need --test-user\n") && !out.contains("test user:"), "{out}");
}

#[test]
fn without_a_test_user_the_release_is_undetermined_and_only_patches_carry_the_token() {
    let backend = wire(Release::R5_35, |_| None);
    let file = token_file(TOKEN);
    let (code, out, errors) = compare(backend.addr, &["--token-file", file.to_str().unwrap()]);
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("release: undetermined\n"), "{out}");
    assert!(!out.contains("need --token-file") && out.contains("need --test-user\n"), "{out}");
    for seen in backend.seen() {
        assert!(!seen.line().starts_with("PUT") || seen.header("authorization").is_empty());
    }
}

#[test]
fn a_guard_in_place_of_a_backend_is_rejected() {
    let standin = standin_of(Release::R5_35);
    let guarded = Guarded::configured(&[standin.addr()], |_| {});
    let (code, out, errors) = compare_all(guarded.addr, &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(errors.contains("is a wire-scim-guard") && errors.lines().count() == 1, "{errors}");
}

#[test]
fn retry_after_of_the_backend_is_respected() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let (seen_at, count) = (Arc::clone(&times), AtomicUsize::new(0));
    let backend = wire(Release::R5_34, move |_| {
        seen_at.lock().unwrap().push(Instant::now());
        let status = match count.fetch_add(1, Ordering::SeqCst) {
            0 => "429 Slow\r\nRetry-After: 2",
            5 => "420 Slow",
            _ => return None,
        };
        Some(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes())
    });
    let start = Instant::now();
    let (code, out, errors) = compare(backend.addr, &[]);
    let (elapsed, seen) = (start.elapsed(), backend.seen());
    assert_eq!((code, errors.as_str()), (0, ""), "{out}");
    let times = times.lock().unwrap();
    for (refused, pause) in [(0, 2), (5, 1)] {
        assert_eq!(seen[refused].line(), seen[refused + 1].line());
        assert!(times[refused + 1] - times[refused] >= Duration::from_secs(pause));
    }
    // At most 5 requests a second.
    let requests = u32::try_from(seen.len()).unwrap();
    assert!(elapsed >= Duration::from_millis(200) * (requests - 1), "{elapsed:?} for {requests}");
}

#[test]
fn a_retry_after_that_is_too_long_is_an_error() {
    let slow = |_: &Seen| {
        Some(b"HTTP/1.1 503 Slow\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n".to_vec())
    };
    let (code, out, errors) = compare(wire(Release::R5_34, slow).addr, &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(errors.contains("86400 seconds"), "{errors}");
}

#[test]
fn failures_of_compare_are_one_sentence() {
    let standin = standin_of(Release::R5_35);
    let (known, unknown) = (token_file(TOKEN), token_file(support::TOKEN));
    let (known, unknown) = (known.to_str().unwrap(), unknown.to_str().unwrap());
    let other = "3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3";
    let closed = support::unused_addr();
    let elsewhere = Backend::start(|_| Reply::Bytes(answer(404, "")));
    for (addr, more, sentence) in [
        (closed, &[][..], "cannot be reached"),
        (elsewhere.addr, &[], "answered 404 to /scim/v2/ServiceProviderConfig"),
        (standin.addr(), &["--token-file", unknown, "--test-user", USER_ID], "refuses the token"),
        (
            standin.addr(),
            &["--token-file", known, "--test-user", other],
            "does not know the test user",
        ),
        (
            standin.addr(),
            &["--token-file", known, "--test-user", "sample"],
            "a user's id is a UUID",
        ),
        (standin.addr(), &["--test-user", USER_ID], "--token-file"),
        (standin.addr(), &["--token-file", "/nonexistent"], "/nonexistent"),
        (standin.addr(), &["--token-file", TOKEN], "(hidden)"),
        (standin.addr(), &["--token-file", known, "--test-user", TOKEN], "(hidden)"),
    ] {
        let (code, out, errors) = compare(addr, more);
        assert_eq!((code, out.as_str()), (2, ""), "{more:?} {errors}");
        assert!(errors.contains(sentence) && errors.lines().count() == 1, "{more:?}: {errors}");
    }
}

/// Against a server that accepts everything and applies PATCHes in its own way.
fn changes_nothing(apply: naive::Apply) {
    let before = json!({
        "id": USER_ID, "userName": "sample", "displayName": "Sample User", "active": true,
        "externalId": "sample@example.com", "roles": ["member"],
        "emails": [{"value": "sample@example.com", "type": "work", "primary": true}],
        "meta": {"version": "1"}
    });
    let users = Arc::new(Mutex::new(Map::from_iter([(USER_ID.to_owned(), before.clone())])));
    let server = naive::start(Arc::clone(&users), apply);
    let (code, out, errors) = compare_all(server.addr, &[]);
    assert_eq!((code, errors.as_str()), (1, ""), "{out}");
    assert!(out.starts_with("release: unknown\n"), "{out}");
    assert!(out.contains("difference: patch.values.value\n"), "{out}");
    assert!(out.contains("test user: unchanged\n"), "{out}");
    assert!(!out.contains("Sample User") && !out.contains("sample@example.com"), "{out}");
    let seen = server.seen();
    assert!(
        seen.iter().any(|seen| seen.line().starts_with("PATCH") && seen.line().contains(USER_ID))
    );
    for seen in &seen {
        let method = seen.line().split(' ').next().unwrap();
        assert!(["GET", "PUT", "PATCH"].contains(&method), "{}", seen.line());
        assert!(method != "PUT" || !seen.line().contains(USER_ID), "{}", seen.line());
    }
    let mut after = users.lock().unwrap().clone();
    after[USER_ID]["meta"] = before["meta"].clone();
    assert_eq!(Value::from(after), json!({USER_ID: before}));
}

#[test]
fn a_server_that_accepts_everything_is_left_unchanged() {
    std::thread::scope(|scope| {
        for apply in [naive::by_name, naive::without_filter, naive::selecting] {
            scope.spawn(move || changes_nothing(apply));
        }
    });
}

#[test]
fn a_changed_test_user_is_reported_and_gets_no_further_requests() {
    let users = Map::from_iter([(USER_ID.to_owned(), json!({"userName": "sample"}))]);
    let server = naive::start(Arc::new(Mutex::new(users)), naive::spoiling);
    let (code, out, errors) = compare_all(server.addr, &[]);
    assert_eq!((code, errors.as_str()), (1, ""), "{out}");
    assert!(out.contains("test user: CHANGED in spoilt;"), "{out}");
    let seen = server.seen();
    let writes = seen.iter().filter(|seen| seen.line().starts_with("PATCH /scim/v2/Users/5b8c"));
    // The one without operations, and the first one that changed something.
    assert_eq!(writes.count(), 2);
}
