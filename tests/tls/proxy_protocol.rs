//! The PROXY protocol header: mandatory from named networks, before everything else, and an error
//! from others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use wire_scim_guard::config::Config;

use crate::support::tls::{Authority, NAME, Wire};
use crate::support::{
    Backend, Client, Guarded, TOKEN, control, entry, head, registry_file, wait_until,
};
use crate::{listener, trusting};

const V1: &str = "PROXY TCP4 203.0.113.7 198.51.100.1 5000 443\r\n";

/// A header of version 2 with this command, protocol and rest.
fn v2(command: u8, protocol: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend_from_slice(&[command, protocol]);
    header.extend_from_slice(&u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend_from_slice(rest);
    header
}

/// The same client in version 2.
fn v2_client() -> Vec<u8> {
    v2(0x21, 0x11, &[203, 0, 113, 7, 198, 51, 100, 1, 0x13, 0x88, 1, 187])
}

/// A guard behind a load balancer on 127.0.0.1.
fn guarded(backend: &Backend, change: impl FnOnce(&mut Config)) -> Guarded {
    Guarded::configured(&[backend.addr], |config| {
        config.listen[0].proxy_protocol = vec!["127.0.0.1/32".parse().unwrap()];
        change(config);
    })
}

/// The client of a request, according to the access log.
fn logged(guarded: &Guarded, nth: usize) -> String {
    guarded.access_line(nth)["client"].as_str().unwrap().to_owned()
}

#[test]
fn the_address_in_the_header_is_the_peers() {
    let backend = Backend::fine();
    let guarded = guarded(&backend, |config| {
        // Only this client may use the token.
        config.tokens = Some(registry_file(&[entry("far", TOKEN, "networks: [203.0.113.7]")]));
    });
    let v6 = {
        let mut rest = [0; 36];
        rest[..16].copy_from_slice(&"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
        v2(0x21, 0x21, &rest)
    };
    let with_fields = {
        let mut rest = vec![203, 0, 113, 7, 198, 51, 100, 1, 0x13, 0x88, 1, 187];
        rest.extend_from_slice(&[4, 0x0f, 0]);
        rest.resize(4096, 0);
        v2(0x21, 0x11, &rest)
    };
    for (nth, (header, client, status)) in [
        (V1.into(), "203.0.113.7", 200),
        (v2_client(), "203.0.113.7", 200),
        (with_fields, "203.0.113.7", 200),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), "2001:db8::7", 403),
        (v6, "2001:db8::7", 403),
        // The load balancer itself connects: its own address.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1", 403),
        (v2(0x20, 0, &[]), "127.0.0.1", 403),
        (v2(0x20, 0x11, &[1; 12]), "127.0.0.1", 403),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client_ = guarded.client();
        client_.send([&header[..], &control()].concat());
        assert_eq!(client_.response().status, status, "{}", header.escape_ascii());
        // It is the address of the whole connection.
        client_.send(control());
        assert_eq!(client_.response().status, status);
        // Both requests have their lines before the next connection, which another worker may serve.
        for line in [2 * nth + 1, 2 * nth + 2] {
            assert_eq!(logged(&guarded, line), client);
        }
    }
    assert!(backend.seen()[0].header("x-forwarded-for") == ["203.0.113.7"]);
}

#[test]
fn a_header_may_arrive_in_pieces() {
    let backend = Backend::fine();
    let guarded = guarded(&backend, |_| {});
    for header in [V1.as_bytes(), &v2_client()] {
        for cut in [1, 5, 11, 12, 13, 15, 16, 17, header.len() - 1] {
            let mut client = guarded.client();
            client.send(&header[..cut]);
            // The next piece is sent separately.
            std::thread::yield_now();
            client.send([&header[cut..], &control()].concat());
            assert_eq!(client.response().status, 200, "{cut}");
        }
    }
}

#[test]
fn a_header_is_mandatory_from_the_named_networks() {
    let backend = Backend::fine();
    let guarded = guarded(&backend, |_| {});
    for sent in [
        control(),
        b"GET".to_vec(),
        b"PROXY TCP4 203.0.113.7 198.51.100.1 5000\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 198.51.100.1 5000 443\n".to_vec(),
        format!("PROXY UNKNOWN {}", "x".repeat(100)).into(),
        v2(0x21, 0x12, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x2f, 0x11, &[0; 12]),
        v2(0x11, 0x11, &[0; 12]),
        v2(0x21, 0x11, &[0; 4097]),
        // Only the first header counts; a second one is parsed as HTTP.
        [V1.as_bytes(), V1.as_bytes()].concat(),
    ] {
        let mut client = guarded.client();
        client.send(&sent);
        client.response().refused("framing.message");
        client.ends();
    }
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn only_some_malformed_headers_at_a_time_are_answered() {
    const CLIENTS: usize = 150;
    let backend = Backend::fine();
    let guarded = guarded(&backend, |_| {});
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| guarded.client()).collect();
    for client in &mut clients {
        client.send("PROXY nonsense\r\n");
    }
    guarded.wait_metric(
        "scim_guard_rule_hits_total{action=\"enforce\",rule=\"framing.message\"}",
        CLIENTS as f64,
    );
    let answers = clients.iter_mut().map(|client| client.response_to("GET"));
    let answered = answers.flatten().inspect(|answer| answer.refused("framing.message")).count();
    assert!((1..CLIENTS).contains(&answered), "{answered}");
}

