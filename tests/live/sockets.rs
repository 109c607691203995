//! Listening sockets that systemd opens, and notifications to systemd.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use crate::guard::{Guard, Place};
use crate::load::{Ask, Load};
use crate::support::program::PROGRAM;
use crate::support::{Backend, WAIT_TIMEOUT, control, wait_until};

#[test]
fn a_restart_with_given_sockets_refuses_no_connection() {
    let backend = Backend::fine();
    let place = Place::new("activation");
    place.write(&place.text(&backend, "log: {access: false}\n"));
    let sockets = [TcpListener::bind(place.addr).unwrap(), TcpListener::bind(place.admin).unwrap()];
    let start = || place.spawn_with(place.command(PROGRAM), &sockets.each_ref());
    let mut guard = start();
    let asks = [Ask { request: control(), expect: |status, _| status == 200 }];
    let load = Load::default();
    std::thread::scope(|scope| {
        load.run(scope, place.addr, &asks);
        for _ in 0..5 {
            load.wait(100);
            guard.signal("-TERM");
            assert_eq!(guard.exit_code(), Some(0));
            guard = start();
        }
        load.wait(100);
        load.stop();
    });
    assert_eq!(load.failed(), Vec::<String>::new());
}

#[test]
fn it_is_activated_by_systemds_own_program() {
    let backend = Backend::fine();
    let place = Place::new("activate");
    place.write(&place.text(&backend, ""));
    let mut command = Command::new("systemd-socket-activate");
    command.args(["-l", &place.addr.to_string()]).arg(PROGRAM);
    command.args(["serve", "--config"]).arg(place.config());
    let mut guard = place.spawn(command);
    wait_until("the socket", || std::net::TcpStream::connect(place.addr).is_ok());
    assert_eq!(place.status(), 200);
    guard.signal("-TERM");
    assert_eq!(guard.exit_code(), Some(0));
}

#[test]
fn sockets_that_the_config_does_not_name_prevent_the_start() {
    let backend = Backend::fine();
    let place = Place::new("leftover");
    place.write(&place.text(&backend, ""));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = TcpListener::bind(place.addr).unwrap();
    let client = std::net::TcpStream::connect(place.addr).unwrap();
    let connection = TcpListener::from(std::os::fd::OwnedFd::from(own.accept().unwrap().0));
    let mut guard = place.spawn_with(place.command(PROGRAM), &[&other, &connection]);
    assert_eq!(guard.exit_code(), Some(2));
    let log = guard.logged();
    let left = format!(
        "LISTEN_FDS: the socket {} is neither in listen ({}) nor admin.listen ({}); correct the config or the .socket \
         unit",
        other.local_addr().unwrap(),
        place.addr,
        place.admin
    );
    assert!(log.contains(&left), "{log}");
    assert!(
        log.contains(&format!("LISTEN_FDS: the socket {} cannot be listened on", place.addr)),
        "{log}"
    );
    drop(client);
    // Sockets that are meant for another process are not touched.
    drop((own, connection));
    let mut command = place.command(PROGRAM);
    command.env("LISTEN_PID", "1");
    let _guard = place.spawn_with(command, &[&other]);
    place.wait_ready();
    assert_eq!(place.status(), 200);
}

/// What systemd would receive.
struct Manager(UnixDatagram, std::path::PathBuf);

impl Manager {
    fn new(place: &Place) -> Self {
        let path = place.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        Self(socket, path)
    }

    fn start(&self, place: &Place) -> Guard {
        let mut command = place.command(PROGRAM);
        command.env("NOTIFY_SOCKET", &self.1);
        place.spawn(command)
    }

    fn next(&self) -> String {
        let mut message = [0; 1024];
        let length = self.0.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }
}

#[test]
fn systemd_is_notified_of_start_reload_upgrade_and_stop() {
    let backend = Backend::fine();
    let place = Place::new("notify");
    place.write(&place.text(&backend, ""));
    let manager = Manager::new(&place);
    let mut guard = manager.start(&place);
    assert_eq!(manager.next(), "READY=1\n");
    guard.signal("-HUP");
    let reloading = manager.next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(manager.next(), "READY=1\n");
    guard.signal("-USR2");
    let main = manager.next();
    assert_eq!(guard.exit_code(), Some(0));
    let new = guard.successors()[0];
    assert_eq!(main, format!("MAINPID={new}\nREADY=1\n"));
    crate::support::program::send_signal("-TERM", new);
    // The old process did not report that the service stops.
    assert_eq!(manager.next(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000\n");
}

#[test]
fn systemd_waits_for_a_stop_that_takes_longer_than_the_unit_says() {
    let backend = Backend::fine();
    let place = Place::new("notify-stop");
    place.write(&place.text(&backend, "limits: {shutdown_delay: 1h, shutdown_timeout: 1h}\n"));
    let manager = Manager::new(&place);
    let guard = manager.start(&place);
    assert_eq!(manager.next(), "READY=1\n");
    guard.signal("-TERM");
    assert_eq!(manager.next(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=7215000000\n");
}

#[test]
fn the_units_are_valid() {
    let verify = Command::new("systemd-analyze")
        .args([
            "verify",
            "--man=no",
            "conf/systemd/wire-scim-guard.service",
            "conf/systemd/wire-scim-guard.socket",
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // Unknown keys do not change the exit code. The program is not installed where the tests run.
    let errors = String::from_utf8(verify.stderr).unwrap();
    let errors: Vec<_> = errors
        .lines()
        .filter(|line| !line.contains("/usr/local/bin/wire-scim-guard is not executable"))
        .collect();
    assert_eq!(errors, Vec::<&str>::new());
}
