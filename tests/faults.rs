//! Behaviour of the program under external failures: it is stopped, killed or aborts under load, its log disk
//! is full, descriptors are exhausted, bodies are made to be expensive. Each time it keeps its guarantees and recovers
//! by itself.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

#[allow(dead_code, reason = "benchmarks use more of it")]
#[path = "../benches/shapes.rs"]
mod shapes;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Scope;
use std::time::Instant;

use shapes::SHAPES;
use support::client::complete;
use support::program::{PROGRAM, Place, few_descriptors, send_signal};
use support::{Backend, Client, WAIT_TIMEOUT, control, head, last, user, wait_until, with_length};
use wire_scim_guard::api::BodyKind;

/// The outcome of one request on a connection.
enum Outcome {
    /// A complete answer; the flag says whether the connection stays open.
    Answered(u16, bool),
    /// The connection ended before the first byte of an answer.
    Nothing,
    Cut,
}

fn ask(stream: &mut TcpStream, request: &[u8]) -> Outcome {
    let mut seen = Vec::new();
    if stream.write_all(request).is_err() {
        return Outcome::Nothing;
    }
    loop {
        if let Some((status, stays_open)) = complete(&seen) {
            return Outcome::Answered(status, stays_open);
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) if seen.is_empty() => return Outcome::Nothing,
            Ok(0) | Err(_) => return Outcome::Cut,
            Ok(n) => seen.extend_from_slice(&chunk[..n]),
        }
    }
}

/// What the clients of the load observed.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    lost: AtomicUsize,
    stop: AtomicBool,
}

