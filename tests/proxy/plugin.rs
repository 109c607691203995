//! The example of an embedding service, compiled and run unchanged.

#[path = "../../examples/plugin.rs"]
#[allow(dead_code, reason = "its main is not called here")]
mod example;

use std::net::SocketAddr;

use crate::support::{
    Backend, Client, Reply, USER, control, head, ok, user, wait_until, with_length,
};

/// The example in front of a backend.
fn served(backend: &Backend) -> SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let backend_addr = backend.addr.to_string();
    std::thread::spawn(move || {
        example::run(&addr.to_string(), &backend_addr).map_err(|error| error.to_string())
    });
    wait_until("the service", || std::net::TcpStream::connect(addr).is_ok());
    addr
}

#[test]
fn another_service_embeds_the_request_filter() {
    let backend = Backend::fine();
    let mut client = Client::connect(served(&backend));
    client.send(with_length("POST", "/scim/Users", b"{"));
    client.response().refused("json.syntax");
    assert_eq!(backend.accepted(), 0);
    client.send(control());
    let response = client.response();
    assert_eq!((response.status, response.header("x-my-service")), (200, Some("1")));
    let long = user(100_000);
    client.send(with_length("POST", "/scim/Users", &long));
    assert_eq!(client.response().status, 200);
    let seen = backend.wait(2);
    assert_eq!(seen.line(), "POST /scim/v2/Users HTTP/1.1");
    assert!(seen.body == long);
    client.send("GET /scim/v2/Users HTTP/1.1\r\nHost: a\nb: c\r\n\r\n");
    client.response().refused("framing.message");
}

#[test]
fn a_request_that_was_partly_sent_is_not_retried() {
    let backend = Backend::start(|seen| {
        if seen.line().starts_with("DELETE") { Reply::Last(Vec::new()) } else { ok("{}") }
    });
    let addr = served(&backend);
    let mut client = Client::connect(addr);
    client.send(control());
    assert_eq!(client.response().status, 200);
    // It uses the connection of the first request; Pingora alone would retry it.
    client.send(head("DELETE", USER) + "\r\n");
    client.response().refused("upstream.answer");
    let mut client = Client::connect(addr);
    client.send(control());
    assert_eq!(client.response().status, 200);
    assert_eq!(backend.seen().len(), 3);
}
