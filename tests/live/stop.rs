//! Stopping while load balancers look for the guard elsewhere.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::guard::Place;
use crate::support::tls::Wire;
use crate::support::{Backend, Client, control, wait_until};

#[test]
fn connections_are_accepted_for_the_delay_while_readiness_fails() {
    let backend = Backend::fine();
    let place = Place::new("delay");
    place.write(&place.text(&backend, "limits: {shutdown_delay: 2s}\n"));
    let mut guard = place.start();
    let mut kept = Client::connect(place.addr);
    let since = Instant::now();
    guard.signal("-TERM");
    wait_until("the stop", || place.ready().starts_with("draining"));
    let mut served = 0;
    // Until the listener closes, every connection is served, and the one that was open before as well.
    while let Ok(stream) = TcpStream::connect(place.addr) {
        let mut client = Client::over(Wire::Plain(stream));
        client.send(control());
        // The kernel may have accepted it in the moment in which the listener was closed.
        let Some(answer) = client.response_to("POST") else { break };
        assert_eq!(answer.status, 200);
        if served < 3 {
            kept.send(control());
            assert_eq!(kept.response().status, 200);
            assert!(place.ready().starts_with("draining"));
        }
        served += 1;
    }
    assert!(served > 3 && since.elapsed() >= Duration::from_secs(2), "{served} connections");
    assert_eq!(guard.exit_code(), Some(0));
    let log = guard.logged();
    assert!(
        log.contains("connections are accepted for another 2s (limits.shutdown_delay)"),
        "{log}"
    );
}

#[test]
fn a_second_signal_ends_the_delay() {
    let backend = Backend::fine();
    let place = Place::new("delay-cut");
    place.write(&place.text(&backend, "limits: {shutdown_delay: 1h}\n"));
    let mut guard = place.start();
    guard.signal("-TERM");
    wait_until("the stop", || place.ready().starts_with("draining"));
    assert_eq!(place.status(), 200);
    guard.signal("-TERM");
    assert_eq!(guard.exit_code(), Some(0));
    assert!(guard.logged().contains("stopped at once by a second signal"));
}
