//! Which lines are logged, and in which format.

use wire_scim_guard::config::{AccessLines, Log, LogFormat};
use wire_scim_guard::fraction::Fraction;
use wire_scim_guard::repair::{Repair, Repairs};

use crate::support::program::Place;
use crate::support::{Backend, Guarded, USER, control, head, user, wait_until, with_length};

#[test]
fn with_sampling_refused_requests_are_always_logged_and_others_by_share() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.log.access = AccessLines::Sample(Fraction::parse("0.25").unwrap());
    });
    let mut client = guarded.client();
    for _ in 0..8 {
        client.send(control());
        assert_eq!(client.response().status, 200);
    }
    for _ in 0..3 {
        client.send(with_length("POST", "/scim/v2/Users", b"{"));
        client.response().refused("json.syntax");
    }
    guarded.wait_metric("scim_guard_request_duration_seconds_count", 11.0);
    let count = |verdict: &str| {
        guarded.access_lines().iter().filter(|line| line["verdict"] == verdict).count()
    };
    wait_until("the last line", || count("refused") == 3);
    assert_eq!(count("forwarded"), 2);
}

#[test]
fn with_sampling_failed_and_audited_requests_are_always_logged() {
    let backend = Backend::start(|seen| match seen.line().starts_with("GET") {
        true => crate::support::Reply::Reset,
        false => crate::support::ok("{}"),
    });
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.log.access = AccessLines::Sample(Fraction::NONE);
        config.audit = Some(wire_scim_guard::config::Audit::default());
    });
    assert_eq!(guarded.ask(head("GET", USER) + "\r\n").status, 502);
    assert_eq!(guarded.access_line(1)["verdict"], "failed");
    assert_eq!(guarded.ask(control()).status, 200);
    assert_eq!(guarded.access_line(2)["verdict"], "forwarded");
}

#[test]
fn a_repaired_request_is_always_logged_audited_and_shown_with_its_repair() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.log.access = AccessLines::Sample(Fraction::NONE);
        config.audit = Some(wire_scim_guard::config::Audit::default());
        config.repairs = Some(Repairs::of(&[Repair::Language]));
    });
    let body = String::from_utf8(user(300)).unwrap();
    let body = body.replace("{\"", "{\"preferredLanguage\":\"DE\",\"");
    assert_eq!(guarded.ask(with_length("PUT", USER, body.as_bytes())).status, 200);
    assert_eq!(guarded.access_line(1)["repaired"][0], "language");
    wait_until("an audit line", || !guarded.audit_lines().is_empty());
    let line = &guarded.audit_lines()[0];
    assert_eq!(line["repaired"][0], "language");
    assert_eq!(line["attributes"][0], "preferredLanguage");
    let repairs = guarded.running.as_ref().unwrap().metrics().activity().repairs();
    assert_eq!((repairs[0].repair, repairs[0].lately), ("language", 1));
    assert_eq!(repairs[0].example, "PUT /scim/v2/Users/:uid");
}

#[test]
fn lines_have_the_time_if_configured() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| config.log.time = true);
    assert_eq!(guarded.ask(control()).status, 200);
    let line = guarded.access_line(1);
    let time = line["time"].as_str().unwrap();
    let time = time::OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339);
    let age = time::OffsetDateTime::now_utc() - time.unwrap();
    assert!(age.whole_seconds() < 60, "{line}");
    assert_eq!((&line["level"], &line["status"]), (&"Info".into(), &200.into()));
}

#[test]
fn lines_are_text_if_configured() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.log = Log { format: LogFormat::Text, ..Log::default() };
    });
    guarded
        .ask(with_length(
            "POST",
            "/scim/v2/Users",
            br#"{"userName":"a b","externalId":"a@example.com"}"#,
        ))
        .refused("user.user_name");
    wait_until("a line", || guarded.logged().ends_with('\n'));
    let line = guarded.logged();
    let begin = "Info  POST /scim/v2/Users 400 refused by user.user_name at userName in ";
    assert!(line.starts_with(begin), "{line}");
    assert!(line.contains(" ms from 127.0.0.1 request "), "{line}");
}

#[test]
fn the_program_writes_all_lines_as_configured() {
    let backend = Backend::fine();
    let place = Place::new("log-form", &backend, "log: {format: text, time: true}\n");
    let mut guard = place.run_logged("exec \"$@\"");
    assert_eq!(place.status(), 200);
    guard.signal("-TERM");
    assert_eq!(guard.exit_code(), Some(0));
    let text = place.logged();
    for part in [
        "Z Info  ready listen=[",
        "Z Info  POST /scim/v2/Users 200 forwarded in ",
        "Z Info  stopped",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|line| line.starts_with("20")), "{text}");
}

#[test]
fn a_reload_changes_the_format_of_lines_and_enables_the_audit_log() {
    let backend = Backend::fine();
    let place = Place::new("log-reload", &backend, "");
    let guard = place.run_logged("exec \"$@\"");
    assert_eq!(place.status(), 200);
    let config = std::fs::read_to_string(&place.config).unwrap();
    let changed = format!("{config}log: {{format: text, audit: true, access: false}}\n");
    std::fs::write(&place.config, changed).unwrap();
    guard.signal("-HUP");
    wait_until("the reload", || place.logged().contains("the config was reloaded"));
    assert_eq!(place.status(), 200);
    wait_until("an audit line", || place.logged().contains("Info  audit: create user"));
    let text = place.logged();
    let (before, after) = text.split_once("the config was reloaded").unwrap();
    assert!(before.contains("\"handler\":\"/scim/v2/Users\""), "{before}");
    assert!(!after.contains("{\"level\""), "{after}");
}

#[test]
fn a_reload_names_what_needs_a_restart() {
    let backend = Backend::fine();
    let place = Place::new("log-restart", &backend, "");
    let guard = place.run_logged("exec \"$@\"");
    let config = std::fs::read_to_string(&place.config).unwrap();
    let more =
        "metrics: {wire_dashboard: true}\ntracing: {otlp: \"http://127.0.0.1:9\", sample: 0.5}\n";
    std::fs::write(&place.config, config + more).unwrap();
    guard.signal("-HUP");
    wait_until("the reload", || place.logged().contains("a reload cannot change"));
    let text = place.logged();
    for part in [
        "metrics.wire_dashboard (in use: false; now in the file: true)",
        "tracing (in use: none; now in the file: 0.5 of http://127.0.0.1:9)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
