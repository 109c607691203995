//! SIGUSR2: another program takes over, and no connection fails.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::guard::{Guard, Place};
use crate::load::{Ask, Load};
use crate::support::program::{PROGRAM, send_signal};
use crate::support::{Backend, Client, control, wait_until};

fn is_running(process: u32) -> bool {
    // A process that has ended and was not waited for is a zombie.
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

/// Upgrades, and returns the new process when the old one has ended.
fn upgrade(guard: &Guard, process: u32) -> u32 {
    let before = guard.successors().len();
    send_signal("-USR2", process);
    wait_until("the new process", || guard.successors().len() > before);
    guard.successors()[before]
}

#[test]
fn ten_upgrades_under_load_fail_no_connection() {
    let backend = Backend::fine();
    let place = Place::new("upgrades");
    place.write(&place.text(&backend, "log: {access: false}\n"));
    let mut guard = place.start();
    let asks = [Ask { request: control(), expect: |status, _| status == 200 }];
    let load = Load::default();
    let mut process = guard.child.id();
    std::thread::scope(|scope| {
        load.run(scope, place.addr, &asks);
        load.run(scope, place.addr, &asks);
        for _ in 0..10 {
            load.wait(100);
            process = upgrade(&guard, process);
        }
        load.wait(100);
        load.stop();
    });
    assert_eq!(load.failed(), Vec::<String>::new());
    assert_eq!(guard.exit_code(), Some(0));
    let successors = guard.successors();
    assert_eq!(successors.len(), 10);
    wait_until("the old processes to end", || {
        successors.iter().filter(|process| is_running(**process)).count() == 1
    });
    assert!(guard.logged().contains("rates, refused tokens and counts of failures start empty"));
    send_signal("-TERM", process);
    wait_until("the last one to end", || !is_running(process));
    assert_eq!(load.answered(), backend.seen().len());
}

#[test]
fn requests_in_flight_finish_in_the_old_process() {
    let (backend, go) = Backend::slow();
    let place = Place::new("upgrade-in-flight");
    place.write(&place.text(&backend, "other_paths: forward\n"));
    let mut guard = place.start();
    let mut busy = Client::connect(place.addr);
    busy.send("GET /Slow HTTP/1.1\r\nHost: wire.example\r\n\r\n");
    backend.wait(1);
    let new = upgrade(&guard, guard.child.id());
    // The new process answers clients, scrapes and probes.
    wait_until("the new process to answer", || place.ready().starts_with("ready"));
    for _ in 0..20 {
        assert!(place.ready().starts_with("ready"));
        assert_eq!(place.status(), 200);
    }
    assert!(is_running(guard.child.id()));
    go.send(()).unwrap();
    assert_eq!(busy.response().status, 200);
    assert_eq!(guard.exit_code(), Some(0));
    assert!(is_running(new));
}

/// A copy of the program, which a test may remove.
fn installed(place: &Place) -> PathBuf {
    let path = place.path("wire-scim-guard");
    std::fs::copy(PROGRAM, &path).unwrap();
    path
}

/// Upgrades, and asserts that this fails for a reason and that the old process continues to serve.
fn fails(place: &Place, guard: &Guard, why: &str) {
    let series = "scim_guard_program_upgrades_total{outcome=\"failed\"}";
    let before = place.metric(series);
    guard.signal("-USR2");
    // The process that is started answers some of the scrapes before it fails.
    wait_until("the failure", || {
        guard.messages().iter().filter(|line| line.contains("the upgrade failed")).count() as f64
            > before
    });
    assert_eq!(place.metric(series), before + 1.0);
    let messages = guard.messages();
    let said = messages.iter().rfind(|line| line.contains("the upgrade failed")).unwrap();
    assert!(said.contains(why), "{said}");
    assert_eq!(place.status(), 200);
}

#[test]
fn a_process_that_does_not_become_ready_is_ended_and_the_old_one_continues() {
    let backend = Backend::fine();
    let place = Place::new("upgrade-failures");
    let good = place.text(&backend, "");
    place.write(&good);
    let program = installed(&place);
    let guard = place.spawn(place.command(&program));
    place.wait_ready();
    place.write("listen: 7\n");
    fails(
        &place,
        &guard,
        "it ended before it was ready; its own messages say why (exit status: 2)",
    );
    assert!(
        guard.logged().contains(&format!("{}:1:", place.config().display())),
        "{}",
        guard.logged()
    );
    place.write(&good);
    std::fs::remove_file(&program).unwrap();
    fails(
        &place,
        &guard,
        &format!("cannot start {}: No such file or directory", program.display()),
    );
    std::fs::write(&program, "#!/bin/sh\nkill -ABRT $$\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    fails(&place, &guard, "it ended before it was ready; its own messages say why (signal: 6");
    // A package upgrade replaces the running program by another file.
    std::fs::remove_file(&program).unwrap();
    installed(&place);
    upgrade(&guard, guard.child.id());
    wait_until("the new process to answer", || place.status() == 200);
}

#[test]
fn a_second_upgrade_is_refused_and_a_stop_ends_the_one_in_progress() {
    let backend = Backend::fine();
    let place = Place::new("upgrade-twice");
    place.write(&place.text(&backend, ""));
    let program = installed(&place);
    let mut guard = place.spawn(place.command(&program));
    place.wait_ready();
    // The new program never becomes ready.
    std::fs::remove_file(&program).unwrap();
    let pid = place.path("pid");
    std::fs::write(&program, format!("#!/bin/sh\necho $$ >{}\nexec sleep 1000\n", pid.display()))
        .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    guard.signal("-USR2");
    let started = || std::fs::read_to_string(&pid).ok()?.trim().parse::<u32>().ok();
    wait_until("the new process", || started().is_some());
    guard.signal("-USR2");
    wait_until("the refusal", || {
        guard.logged().contains("SIGUSR2 is ignored: an upgrade is under way")
    });
    assert_eq!(place.metric("scim_guard_program_upgrades_total{outcome=\"refused\"}"), 1.0);
    assert_eq!(place.status(), 200);
    guard.signal("-TERM");
    assert_eq!(guard.exit_code(), Some(0));
    assert!(!is_running(started().unwrap()));
}

#[test]
fn process_1_of_a_container_is_not_replaced() {
    let backend = Backend::fine();
    let place = Place::new("upgrade-process-1");
    place.write(&place.text(&backend, ""));
    let id = Command::new("id").arg("-u").output().unwrap();
    let mut command = Command::new("unshare");
    if id.stdout != b"0\n" {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--pid", "--fork", "--kill-child", PROGRAM, "serve", "--config"]);
    command.arg(place.config());
    let outer = place.spawn(command);
    place.wait_ready();
    let children =
        Command::new("pgrep").args(["-P", &outer.child.id().to_string()]).output().unwrap();
    let guard: u32 = String::from_utf8(children.stdout).unwrap().trim().parse().unwrap();
    send_signal("-USR2", guard);
    wait_until("the refusal", || {
        place.metric("scim_guard_program_upgrades_total{outcome=\"refused\"}") > 0.0
    });
    let said = "SIGUSR2 is ignored: an upgrade needs a process of its own to be replaced, and this one is process 1";
    assert!(outer.logged().contains(said));
    assert_eq!(place.status(), 200);
}

#[test]
fn an_upgrade_applies_what_a_reload_cannot_change() {
    let backend = Backend::fine();
    let place = Place::new("upgrade-config");
    place.write(&place.text(&backend, ""));
    let guard = place.start();
    let mut moved = Place::new("upgrade-config-moved");
    moved.addr = place.addr;
    place.write(&moved.text(&backend, "").replace("threads: 2", "threads: 1"));
    upgrade(&guard, guard.child.id());
    moved.wait_ready();
    assert_eq!(moved.status(), 200);
    wait_until("the old listener to close", || std::net::TcpStream::connect(place.admin).is_err());
    assert!(guard.logged().contains("a listener of the replaced process is closed"));
}
