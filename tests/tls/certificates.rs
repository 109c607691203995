//! Which certificate a client receives, and when certificates expire.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use rcgen::{KeyPair, PKCS_ED25519};
use rustls::ClientConnection;

use crate::support::tls::{self, Authority, Wire, client_config, days};
use crate::support::{Backend, Client, Guarded, control};
use crate::{failures, guarded, trusting};

/// The names that the guard's certificate for this name has.
fn served(guarded: &Guarded, authority: &Authority, name: &str) -> Vec<u8> {
    let config = client_config(authority, None, &[]);
    let mut stream = TcpStream::connect(guarded.addr).unwrap();
    let mut session = ClientConnection::new(config, tls::server_name(name)).unwrap();
    // The first certificate may have another name, which the client does not accept.
    let _ = rustls::Stream::new(&mut session, &mut stream).flush();
    session.peer_certificates().map_or_else(Vec::new, |chain| chain[0].to_vec())
}

#[test]
fn the_certificate_is_selected_by_the_name_that_the_client_requests() {
    let backend = Backend::fine();
    let authority = Authority::new("names");
    let names = [
        &["dns:first.example"][..],
        &["dns:second.example", "dns:also.example"],
        &["dns:*.wild.example"],
        &["dns:exact.wild.example"],
    ];
    let issued = names.map(|names| authority.issue(names));
    let mut settings = issued[0].listener();
    settings.certificates = issued.iter().map(tls::Issued::files).collect();
    let guarded = guarded(&backend, &settings, |_| {});
    let der = |place: usize| {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        CertificateDer::from_pem_slice(issued[place].certificate.as_bytes()).unwrap().to_vec()
    };
    for (name, place) in [
        ("first.example", 0),
        ("second.example", 1),
        ("also.example", 1),
        ("ALSO.example", 1),
        ("any.wild.example", 2),
        ("exact.wild.example", 3),
    ] {
        assert!(served(&guarded, &authority, name) == der(place), "{name}");
    }
    // The first one is the default, for unknown names and for clients that send none.
    for name in ["other.example", "a.b.wild.example", "wild.example", "127.0.0.1"] {
        let config = client_config(&authority, None, &[]);
        let mut stream = TcpStream::connect(guarded.addr).unwrap();
        let mut session = ClientConnection::new(config, tls::server_name(name)).unwrap();
        let refused = rustls::Stream::new(&mut session, &mut stream).flush().unwrap_err();
        assert!(refused.to_string().contains("first.example"), "{name}: {refused}");
    }
    guarded.wait_metric(&failures("alert"), 4.0);
}

#[test]
fn a_name_may_have_certificates_of_several_kinds_of_key() {
    let backend = Backend::fine();
    let authority = Authority::new("kinds");
    let edwards = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let first = authority.issue_for(&edwards, &["dns:guard.example"], |_| {});
    let second = authority.issue(&["dns:guard.example"]);
    let mut settings = first.listener();
    settings.certificates.push(second.files());
    let guarded = guarded(&backend, &settings, |_| {});
    // rustls accepts both; openssl s_client is told to accept only ECDSA.
    let mut client = crate::client(&guarded, trusting(&authority, None));
    client.send(control());
    assert_eq!(client.response().status, 200);
    let ecdsa = crate::programs::s_client(&guarded, &["-sigalgs", "ECDSA+SHA256"]);
    assert!(ecdsa.to_lowercase().contains("peer signature type: ecdsa"), "{ecdsa}");
    let edwards = crate::programs::s_client(&guarded, &["-sigalgs", "ed25519"]);
    assert!(edwards.to_lowercase().contains("peer signature type: ed25519"), "{edwards}");
}

#[test]
fn the_end_of_every_certificate_is_a_metric() {
    let backend = Backend::fine();
    let authority = Authority::new("ends");
    let issued = [5, 300].map(|left| {
        authority.issue_with(&["dns:a.example"], |params| params.not_after = days(left))
    });
    let mut settings = issued[0].listener();
    settings.certificates = issued.iter().map(tls::Issued::files).collect();
    let guarded = guarded(&backend, &settings, |_| {});
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    for (number, left) in [(1, 5), (2, 300)] {
        // The configured address: here it leaves the port open.
        let series = format!(
            "scim_guard_certificate_expiry_timestamp_seconds{{certificate=\"127.0.0.1:0/{number}\"}}"
        );
        let end = now + Duration::from_secs(left * 86_400);
        let difference = guarded.metric(&series) - end.as_secs_f64();
        assert!(difference.abs() < 3600.0, "{number}: {difference}");
    }
}

#[test]
fn a_chain_through_an_intermediate_authority_is_sent_as_a_whole() {
    let backend = Backend::fine();
    let authority = Authority::new("root");
    let intermediate = authority.intermediate("intermediate");
    let mut issued = intermediate.issue(&["dns:guard.example"]);
    issued.certificate.push_str(&intermediate.certificate.pem());
    let guarded = guarded(&backend, &issued.listener(), |_| {});
    let stream = TcpStream::connect(guarded.addr).unwrap();
    let mut client = Client::over(Wire::tls(stream, trusting(&authority, None), tls::NAME));
    client.send(control());
    assert_eq!(client.response().status, 200);
}
