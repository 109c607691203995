//! Reuse of backend connections: a connection that the server has closed does not fail a request that can be
//! retried, and bytes of another answer never reach a client.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use crate::support::{
    Backend, Guarded, Reply, Seen, USER, answer, control, head, ok, user, wait_until, with_length,
};

const USERS: &str = "/scim/v2/Users";

/// The number of each request on its connection, from 1.
#[derive(Default)]
struct RequestCounter(Mutex<HashMap<usize, usize>>);

impl RequestCounter {
    fn of(&self, seen: &Seen) -> usize {
        let mut turns = self.0.lock().unwrap();
        let turn = turns.entry(seen.connection).or_default();
        *turn += 1;
        *turn
    }
}

/// A backend that answers every second request of a connection in its own way.
fn deviating_on_second(reply: fn(&Seen) -> Reply) -> Backend {
    let turns = RequestCounter::default();
    Backend::start(move |seen| if turns.of(seen) == 2 { reply(seen) } else { ok("{}") })
}

fn one_worker(backend: SocketAddr) -> Guarded {
    Guarded::configured(&[backend], |config| config.threads = 1)
}

fn bodiless(method: &str) -> Vec<u8> {
    (head(method, USER) + "\r\n").into_bytes()
}

#[test]
fn an_idempotent_request_is_retried_once_when_a_reused_connection_closes() {
    for (method, request) in [
        ("GET", bodiless("GET")),
        ("HEAD", bodiless("HEAD")),
        ("DELETE", bodiless("DELETE")),
        ("PUT", with_length("PUT", USER, &user(300))),
        ("PUT", with_length("PUT", USER, &user(100_000))),
    ] {
        let backend = deviating_on_second(|_| Reply::Reset);
        let guarded = one_worker(backend.addr);
        let mut client = guarded.client();
        client.send(control());
        assert_eq!(client.response().status, 200);
        client.send(&request);
        assert_eq!(client.response_to(method).unwrap().status, 200, "{method}");
        let seen = backend.seen();
        assert_eq!((seen.len(), backend.accepted()), (3, 2), "{method}");
        // The same complete request, on a new connection.
        assert_eq!((&seen[1].head, &seen[1].body), (&seen[2].head, &seen[2].body));
        assert_eq!((seen[1].connection, seen[2].connection), (1, 2));
        // A retried request that was answered is not counted as failed.
        assert_eq!(guarded.access_line(2)["verdict"], "forwarded");
    }
}

#[test]
fn a_reused_connection_is_not_retried_for_post_and_patch() {
    let patch = br#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[]}"#;
    for request in [
        control(),
        with_length("POST", USERS, &user(100_000)),
        with_length("PATCH", USER, patch),
        // A streamed request, which Pingora forwards.
        (head("GET", "/scim/auth-tokens") + "\r\n").into_bytes(),
    ] {
        let backend = deviating_on_second(|_| Reply::Reset);
        let guarded = one_worker(backend.addr);
        let mut client = guarded.client();
        let streams = request.starts_with(b"GET");
        client.send(if streams { request.clone() } else { control() });
        assert_eq!(client.response().status, 200);
        client.send(&request);
        client.response().refused("upstream.answer");
        assert_eq!((backend.seen().len(), backend.accepted()), (2, 1));
    }
}

