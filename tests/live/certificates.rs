//! Certificates are always watched, and a client whose authority is no longer trusted is
//! disconnected.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::guard::{Guard, Place};
use crate::support::program::PROGRAM;
use crate::support::tls::{Authority, Issued, NAME, Wire, client_config, days};
use crate::support::{Backend, Client, control, wait_until};

fn write(place: &Place, issued: &Issued) {
    place.replace("server.pem", &issued.certificate);
    place.replace("server.key", &issued.key);
}

fn start(place: &Place, backend: &Backend, more: &str) -> Guard {
    let listen = format!(
        "{{address: \"{}\", tls: {{certificates: [{{certificate: server.pem, key: server.key}}]{more}}}}}",
        place.addr
    );
    place.write(&place.text_for(&listen, backend, ""));
    place.start()
}

fn connect(place: &Place, config: &Arc<ClientConfig>) -> Client {
    let stream = TcpStream::connect(place.addr).unwrap();
    Client::over(Wire::tls(stream, Arc::clone(config), NAME))
}

/// The status of one request; `None` if there is no connection.
fn status(client: &mut Client) -> Option<u16> {
    client.send(control());
    client.response_to("POST").map(|answer| answer.status)
}

#[test]
fn a_renewed_certificate_is_used_and_a_faulty_one_is_not() {
    let backend = Backend::fine();
    let place = Place::new("certificates");
    let names = [&*format!("dns:{NAME}")];
    let authorities = [Authority::new("old"), Authority::new("new")];
    let [old, new] = authorities.each_ref().map(|authority| client_config(authority, None, &[]));
    write(&place, &authorities[0].issue(&names));
    let guard = start(&place, &backend, "");
    let mut kept = connect(&place, &old);
    assert_eq!(status(&mut kept), Some(200));
    let renewed = authorities[1].issue(&names);
    // The key of the new certificate does not fit the old certificate.
    place.replace("server.key", &renewed.key);
    let failed = "certificates: the files as they are now are not in use";
    wait_until("the failure", || place.ready().contains(failed));
    let said = "certificates were changed and cannot be used";
    wait_until("the log", || guard.logged().contains(said));
    assert_eq!(status(&mut connect(&place, &old)), Some(200));
    place.replace("server.pem", &renewed.certificate);
    wait_until("the new certificate", || status(&mut connect(&place, &new)) == Some(200));
    assert_eq!(status(&mut connect(&place, &old)), None);
    wait_until("readiness", || !place.ready().contains(failed));
    // Open connections continue, and nothing was reloaded.
    assert_eq!(status(&mut kept), Some(200));
    assert_eq!(place.reloads("applied"), 0.0);
    // A reload finds the certificates that are in use.
    guard.reload(&place, "unchanged");
}

#[test]
fn a_certificate_that_expires_soon_is_a_warning_a_day() {
    let backend = Backend::fine();
    let place = Place::new("expiry");
    let names = [&*format!("dns:{NAME}")];
    let expiring =
        Authority::new("expiring").issue_with(&names, |params| params.not_after = days(10));
    write(&place, &expiring);
    let listen = format!(
        "{{address: \"{}\", tls: {{certificates: [{{certificate: server.pem, key: server.key}}]}}}}",
        place.addr
    );
    place.write(&place.text_for(&listen, &backend, ""));
    // The clock that the guard sees is in a file; timers go on as they are.
    let clock = |ahead: &str| place.replace("clock", &format!("{ahead}\n"));
    clock("+0h");
    let mut command = place.command(PROGRAM);
    command
        .env("LD_PRELOAD", libfaketime())
        .env("FAKETIME_TIMESTAMP_FILE", place.path("clock"))
        .envs([("FAKETIME_NO_CACHE", "1"), ("DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")]);
    let guard = place.spawn(command);
    place.wait_ready();
    let warnings = || -> Vec<String> {
        let messages = guard.messages().into_iter();
        let days = messages.filter_map(|line| {
            let (_, rest) = line.split_once(" expires in ")?;
            Some(rest.split(" days").next()?.to_owned())
        });
        days.collect()
    };
    wait_until("the first warning", || warnings() == ["10"]);
    clock("+25h");
    wait_until("the next day's warning", || warnings() == ["10", "9"]);
    clock("+50h");
    wait_until("that of the day after", || warnings() == ["10", "9", "8"]);
}

/// The library that gives programs another clock.
fn libfaketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut libraries = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    libraries.find(|path| path.exists()).expect("the package libfaketime")
}

#[test]
fn connections_end_when_other_client_certificates_are_accepted() {
    let backend = Backend::fine();
    let place = Place::new("client-ca");
    let server = Authority::new("servers");
    let clients = [Authority::new("before"), Authority::new("after")];
    let [before, after] = clients
        .each_ref()
        .map(|authority| client_config(&server, Some(&authority.issue(&["dns:idp.example"])), &[]));
    write(&place, &server.issue(&[&format!("dns:{NAME}")]));
    std::fs::write(place.path("clients.pem"), clients[0].certificate.pem()).unwrap();
    let guard = start(&place, &backend, ", client_auth: {ca: clients.pem}");
    let mut kept = connect(&place, &before);
    assert_eq!(status(&mut kept), Some(200));
    assert_eq!(status(&mut connect(&place, &after)), None);
    place.replace("clients.pem", &clients[1].certificate.pem());
    wait_until("the new authority", || status(&mut connect(&place, &after)) == Some(200));
    kept.ends();
    assert_eq!(status(&mut connect(&place, &before)), None);
    wait_until("the log", || guard.logged().contains("a listener admits other clients now"));
    // The same after a reload.
    let mut kept = connect(&place, &after);
    assert_eq!(status(&mut kept), Some(200));
    let text = std::fs::read_to_string(place.config()).unwrap();
    place.write(&text.replace("ca: clients.pem", "ca: clients.pem, required: false"));
    guard.reload(&place, "applied");
    kept.ends();
    let anybody = client_config(&server, None, &[]);
    assert_eq!(status(&mut connect(&place, &anybody)), Some(200));
}
