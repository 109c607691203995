//! Client connections: their lifetime, their limits, and graceful shutdown.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{
    Backend, Client, Guarded, Reply, TOKEN, USER, WAIT_TIMEOUT, answer, chunked, control, head, ok,
    user, wait_until, with_length,
};

#[test]
fn a_refusal_leaves_the_connection_open() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    let refused = [
        (format!("GET {USER} HTTP/1.1\r\nHost: a\r\n\r\n"), "token.missing"),
        (String::from("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"), "target.not_found"),
        (head("BREW", "/scim/v2/Users") + "\r\n", "method.not_allowed"),
        (head("POST", "/scim/v2/Users") + "Content-Length: 2\r\n\r\n{]", "json.syntax"),
        // A body that was not read before the answer is read after it.
        (
            (head("POST", "/scim/v2/Users") + "Content-Length: 2\r\n\r\n{}").replace(TOKEN, "no"),
            "token.malformed",
        ),
    ];
    for (request, rule) in refused {
        client.send(request);
        let response = client.response();
        response.refused(rule);
        assert_eq!(response.header("connection"), Some("keep-alive"), "{rule}");
        let has = |name| response.header(name).is_some();
        assert_eq!(has("allow"), rule == "method.not_allowed");
        assert_eq!(has("www-authenticate"), rule.starts_with("token."));
    }
    client.send(control());
    assert_eq!(client.response().status, 200);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (go, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let backend = Backend::start(move |seen| {
        if seen.body.len() == 301 {
            let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(10));
        }
        ok(&format!("{{\"length\":{}}}", seen.body.len()))
    });
    let guarded = Guarded::before(&backend);
    // All requests are sent at once.
    let sizes = [400, 300, 70_000, 350];
    for framed in [with_length, chunked] {
        for path in ["/scim/v2/Users", "/scim/auth-tokens"] {
            let mut client = guarded.client();
            client.send(sizes.map(|size| framed("POST", path, &user(size))).concat());
            for size in sizes {
                let response = client.response();
                assert_eq!((response.status, &response.json()["length"]), (200, &size.into()));
            }
        }
    }
    let mut client = guarded.client();
    let before = backend.seen().len();
    // The second request is sent while the first one waits for its answer.
    let cases = [with_length, chunked]
        .map(|framed| [(framed, "/scim/v2/Users"), (framed, "/scim/auth-tokens")]);
    for (nth, (first, path)) in cases.into_iter().flatten().enumerate() {
        client.send(first("POST", path, &user(301)));
        backend.wait(before + 1 + 2 * nth);
        client.send(with_length("POST", "/scim/v2/Users", &user(2000)));
        go.send(()).unwrap();
        for size in [301, 2000] {
            assert_eq!(client.response().json()["length"], size);
        }
    }
}

#[test]
fn a_client_that_half_closes_gets_its_answer() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    client.send(control());
    client.stream.end();
    assert_eq!(client.response().status, 200);
    client.ends();
}

#[test]
fn connection_close_is_respected_and_http_1_0_closes_by_default() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    for request in [
        head("GET", USER) + "Connection: close\r\n\r\n",
        head("GET", USER).replace("HTTP/1.1", "HTTP/1.0") + "\r\n",
    ] {
        let mut client = guarded.client();
        client.send(request);
        let response = client.response();
        assert_eq!((response.status, response.header("connection")), (200, Some("close")));
        client.ends();
    }
}

#[test]
fn a_connection_is_closed_after_its_maximum_number_of_requests() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.limits.requests_per_connection = 3;
    });
    let mut client = guarded.client();
    for expected in ["keep-alive", "keep-alive", "close"] {
        client.send(control());
        assert_eq!(client.response().header("connection"), Some(expected));
    }
    client.ends();
}

#[test]
fn connections_over_the_limit_are_answered_503_and_do_not_count() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| config.limits.connections = 2);
    let mut held = [guarded.client(), guarded.client()];
    for client in &mut held {
        client.send(control());
        assert_eq!(client.response().status, 200);
    }
    // Rejected connections don't count, however long they linger.
    let mut rejected: Vec<Client> = (0..10).map(|_| guarded.client()).collect();
    let mut beyond = guarded.client();
    beyond.send(control());
    beyond.is_rejected("limits.connections");
    let running = guarded.running.as_ref().unwrap();
    for client in &mut rejected {
        client.is_rejected("limits.connections");
    }
    assert_eq!(running.connections(), 2);
    drop(held);
    wait_until("connections to close", || running.connections() == 0);
    assert_eq!(guarded.ask(control()).status, 200);
    wait_until("connections to close again", || running.connections() == 0);
    drop(rejected);
    // Of many at once only some receive an answer, but all are counted.
    let held = [guarded.client(), guarded.client()];
    wait_until("the limit", || running.connections() == 2);
    let series = "scim_guard_rule_hits_total{action=\"enforce\",rule=\"limits.connections\"}";
    let before = guarded.metric(series);
    let rejected: Vec<Client> = (0..100).map(|_| guarded.client()).collect();
    guarded.wait_metric(series, before + 100.0);
    drop((held, rejected));
}

