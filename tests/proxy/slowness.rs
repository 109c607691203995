//! Slow clients are cut off at a deadline, and don't affect others.

use std::time::{Duration, Instant};

use crate::support::{
    Backend, Guarded, Reply, USER, WAIT_TIMEOUT, control, h2c, head, user, wait_until, with_length,
};

const SHORT: Duration = Duration::from_millis(300);

fn guarded(backend: &Backend) -> Guarded {
    Guarded::configured(&[backend.addr], |config| {
        config.limits.header_timeout = SHORT;
        config.limits.body_timeout = SHORT;
        config.limits.keepalive_timeout = 2 * SHORT;
        config.limits.write_timeout = 2 * SHORT;
    })
}

#[test]
fn a_dripping_head_is_cut_off_at_one_deadline() {
    let backend = Backend::fine();
    let guarded = guarded(&backend);
    let mut client = guarded.client();
    let started = Instant::now();
    client.send("GET /scim/v2/Users HTTP/1.1\r\nX-Drip: ");
    // Another client is served meanwhile.
    assert_eq!(guarded.ask(control()).status, 200);
    while !client.receives(Duration::from_millis(20)) {
        assert!(started.elapsed() < WAIT_TIMEOUT);
        client.send("a");
    }
    client.response().refused("limits.header_timeout");
    assert!(started.elapsed() >= SHORT);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_dripping_body_is_cut_off() {
    let backend = Backend::fine();
    let guarded = guarded(&backend);
    let body = user(300);
    for framing in ["Content-Length: 300\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n12c\r\n"] {
        let mut client = guarded.client();
        let started = Instant::now();
        client.send(head("POST", "/scim/v2/Users") + framing);
        client.send(&body[..100]);
        client.response().refused("body.timeout");
        assert!(started.elapsed() >= SHORT);
        client.ends();
    }
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn an_http2_body_that_never_arrives_is_cut_off() {
    let backend = Backend::fine();
    let guarded = guarded(&backend);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rule = runtime.block_on(async {
        let stream = h2c::connect(guarded.addr).await;
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = h2c::head("POST", "/scim/v2/Users", guarded.addr).body(()).unwrap();
        let mut sender = sender.ready().await.unwrap();
        let (response, _stream) = sender.send_request(request, false).unwrap();
        let response = tokio::time::timeout(WAIT_TIMEOUT, response).await;
        let response = response.unwrap().unwrap();
        response.headers()["scim-guard-rule"].to_str().unwrap().to_owned()
    });
    assert_eq!(rule, "body.timeout");
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn idle_connections_are_closed_after_the_timeout() {
    let backend = Backend::fine();
    let guarded = guarded(&backend);
    let mut silent = guarded.client();
    let mut used = guarded.client();
    used.send(control());
    assert_eq!(used.response().status, 200);
    silent.ends();
    used.ends();
    // So is an HTTP/2 connection without streams.
    let mut preface = guarded.client();
    preface.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut preface.stream, &mut rest).unwrap();
}

#[test]
fn an_http2_preface_has_the_same_deadline_as_a_head() {
    let backend = Backend::fine();
    let guarded = guarded(&backend);
    for part in ["P", "PRI * HT"] {
        let mut client = guarded.client();
        client.send(part);
        client.response().refused("limits.header_timeout");
        client.ends();
    }
}

#[test]
fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let backend = Backend::start(|_| {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n".to_vec();
        answer.resize(answer.len() + 50_000_000, b'a');
        Reply::Bytes(answer)
    });
    let guarded = guarded(&backend);
    let mut client = guarded.client();
    client.send(control());
    backend.wait(1);
    let running = guarded.running.as_ref().unwrap();
    wait_until("the connection to be closed", || running.connections() == 0);
    guarded.wait_metric("scim_guard_requests_in_flight", 0.0);
}

#[test]
fn slow_readers_do_not_make_a_server_unhealthy() {
    let backend = Backend::start(|_| {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n".to_vec();
        answer.resize(answer.len() + 9_000_000, b'a');
        Reply::Bytes(answer)
    });
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.limits.request_timeout = Duration::from_secs(2);
    });
    let mut clients: Vec<_> = (0..4).map(|_| guarded.client()).collect();
    for client in &mut clients {
        client.send(control());
    }
    wait_until("all requests to end", || guarded.access_lines().len() == 4);
    for rule in ["upstream.timeout", "upstream.answer"] {
        let hits = format!("scim_guard_rule_hits_total{{action=\"enforce\",rule=\"{rule}\"}}");
        assert_eq!(guarded.metric(&hits), 0.0, "{rule}");
    }
    assert!(!guarded.ready().contains("skipped"), "{}", guarded.ready());
}

