//! A server whose certificate is not valid for its name receives no byte of a request, and the log
//! and `/i/ready` report the reason.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use wire_scim_guard::config::Config;

use crate::support::tls::{Authority, Issued, days, file};
use crate::support::{Backend, Guarded, chunked, control};
use crate::terminator::{Identity, Terminator, to};

/// A self-signed certificate.
fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Issued {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    change(&mut params);
    Issued { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// Sends a buffered and a streamed request, and returns what `/i/ready` reports about the server.
fn refused(issued: &Issued, authority: &Authority, change: impl FnOnce(&mut Config)) -> String {
    let backend = Backend::fine();
    let terminator = Terminator::start(&backend, &Identity::new(issued));
    let guarded = Guarded::configured(&[], |config| {
        to(terminator.addr, authority)(config);
        change(config);
    });
    for request in [control(), chunked("POST", "/scim/auth-tokens", b"{}")] {
        let answer = guarded.ask(request);
        answer.refused("upstream.tls");
        // The client learns nothing about the internal network.
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(!detail.contains("localhost") && !detail.contains("127.0.0.1"), "{detail}");
        assert!(!detail.contains("upstream."), "{detail}");
    }
    assert_eq!((backend.accepted(), terminator.handshakes().len()), (0, 0));
    guarded.ready()
}

#[test]
fn each_invalid_certificate_is_refused_with_its_own_message() {
    let authority = Authority::new("backend authority");
    let cases: [(&str, Issued, &str); 9] = [
        (
            "another authority",
            Authority::new("others").issue(&["dns:localhost"]),
            "name the file with that authority",
        ),
        (
            "the same name of an authority",
            Authority::new("backend authority").issue(&["dns:localhost"]),
            "upstream.tls.ca",
        ),
        (
            "self-signed",
            self_signed(|_| {}),
            "or with the self-signed certificate itself, as upstream.tls.ca",
        ),
        (
            "another name",
            authority.issue(&["dns:other.example", "dns:third.example"]),
            "other.example",
        ),
        ("no name", authority.issue(&[]), "subject alternative name"),
        (
            "expired",
            authority.issue_with(&["dns:localhost"], |params| {
                (params.not_before, params.not_after) = (days(-20), days(-1));
            }),
            "has expired",
        ),
        (
            "not yet valid",
            authority.issue_with(&["dns:localhost"], |params| {
                (params.not_before, params.not_after) = (days(1), days(20));
            }),
            "not valid yet",
        ),
        (
            "for clients",
            authority.issue_with(&["dns:localhost"], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            "serverAuth",
        ),
        (
            "an authority's",
            authority.issue_with(&["dns:localhost"], |params| {
                params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            }),
            "CA:FALSE",
        ),
    ];
    for (what, issued, expected) in cases {
        let ready = refused(&issued, &authority, |_| {});
        assert!(ready.contains(expected), "{what}: {ready}");
    }
}

#[test]
fn a_self_signed_certificate_is_trusted_when_it_is_named() {
    let issued = self_signed(|_| {});
    let backend = Backend::fine();
    let terminator = Terminator::start(&backend, &Identity::new(&issued));
    let guarded = Guarded::configured(&[], |config| {
        to(terminator.addr, &Authority::new("unused"))(config);
        config.upstream_tls.ca = Some(file(&issued.certificate));
    });
    assert_eq!(guarded.ask(control()).status, 200);
    // Another authority with the same name is not.
    let ready = refused(&self_signed(|_| {}), &Authority::new("unused"), |config| {
        config.upstream_tls.ca = Some(file(&issued.certificate));
    });
    assert!(ready.contains("upstream.tls.ca"), "{ready}");
}

#[test]
fn a_configured_authority_replaces_those_of_the_platform_and_chains_are_followed() {
    let root = Authority::new("root");
    let intermediate = root.intermediate("intermediate");
    let leaf = intermediate.issue(&["dns:localhost"]);
    let chain = Issued {
        certificate: leaf.certificate.clone() + &intermediate.certificate.pem(),
        key: leaf.key.clone(),
    };
    let backend = Backend::fine();
    let terminator = Terminator::start(&backend, &Identity::new(&chain));
    let guarded = Guarded::configured(&[], to(terminator.addr, &root));
    assert_eq!(guarded.ask(control()).status, 200);
    let ready = refused(&leaf, &root, |_| {});
    assert!(ready.contains("without the certificates in between"), "{ready}");
    // The platform's authorities issued none of these.
    let ready = refused(&chain, &root, |config| config.upstream_tls.ca = None);
    assert!(ready.contains("upstream.tls.ca"), "{ready}");
}
