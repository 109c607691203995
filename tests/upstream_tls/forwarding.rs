//! Requests and answers over TLS: unchanged, with the server's own name, including streamed ones.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use wire_scim_guard::config::{CertificateFiles, PathPolicy, Server, UpstreamCheck, UpstreamHost};

use crate::support::tls::Authority;
use crate::support::{
    Backend, Guarded, Reply, USER, answer, chunked, control, h2c, head, ok, user, wait_until,
    with_length,
};
use crate::terminator::{Chain, Identity, NAME, Terminator, to, trusting};

const TOKENS: &str = "/scim/auth-tokens";

#[test]
fn a_request_goes_to_the_name_of_the_server_over_http_1() {
    let chain = Chain::new(Backend::fine());
    assert_eq!(chain.guarded.ask(control()).status, 200);
    let handshake = &chain.terminator.handshakes()[0];
    assert_eq!(handshake.server_name.as_deref(), Some(NAME));
    assert_eq!(handshake.protocol.as_deref(), Some("http/1.1"));
    let seen = chain.backend.wait(1);
    assert_eq!(seen.header("host"), [format!("{NAME}:{}", chain.terminator.addr.port())]);
    assert_eq!((seen.line(), &seen.body), ("POST /scim/v2/Users HTTP/1.1", &user(300)));
    assert!(chain.guarded.ready().contains("in rotation"));
}

#[test]
fn upstream_host_sets_host_server_name_and_the_verified_name() {
    let authority = Authority::new("backend authority");
    let issued = authority.issue(&["dns:wire.example.com"]);
    let backend = Backend::fine();
    let terminator = Terminator::start(&backend, &Identity::new(&issued));
    let guarded = Guarded::configured(&[], |config| {
        to(terminator.addr, &authority)(config);
        config.upstream_host = UpstreamHost::Name("wire.example.com".into());
    });
    for (nth, request) in
        [control(), (head("GET", TOKENS) + "\r\n").into(), chunked("POST", TOKENS, b"{}")]
            .iter()
            .enumerate()
    {
        assert_eq!(guarded.ask(request).status, 200);
        assert_eq!(backend.wait(nth + 1).header("host"), ["wire.example.com"]);
    }
    let names = terminator.handshakes();
    assert!(
        names.iter().all(|h| h.server_name.as_deref() == Some("wire.example.com")),
        "{names:?}"
    );
    // The client's Host is kept if configured; the server still has to be the one of the entry.
    let chain =
        Chain::configured(Backend::fine(), |config| config.upstream_host = UpstreamHost::Keep);
    assert_eq!(chain.guarded.ask(control()).status, 200);
    assert_eq!(chain.guarded.ask(chunked("POST", TOKENS, b"{}")).status, 200);
    assert_eq!(chain.backend.wait(1).header("host"), ["wire.example"]);
    assert_eq!(chain.backend.wait(2).header("host"), ["wire.example"]);
    assert_eq!(chain.terminator.handshakes()[0].server_name.as_deref(), Some(NAME));
    // In cleartext it is the client's as well, unless another one is configured.
    let backend = Backend::fine();
    assert_eq!(Guarded::before(&backend).ask(control()).status, 200);
    let named = Guarded::configured(&[backend.addr], |config| {
        config.upstream_host = UpstreamHost::Name("other.example".into());
    });
    assert_eq!(named.ask(control()).status, 200);
    assert_eq!(named.ask(chunked("POST", TOKENS, b"{}")).status, 200);
    assert_eq!(backend.wait(1).header("host"), ["wire.example"]);
    assert_eq!(backend.wait(2).header("host"), ["other.example"]);
    assert_eq!(backend.wait(3).header("host"), ["other.example"]);
}

#[test]
fn an_address_is_verified_as_an_address() {
    let authority = Authority::new("backend authority");
    for (name, status) in [("ip:127.0.0.1", 200), ("ip:127.0.0.2", 502), ("dns:localhost", 502)] {
        let issued = authority.issue(&[name]);
        let backend = Backend::fine();
        let terminator = Terminator::start(&backend, &Identity::new(&issued));
        let tls = trusting(&authority);
        let guarded = Guarded::configured(&[], |config| {
            let (host, port) = ("127.0.0.1".into(), terminator.addr.port());
            config.upstream = vec![Server { host, port, tls: true }];
            config.upstream_tls = tls;
        });
        assert_eq!(guarded.ask(control()).status, status, "{name}");
    }
}

#[test]
fn bodies_and_answers_of_every_size_pass_unchanged() {
    let chain = Chain::configured(
        Backend::start(|seen| {
            Reply::Bytes(answer(200, &format!("\"{}\"", "x".repeat(seen.body.len() * 3))))
        }),
        |config| config.limits.body = 1024 * 1024,
    );
    let mut client = chain.guarded.client();
    for (nth, size) in [200, 16_000, 17_000, 100_000, 1_000_000].into_iter().enumerate() {
        for (twice, request) in [with_length, chunked]
            .map(|form| form("POST", "/scim/v2/Users", &user(size)))
            .iter()
            .enumerate()
        {
            client.send(request);
            let answer = client.response();
            assert_eq!((answer.status, answer.body.len()), (200, 3 * size + 2), "{size}");
            assert!(chain.backend.wait(2 * nth + twice + 1).body == user(size));
        }
    }
    // All over one connection.
    assert_eq!(chain.terminator.handshakes().len(), 1);
}