#[test]
fn requests_are_retried_at_most_once_and_only_before_the_first_answer_byte() {
    // After the first byte of an answer, the answer to a retry could be taken for the rest of it.
    for begun in ["H", "HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let backend = deviating_on_second(match begun.len() {
            1 => |_| Reply::Last(b"H".to_vec()),
            2..25 => |_| Reply::Last(b"HTTP/1.1 200 OK\r\nConte".to_vec()),
            _ => |_| Reply::Last(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        });
        let guarded = one_worker(backend.addr);
        assert_eq!(guarded.ask(control()).status, 200);
        guarded.ask(bodiless("GET")).refused("upstream.answer");
        assert_eq!(backend.seen().len(), 2, "{begun:?}");
    }
    // A new connection that closes means that the server does not answer, and so does a second one.
    let backend = Backend::start(|_| Reply::Reset);
    one_worker(backend.addr).ask(bodiless("GET")).refused("upstream.answer");
    assert_eq!(backend.seen().len(), 1);
    let turn = Mutex::new(0);
    let backend = Backend::start(move |_| {
        let mut turn = turn.lock().unwrap();
        *turn += 1;
        if *turn == 1 { ok("{}") } else { Reply::Reset }
    });
    let guarded = one_worker(backend.addr);
    assert_eq!(guarded.ask(control()).status, 200);
    guarded.ask(bodiless("GET")).refused("upstream.answer");
    assert_eq!((backend.seen().len(), backend.accepted()), (3, 2));
    // A request is not retried after a timeout either.
    let backend = deviating_on_second(|_| Reply::Stall);
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.threads = 1;
        config.limits.upstream_timeout = std::time::Duration::from_millis(300);
    });
    assert_eq!(guarded.ask(control()).status, 200);
    guarded.ask(bodiless("GET")).refused("upstream.timeout");
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn unannounced_closes_of_the_backend_fail_no_get() {
    for most in [1, 10] {
        let turns = RequestCounter::default();
        let backend = Backend::start(move |seen| {
            if turns.of(seen) == most { Reply::Last(answer(200, "{}")) } else { ok("{}") }
        });
        let guarded = Guarded::before(&backend);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut client = guarded.client();
                    for nth in 0..100 {
                        client.send(bodiless("GET"));
                        let response = client.response();
                        assert_eq!(response.status, 200, "{most}, {nth}: {}", response.rule());
                    }
                });
            }
        });
    }
}

#[test]
fn a_connection_is_reused_after_head_and_interim_answers() {
    for target in [USER, "/scim/auth-tokens"] {
        let backend = Backend::start(|seen| {
            let mut bytes = Vec::new();
            if seen.header("x-interim") == ["1"] {
                bytes.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                bytes.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n");
            }
            bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
            if seen.line().starts_with("GET") {
                bytes.extend_from_slice(&[b'a'; 20]);
            }
            Reply::Bytes(bytes)
        });
        let guarded = one_worker(backend.addr);
        let mut client = guarded.client();
        for (method, interim) in [("HEAD", 0), ("HEAD", 1), ("GET", 0), ("HEAD", 1), ("HEAD", 0)] {
            client.send(head(method, target) + &format!("X-Interim: {interim}\r\n\r\n"));
            let response = loop {
                let response = client.response_to(method).unwrap();
                if !matches!(response.status, 100..200) {
                    break response;
                }
            };
            assert_eq!(response.status, 200, "{method} {target} {interim}: {}", response.head);
            assert_eq!(response.header("content-length"), Some("20"));
        }
        assert_eq!((backend.seen().len(), backend.accepted()), (5, 1), "{target}");
        assert!(backend.seen().iter().all(|seen| seen.body.is_empty()));
    }
}

#[test]
fn bytes_after_an_answer_reach_no_client() {
    type Sent = fn() -> Vec<u8>;
    let sent: [(&str, Sent); 5] = [
        ("POST", || [answer(200, "own"), answer(200, "stray")].concat()),
        ("POST", || [answer(200, "own"), b"x".to_vec()].concat()),
        ("POST", || {
            b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
                .to_vec()
        }),
        ("HEAD", || answer(200, "stray")),
        ("GET", || [answer(200, "own"), answer(200, "stray")].concat()),
    ];
    for (method, sent) in sent {
        let turn = Mutex::new(0);
        let backend = Backend::start(move |_| {
            let mut turn = turn.lock().unwrap();
            *turn += 1;
            Reply::Bytes(if *turn == 1 { sent() } else { answer(200, "own") })
        });
        let guarded = one_worker(backend.addr);
        let mut client = guarded.client();
        // A streamed request, which Pingora forwards.
        let next = match method {
            "GET" => (head("GET", "/scim/auth-tokens") + "\r\n").into_bytes(),
            _ => control(),
        };
        client.send(if method == "HEAD" { bodiless("HEAD") } else { next.clone() });
        assert!(matches!(client.response_to(method).unwrap().status, 200 | 204));
        let response = guarded.ask(next);
        assert_eq!((response.status, &response.body[..]), (200, &b"own"[..]));
        assert_eq!(backend.accepted(), 2);
    }
}

