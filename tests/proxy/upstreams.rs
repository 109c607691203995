//! Failing backends: a SCIM error in bounded time, failover where no byte has been sent, and no request sent
//! twice.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{
    Backend, Guarded, Reply, USER, answer, control, head, unused_addr, user, wait_until,
    with_length,
};
use wire_scim_guard::config::{Server, UpstreamCheck, UpstreamHost};

#[test]
fn each_backend_failure_is_a_scim_error_and_no_post_is_retried() {
    type Failing = fn() -> Reply;
    let cases: [(&str, Failing); 6] = [
        ("upstream.answer", || Reply::Reset),
        ("upstream.answer", || Reply::Last(b"garbage\r\n\r\n".to_vec())),
        ("upstream.answer", || Reply::Last(b"HTTP/1.1 200 OK\r\nConte".to_vec())),
        ("upstream.answer", || {
            Reply::Last(
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_vec(),
            )
        }),
        ("upstream.answer", || Reply::Last(Vec::new())),
        ("upstream.timeout", || Reply::Stall),
    ];
    for (nth, (rule, reply)) in cases.into_iter().enumerate() {
        let backend = Backend::start(move |_| reply());
        let guarded = Guarded::configured(&[backend.addr], |config| {
            config.limits.upstream_timeout = Duration::from_millis(300);
        });
        for body in [user(300), user(100_000)] {
            let response = guarded.ask(with_length("POST", "/scim/v2/Users", &body));
            assert_eq!(response.rule(), rule, "{nth}: {}", response.head);
            response.refused(rule);
        }
        assert_eq!(backend.seen().len(), 2, "{nth}");
        let series = format!("scim_guard_rule_hits_total{{action=\"enforce\",rule=\"{rule}\"}}");
        assert_eq!(guarded.metric(&series), 2.0);
        let line = guarded.access_line(1);
        assert_eq!((&line["verdict"], &line["rule"]), (&"failed".into(), &rule.into()));
    }
}

#[test]
fn truncated_and_stalled_answers_are_not_passed_on_as_complete() {
    let part = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * length);
        [head.as_bytes(), &vec![b'a'; length]].concat()
    };
    type Failing = fn(Vec<u8>) -> Reply;
    let cases: [(&str, Failing); 2] =
        [("upstream.answer", Reply::Last), ("upstream.timeout", Reply::Bytes)];
    for (rule, reply) in cases {
        // A short answer has not been started and becomes an error; a long one is cut off.
        for length in [10, 100_000] {
            let backend = Backend::start(move |_| reply(part(length)));
            let guarded = Guarded::configured(&[backend.addr], |config| {
                config.limits.upstream_timeout = Duration::from_millis(300);
            });
            let mut client = guarded.client();
            client.send(control());
            match client.response_to("POST") {
                Some(response) => {
                    response.refused(rule);
                    assert_eq!(length, 10);
                }
                None => assert_eq!(length, 100_000),
            }
            let line = guarded.access_line(1);
            assert_eq!((&line["verdict"], &line["rule"]), (&"failed".into(), &rule.into()));
        }
    }
}

#[test]
fn a_dead_server_gives_502_until_it_recovers() {
    let addr = unused_addr();
    let guarded = Guarded::configured(&[addr], |_| {});
    guarded.ask(control()).refused("upstream.connect");
    let listener = TcpListener::bind(addr).unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut buffer = [0; 4096];
            let _ = std::io::Read::read(&mut stream, &mut buffer);
            let _ = stream.write_all(&answer(200, "{}"));
        }
    });
    assert_eq!(guarded.ask(control()).status, 200);
}

#[test]
fn a_refused_connection_fails_over_to_the_next_server() {
    let backend = Backend::fine();
    let (first, last) = (unused_addr(), unused_addr());
    let guarded = Guarded::configured(&[first, backend.addr, last], |_| {});
    for nth in 1..=6 {
        for size in [300, 100_000] {
            let body = user(size + nth);
            assert_eq!(guarded.ask(with_length("POST", "/scim/v2/Users", &body)).status, 200);
            assert!(backend.seen().last().unwrap().body == body);
        }
    }
    assert_eq!(backend.seen().len(), 12);
}