#[test]
fn streamed_requests_pass_over_tls_too() {
    let long = "y".repeat(3_000_000);
    let body = long.clone();
    let chain = Chain::configured(
        Backend::start(move |seen| match seen.line().contains("download") {
            true => Reply::Bytes(answer(200, &body)),
            false => Reply::Bytes(answer(200, &format!("{} bytes", seen.body.len()))),
        }),
        |config| config.other_paths = PathPolicy::Forward,
    );
    let mut client = chain.guarded.client();
    let upload = vec![7; 2_000_000];
    for form in [with_length, chunked] {
        client.send(form("POST", "/assets", &upload));
        let answer = client.response();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"2000000 bytes"[..]));
    }
    client.send(head("GET", "/download") + "\r\n");
    assert!(client.response().body == long.as_bytes());
    client.send(with_length("POST", TOKENS, b"{\"description\":\"a\"}"));
    assert_eq!(client.response().body, b"19 bytes");
    let asked = h2c::ask(
        chain.guarded.addr,
        vec![
            (h2c::head("POST", TOKENS, chain.guarded.addr).body(()).unwrap(), b"{}".to_vec()),
            (h2c::head("GET", "/download", chain.guarded.addr).body(()).unwrap(), Vec::new()),
        ],
    );
    let bodies: Vec<Vec<u8>> = asked.into_iter().map(|answer| answer.unwrap().body).collect();
    assert!(bodies == [b"2 bytes".to_vec(), long.into_bytes()]);
    assert!(chain.terminator.handshakes().iter().all(|h| h.server_name.as_deref() == Some(NAME)));
    // The backend receives the server's own name, whichever path the request takes.
    let port = chain.terminator.addr.port();
    assert!(
        chain.backend.seen().iter().all(|seen| seen.header("host") == [format!("{NAME}:{port}")])
    );
}

#[test]
fn a_client_certificate_is_presented() {
    let (authority, clients) = (Authority::new("backend authority"), Authority::new("clients"));
    let issued = authority.issue(&["dns:localhost"]);
    const VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];
    for versions in VERSIONS {
        let backend = Backend::fine();
        let identity = Identity { clients: Some(&clients), versions, ..Identity::new(&issued) };
        let terminator = Terminator::start(&backend, &identity);
        let guard = |own: Option<CertificateFiles>| {
            Guarded::configured(&[], |config| {
                to(terminator.addr, &authority)(config);
                config.upstream_tls.identity = own;
            })
        };
        let own = clients.issue(&["dns:guard.example"]);
        let guarded = guard(Some(own.files()));
        assert_eq!(guarded.ask(control()).status, 200);
        assert_eq!(guarded.ask(chunked("POST", TOKENS, b"{}")).status, 200);
        assert!(terminator.handshakes().iter().all(|handshake| handshake.client_certificate));
        // Without a certificate, or with a wrong one, no request arrives.
        let foreign = Authority::new("others").issue(&["dns:guard.example"]);
        for (files, expected) in
            [(None, "client certificate"), (Some(foreign.files()), "upstream.tls.certificate")]
        {
            let guarded = guard(files);
            for _ in 0..3 {
                guarded.ask(control()).refused("upstream.tls");
            }
            assert!(guarded.ready().contains(expected), "{}", guarded.ready());
        }
        assert_eq!(backend.seen().len(), 2);
    }
}

#[test]
fn health_checks_go_over_tls() {
    let check = |config: &mut wire_scim_guard::config::Config| {
        config.upstream_check =
            Some(UpstreamCheck { path: "/status".into(), every: Duration::from_secs(1) });
    };
    let chain = Chain::configured(Backend::fine(), check);
    let seen = chain.backend.wait(1);
    assert_eq!(seen.line(), "GET /status HTTP/1.1");
    assert_eq!(seen.header("host"), [format!("{NAME}:{}", chain.terminator.addr.port())]);
    wait_until("the server in rotation", || chain.guarded.ready().contains("in rotation"));
    // A server whose certificate is not accepted is unhealthy.
    let backend = Backend::fine();
    let issued = Authority::new("others").issue(&["dns:localhost"]);
    let terminator = Terminator::start(&backend, &Identity::new(&issued));
    let guarded = Guarded::configured(&[], |config| {
        to(terminator.addr, &chain.authority)(config);
        check(config);
    });
    wait_until("the check to fail", || guarded.ready().contains("upstream.tls.ca"));
    assert_eq!(backend.seen().len(), 0);
}

#[test]
fn a_websocket_passes_over_tls() {
    fn echo(mut stream: TcpStream, _: &[u8]) {
        let switched =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(switched).unwrap();
        let mut reader = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut reader, &mut stream);
    }
    let chain = Chain::configured(Backend::start(|_| Reply::Switch(echo)), |config| {
        config.other_paths = PathPolicy::Forward;
    });
    let mut client = chain.guarded.client();
    client.send("GET /await HTTP/1.1\r\nHost: wire.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.response().status, 101);
    for size in [1, 100, 1_000_000] {
        let message = vec![b'm'; size];
        let mut writer = client.stream.socket().try_clone().unwrap();
        let sent = message.clone();
        let sending = std::thread::spawn(move || writer.write_all(&sent).unwrap());
        assert!(client.read(size) == message);
        sending.join().unwrap();
    }
    client.finish();
    wait_until("the backend's connection to end", || chain.backend.closed() == 1);
}

#[test]
fn a_server_in_cleartext_and_one_over_tls_take_turns() {
    let cleartext = Backend::fine();
    let chain = Chain::configured(Backend::start(|_| ok("{}")), |config| {
        config.upstream.push(Server::cleartext("127.0.0.1", cleartext.addr.port()));
    });
    for _ in 0..10 {
        assert_eq!(chain.guarded.ask((head("GET", USER) + "\r\n").as_bytes()).status, 200);
    }
    assert_eq!((chain.backend.seen().len(), cleartext.seen().len()), (5, 5));
}