#[test]
fn connections_are_limited_per_address_except_for_trusted_proxies() {
    let backend = Backend::fine();
    let drained = |guarded: &Guarded| {
        let running = guarded.running.as_ref().unwrap();
        wait_until("connections to close", || running.connections() == 0);
        assert_eq!(guarded.ask(control()).status, 200);
    };
    let limited = |trusted: &[&str]| {
        Guarded::configured(&[backend.addr], |config| {
            config.limits.connections_per_address = 2;
            config.trusted_proxies = trusted.iter().map(|net| net.parse().unwrap()).collect();
        })
    };
    let hold = |guarded: &Guarded| {
        let mut held = [guarded.client(), guarded.client()];
        for client in &mut held {
            client.send(control());
            assert_eq!(client.response().status, 200);
        }
        held
    };
    let guarded = limited(&[]);
    let held = hold(&guarded);
    let mut beyond = guarded.client();
    beyond.send(control());
    beyond.is_rejected("limits.address");
    drop(held);
    drained(&guarded);

    // Connections over the limit of one address don't affect other addresses.
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.limits.connections = 40;
        config.limits.connections_per_address = 2;
    });
    let rejected: Vec<_> = (0..200).map(|_| guarded.client()).collect();
    let metric = "scim_guard_rule_hits_total{action=\"enforce\",rule=\"limits.address\"}";
    wait_until("a rejected connection", || guarded.metric(metric) >= 1.0);
    for _ in 0..10 {
        let mut other = Client::connect_from("127.0.0.2", guarded.addr);
        other.send(control());
        assert_eq!(other.response().status, 200);
    }
    drop(rejected);

    let guarded = limited(&["127.0.0.0/8"]);
    let _held = hold(&guarded);
    assert_eq!(guarded.ask(control()).status, 200);
}

#[test]
fn a_client_reuses_one_backend_connection() {
    for threads in [1, 2] {
        let backend = Backend::fine();
        let guarded = Guarded::configured(&[backend.addr], |config| config.threads = threads);
        let mut client = guarded.client();
        for size in [300, 20_000, 400_000, 300] {
            client.send(with_length("POST", "/scim/v2/Users", &user(size)));
            assert_eq!(client.response().status, 200);
            client.send(control());
            assert_eq!(client.response().status, 200);
        }
        assert_eq!(backend.accepted(), 1);
    }
}

#[test]
fn stopping_finishes_requests_in_flight_and_ends_at_once_when_idle() {
    let (go, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let backend = Backend::start(move |_| {
        let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(10));
        Reply::Bytes(answer(201, "{}"))
    });
    let mut guarded = Guarded::before(&backend);
    let mut idle_client = guarded.client();
    idle_client.send("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(idle_client.response().status, 404);
    let mut busy = guarded.client();
    busy.send(control());
    backend.wait(1);
    let running = guarded.running.take().unwrap();
    let admin = running.admin_addr();
    let stopping = std::thread::spawn(move || running.stop());
    // The idle connection is closed, no new one is accepted, and the active one continues.
    idle_client.ends();
    wait_until("the listener to close", || std::net::TcpStream::connect(guarded.addr).is_err());
    assert!(!stopping.is_finished());
    let mut probe = Client::connect(admin);
    probe.send("GET /i/ready HTTP/1.1\r\n\r\n");
    assert_eq!(probe.response().status, 503);
    go.send(()).unwrap();
    let response = busy.response();
    assert_eq!((response.status, response.header("connection")), (201, Some("close")));
    busy.ends();
    stopping.join().unwrap();

    let mut idle = Guarded::before(&Backend::fine());
    let _idle_client = idle.client();
    let started = Instant::now();
    idle.running.take().unwrap().stop();
    assert!(started.elapsed() < WAIT_TIMEOUT);
}

#[test]
fn stopping_is_bounded() {
    let backend = Backend::start(|_| Reply::Stall);
    let mut guarded = Guarded::configured(&[backend.addr], |config| {
        config.limits.shutdown_timeout = Duration::from_millis(200);
    });
    let mut client = guarded.client();
    client.send(control());
    backend.wait(1);
    let started = Instant::now();
    guarded.running.take().unwrap().stop();
    assert!(started.elapsed() < WAIT_TIMEOUT);
}

#[test]
fn an_address_in_use_is_reported_with_the_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let mut config = wire_scim_guard::config::Config::new(vec![addr], Vec::new());
    config.admin = "127.0.0.1:0".parse().unwrap();
    let guard =
        wire_scim_guard::evaluator::Evaluator::new(&config).unwrap_or_else(|e| panic!("{e}"));
    let access = wire_scim_guard::logging::AccessLog::default();
    let error = wire_scim_guard::proxy::start(Arc::new(guard), access).err().unwrap();
    assert!(error.to_string().starts_with(&format!("cannot listen on {addr}: ")), "{error}");
}