#[test]
fn slow_uploads_do_not_make_a_server_unhealthy() {
    let backend = Backend::start(|_| Reply::Stall);
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.limits.request_timeout = SHORT;
    });
    let request = with_length("POST", "/scim/v2/Users", &user(300));
    // First the clients' bodies use up the time, then the backend does.
    for (sent, rule) in [(350, "body.timeout"), (request.len(), "upstream.timeout")] {
        let mut clients: Vec<_> = (0..4).map(|_| guarded.client()).collect();
        for client in &mut clients {
            client.send(&request[..sent]);
        }
        for client in &mut clients {
            client.response().refused(rule);
        }
        let by_backend = rule == "upstream.timeout";
        assert_eq!(backend.seen().len(), if by_backend { 4 } else { 0 });
        assert_eq!(guarded.ready().contains("skipped"), by_backend, "{}", guarded.ready());
    }
}

#[test]
fn an_endlessly_dripping_answer_is_cut_off_at_the_request_deadline() {
    let body = "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n";
    let drip = "HTTP/1.1 200 OK\r\nX-Drip: ";
    for (method, begin, tail, begun) in [
        ("GET", body.to_owned(), "a", false),
        ("GET", body.to_owned() + &"a".repeat(100_000), "a", true),
        ("GET", drip.to_owned(), "a", false),
        ("HEAD", drip.to_owned(), "a", false),
        ("GET", String::new(), "HTTP/1.1 102 Processing\r\n\r\n", false),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let dripping = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(begin.as_bytes()).unwrap();
            while stream.write_all(tail.as_bytes()).is_ok() {
                std::thread::sleep(SHORT / 10);
            }
        });
        let guarded = Guarded::configured(&[addr], |config| {
            config.limits.request_timeout = 2 * SHORT;
            config.limits.upstream_timeout = SHORT;
        });
        let mut client = guarded.client();
        client.send(head(method, USER) + "\r\n");
        if begun {
            // A part of the answer has been forwarded; the rest never arrives.
            assert!(client.response_to("GET").is_none());
        } else {
            assert!(client.response_to(method).unwrap().rule().starts_with("upstream."));
        }
        // The backend's connection is closed too.
        dripping.join().unwrap();
        guarded.wait_metric("scim_guard_requests_in_flight", 0.0);
    }
}

#[test]
fn requests_outside_scim_are_streamed() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (more, wanted) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").unwrap();
        for _ in 0..4 {
            stream.write_all(b"a").unwrap();
            wanted.recv().unwrap();
        }
    });
    let guarded = Guarded::configured(&[addr], |config| {
        config.other_paths = wire_scim_guard::config::PathPolicy::Forward;
    });
    let mut client = guarded.client();
    client.send(head("GET", "/assets/1") + "\r\n");
    let mut seen = Vec::new();
    for pieces in 1..=4 {
        // Each piece arrives before the backend sends the next one.
        while !seen.ends_with(&b"\r\n\r\naaaa"[..4 + pieces]) {
            let mut chunk = [0; 4096];
            let read = client.stream.read(&mut chunk).unwrap();
            assert_ne!(read, 0, "{}", seen.escape_ascii());
            seen.extend_from_slice(&chunk[..read]);
        }
        more.send(()).unwrap();
    }
}

#[test]
fn requests_outside_scim_may_exceed_the_request_timeout() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let dripping = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n").unwrap();
        for _ in 0..12 {
            stream.write_all(b"a").unwrap();
            std::thread::sleep(SHORT / 3);
        }
    });
    let guarded = Guarded::configured(&[addr], |config| {
        config.other_paths = wire_scim_guard::config::PathPolicy::Forward;
        config.limits.request_timeout = SHORT;
        config.limits.upstream_timeout = 10 * SHORT;
    });
    let response = guarded.ask(head("GET", "/assets/1") + "\r\n");
    assert_eq!((response.status, response.body.len()), (200, 12));
    dripping.join().unwrap();
}