#[test]
fn requests_are_balanced_round_robin() {
    let backends = [Backend::fine(), Backend::fine()];
    let guarded = Guarded::configured(&[backends[0].addr, backends[1].addr], |_| {});
    for _ in 0..10 {
        assert_eq!(guarded.ask(control()).status, 200);
    }
    assert_eq!(backends.map(|backend| backend.seen().len()), [5, 5]);
}

#[test]
fn a_server_that_fails_its_health_check_gets_no_requests_until_it_passes() {
    let well = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&well);
    let doubtful = Backend::start(move |seen| {
        let status = if state.load(Ordering::SeqCst) { 200 } else { 503 };
        if seen.line().starts_with("GET /status?x ") {
            Reply::Last(answer(status, ""))
        } else {
            Reply::Bytes(answer(200, "{}"))
        }
    });
    let steady = Backend::start(|seen| match seen.line().starts_with("GET /status?x ") {
        true => Reply::Last(answer(204, "")),
        false => Reply::Bytes(answer(200, "{}")),
    });
    let guarded = Guarded::configured(&[doubtful.addr, steady.addr], |config| {
        let every = Duration::from_millis(50);
        config.upstream_check = Some(UpstreamCheck { path: "/status?x".into(), every });
    });
    let served = |backend: &Backend| {
        backend.seen().iter().filter(|seen| seen.line().contains("/scim/v2/")).count()
    };
    let ask = |times| {
        for _ in 0..times {
            assert_eq!(guarded.ask(control()).status, 200);
        }
    };
    let is_skipped = || guarded.ready().contains("skipped after failures");
    ask(4);
    assert_eq!(served(&doubtful), 2);
    well.store(false, Ordering::SeqCst);
    wait_until("the check to fail", is_skipped);
    ask(4);
    assert_eq!(served(&doubtful), 2);
    well.store(true, Ordering::SeqCst);
    wait_until("the check to pass", || !is_skipped());
    ask(4);
    assert_eq!(served(&doubtful), 4);
    assert_eq!(served(&steady), 8);
}

#[test]
fn a_health_check_has_the_host_of_requests_or_the_configured_name() {
    let name = || UpstreamHost::Name("nginz.example".into());
    for (host, expected) in [
        (name(), Some("nginz.example")),
        (UpstreamHost::ByScheme, None),
        (UpstreamHost::Keep, None),
    ] {
        let backend = Backend::fine();
        let port = backend.addr.port();
        let guarded = Guarded::configured(&[], |config| {
            config.upstream = vec![Server::cleartext("localhost", port)];
            config.upstream_host = host;
            let every = Duration::from_millis(50);
            config.upstream_check = Some(UpstreamCheck { path: "/status".into(), every });
        });
        let own = format!("localhost:{port}");
        assert_eq!(backend.wait(1).header("host"), [expected.unwrap_or(&own)]);
        assert_eq!(guarded.ask(control()).status, 200);
        let forwarded = || {
            let seen = backend.seen();
            seen.into_iter().find(|seen| seen.line().contains("/scim/v2/"))
        };
        wait_until("the request", || forwarded().is_some());
        let forwarded = forwarded().unwrap();
        assert_eq!(forwarded.header("host"), [expected.unwrap_or("wire.example")]);
    }
}

#[test]
fn a_server_that_repeatedly_stalls_is_skipped_while_others_are_healthy() {
    let stalling = Backend::start(|_| Reply::Stall);
    let steady = Backend::fine();
    let guarded = Guarded::configured(&[stalling.addr, steady.addr], |config| {
        config.limits.upstream_timeout = Duration::from_secs(1);
    });
    let statuses: Vec<u16> = (0..12).map(|_| guarded.ask(control()).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 504).count(), 3, "{statuses:?}");
    assert_eq!(stalling.seen().len(), 3);
    assert_eq!(steady.seen().len(), 9);
}

#[test]
fn a_server_that_repeatedly_truncates_answers_is_skipped_while_others_are_healthy() {
    let breaking = Backend::start(|_| {
        Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec())
    });
    let steady = Backend::fine();
    let guarded = Guarded::configured(&[breaking.addr, steady.addr], |_| {});
    let statuses: Vec<u16> = (0..12).map(|_| guarded.ask(control()).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 3, "{statuses:?}");
    assert_eq!((breaking.seen().len(), steady.seen().len()), (3, 9));
}

