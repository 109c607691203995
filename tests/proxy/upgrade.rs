//! Switches to WebSocket: outside SCIM only, copied unchanged in both directions, and bounded.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use wire_scim_guard::config::{Config, PathPolicy};

use crate::support::{Backend, Client, Guarded, Reply, WAIT_TIMEOUT, control, h2c, wait_until};

const OPEN: &str = "scim_guard_upgrades_open";
const TOTAL: &str = "scim_guard_upgrades_total";

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
     Connection: keep-alive, upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn head(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: wire.example\r\n{lines}\r\n")
}

fn upgrade(target: &str) -> String {
    head(
        target,
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n",
    )
}

fn forwarding(backend: &Backend, change: impl FnOnce(&mut Config)) -> Guarded {
    Guarded::configured(&[backend.addr], |config| {
        config.other_paths = PathPolicy::Forward;
        change(config);
    })
}

fn echo(mut stream: TcpStream, first: &[u8]) {
    stream.write_all(SWITCHED.as_bytes()).unwrap();
    stream.write_all(first).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let _ = std::io::copy(&mut reader, &mut stream);
    let _ = stream.shutdown(Shutdown::Write);
}

fn echoing() -> Backend {
    Backend::start(|_| Reply::Switch(echo))
}

/// A client that has switched.
fn switched(guarded: &Guarded) -> Client {
    let mut client = guarded.client();
    client.send(upgrade("/await?client=1"));
    assert_eq!(client.response().status, 101);
    client
}

fn echoes(client: &mut Client, message: &[u8]) {
    client.send(message);
    assert_eq!(client.read(message.len()), message);
}

