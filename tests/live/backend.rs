//! TLS to the backend: no connection or session that was made with other files is reused, and a mended file is
//! found.

use crate::guard::Place;
use crate::support::program::PROGRAM;
use crate::support::tls::Authority;
use crate::support::{Backend, control, unused_addr, wait_until};
use crate::terminator::{Identity, NAME, Terminator};

#[test]
fn connections_made_with_other_authorities_are_not_used_again() {
    let authorities = [Authority::new("old"), Authority::new("new")];
    let pem = authorities.each_ref().map(|authority| authority.certificate.pem());
    let issued = authorities[0].issue(&[&format!("dns:{NAME}")]);
    let backend = Backend::fine();
    let terminator = Terminator::start(&backend, &Identity::new(&issued));
    let place = Place::new("backend-tls");
    place.replace("ca.pem", &pem[0]);
    place.write(&format!(
        "listen: [\"{}\"]\nadmin: {{listen: \"{}\"}}\nthreads: 1\n\
         upstream: {{servers: [\"https://{NAME}:{}\"], tls: {{ca: ca.pem}}}}\n",
        place.addr,
        place.admin,
        terminator.addr.port()
    ));
    let _guard = place.start();
    assert_eq!((place.status(), place.status()), (200, 200));
    assert_eq!(terminator.handshakes().len(), 1);
    // The idle connection could still be used for it.
    place.replace("ca.pem", &pem[1]);
    wait_until("the new authority", || place.status() == 502);
    place.ask(control()).refused("upstream.tls");
    let seen = backend.seen().len();
    assert_eq!(place.status(), 502);
    assert_eq!((backend.seen().len(), terminator.handshakes().len()), (seen, 1));
    place.replace("ca.pem", &pem[0]);
    wait_until("the old authority", || place.status() == 200);
    let handshakes = terminator.handshakes();
    assert_eq!((handshakes.len(), handshakes[1].resumed), (2, false));
}

#[test]
fn a_mended_file_is_applied_when_files_are_watched() {
    let authority = Authority::new("backend authority");
    let issued = authority.issue(&[&format!("dns:{NAME}")]);
    let backend = Backend::fine();
    let place = Place::new("mended-tls");
    let write = |tls: &str, more: &str| {
        place.write(&format!(
            "listen: [\"{}\"]\nadmin: {{listen: \"{}\"}}\nthreads: 1\nreload: {{watch: true}}\n\
             upstream: {{servers: [\"https://{NAME}:{}\"], tls: {tls}}}\n{more}",
            place.addr,
            place.admin,
            backend.addr.port()
        ));
    };
    let store = unused_addr().port();
    place.replace("ca.pem", &authority.certificate.pem());
    place.replace("guard.pem", &issued.certificate);
    place.replace("guard.key", &issued.key);
    write("{ca: ca.pem}", "");
    let _guard = place.start();
    let own = "{ca: ca.pem, certificate: guard.pem, key: guard.key}";
    let shared = format!("shared: {{redis: \"rediss://127.0.0.1:{store}\", ca: store.pem}}\n");
    let cases = [
        ("ca.pem", authority.certificate.pem(), "{ca: ca.pem}", "hosts: [a.example]\n"),
        ("guard.pem", issued.certificate.clone(), own, "hosts: [b.example]\n"),
        ("guard.key", issued.key.clone(), own, "hosts: [c.example]\n"),
        ("store.pem", authority.certificate.pem(), own, &shared),
    ];
    for (name, good, tls, more) in cases {
        let outcomes = (place.reloads("failed"), place.reloads("applied"));
        place.replace(name, "garbage");
        write(tls, more);
        wait_until("the failure", || place.reloads("failed") > outcomes.0);
        place.replace(name, &good);
        wait_until(name, || place.reloads("applied") > outcomes.1);
    }
}

#[test]
fn the_authorities_of_the_machine_are_found_once_they_are_installed() {
    let authority = Authority::new("machine's authority");
    let issued = authority.issue(&[&format!("dns:{NAME}")]);
    let backend = Backend::fine();
    let terminator = Terminator::start(&backend, &Identity::new(&issued));
    let place = Place::new("machine-tls");
    place.write(&place.text(&backend, ""));
    let mut command = place.command(PROGRAM);
    command.env("SSL_CERT_FILE", place.path("machine.pem")).env_remove("SSL_CERT_DIR");
    let guard = place.spawn(command);
    place.wait_ready();
    let text = place.text(&backend, "");
    let server = format!("https://{NAME}:{}", terminator.addr.port());
    place.write(&text.replace(&backend.addr.to_string(), &server));
    guard.reload(&place, "failed");
    assert!(guard.logged().contains("install its package ca-certificates"), "{}", guard.logged());
    place.replace("machine.pem", &authority.certificate.pem());
    guard.reload(&place, "applied");
    assert_eq!(place.status(), 200);
    assert_eq!(terminator.handshakes().len(), 1);
}
