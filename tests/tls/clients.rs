//! Client certificates, and tokens that require one.

use std::io::{Read, Write};
use std::net::TcpStream;

use wire_scim_guard::config::{Listener, ListenerTls};

use crate::support::tls::{Authority, NAME, Wire, client_config, days};
use crate::support::{
    Backend, Client, OTHER, TOKEN, control, entry, h2c, head, registry_file, with_length,
};
use crate::{client, failures, guarded, listener, listener_for, trusting};

#[test]
fn a_required_client_certificate_is_verified() {
    let backend = Backend::fine();
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let guarded = guarded(&backend, &listener_for(&authority, &clients, true), |_| {});
    let good = clients.issue(&["dns:idp.example"]);
    let mut served = client(&guarded, trusting(&authority, Some(&good)));
    served.send(control());
    assert_eq!(served.response().status, 200);
    let expired = clients.issue_with(&["dns:idp.example"], |params| params.not_after = days(-1));
    let foreign = authority.issue(&["dns:idp.example"]);
    for (nth, own) in [None, Some(&expired), Some(&foreign)].into_iter().enumerate() {
        let mut refused = client(&guarded, trusting(&authority, own));
        refused.send(control());
        // With TLS 1.3 the client finds out when it reads.
        assert!(refused.response_to("GET").is_none(), "{nth}");
        guarded.wait_metric(&failures("client_certificate"), nth as f64 + 1.0);
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_token_may_require_the_certificate_of_its_client() {
    let backend = Backend::fine();
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let tls = listener_for(&authority, &clients, false);
    let guarded = guarded(&backend, &tls, |config| {
        let entries = [
            entry("certified", TOKEN, "client_certificate: \"dns:idp.example\""),
            entry("free", OTHER, ""),
        ];
        config.tokens = Some(registry_file(&entries));
        config.listen.push(Listener::from("127.0.0.2:0".parse::<std::net::SocketAddr>().unwrap()));
    });
    let free = String::from_utf8(control()).unwrap().replace(TOKEN, OTHER);
    // Without a certificate only the other token may be used.
    let mut none = client(&guarded, trusting(&authority, None));
    none.send(control());
    none.response().refused("token.certificate");
    none.send(&free);
    assert_eq!(none.response().status, 200);
    // The names are compared exactly.
    for (names, served) in [
        (&["dns:other.example", "dns:idp.example"][..], true),
        (&["dns:IDP.example"], false),
        (&["dns:*.example"], false),
        (&["dns:a.idp.example"], false),
        (&["email:dns@idp.example", "uri:dns:idp.example"], false),
        (&[], false),
    ] {
        let own = clients.issue(names);
        let mut client = client(&guarded, trusting(&authority, Some(&own)));
        client.send(control());
        let response = client.response();
        if served {
            assert_eq!(response.status, 200, "{names:?}");
        } else {
            response.refused("token.certificate");
        }
    }
    // Over cleartext it is refused, whatever else is configured.
    let plain = guarded.running.as_ref().unwrap().addrs()[1];
    let mut client = Client::connect(plain);
    client.send(control());
    client.response().refused("token.certificate");
}

#[test]
fn uris_and_addresses_are_names_too_and_http2_has_the_certificate_as_well() {
    let backend = Backend::fine();
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let tls = listener_for(&authority, &clients, true);
    let guarded = guarded(&backend, &tls, |config| {
        let entries = [
            entry("by-uri", TOKEN, "client_certificate: \"uri:spiffe://example/idp\""),
            entry("by-address", OTHER, "client_certificate: \"email:idp@example.com\""),
        ];
        config.tokens = Some(registry_file(&entries));
    });
    let by_address = String::from_utf8(control()).unwrap().replace(TOKEN, OTHER);
    for (name, of_uri, of_address) in
        [("uri:spiffe://example/idp", 200, 403), ("email:idp@example.com", 403, 200)]
    {
        let own = clients.issue(&[name]);
        let mut client = client(&guarded, trusting(&authority, Some(&own)));
        client.send(control());
        assert_eq!(client.response().status, of_uri, "{name}");
        client.send(&by_address);
        assert_eq!(client.response().status, of_address, "{name}");
        let config = client_config(&authority, Some(&own), &["h2"]);
        let request = h2c::head("GET", "/scim/v2/Users?filter=userName+eq+%22a%22", guarded.addr);
        let answers =
            h2c::ask_over(guarded.addr, &config, vec![(request.body(()).unwrap(), vec![])]);
        assert_eq!(answers[0].as_ref().unwrap().status, of_uri, "{name} over HTTP/2");
    }
}

#[test]
fn sessions_are_resumed_unless_clients_are_asked_for_certificates() {
    let backend = Backend::fine();
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let resumes = |tls: ListenerTls| {
        let guarded = guarded(&backend, &tls, |_| {});
        let own = clients.issue(&["dns:idp.example"]);
        let config = trusting(&authority, Some(&own));
        let kinds = [0, 1].map(|_| {
            let mut client = client(&guarded, config.clone());
            client.send(with_length("POST", "/scim/v2/Users", &crate::support::user(300)));
            assert_eq!(client.response().status, 200);
            let Wire::Tls(stream) = &client.stream else { panic!("cleartext") };
            stream.conn.handshake_kind().unwrap()
        });
        assert_eq!(kinds[0], rustls::HandshakeKind::Full);
        kinds[1] == rustls::HandshakeKind::Resumed
    };
    assert!(resumes(listener(&authority)));
    assert!(!resumes(listener_for(&authority, &clients, true)));
}

#[test]
fn the_protocol_is_the_one_of_alpn() {
    let backend = Backend::fine();
    let authority = Authority::new("servers");
    let guarded = guarded(&backend, &listener(&authority), |_| {});
    let connect = |protocols: &[&str]| {
        let config = client_config(&authority, None, protocols);
        Client::over(Wire::tls(TcpStream::connect(guarded.addr).unwrap(), config, NAME))
    };
    const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // HTTP/2 that was not negotiated.
    for protocols in [&[][..], &["http/1.1"]] {
        let mut client = connect(protocols);
        client.send(PREFACE);
        assert_eq!(client.response().status, 400, "{protocols:?}");
    }
    // HTTP/1.1 although HTTP/2 was negotiated.
    let mut client = connect(&["h2", "http/1.1"]);
    client.send(head("GET", "/scim/v2/Users") + "\r\n");
    client.ends();
    // The server decides, and prefers HTTP/2.
    let mut client = connect(&["http/1.1", "h2"]);
    client.send(PREFACE);
    let mut settings = [0; 9];
    client.stream.read_exact(&mut settings).unwrap();
    assert_eq!(settings[3], 4);
    // No protocol in common.
    let config = client_config(&authority, None, &["spdy/1"]);
    let mut stream = TcpStream::connect(guarded.addr).unwrap();
    let mut session =
        rustls::ClientConnection::new(config, crate::support::tls::server_name(NAME)).unwrap();
    assert!(rustls::Stream::new(&mut session, &mut stream).flush().is_err());
    guarded.wait_metric(&failures("incompatible"), 1.0);
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn the_end_of_a_connection_is_announced() {
    let backend = Backend::fine();
    let authority = Authority::new("servers");
    let short = std::time::Duration::from_millis(300);
    let guarded = guarded(&backend, &listener(&authority), |config| {
        config.limits.keepalive_timeout = short;
        config.limits.header_timeout = short;
    });
    // `ends` fails if the end is not announced (close_notify).
    let mut silent = client(&guarded, trusting(&authority, None));
    silent.send("");
    silent.ends();
    let mut idle = client(&guarded, trusting(&authority, None));
    idle.send(control());
    assert_eq!(idle.response().status, 200);
    idle.ends();
    let mut refused = client(&guarded, trusting(&authority, None));
    refused.send("GET / HTTP/1.1\nHost: a\n\n");
    refused.response().refused("framing.message");
    refused.ends();
    let mut last = client(&guarded, trusting(&authority, None));
    last.send(head("GET", "/scim/v2/ServiceProviderConfig") + "Connection: close\r\n\r\n");
    assert_eq!(last.response().status, 200);
    last.ends();
}