#[test]
fn a_websocket_passes_in_both_directions_and_is_counted() {
    let backend = echoing();
    let guarded = forwarding(&backend, |_| {});
    let mut client = guarded.client();
    client.send(upgrade("/await?client=1"));
    let answer = client.response();
    assert_eq!(answer.status, 101, "{}", answer.head);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("Upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(answer.header("x-request-id").is_some());
    let seen = backend.wait(1);
    assert_eq!(seen.line(), "GET /await?client=1 HTTP/1.1");
    assert_eq!(
        (seen.header("connection"), seen.header("upgrade")),
        (vec!["Upgrade"], vec!["websocket"])
    );
    assert_eq!(seen.header("sec-websocket-key"), ["dGhlIHNhbXBsZQ=="]);
    echoes(&mut client, b"\x81\x05hello");
    echoes(&mut client, b"GET /scim/v2/Users HTTP/1.1\r\n\r\n");
    assert_eq!((guarded.metric(OPEN), guarded.metric(TOTAL)), (1.0, 1.0));
    let line = guarded.access_line(1);
    assert_eq!(
        (&line["status"], &line["handler"], &line["verdict"]),
        (&101.into(), &"other".into(), &"forwarded".into())
    );
    client.finish();
    guarded.wait_metric(OPEN, 0.0);
    wait_until("the line of the tunnel", || guarded.tunnels().len() == 1);
    let ended = &guarded.tunnels()[0];
    assert_eq!((&ended["ended_by"], &ended["bytes_in"]), (&"client".into(), &(7 + 31).into()));
    assert_eq!(ended["request"], line["request"]);
    wait_until("the backend's connection to end", || backend.closed() == 1);
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn only_a_plain_websocket_upgrade_outside_of_scim_passes() {
    let backend = echoing();
    let guarded = forwarding(&backend, |_| {});
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let refused = [
        head("/scim/v2/Users", websocket),
        head("/scim/auth-tokens", websocket),
        head("/v8/scim/v2/Users", websocket),
        head("/%73cim/v2/Users", websocket),
        head("/i/status", websocket),
        head("/await/../i", websocket),
        head("/await", "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n"),
        head("/await", "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n"),
        head("/await", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n"),
        head("/await", "Connection: Upgrade\r\nUpgrade: websocket/13\r\n"),
        head("/await", "Connection: Upgrade\r\nUpgrade: tls/1.0\r\n"),
        head("/await", "Connection: keep-alive\r\nUpgrade: websocket\r\n"),
        head("/await", "Upgrade: websocket\r\n"),
        head("/await", &format!("{websocket}Content-Length: 0\r\n")),
        head("/await", &format!("{websocket}Content-Length: 4\r\n")),
        head("/await", &format!("{websocket}Transfer-Encoding: chunked\r\n")),
        upgrade("/await").replace("GET", "POST"),
        upgrade("/await").replace("HTTP/1.1", "HTTP/1.0"),
    ];
    for request in refused {
        let mut client = guarded.client();
        client.send(&request);
        let answer = client.response();
        answer.refused("framing.upgrade");
        client.ends();
    }
    // If other paths are not forwarded, none switches.
    Guarded::before(&backend).ask(upgrade("/await")).refused("framing.upgrade");
    assert_eq!((backend.accepted(), guarded.metric(OPEN)), (0, 0.0));
    // HTTP/2 has an extended CONNECT for it, which is not served.
    let connect = http::Request::connect(format!("http://{}/await", guarded.addr))
        .extension(h2::ext::Protocol::from_static("websocket"));
    for answer in h2c::ask(guarded.addr, vec![(connect.body(()).unwrap(), Vec::new())]) {
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status >= 400));
    }
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn an_answer_other_than_101_is_passed_on_and_both_connections_end() {
    for (answer, status, body) in [
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}", 401, "{}"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            404,
            "{}",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
    ] {
        let backend = Backend::start(move |seen| match seen.line().contains("/await") {
            true => Reply::Bytes(answer.into()),
            false => crate::support::ok("{}"),
        });
        let guarded = forwarding(&backend, |config| config.threads = 1);
        let mut client = guarded.client();
        // What follows is not parsed as another request and not sent to the backend.
        client.send([upgrade("/await").as_bytes(), &control()].concat());
        let answer = client.response();
        assert_eq!((answer.status, answer.body), (status, body.into()));
        client.ends();
        guarded.wait_metric(OPEN, 0.0);
        assert_eq!((guarded.metric(TOTAL), backend.seen().len()), (0.0, 1));
        // The connection to the backend was not kept.
        assert_eq!(guarded.ask(control()).status, 200);
        assert_eq!(backend.accepted(), 2);
    }
}

#[test]
fn a_switch_to_another_protocol_or_a_malformed_answer_is_a_502() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\nbytes",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nbytes",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nbytes",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\nbytes",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\nbytes",
        "garbage\r\n\r\n",
        "HTTP/1.1 10",
        "",
    ] {
        let backend = Backend::start(move |_| Reply::Last(answer.into()));
        let guarded = forwarding(&backend, |_| {});
        let mut client = guarded.client();
        client.send(upgrade("/await"));
        client.response().refused("upstream.answer");
        client.ends();
        guarded.wait_metric(OPEN, 0.0);
        assert_eq!((guarded.metric(TOTAL), backend.seen().len()), (0.0, 1), "{answer}");
    }
    // An endless head is aborted.
    let backend = Backend::start(|_| {
        Reply::Switch(|mut stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n");
            while stream.write_all(&[b'a'; 1000]).is_ok() {}
        })
    });
    let guarded = forwarding(&backend, |_| {});
    guarded.ask(upgrade("/await")).refused("upstream.answer");
}

#[test]
fn a_backend_that_never_answers_is_aborted() {
    let backend = Backend::start(|_| Reply::Stall);
    let guarded = forwarding(&backend, |config| {
        config.limits.upstream_timeout = Duration::from_millis(300);
    });
    let mut client = guarded.client();
    client.send(upgrade("/await"));
    client.response().refused("upstream.timeout");
    client.ends();
    guarded.wait_metric(OPEN, 0.0);
    wait_until("the backend's connection to end", || backend.closed() == 1);
}

#[test]
fn bytes_sent_before_and_with_the_answer_belong_to_the_tunnel() {
    let backend = Backend::start(|_| {
        Reply::Switch(|mut stream, first| {
            stream.write_all([SWITCHED.as_bytes(), b"greeting"].concat().as_slice()).unwrap();
            stream.write_all(first).unwrap();
            let mut rest = [0; 5];
            stream.read_exact(&mut rest).unwrap();
            stream.write_all(&rest).unwrap();
        })
    });
    let guarded = forwarding(&backend, |_| {});
    let mut client = guarded.client();
    client.send([upgrade("/await").as_bytes(), b"early"].concat());
    assert_eq!(client.response().status, 101);
    assert_eq!(client.read(13), b"greetingearly");
    client.ends();
    wait_until("the line of the tunnel", || guarded.tunnels().len() == 1);
    assert_eq!(guarded.tunnels()[0]["ended_by"], "backend");
}

