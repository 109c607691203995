//! SIGTERM ends the process as soon as the requests in flight have finished.
//!
//! This is a test binary of its own, as the signal goes to the whole process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use support::{Backend, Client, Reply, answer, control, unused_addr, wait_until};
use wire_scim_guard::config::{Config, Server};
use wire_scim_guard::evaluator::Evaluator;

fn terminate() {
    let kill = format!("kill -TERM {}", std::process::id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

#[test]
fn sigterm_finishes_requests_in_flight_and_exits_at_once_when_idle() {
    let (go, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let backend = Backend::start(move |_| {
        let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(10));
        Reply::Bytes(answer(201, "{}"))
    });
    let servers = vec![Server::cleartext("127.0.0.1", backend.addr.port())];
    for busy in [true, false] {
        let addr = unused_addr();
        let mut config = Config::new(vec![addr], servers.clone());
        config.admin = unused_addr();
        config.log.access = wire_scim_guard::config::AccessLines::None;
        let guard = Evaluator::new(&config).unwrap();
        let serving = std::thread::spawn(move || wire_scim_guard::proxy::serve(guard, None));
        wait_until("the guard", || std::net::TcpStream::connect(addr).is_ok());
        let mut client = Client::connect(addr);
        if busy {
            client.send(control());
            backend.wait(1);
        }
        let started = Instant::now();
        terminate();
        if busy {
            wait_until("the listener to close", || std::net::TcpStream::connect(addr).is_err());
            assert!(!serving.is_finished());
            go.send(()).unwrap();
            assert_eq!(client.response().status, 201);
        }
        serving.join().unwrap().unwrap();
        assert!(started.elapsed() < support::WAIT_TIMEOUT);
    }
}