#[test]
fn a_connection_closed_by_the_backend_is_not_reused() {
    let backend = Backend::start(|_| Reply::Last(answer(200, "{}")));
    let guarded = Guarded::configured(&[backend.addr], |config| config.threads = 1);
    let mut client = guarded.client();
    for nth in 1..=20 {
        client.send(control());
        assert_eq!(client.response().status, 200);
        wait_until("the backend to close", || backend.closed() == nth);
    }
    assert_eq!(backend.seen().len(), 20);
}

#[test]
fn an_answer_sent_before_the_body_was_read_is_forwarded() {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (done, end) = std::sync::mpsc::channel::<()>();
    let answering = std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().take(2).map(Result::unwrap) {
            // Reads the head, but nothing of the body.
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(&answer(413, "[]")).unwrap();
            held.push(stream);
        }
        let _ = end.recv();
    });
    let guarded = Guarded::configured(&[addr], |config| {
        config.limits.body = 16 << 20;
        config.limits.buffered_bytes = 64 << 20;
        config.threads = 1;
    });
    for size in [16_000_000, 500] {
        let response = guarded.ask(with_length("POST", "/scim/v2/Users", &user(size)));
        assert_eq!((response.status, response.rule()), (413, "-"), "{size}");
        assert_eq!(response.body, b"[]");
    }
    drop(done);
    answering.join().unwrap();
}

#[test]
fn an_interim_answer_does_not_interrupt_the_body() {
    use std::io::{Read, Write};
    for (interim, fine) in [
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let body = user(16_000_000);
        let request = with_length("POST", "/scim/v2/Users", &body);
        let reading = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut chunk = vec![0; 1 << 16];
            let mut taken = stream.read(&mut chunk).unwrap();
            stream.write_all(interim.as_bytes()).unwrap();
            // The guard has seen this answer when nothing more arrives, or when everything has arrived.
            stream.set_read_timeout(Some(crate::support::WAIT_TIMEOUT)).unwrap();
            while taken < body.len() {
                match stream.read(&mut chunk) {
                    Ok(0) | Err(_) => break,
                    Ok(more) => taken += more,
                }
            }
            let _ = stream.write_all(&answer(201, "{}"));
            taken >= body.len()
        });
        let guarded = Guarded::configured(&[addr], |config| {
            config.limits.body = 16 << 20;
            config.limits.buffered_bytes = 64 << 20;
        });
        let response = guarded.ask(request);
        assert_eq!(response.status, if fine { 201 } else { 200 });
        if fine {
            assert!(reading.join().unwrap());
        }
    }
}

#[test]
fn client_connections_survive_backend_failures_and_throttling() {
    let backend = Backend::start(|seen| {
        Reply::Last(match seen.header("x-case")[0] {
            "garbage" => b"nonsense\r\n\r\n".to_vec(),
            "throttled" => b"HTTP/1.1 420 Calm\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => answer(200, "{}"),
        })
    });
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    let cases =
        [("garbage", 502), ("throttled", 429), ("fine", 200), ("garbage", 502), ("fine", 200)];
    for (nth, (case, status)) in (1..).zip(cases) {
        client.send(head("GET", USER) + &format!("X-Case: {case}\r\n\r\n"));
        let response = client.response();
        assert_eq!(response.status, status, "{case}");
        assert_eq!(response.header("connection"), Some("keep-alive"), "{case}");
        wait_until("the backend to close", || backend.closed() == nth);
    }
    wait_until("all access lines", || guarded.access_lines().len() == 5);
    let logged = |nth: usize| {
        let line = guarded.access_line(nth);
        (line["verdict"].as_str().unwrap().to_owned(), line["rule"].as_str().map(str::to_owned))
    };
    assert_eq!(logged(1), ("failed".into(), Some("upstream.answer".into())));
    assert_eq!(logged(2), ("forwarded".into(), Some("upstream.throttled".into())));
    assert_eq!(logged(3), ("forwarded".into(), None));
}