#[test]
fn a_header_from_elsewhere_is_malformed_http() {
    let backend = Backend::fine();
    let guarded = guarded(&backend, |config| {
        config.listen[0].proxy_protocol = vec!["192.0.2.0/24".parse().unwrap()];
    });
    for header in [V1.into(), b"PROXY UNKNOWN\r\n".to_vec(), v2_client()] {
        let mut client = guarded.client();
        client.send([&header[..], &control()].concat());
        client.response().refused("framing.message");
        client.ends();
    }
    assert_eq!(guarded.ask(control()).status, 200);
}

#[test]
fn a_header_has_to_arrive_within_the_header_timeout() {
    let backend = Backend::fine();
    let short = Duration::from_millis(300);
    let guarded = guarded(&backend, |config| config.limits.header_timeout = short);
    for sent in [&b""[..], b"PROXY", b"PROXY TCP4 203.0.113.7 198.", &v2_client()[..14]] {
        let started = Instant::now();
        let mut client = guarded.client();
        client.send(sent);
        client.ends();
        assert!(started.elapsed() >= short);
    }
    wait_until("the connections to end", || guarded.running.as_ref().unwrap().connections() == 0);
}

#[test]
fn connections_are_counted_before_the_header_and_limited_by_its_address() {
    let backend = Backend::fine();
    let guarded = guarded(&backend, |config| {
        config.limits.connections = 3;
        config.limits.connections_per_address = 1;
    });
    let connections = || guarded.running.as_ref().unwrap().connections();
    let mut first = guarded.client();
    first.send([V1.as_bytes(), &control()].concat());
    assert_eq!(first.response().status, 200);
    let mut same = guarded.client();
    same.send([&v2_client()[..], &control()].concat());
    same.response().refused("limits.address");
    let mut other = guarded.client();
    other.send([b"PROXY TCP4 203.0.113.8 198.51.100.1 1 2\r\n", &control()[..]].concat());
    assert_eq!(other.response().status, 200);
    let _silent = guarded.client();
    wait_until("the connection to be counted", || connections() == 3);
    let mut beyond = guarded.client();
    beyond.send(V1);
    beyond.ends();
}

#[test]
fn the_header_comes_before_tls() {
    let backend = Backend::fine();
    let authority = Authority::new("servers");
    let guarded = guarded(&backend, |config| {
        config.listen[0].tls = Some(listener(&authority));
        config.trusted_proxies = vec!["203.0.113.0/24".parse().unwrap()];
    });
    for header in [V1.as_bytes(), &v2_client()] {
        let mut stream = TcpStream::connect(guarded.addr).unwrap();
        stream.write_all(header).unwrap();
        let mut client = Client::over(Wire::tls(stream, trusting(&authority, None), NAME));
        // The client of the header is a proxy that is trusted.
        client.send(
            head("GET", "/scim/v2/ServiceProviderConfig") + "X-Forwarded-For: 192.0.2.9\r\n\r\n",
        );
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(
        (logged(&guarded, 1), logged(&guarded, 2)),
        ("192.0.2.9".into(), "192.0.2.9".into())
    );
    // Without a header there is no handshake, and no answer.
    let stream = TcpStream::connect(guarded.addr).unwrap();
    let mut client = Client::over(Wire::tls(stream, trusting(&authority, None), NAME));
    client.send(control());
    assert!(client.response_to("GET").is_none());
    guarded.wait_metric(
        "scim_guard_rule_hits_total{action=\"enforce\",rule=\"framing.message\"}",
        1.0,
    );
    // A real client: HAProxy.
    let ca = crate::support::tls::file(authority.certificate.pem());
    let port = guarded.addr.port();
    let output = std::process::Command::new("curl")
        .args(["--silent", "--haproxy-protocol", "--resolve", &format!("{NAME}:{port}:127.0.0.1")])
        .args(["--write-out", "%{http_code}", "--output", "/dev/null", "--cacert"])
        .arg(ca)
        .arg(format!("https://{NAME}:{port}/scim/v2/ServiceProviderConfig"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200");
}

#[test]
fn a_header_within_tls_is_malformed_http() {
    let backend = Backend::fine();
    let authority = Authority::new("servers");
    let guarded = crate::guarded(&backend, &listener(&authority), |_| {});
    let mut client = crate::client(&guarded, trusting(&authority, None));
    client.send([V1.as_bytes(), &control()].concat());
    client.response().refused("framing.message");
    // A listener with TLS expects the header before TLS.
    let mut stream = TcpStream::connect(guarded.addr).unwrap();
    stream.write_all(V1.as_bytes()).unwrap();
    let mut alert = Vec::new();
    stream.read_to_end(&mut alert).unwrap();
    guarded.wait_metric(&crate::failures("not_tls"), 1.0);
}
