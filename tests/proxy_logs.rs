//! No log line of any crate contains data of a request, however the request fails.
//!
//! This is a test binary of its own, as a process has one logger.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Mutex;
use std::time::Duration;

use support::{Backend, Guarded, Reply, TOKEN, chunked, h2c, head, user, with_length};

/// Request data that must not be logged: query, token, body, header value, target.
const SECRETS: [&str; 5] = [TOKEN, "secret-query", "alice", "secret-header", "secret-target"];

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.lock().unwrap().push(format!(
            "{} {}: {}",
            record.level(),
            record.target(),
            record.args()
        ));
    }

    fn flush(&self) {}
}

#[test]
fn request_contents_are_never_logged() {
    log::set_logger(&Collector).unwrap();
    // The maximum level that `logging::init` sets for other crates.
    log::set_max_level(log::LevelFilter::Warn);
    let replies: [fn() -> Reply; 6] = [
        || support::ok("{\"secret-target\":1}"),
        || Reply::Reset,
        || Reply::Last(b"garbage secret-header alice\r\n\r\n".to_vec()),
        || {
            Reply::Last(
                b"HTTP/1.1 200 OK\r\nX: secret-header\r\nContent-Length: 9\r\n\r\nali".to_vec(),
            )
        },
        || Reply::Last(b"HTTP/1.1 200 OK\r\nX\0: secret-header\r\n\r\n".to_vec()),
        || Reply::Stall,
    ];
    let query = "/scim/v2/Users?secret-query=1";
    let marked =
        |method: &str, lines: &str| head(method, query) + "X-Secret: secret-header\r\n" + lines;
    for reply in replies {
        let backend = Backend::start(move |_| reply());
        let guarded = Guarded::configured(&[backend.addr], |config| {
            config.limits.upstream_timeout = Duration::from_millis(100);
            config.limits.body_timeout = Duration::from_millis(100);
            config.limits.header_timeout = Duration::from_millis(100);
        });
        for request in [
            with_length("POST", query, &user(300)),
            with_length("POST", query, &user(100_000)),
            chunked("POST", query, &user(300)),
            marked("GET", "\r\n").into_bytes(),
            marked("GET", "Bare\n\r\n").into_bytes(),
            marked("CONNECT", "\r\n").into_bytes(),
            marked("POST", "Content-Length: 9\r\n\r\nalice").into_bytes(),
            marked("POST", "Transfer-Encoding: chunked\r\n\r\nalice\r\n").into_bytes(),
            marked("GET", "secret-header").into_bytes(),
            b"GET /secret-target HTTP/1.1\r\nHost: secret-header\r\n\r\n".to_vec(),
            format!("GET http://secret-target/{query} HTTP/1.1\r\n\r\n").into_bytes(),
        ] {
            let mut client = guarded.client();
            client.send(request);
            let _ = client.response_to("GET");
        }
        // A client that disconnects in the middle of its request.
        let mut client = guarded.client();
        client.send(marked("POST", "Content-Length: 9\r\n\r\nalice"));
        drop(client);
        let request = h2c::head("POST", query, guarded.addr).body(()).unwrap();
        let _ = h2c::ask(guarded.addr, vec![(request, user(300))]);
        guarded.wait_metric("scim_guard_requests_in_flight", 0.0);
    }
    let nowhere = Guarded::configured(&[], |_| {});
    nowhere.ask(with_length("POST", query, &user(300))).refused("upstream.connect");
    log::warn!("the collector works");
    let lines = LINES.lock().unwrap();
    assert!(lines.iter().any(|line| line.ends_with("the collector works")));
    for line in lines.iter() {
        for secret in SECRETS {
            assert!(!line.contains(secret), "{secret} in: {line}");
        }
    }
}
