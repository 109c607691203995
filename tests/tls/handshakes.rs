//! Handshakes are bounded in time and number, counted before and when they fail.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::tls::{Authority, NAME, Wire, client_config, server_name};
use crate::support::{Backend, Client, Guarded, control, wait_until};
use crate::{client, failures, guarded, listener, trusting};

const SHORT: Duration = Duration::from_millis(300);

/// Waits until the guard closes the connection, which may have sent an alert before.
fn closed(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(crate::support::WAIT_TIMEOUT)).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    rest
}

/// The first message of a client.
fn hello(authority: &Authority) -> Vec<u8> {
    let config = client_config(authority, None, &[]);
    let mut session = rustls::ClientConnection::new(config, server_name(NAME)).unwrap();
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_handshake_has_to_be_finished_within_the_header_timeout() {
    let backend = Backend::fine();
    let authority = Authority::new("servers");
    let guarded = guarded(&backend, &listener(&authority), |config| {
        config.limits.header_timeout = SHORT;
    });
    let hello = hello(&authority);
    for (nth, sent) in [&[][..], &hello[..5], &hello[..hello.len() - 1], &hello].iter().enumerate()
    {
        let started = Instant::now();
        let mut stream = TcpStream::connect(guarded.addr).unwrap();
        stream.write_all(sent).unwrap();
        closed(stream);
        assert!(started.elapsed() >= SHORT);
        guarded.wait_metric(&failures("timeout"), nth as f64 + 1.0);
    }
    // Sending a byte now and then does not extend it.
    let mut stream = TcpStream::connect(guarded.addr).unwrap();
    let dripped = hello.iter().take_while(|byte| {
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(&[**byte]).is_ok()
    });
    assert!(dripped.count() < hello.len());
    guarded.wait_metric(&failures("timeout"), 5.0);
    // The connection is not counted any more, and others are served.
    wait_until("the connections to end", || guarded.running.as_ref().unwrap().connections() == 0);
    let mut client = client(&guarded, trusting(&authority, None));
    client.send(control());
    assert_eq!(client.response().status, 200);
}

#[test]
fn connections_are_counted_and_limited_before_the_handshake() {
    let backend = Backend::fine();
    let authority = Authority::new("servers");
    let guarded = guarded(&backend, &listener(&authority), |config| config.limits.connections = 1);
    let silent = TcpStream::connect(guarded.addr).unwrap();
    let connections = || guarded.running.as_ref().unwrap().connections();
    wait_until("the connection to be counted", || connections() == 1);
    // Nothing is answered to a client beyond the limit, as that would take a handshake.
    let mut second = TcpStream::connect(guarded.addr).unwrap();
    let _ = second.write_all(&hello(&authority));
    assert_eq!(closed(second), b"");
    let hits = "scim_guard_rule_hits_total{action=\"enforce\",rule=\"limits.connections\"}";
    guarded.wait_metric(hits, 1.0);
    drop(silent);
    wait_until("the connection to end", || connections() == 0);
    guarded.wait_metric(&failures("closed"), 1.0);
    let mut client = client(&guarded, trusting(&authority, None));
    client.send(control());
    assert_eq!(client.response().status, 200);
}

#[test]
fn connections_are_limited_by_address_before_the_handshake() {
    let backend = Backend::fine();
    let authority = Authority::new("servers");
    let guarded = guarded(&backend, &listener(&authority), |config| {
        config.limits.connections_per_address = 1;
    });
    let _silent = TcpStream::connect(guarded.addr).unwrap();
    wait_until("the connection", || guarded.running.as_ref().unwrap().connections() == 1);
    let mut second = TcpStream::connect(guarded.addr).unwrap();
    let _ = second.write_all(&hello(&authority));
    assert_eq!(closed(second), b"");
    guarded
        .wait_metric("scim_guard_rule_hits_total{action=\"enforce\",rule=\"limits.address\"}", 1.0);
    // Another address has its own limit.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.2:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&guarded.addr.into()).unwrap();
    let mut other = Client::over(Wire::tls(socket.into(), trusting(&authority, None), NAME));
    other.send(control());
    assert_eq!(other.response().status, 200);
}

#[test]
fn silent_clients_do_not_prevent_handshakes_of_others() {
    let backend = Backend::fine();
    let authority = Authority::new("servers");
    let guarded = guarded(&backend, &listener(&authority), |config| {
        config.threads = 1;
        config.limits.header_timeout = Duration::from_secs(600);
    });
    // As many as there may be concurrent handshakes.
    let silent: Vec<TcpStream> =
        (0..128).map(|_| TcpStream::connect(guarded.addr).unwrap()).collect();
    wait_until("them", || guarded.running.as_ref().unwrap().connections() == silent.len());
    for served in 1..=3 {
        let mut client = client(&guarded, trusting(&authority, None));
        client.send(control());
        assert_eq!(client.response().status, 200);
        // No other has to give way, as each completed handshake frees its place for the next one.
        assert!((guarded.metric(&failures("displaced")) - 1.0).abs() < 0.5, "{served}");
    }
}

#[test]
fn failed_handshakes_are_counted_by_reason() {
    let backend = Backend::fine();
    let authority = Authority::new("servers");
    let guarded = guarded(&backend, &listener(&authority), |_| {});
    let count = |reason: &str| guarded.wait_metric(&failures(reason), 1.0);
    // Cleartext HTTP.
    let mut stream = TcpStream::connect(guarded.addr).unwrap();
    stream.write_all(&control()).unwrap();
    let alert = closed(stream);
    assert!(alert.starts_with(&[0x15, 3]), "{}", alert.escape_ascii());
    count("not_tls");
    // A client that does not trust the certificate reports it.
    let mut untrusting = client(&guarded, trusting(&Authority::new("others"), None));
    untrusting.send(control());
    assert!(untrusting.response_to("GET").is_none());
    count("alert");
    let mut leaving = TcpStream::connect(guarded.addr).unwrap();
    leaving.write_all(&hello(&authority)[..20]).unwrap();
    drop(leaving);
    count("closed");
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn stopping_does_not_wait_for_handshakes() {
    let backend = Backend::fine();
    let authority = Authority::new("servers");
    let mut guarded: Guarded = guarded(&backend, &listener(&authority), |config| {
        config.limits.header_timeout = Duration::from_secs(600);
        config.limits.shutdown_timeout = Duration::from_secs(600);
    });
    let _silent = TcpStream::connect(guarded.addr).unwrap();
    wait_until("the connection", || guarded.running.as_ref().unwrap().connections() == 1);
    let started = Instant::now();
    guarded.running.take().unwrap().stop();
    assert!(started.elapsed() < crate::support::WAIT_TIMEOUT);
}
