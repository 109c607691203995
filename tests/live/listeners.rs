//! Listeners open and close while the guard runs.

use std::net::TcpStream;

use crate::guard::Place;
use crate::load::{Ask, Load};
use crate::support::{Backend, Client, control, unused_addr, wait_until};

#[test]
fn a_closed_listener_finishes_its_requests_and_closes_idle_connections() {
    let (backend, go) = Backend::slow();
    let place = Place::new("listeners");
    let more = "other_paths: forward\n";
    place.write(&place.text(&backend, more));
    let guard = place.start();
    let mut idle = Client::connect(place.addr);
    idle.send(control());
    assert_eq!(idle.response().status, 200);
    let mut busy = Client::connect(place.addr);
    busy.send("GET /Slow HTTP/1.1\r\nHost: wire.example\r\n\r\n");
    backend.wait(2);
    let other = unused_addr();
    place.write(&place.text_for(&format!("\"{other}\""), &backend, more));
    guard.reload(&place, "applied");
    wait_until("the old one to close", || TcpStream::connect(place.addr).is_err());
    idle.ends();
    let mut client = Client::connect(other);
    client.send(control());
    assert_eq!(client.response().status, 200);
    go.send(()).unwrap();
    let answer = busy.response();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    busy.ends();
    // The first address can be opened again, in addition to the other one.
    place.write(&place.text_for(&format!("\"{other}\", \"{}\"", place.addr), &backend, more));
    guard.reload(&place, "applied");
    wait_until("the first one", || TcpStream::connect(place.addr).is_ok());
    assert_eq!(place.status(), 200);
    client.send(control());
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_listener_that_stays_open_loses_no_connection_while_others_open_and_close() {
    let backend = Backend::fine();
    let place = Place::new("listeners-load");
    place.write(&place.text(&backend, "log: {access: false}\n"));
    let guard = place.start();
    let asks = [Ask { request: control(), expect: |status, _| status == 200 }];
    let load = Load::default();
    std::thread::scope(|scope| {
        load.run(scope, place.addr, &asks);
        for _ in 0..6 {
            load.wait(60);
            let listen = format!("\"{}\", \"{}\"", unused_addr(), place.addr);
            place.write(&place.text_for(&listen, &backend, "log: {access: false}\n"));
            guard.reload(&place, "applied");
        }
        load.stop();
    });
    assert_eq!(load.failed(), Vec::<String>::new());
    let closed =
        guard.messages().iter().filter(|line| line.contains("a listener is closed")).count();
    assert_eq!(closed, 5);
}