#[test]
fn upgrades_are_limited_and_places_are_freed() {
    let backend = echoing();
    let guarded = forwarding(&backend, |config| config.limits.upgrades = 2);
    let mut first = switched(&guarded);
    let second = switched(&guarded);
    let mut third = guarded.client();
    third.send(upgrade("/await"));
    let refused = third.response();
    refused.refused("limits.upgrades");
    assert_eq!(refused.header("retry-after"), Some("5"));
    third.ends();
    // Others are served, and those that have switched continue.
    assert_eq!(backend.accepted(), 2);
    echoes(&mut first, b"still there");
    second.finish();
    guarded.wait_metric(OPEN, 1.0);
    echoes(&mut switched(&guarded), b"again");
}

#[test]
fn an_idle_tunnel_is_closed_and_an_active_one_is_not() {
    let idle = Duration::from_millis(600);
    let backend = echoing();
    let guarded = forwarding(&backend, |config| config.limits.upgrade_idle_timeout = idle);
    let mut client = switched(&guarded);
    let began = Instant::now();
    while began.elapsed() < 2 * idle {
        echoes(&mut client, b"ping");
        std::thread::sleep(Duration::from_millis(20));
    }
    client.ends();
    wait_until("the line of the tunnel", || guarded.tunnels().len() == 1);
    assert_eq!(guarded.tunnels()[0]["ended_by"], "idle");
    wait_until("the backend's connection to end", || backend.closed() == 1);
}

#[test]
fn a_client_that_disconnects_ends_the_backend_connection() {
    let backend = echoing();
    let guarded = forwarding(&backend, |_| {});
    let mut client = switched(&guarded);
    echoes(&mut client, b"hello");
    // The client's kernel answers data that still arrives with a reset.
    socket2::SockRef::from(client.stream.socket()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    wait_until("the backend's connection to end", || backend.closed() == 1);
    guarded.wait_metric(OPEN, 0.0);
    assert_eq!(guarded.tunnels()[0]["ended_by"], "client");
}

#[test]
fn a_side_that_reads_nothing_stops_the_other_and_is_cut_off() {
    let backend = Backend::start(|_| {
        Reply::Switch(|mut stream, _| {
            stream.write_all(SWITCHED.as_bytes()).unwrap();
            while stream.write_all(&[7; 64 * 1024]).is_ok() {}
        })
    });
    let guarded = forwarding(&backend, |config| {
        config.limits.write_timeout = Duration::from_millis(500);
    });
    let mut client = switched(&guarded);
    let held = "scim_guard_buffered_bytes{kind=\"answer\"}";
    let most = std::cell::Cell::new(0.0_f64);
    wait_until("the tunnel to end", || {
        most.set(most.get().max(guarded.metric(held)));
        guarded.metric(OPEN) == 0.0
    });
    // The held data was counted, and is at most one piece.
    assert!((1.0..=8192.0).contains(&most.get()), "{} bytes", most.get());
    guarded.wait_metric(held, 0.0);
    let _ = client.stream.read(&mut [0; 16]);
    assert_eq!(guarded.tunnels()[0]["ended_by"], "client");
    wait_until("the backend's connection to end", || backend.closed() == 1);
}

#[test]
fn large_data_passes_unchanged_in_both_directions_at_once() {
    let backend = echoing();
    let guarded = forwarding(&backend, |_| {});
    let mut client = switched(&guarded);
    let message: Vec<u8> = (0..8_000_000u32).map(|at| (at % 251) as u8).collect();
    let mut writer = client.stream.socket().try_clone().unwrap();
    let sent = message.clone();
    let sending = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    assert!(client.read(message.len()) == message);
    client.ends();
    sending.join().unwrap();
}

#[test]
fn stopping_ends_tunnels_after_a_while_and_loses_nothing_before() {
    let backend = echoing();
    let mut guarded = forwarding(&backend, |config| {
        config.limits.shutdown_timeout = Duration::from_secs(4);
    });
    let mut client = switched(&guarded);
    let running = guarded.running.take().unwrap();
    let began = Instant::now();
    let stopping = std::thread::spawn(move || running.stop());
    wait_until("no more to be accepted", || TcpStream::connect(guarded.addr).is_err());
    echoes(&mut client, b"still there");
    client.ends();
    stopping.join().unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2) && took < WAIT_TIMEOUT, "{took:?}");
    assert_eq!(guarded.tunnels()[0]["ended_by"], "stopping");
}
