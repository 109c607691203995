//! TLS to the backend: no connection or session that was made with other files is reused.

use crate::guard::Place;
use crate::support::tls::Authority;
use crate::support::{Backend, control, wait_until};
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
