//! TLS to a server that speaks cleartext, cleartext to one that speaks TLS, and handshakes that do
//! not end.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use wire_scim_guard::config::Server;

use crate::support::tls::Authority;
use crate::support::{Backend, Guarded, Reply, WAIT_TIMEOUT, answer, chunked, control};
use crate::terminator::{Chain, to};

/// A server that handles each connection with this function.
fn server(
    serve: impl Fn(std::net::TcpStream) + Send + Sync + Clone + 'static,
) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    addr
}

fn secured(addr: std::net::SocketAddr) -> Guarded {
    let authority = Authority::new("backend authority");
    Guarded::configured(&[], |config| {
        to(addr, &authority)(config);
        // Long enough for the connection itself on a loaded machine.
        config.limits.upstream_connect_timeout = Duration::from_millis(1500);
    })
}

#[test]
fn a_server_that_speaks_cleartext_gets_no_request() {
    // One answers what it considers a malformed request, one sends a greeting, and one closes.
    for (answer, expected) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
            "does not speak TLS on this port",
        ),
        (&b"220 mail.example ESMTP\r\n"[..], "does not speak TLS on this port"),
        (&b""[..], "during the TLS handshake"),
    ] {
        let addr = server(move |mut stream| {
            let mut first = [0; 5];
            stream.read_exact(&mut first).unwrap();
            // A TLS handshake, and no request.
            assert_eq!(first[..2], [0x16, 0x03]);
            let mut hello = vec![0; usize::from(u16::from_be_bytes([first[3], first[4]]))];
            stream.read_exact(&mut hello).unwrap();
            let _ = stream.write_all(answer);
        });
        let guarded = secured(addr);
        guarded.ask(control()).refused("upstream.tls");
        guarded.ask(chunked("POST", "/scim/auth-tokens", b"{}")).refused("upstream.tls");
        assert!(guarded.ready().contains(expected), "{}", guarded.ready());
    }
    let backend = Backend::fine();
    let guarded = secured(backend.addr);
    guarded.ask(control()).refused("upstream.tls");
    assert_eq!(backend.seen().len(), 0);
}

#[test]
fn a_server_that_speaks_tls_although_cleartext_is_configured_is_recognised() {
    let cleartext = |port| {
        Guarded::configured(&[], |config| {
            config.upstream = vec![Server::cleartext("127.0.0.1", port)];
            config.threads = 1;
        })
    };
    // A TLS server answers with an alert.
    let chain = Chain::new(Backend::fine());
    let guarded = cleartext(chain.terminator.addr.port());
    for _ in 0..3 {
        guarded.ask(control()).refused("upstream.tls");
    }
    assert!(guarded.ready().contains("write https:// before it"), "{}", guarded.ready());
    assert_eq!(chain.backend.seen().len(), 0);
    // nginx answers in cleartext.
    let page =
        "<html><body><center>The plain HTTP request was sent to HTTPS port</center></body></html>";
    let backend = Backend::start(move |_| Reply::Bytes(answer(400, page)));
    let guarded = cleartext(backend.addr.port());
    for _ in 0..3 {
        guarded.ask(control()).refused("upstream.tls");
    }
    assert!(guarded.ready().contains("write https:// before it"), "{}", guarded.ready());
    // Another 400 comes from Wire itself.
    let backend = Backend::start(|_| Reply::Bytes(answer(400, "{}")));
    assert_eq!(cleartext(backend.addr.port()).ask(control()).rule(), "-");
}

#[test]
fn a_handshake_that_does_not_end_is_aborted_in_time() {
    // One sends nothing at all, and one sends slowly.
    for drip in [false, true] {
        let addr = server(move |mut stream| {
            let began = Instant::now();
            // The beginning of a record that never ends.
            let _ = stream.write_all(if drip { &[0x16, 0x03, 0x03, 0x40, 0x00] } else { &[] });
            while drip && began.elapsed() < WAIT_TIMEOUT && stream.write_all(&[0]).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let guarded = secured(addr);
        for request in [control(), chunked("POST", "/scim/auth-tokens", b"{}")] {
            let began = Instant::now();
            let answer = guarded.ask(request);
            answer.refused("upstream.tls");
            assert!(began.elapsed() >= Duration::from_millis(1400));
            assert!(began.elapsed() < WAIT_TIMEOUT);
        }
    }
}
