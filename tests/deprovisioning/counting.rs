//! When a place is reserved, released and kept.

use std::sync::Mutex;
use std::time::Duration;

use wire_scim_guard::deprovisioning::Limit;
use wire_scim_guard::policy::Action;

use crate::requests::{
    HELD, TOTAL, USED, ask, at_most, by, deactivate, delete, get, limited, limited_with, patch,
    path, put,
};
use crate::support::{
    Backend, Client, Guarded, OTHER, Reply, Seen, TOKEN, answer, entry, ok, registry_file,
    unused_addr, wait_until,
};

/// A backend that answers every request with this status.
fn answering(status: u16) -> Backend {
    Backend::start(move |_| Reply::Bytes(answer(status, "{}")))
}

/// How many different users a backend was asked to delete.
fn deleted(backend: &Backend) -> usize {
    let seen = backend.seen();
    let mut lines: Vec<&str> =
        seen.iter().map(Seen::line).filter(|line| line.starts_with("DELETE")).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.len()
}

#[test]
fn over_the_limit_nothing_is_forwarded_and_the_answer_says_what_to_do() {
    let backend = Backend::fine();
    let guarded = limited(&backend, 2);
    assert_eq!(guarded.ask(delete(1)).status, 200);
    assert_eq!(guarded.ask(deactivate(2)).status, 200);
    let held = guarded.ask(delete(3));
    held.refused(HELD);
    let wait: u32 = held.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    let detail = held.json()["detail"].as_str().unwrap().to_owned();
    for part in ["did not reach Wire", "2 users in 1h", "in the configuration", "operator"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert_eq!(backend.seen().len(), 2);
    assert_eq!((guarded.metric(USED), guarded.metric(TOTAL)), (2.0, 2.0));
    assert_eq!(guarded.metric("scim_guard_deprovisioning_limit{token=\"other\"}"), 2.0);
    let hits = "scim_guard_rule_hits_total{action=\"enforce\",rule=\"limits.deprovisioning\"}";
    assert_eq!(guarded.metric(hits), 1.0);
    // Lines of requests on other connections may be written later than this one.
    let line = || guarded.access_lines().into_iter().find(|line| line["rule"] == HELD);
    wait_until("the line of the refusal", || line().is_some());
    assert_eq!(line().unwrap()["status"], 429);
    // The connection stays open.
    let mut client = guarded.client();
    assert_eq!(ask(&mut client, &put(3, "false")), (429, HELD.to_owned()));
    assert_eq!(ask(&mut client, &put(3, "true")).0, 200);
}

#[test]
fn a_user_who_is_counted_costs_nothing_again() {
    let backend = Backend::fine();
    let guarded = limited(&backend, 2);
    for _ in 0..5 {
        assert_eq!(guarded.ask(delete(1)).status, 200);
        assert_eq!(guarded.ask(deactivate(2)).status, 200);
        assert_eq!(guarded.ask(put(2, "false")).status, 200);
    }
    // Deactivated, then deleted: the same user.
    assert_eq!(guarded.ask(delete(2)).status, 200);
    assert_eq!((guarded.metric(USED), guarded.metric(TOTAL)), (2.0, 2.0));
    guarded.ask(delete(3)).refused(HELD);
}

#[test]
fn a_refusal_of_wire_releases_the_place_and_a_failure_keeps_it() {
    for (status, kept) in [
        (400, 0.0),
        (401, 0.0),
        (404, 0.0),
        (420, 0.0),
        (429, 0.0),
        (204, 1.0),
        (500, 1.0),
        (503, 1.0),
    ] {
        let backend = answering(status);
        let guarded = limited(&backend, 1);
        let mut client = guarded.client();
        client.send(delete(1));
        client.response_to("HEAD").unwrap();
        guarded.wait_metric(USED, kept);
        assert_eq!(guarded.metric(TOTAL), kept, "{status}");
        let next = guarded.ask(delete(2));
        assert_eq!(next.rule() == HELD, kept == 1.0, "{status}: {}", next.head);
    }
}

#[test]
fn a_refused_retry_does_not_release_the_place_of_an_earlier_request() {
    let statuses = Mutex::new([500, 404].into_iter());
    let backend = Backend::start(move |_| {
        let status = statuses.lock().unwrap().next().unwrap_or(200);
        Reply::Bytes(answer(status, "{}"))
    });
    let guarded = limited(&backend, 1);
    assert_eq!(guarded.ask(delete(1)).status, 500);
    assert_eq!(guarded.ask(delete(1)).status, 404);
    guarded.ask(delete(2)).refused(HELD);
}

#[test]
fn a_timeout_and_a_lost_connection_keep_the_place_and_an_unreachable_backend_does_not() {
    for reply in [Reply::Stall, Reply::Reset] {
        let backend = Backend::start(move |_| reply.clone());
        let guarded = limited_with(&backend, 1, |config| {
            config.limits.upstream_timeout = Duration::from_millis(100);
        });
        assert!(guarded.ask(deactivate(1)).status >= 502);
        guarded.wait_metric(USED, 1.0);
        guarded.ask(delete(2)).refused(HELD);
    }
    let nobody = unused_addr();
    let guarded = Guarded::configured(&[nobody], |config| config.deprovisioning = Some(at_most(1)));
    for user in 1..4 {
        guarded.ask(delete(user)).refused("upstream.connect");
        guarded.wait_metric(USED, 0.0);
    }
    assert_eq!(guarded.metric(TOTAL), 0.0);
}

#[test]
fn tokens_are_counted_separately() {
    let backend = Backend::fine();
    let guarded = limited(&backend, 1);
    assert_eq!(guarded.ask(delete(1)).status, 200);
    guarded.ask(delete(2)).refused(HELD);
    assert_eq!(guarded.ask(by(OTHER, &delete(2))).status, 200);
    guarded.ask(by(OTHER, &delete(1))).refused(HELD);
    assert_eq!(guarded.metric(USED), 2.0);
}

#[test]
fn concurrent_requests_never_exceed_the_limit() {
    const CLIENTS: usize = 16;
    let backend = Backend::fine();
    let guarded = limited(&backend, 50);
    let passed: usize = std::thread::scope(|scope| {
        let run = |first: usize| {
            let mut client = guarded.client();
            (0..25).filter(|at| ask(&mut client, &delete(first * 25 + at)).0 == 200).count()
        };
        let clients: Vec<_> = (0..CLIENTS).map(|first| scope.spawn(move || run(first))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!((passed, deleted(&backend)), (50, 50));
}

#[test]
fn a_rate_below_the_limit_is_never_refused() {
    let backend = Backend::fine();
    let guarded = limited_with(&backend, 2, |config| {
        config.deprovisioning = Some(Limit { at_most: 2, within: Duration::from_secs(1) });
    });
    for user in 0..6 {
        wait_until("a place", || guarded.metric(USED) < 2.0);
        assert_eq!(guarded.ask(delete(user)).status, 200);
    }
    assert_eq!(guarded.metric(TOTAL), 6.0);
}

#[test]
fn a_rule_that_only_reports_refuses_nothing() {
    let backend = Backend::fine();
    let guarded = limited_with(&backend, 1, |config| {
        config.policy.set(HELD, Action::Report).unwrap();
    });
    for user in 0..3 {
        assert_eq!(guarded.ask(delete(user)).status, 200);
    }
    assert_eq!(deleted(&backend), 3);
    let hits = "scim_guard_rule_hits_total{action=\"report\",rule=\"limits.deprovisioning\"}";
    assert_eq!(guarded.metric(hits), 2.0);
    guarded.wait_metric(TOTAL, 3.0);
    assert_eq!(guarded.metric(USED), 1.0);
    let reported = || {
        let lines = guarded.access_lines().into_iter();
        lines.filter(|line| line["reported"] == serde_json::json!([HELD])).count()
    };
    wait_until("the lines of what was reported", || reported() == 2);
}

#[test]
fn an_entry_of_the_registry_overrides_the_configured_limit() {
    let backend = Backend::fine();
    let path = registry_file(&[
        entry("strict", TOKEN, "deprovisioning: {at_most: 1, within: 2h}"),
        entry("plain", OTHER, ""),
    ]);
    let guarded = limited_with(&backend, 2, |config| config.tokens = Some(path));
    assert_eq!(guarded.ask(delete(1)).status, 200);
    let held = guarded.ask(delete(2));
    held.refused(HELD);
    let detail = held.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains(
            "1 users in 2h are the most, by the limit `deprovisioning` of the token's entry strict"
        ),
        "{detail}"
    );
    assert!(detail.contains("wire-scim-guard deprovisioning allow"), "{detail}");
    assert_eq!(guarded.ask(by(OTHER, &delete(3))).status, 200);
    assert_eq!(guarded.ask(by(OTHER, &delete(4))).status, 200);
    let held = guarded.ask(by(OTHER, &delete(5)));
    held.refused(HELD);
    let detail = held.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("2 users in 1h") && detail.contains("--label plain"), "{detail}");
    let series = |name: &str, token: &str| guarded.metric(&format!("{name}{{token=\"{token}\"}}"));
    assert_eq!(series("scim_guard_deprovisioning_used", "strict"), 1.0);
    assert_eq!(series("scim_guard_deprovisioning_used", "plain"), 2.0);
    assert_eq!(series("scim_guard_deprovisioning_limit", "plain"), 2.0);
    assert_eq!(series("scim_guard_deprovisioned_total", "strict"), 1.0);
}

#[test]
fn the_page_shows_what_is_used() {
    let backend = Backend::fine();
    let path = registry_file(&[
        entry("one", TOKEN, "deprovisioning: {at_most: 1, within: 2h}"),
        entry("two", OTHER, "deprovisioning: {at_most: 9, within: 24h}"),
    ]);
    let guarded = limited_with(&backend, 2, |config| config.tokens = Some(path));
    let page = |path: &str| {
        let mut client = Client::connect(guarded.running.as_ref().unwrap().admin_addr());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client.response()
    };
    let shown = || String::from_utf8(page("/").body).unwrap();
    assert!(!shown().contains("Users deleted or deactivated"));
    assert_eq!(guarded.ask(by(OTHER, &delete(1))).status, 200);
    assert_eq!(guarded.ask(delete(2)).status, 200);
    assert_eq!(
        page("/i/state").json()["deprovisioning"],
        serde_json::json!([
            {"token": "one", "used": 1, "at_most": 1, "within": "2h", "total": 1},
            {"token": "two", "used": 1, "at_most": 9, "within": "24h", "total": 1},
        ])
    );
    assert!(shown().contains("Users deleted or deactivated") && shown().contains("9 in 24h"));
}

#[test]
fn without_a_limit_there_is_none_and_nothing_is_counted() {
    let backend = Backend::start(|_| ok("{}"));
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    for user in 0..200 {
        assert_eq!(ask(&mut client, &delete(user)).0, 200);
    }
    let text = guarded.running.as_ref().unwrap().metrics().text();
    assert!(!String::from_utf8(text).unwrap().contains("scim_guard_deprovision"));
}

#[test]
fn a_run_of_the_bridge_is_stopped_while_other_clients_continue() {
    let backend = Backend::fine();
    let guarded = limited(&backend, 50);
    let mut client = guarded.client();
    let mut other = guarded.client();
    let mut held = 0;
    // The bridge looks every user up, and then deletes 500 of 600 and updates the rest.
    for user in 0..600 {
        assert_eq!(ask(&mut client, &get(user)).0, 200);
        if user % 6 == 0 {
            assert_eq!(ask(&mut client, &put(user, "")).0, 200);
            continue;
        }
        match ask(&mut client, &delete(user)) {
            (200, _) => {}
            (429, rule) if rule == HELD => held += 1,
            other => panic!("{user}: {other:?}"),
        }
        if user % 20 == 1 {
            let name = patch(user, r#"{"op":"replace","path":"displayName","value":"N"}"#);
            assert_eq!(ask(&mut client, &name).0, 200);
            assert_eq!(ask(&mut other, &by(OTHER, &delete(user))).0, 200);
        }
    }
    assert_eq!((held, guarded.metric(TOTAL)), (450, 80.0));
    let by_bridge = |seen: &&Seen| seen.line().starts_with("DELETE") && seen.head.contains(TOKEN);
    assert_eq!(backend.seen().iter().filter(by_bridge).count(), 50);
    assert!(
        !backend
            .seen()
            .iter()
            .any(|seen| seen.line().contains(&path(599)) && seen.line().starts_with("DELETE"))
    );
}