/// A backend whose answers name their request, and which sends a second answer on demand.
struct Stray {
    addr: SocketAddr,
    /// The connection of each request that was answered.
    answered: Arc<Mutex<Vec<TcpStream>>>,
}

impl Stray {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let answered = Arc::<Mutex<Vec<TcpStream>>>::default();
        let all = Arc::clone(&answered);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let answered = Arc::clone(&all);
                std::thread::spawn(move || {
                    while let Some(id) = read_request(&mut stream) {
                        let _ = stream.write_all(&answer(200, &id));
                        answered.lock().unwrap().push(stream.try_clone().unwrap());
                    }
                });
            }
        });
        Self { addr, answered }
    }

    /// Sends another answer to the nth request after that has been answered.
    fn send(&self, nth: usize) {
        wait_until("the first answer", || self.answered.lock().unwrap().len() >= nth);
        // The guard may have closed the connection.
        let _ = (&self.answered.lock().unwrap()[nth - 1]).write_all(&answer(200, "stray"));
    }
}

/// Reads a whole request and returns its X-Request-Id.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let field = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.map(|line| line[name.len()..].trim().to_owned())
    };
    let length = field("content-length:").map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).ok()?;
    field("x-request-id:")
}

#[test]
fn a_late_second_answer_on_an_idle_connection_reaches_no_client() {
    let backend = Stray::start();
    let guarded = one_worker(backend.addr);
    let ask_for = |target: &str, id: &str| {
        let request = head("GET", target) + &format!("X-Request-Id: {id}\r\n\r\n");
        let response = guarded.ask(request);
        assert_eq!((response.status, String::from_utf8(response.body).unwrap()), (200, id.into()));
    };
    for (target, nth) in [("/scim/auth-tokens", 1), (USER, 3)] {
        ask_for(target, "first");
        backend.send(nth);
        ask_for(target, "second");
    }
    // After the first unexpected answer, connections of this server are not reused, so that later ones reach no
    // client, whenever they arrive.
    std::thread::scope(|scope| {
        scope.spawn(|| (5..55).for_each(|nth| backend.send(nth)));
        for number in 5..55 {
            ask_for(USER, &format!("request-{number}"));
        }
    });
}

#[test]
fn a_connection_is_not_reused_after_an_answer_that_precedes_the_whole_request() {
    // The status codes 413 and 408 say that the server has not read the whole request.
    for (status, size) in [(200, 16_000_000), (413, 300), (408, 300)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (done, end) = channel::<()>();
        let answering = std::thread::spawn(move || {
            let mut held = Vec::new();
            for (nth, mut stream) in listener.incoming().take(2).map(Result::unwrap).enumerate() {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                let status = if nth == 0 { status } else { 200 };
                stream.write_all(&answer(status, "{}")).unwrap();
                held.push(stream);
            }
            let _ = end.recv();
        });
        let guarded = Guarded::configured(&[addr], |config| {
            config.limits.body = 16 << 20;
            config.limits.buffered_bytes = 64 << 20;
            config.threads = 1;
        });
        let response = guarded.ask(with_length("POST", USERS, &user(size)));
        assert_eq!(response.status, status, "{size}");
        // On the same connection the backend would never answer it.
        assert_eq!(guarded.ask(bodiless("GET")).status, 200);
        drop(done);
        answering.join().unwrap();
    }
}

#[test]
fn connections_of_a_server_that_closes_them_at_once_are_not_reused() {
    let turns = RequestCounter::default();
    let backend = Backend::start(move |seen| {
        if turns.of(seen) == 1 && seen.connection == 1 {
            Reply::Last(answer(200, "{}"))
        } else {
            ok("{}")
        }
    });
    let guarded = one_worker(backend.addr);
    assert_eq!(guarded.ask(control()).status, 200);
    wait_until("the backend to close", || backend.closed() == 1);
    for _ in 0..5 {
        assert_eq!(guarded.ask(control()).status, 200);
    }
    assert_eq!(backend.accepted(), 6);
}