impl Tally {
    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// Four clients that send requests over persistent connections, and four that open a connection for
    /// each request. With `until_refused` all of them end when connections are refused.
    fn load<'a>(&'a self, scope: &'a Scope<'a, '_>, addr: SocketAddr, until_refused: bool) {
        for number in 0..8 {
            scope.spawn(move || self.client(addr, number % 2 == 0, until_refused));
        }
    }

    fn client(&self, addr: SocketAddr, keeps: bool, until_refused: bool) {
        let request = with_length("POST", "/scim/v2/Users", &user(500));
        let mut kept = None;
        while !self.stop.load(Ordering::SeqCst) {
            let mut stream = match kept.take().map_or_else(|| TcpStream::connect(addr), Ok) {
                Ok(stream) => stream,
                Err(_) if until_refused => return,
                Err(_) => continue,
            };
            stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
            match ask(&mut stream, &request) {
                Outcome::Answered(status, open) => {
                    assert_eq!(status, 200);
                    self.answered.fetch_add(1, Ordering::SeqCst);
                    kept = (open && keeps).then_some(stream);
                }
                Outcome::Nothing | Outcome::Cut => {
                    self.lost.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    }
}

#[test]
fn stopping_under_load_loses_no_request() {
    let backend = Backend::fine();
    let place = Place::new("stop", &backend, "log: {access: false}\n");
    let mut running = place.run("exec \"$@\"", Stdio::null());
    let tally = Tally::default();
    std::thread::scope(|scope| {
        tally.load(scope, place.addr, true);
        wait_until("load", || tally.answered() > 400);
        running.signal("-TERM");
    });
    assert_eq!(running.exit_code(), Some(0));
    assert_eq!(tally.lost.load(Ordering::SeqCst), 0);
    assert_eq!(tally.answered(), backend.seen().len());
}

#[test]
fn after_sigkill_under_load_it_restarts_on_the_same_address() {
    let backend = Backend::fine();
    let place = Place::new("kill", &backend, "log: {access: false}\n");
    let mut running = place.run("exec \"$@\"", Stdio::null());
    let tally = Tally::default();
    std::thread::scope(|scope| {
        tally.load(scope, place.addr, false);
        wait_until("load", || tally.answered() > 200);
        running.signal("-KILL");
        assert_eq!(running.exit_code(), None);
        running = place.run("exec \"$@\"", Stdio::null());
        let before = tally.answered();
        wait_until("load again", || tally.answered() > before + 200);
        tally.stop.store(true, Ordering::SeqCst);
    });
    // Nothing was retried: a request without an answer may or may not have been processed.
    let lost = tally.lost.load(Ordering::SeqCst);
    assert!((tally.answered()..=tally.answered() + lost).contains(&backend.seen().len()));
}

#[test]
fn after_an_abort_the_supervisor_restarts_it() {
    let backend = Backend::fine();
    let place = Place::new("abort", &backend, "");
    // Like `Restart=on-failure` of systemd: death by a signal is a failure, a regular stop is not.
    let supervise = "trap 'kill -TERM $child; wait $child; exit $?' TERM\n\
                     while :; do \"$@\" & child=$!; wait $child && exit; done";
    let mut running = place.run(supervise, Stdio::null());
    assert_eq!(place.status(), 200);
    let guard = || {
        let children = Command::new("pgrep").args(["-P", &running.id().to_string()]).output();
        let children = String::from_utf8(children.unwrap().stdout).unwrap();
        children.trim().parse::<u32>().ok()
    };
    let first = guard().unwrap();
    send_signal("-ABRT", first);
    wait_until("another process", || guard().is_some_and(|pid| pid != first));
    place.wait();
    assert_eq!(place.status(), 200);
    running.signal("-TERM");
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn a_full_log_disk_fails_no_request() {
    let backend = Backend::fine();
    let place = Place::new("full", &backend, "log: {level: debug}\n");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut running = place.run("exec \"$@\"", full.into());
    for _ in 0..50 {
        assert_eq!(place.status(), 200);
    }
    running.signal("-TERM");
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn without_free_descriptors_new_clients_are_queued_and_served_later() {
    let backend = Backend::fine();
    let place = Place::new("descriptors", &backend, "");
    let mut running = place.run(&few_descriptors(), Stdio::null());
    let mut first = Client::connect(place.addr);
    first.send(control());
    assert_eq!(first.response().status, 200);
    let connections: Vec<TcpStream> =
        (0..60).map(|_| TcpStream::connect(place.addr).unwrap()).collect();
    let mut waiting = Client::connect(place.addr);
    waiting.send(control());
    // Open connections are still served.
    for _ in 0..10 {
        first.send(control());
        assert_eq!(first.response().status, 200);
    }
    drop(connections);
    assert_eq!(waiting.response().status, 200);
    assert_eq!(place.status(), 200);
    running.signal("-TERM");
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn descriptor_exhaustion_is_not_counted_as_backend_failure() {
    // Each request needs a new connection to a backend.
    let backends = [(); 2].map(|()| Backend::start(|_| last()));
    let place = Place::before("lack", &backends.each_ref(), "threads: 1\n");
    let mut running = place.run_logged(&few_descriptors());
    let mut client = Client::connect(place.addr);
    client.send(control());
    assert_eq!(client.response().status, 200);
    wait_until("the backend to close", || backends.iter().any(|backend| backend.closed() == 1));
    let connections = place.starve(&running);
    for _ in 0..5 {
        client.send(control());
        let refused = client.response();
        refused.refused("limits.descriptors");
        assert_eq!(refused.header("retry-after"), Some("5"));
    }
    drop(connections);
    wait_until("free descriptors", || place.ready().contains("in rotation"));
    assert_eq!(place.ready().matches("in rotation").count(), 2, "{}", place.ready());
    client.send(control());
    assert_eq!(client.response().status, 200);
    // The same for streamed requests, whose connections Pingora opens.
    let connections = place.starve(&running);
    client.send(head("GET", "/scim/auth-tokens") + "\r\n");
    client.response().refused("limits.descriptors");
    drop(connections);
    let log = place.logged();
    assert!(!log.contains("is skipped"), "{log}");
    // The log is rate-limited, not one line for each request.
    assert!((1..6).contains(&log.matches("no connection to the backend can").count()), "{log}");
    running.signal("-TERM");
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn a_shortage_is_logged_once_in_a_while_and_not_at_each_attempt_to_accept() {
    let backend = Backend::fine();
    let place = Place::new("accept", &backend, "");
    let running = place.run_logged(&few_descriptors());
    let began = Instant::now();
    for _ in 0..4 {
        drop(place.starve(&running));
        wait_until("free descriptors", || !running.is_starved());
    }
    let lines = || place.logged().matches("no connection can be accepted").count();
    wait_until("the log", || lines() > 0);
    let lines = u64::try_from(lines()).unwrap();
    assert!(lines <= 1 + began.elapsed().as_secs() / 10, "{}", place.logged());
}

#[test]
fn config_warnings_are_logged_at_start() {
    let backend = Backend::fine();
    let place = Place::new("warning", &backend, "shield: {failures: 7}\n");
    let _running = place.run_logged("exec \"$@\"");
    wait_until("the warning", || {
        place.logged().contains("shield: failures and window have no effect")
    });
    let line = place.logged();
    let line = line.lines().find(|line| line.contains("no effect")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["level"], "Warn");
    assert!(line["msgs"][0].as_str().unwrap().starts_with("config: 5:20: warning: "), "{line}");
}

#[test]
fn an_unreadable_schema_prevents_the_start_with_one_sentence() {
    let backend = Backend::fine();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults-schemas");
    let _ = std::fs::remove_dir_all(&folder);
    // A directory where a file is expected cannot be read, not even by root.
    std::fs::create_dir_all(folder.join("user.json")).unwrap();
    let place = Place::new("schema", &backend, &format!("schemas: {}\n", folder.display()));
    let output =
        Command::new(PROGRAM).args(["serve", "--config"]).arg(&place.config).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("user.json") && errors.lines().count() == 1, "{errors}");
}

/// The most memory that a process has used so far, in bytes.
fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn no_body_takes_far_more_memory_than_it_has_bytes() {
    const BODY: usize = 400_000;
    const LIMIT: usize = 512 << 10;
    const ALLOWED: usize = 48 << 20;
    let backend = Backend::fine();
    let repairs = "repairs: [entra, user_name.ascii]\n";
    let place = Place::new("bodies", &backend, repairs);
    let guard = place.run("exec \"$@\"", Stdio::null());
    assert_eq!(place.status(), 200);
    let before = peak(guard.id());
    for shape in SHAPES {
        let body = (shape.make)(shape.small * BODY / (shape.make)(shape.small).len());
        assert!(body.len() < LIMIT, "{}: {} bytes", shape.name, body.len());
        let (method, target) = match shape.kind {
            BodyKind::Group => ("POST", "/scim/v2/Groups"),
            BodyKind::Patch => ("PATCH", "/scim/v2/Users/00000000-0000-4000-8000-000000000000"),
            _ => ("POST", "/scim/v2/Users"),
        };
        let mut client = Client::connect(place.addr);
        client.send(with_length(method, target, &body));
        // A repair may make a body larger than the limit.
        let status = client.response().status;
        assert!(matches!(status, 200 | 400 | 413), "{}: {status}", shape.name);
        let used = peak(guard.id()).saturating_sub(before);
        assert!(used < ALLOWED, "{}: {used} bytes of memory", shape.name);
    }
}
