//! The token registry: every key of an entry, and changes of the file.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wire_scim_guard::config::file;
use wire_scim_guard::policy::Action;

use crate::support::{
    Backend, Guarded, OTHER, TOKEN, entry, registry_file, registry_yaml, wait_until, with_length,
};
use crate::{GROUP, USER, get, request, token};

fn guarded(backend: &Backend, entries: &[String]) -> Guarded {
    let path = registry_file(entries);
    Guarded::configured(&[backend.addr], |config| config.tokens = Some(path))
}

fn admin(guarded: &Guarded, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let addr = guarded.running.as_ref().unwrap().admin_addr();
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Replaces a file atomically.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[test]
fn an_empty_registry_refuses_every_token_and_a_missing_one_forwards_them() {
    let backend = Backend::fine();
    let empty = guarded(&backend, &[]);
    for token in [TOKEN, OTHER] {
        empty.ask(get(token)).refused("token.unknown");
    }
    // Discovery needs no token and is not subject to the registry.
    assert_eq!(empty.ask(request("GET", "/scim/v2/Schemas", OTHER, "")).status, 200);
    assert_eq!(backend.seen().len(), 1);
    assert_eq!(Guarded::before(&backend).ask(get(OTHER)).status, 200);
}

#[test]
fn a_token_expires_while_the_guard_runs() {
    let backend = Backend::fine();
    let end = SystemTime::now() + Duration::from_secs(5);
    let expires = OffsetDateTime::from(end).format(&Rfc3339).unwrap();
    let guarded = guarded(&backend, &[entry("short", TOKEN, &format!("expires: \"{expires}\""))]);
    assert_eq!(guarded.ask(get(TOKEN)).status, 200);
    wait_until("the token to expire", || guarded.ask(get(TOKEN)).status == 401);
    assert!(SystemTime::now() >= end);
    guarded.ask(get(TOKEN)).refused("token.expired");
}

#[test]
fn networks_apply_to_the_client_address_behind_trusted_proxies() {
    let backend = Backend::fine();
    let path =
        registry_file(&[entry("office", TOKEN, "networks: [203.0.113.0/24, \"2001:db8::/32\"]")]);
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.tokens = Some(path);
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let from = |client: &str| {
        guarded.ask(request("GET", USER, TOKEN, &format!("X-Forwarded-For: {client}\r\n")))
    };
    for client in ["203.0.113.255", "198.51.100.1, 203.0.113.0", "2001:db8:1::1"] {
        assert_eq!(from(client).status, 200, "{client}");
    }
    for client in ["203.0.114.0", "203.0.113.1, 198.51.100.1", "2001:db9::1", "nobody"] {
        from(client).refused("token.network");
    }
    assert_eq!(backend.seen().len(), 3);
}

#[test]
fn only_operations_of_the_entry_are_allowed() {
    let backend = Backend::fine();
    let guarded = guarded(
        &backend,
        &[
            entry("reader", TOKEN, "methods: [GET]"),
            entry(
                "no-delete-no-groups",
                OTHER,
                "methods: [GET, POST, PUT, PATCH], resources: [Users]",
            ),
        ],
    );
    let patch = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[]}"#;
    for (method, target, token, allowed) in [
        ("GET", USER, TOKEN, true),
        ("HEAD", USER, TOKEN, true),
        ("GET", GROUP, TOKEN, true),
        ("PATCH", USER, TOKEN, false),
        ("DELETE", USER, TOKEN, false),
        ("GET", USER, OTHER, true),
        ("PATCH", USER, OTHER, true),
        ("DELETE", USER, OTHER, false),
        ("GET", GROUP, OTHER, false),
        ("DELETE", GROUP, OTHER, false),
        ("GET", "/v8/scim/v2/Groups/", OTHER, false),
        ("GET", "/scim/v2/ResourceTypes", OTHER, true),
    ] {
        let body = if method == "PATCH" { patch } else { "" };
        let lines = "Content-Type: application/scim+json\r\n";
        let length = format!("{lines}Content-Length: {}\r\n", body.len());
        let mut client = guarded.client();
        client.send(request(method, target, token, &length) + body);
        let answer = client.response_to(method).unwrap();
        let expected = if allowed { (200, "-") } else { (403, "token.operation") };
        assert_eq!((answer.status, answer.rule()), expected, "{method} {target}");
    }
}

#[test]
fn rates_are_per_token_and_set_retry_after() {
    let backend = Backend::fine();
    let guarded = guarded(&backend, &[entry("slow", TOKEN, "rate: 3/h"), entry("free", OTHER, "")]);
    for _ in 0..3 {
        assert_eq!(guarded.ask(get(TOKEN)).status, 200);
    }
    let refused = guarded.ask(get(TOKEN));
    refused.refused("token.rate");
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1100..=1200).contains(&wait), "{wait}");
    for _ in 0..10 {
        assert_eq!(guarded.ask(get(OTHER)).status, 200);
    }
    assert_eq!(backend.seen().len(), 13);
}

#[test]
fn the_identity_of_a_token_decides_how_its_users_are_judged() {
    let backend = Backend::fine();
    let guarded = guarded(
        &backend,
        &[
            entry("by-email", TOKEN, "identity: email"),
            entry("by-saml", OTHER, "identity: saml"),
            entry("by-either", &token(7), ""),
        ],
    );
    let post = |token: &str, body: &str| {
        let bytes = with_length("POST", "/scim/v2/Users", body.as_bytes());
        let text = String::from_utf8(bytes).unwrap().replace(TOKEN, token);
        guarded.ask(text)
    };
    let no_email = r#"{"userName":"alice","displayName":"Alice","externalId":"alice"}"#;
    post(TOKEN, no_email).refused("user.external_id.email");
    assert_eq!(post(OTHER, no_email).status, 200);
    assert_eq!(post(&token(7), no_email).status, 200);
    // A team with SAML would use the value of externalId as the name, which is too long here.
    let long = "x".repeat(120) + "@example.com";
    let no_name = format!(
        r#"{{"userName":"alice","externalId":"{long}","emails":[{{"value":"a@example.com"}}],"displayName":null}}"#
    );
    let answers = [TOKEN, OTHER].map(|token| post(token, &no_name).rule().to_owned());
    assert_eq!(answers[1], "user.display_name");
    assert_ne!(answers[0], "user.display_name");
}

#[test]
fn labels_appear_in_the_log_and_one_metric_and_unknown_tokens_have_none() {
    let backend = Backend::fine();
    let guarded =
        guarded(&backend, &[entry("okta", TOKEN, "methods: [GET]"), entry("idle", OTHER, "")]);
    guarded.ask(get(TOKEN));
    guarded.ask(request("DELETE", USER, TOKEN, "")).refused("token.operation");
    guarded.ask(get(&token(9))).refused("token.unknown");
    let series = |token: &str, verdict: &str| {
        format!("scim_guard_token_requests_total{{token=\"{token}\",verdict=\"{verdict}\"}}")
    };
    guarded.wait_metric(&series("okta", "forwarded"), 1.0);
    guarded.wait_metric(&series("okta", "refused"), 1.0);
    // Lines of different connections may be logged in any order.
    guarded.access_line(3);
    let lines = guarded.access_lines();
    let unknown = |line: &serde_json::Value| line["rule"] == "token.unknown";
    assert_eq!(lines.iter().filter(|line| line["token"] == "okta").count(), 2);
    assert!(lines.iter().find(|line| unknown(line)).unwrap().get("token").is_none());
    let text = admin(&guarded, "/metrics");
    let labelled: Vec<&str> = text.lines().filter(|line| line.contains("token=\"")).collect();
    assert_eq!(labelled.len(), 3, "{labelled:?}");
    assert!(text.contains(&format!("{} 0", series("idle", "forwarded"))));
    assert!(text.contains("scim_guard_register_entries 2"));
}

#[test]
fn a_registry_can_be_reported_before_it_is_enforced() {
    let backend = Backend::fine();
    let path =
        registry_file(&[entry("slow", TOKEN, "rate: 1/h, methods: [POST], networks: [192.0.2.1]")]);
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.tokens = Some(path);
        config.policy.set("token.*", Action::Report).unwrap();
    });
    assert_eq!(guarded.ask(get(OTHER)).status, 200);
    assert_eq!(guarded.ask(get(TOKEN)).status, 200);
    assert_eq!(guarded.ask(get(TOKEN)).status, 200);
    for (rule, count) in [("unknown", 1.0), ("network", 2.0), ("operation", 2.0), ("rate", 1.0)] {
        let series =
            format!("scim_guard_rule_hits_total{{action=\"report\",rule=\"token.{rule}\"}}");
        assert_eq!(guarded.metric(&series), count, "{rule}");
    }
}

#[test]
fn a_registry_is_enforced_even_if_token_syntax_is_not() {
    let backend = Backend::fine();
    let path = registry_file(&[entry("known", TOKEN, "")]);
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.tokens = Some(path);
        config.policy.set("token.malformed", Action::Off).unwrap();
    });
    for line in [format!("Bearer  {TOKEN}"), format!("bearer {TOKEN}"), TOKEN.into(), String::new()]
    {
        let request = format!("GET {USER} HTTP/1.1\r\nHost: a\r\nAuthorization: {line}\r\n\r\n");
        guarded.ask(request).refused("token.unknown");
    }
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn registry_changes_apply_within_five_seconds_and_fail_no_request() {
    let backend = Backend::fine();
    // Mounts a secret as Kubernetes does: the file is a link through a folder that is replaced.
    let folder = registry_file(&[]).with_extension("mounted");
    std::fs::create_dir_all(&folder).unwrap();
    let publish = |version: &str, entries: &[String]| {
        std::fs::create_dir_all(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join("tokens.yaml"), registry_yaml(entries)).unwrap();
        let _ = std::fs::remove_file(folder.join("new"));
        std::os::unix::fs::symlink(version, folder.join("new")).unwrap();
        std::fs::rename(folder.join("new"), folder.join("..data")).unwrap();
    };
    let always = entry("always", TOKEN, "");
    publish("1", std::slice::from_ref(&always));
    std::os::unix::fs::symlink("..data/tokens.yaml", folder.join("tokens.yaml")).unwrap();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.tokens = Some(folder.join("tokens.yaml"));
        config.shield.failures = 1_000_000;
    });
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = guarded.client();
                while !stop.load(Ordering::Relaxed) {
                    client.send(get(TOKEN));
                    let answer = client.response();
                    assert_eq!(answer.status, 200, "{}", answer.head);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut longest = Duration::ZERO;
        for version in ["2", "3", "4"] {
            let comes = version != "3";
            let mut entries = vec![always.clone()];
            entries.extend(comes.then(|| entry("sometimes", OTHER, "")));
            publish(version, &entries);
            let started = Instant::now();
            let expected = if comes { 200 } else { 401 };
            wait_until("the change", || guarded.ask(get(OTHER)).status == expected);
            longest = longest.max(started.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        println!("three changes, the slowest live after {longest:?}");
    });
    println!("{} requests of the load, all answered 200", sent.load(Ordering::Relaxed));
    assert!(sent.load(Ordering::Relaxed) > 100);
}

#[test]
fn an_invalid_change_keeps_the_last_valid_registry_and_is_reported() {
    let backend = Backend::fine();
    let path = registry_file(&[entry("good", TOKEN, "")]);
    let guarded = Guarded::configured(&[backend.addr], |config| config.tokens = Some(path.clone()));
    let failed = "scim_guard_register_failed";
    assert_eq!(guarded.metric(failed), 0.0);
    assert!(admin(&guarded, "/i/ready").contains("register: 1 token\n"));
    replace(&path, "tokens:\n- {label: good}\n- {label: good, hash: x}\n");
    guarded.wait_metric(failed, 1.0);
    assert_eq!(guarded.ask(get(TOKEN)).status, 200);
    let ready = admin(&guarded, "/i/ready");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    for part in ["of the last good file", ".yaml:2:3: tokens[0].hash is missing", ".yaml:3:"] {
        assert!(ready.contains(part), "{ready}");
    }
    replace(&path, &registry_yaml(&[entry("better", OTHER, "")]));
    guarded.wait_metric(failed, 0.0);
    assert_eq!(guarded.ask(get(OTHER)).status, 200);
    guarded.ask(get(TOKEN)).refused("token.unknown");
}

#[test]
fn a_registry_that_refuses_nothing_is_a_warning() {
    let warnings = |rules: &str| -> Vec<String> {
        let text = format!(
            "listen: [\"127.0.0.1:8080\"]\nupstream: {{servers: [\"127.0.0.1:8088\"]}}\ntokens: tokens.yaml\nrules: {rules}\n"
        );
        file::parse(&text).unwrap().warnings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(warnings("{mode: enforce}"), [""; 0]);
    let all = "token.unknown, token.expired, token.network, token.certificate, token.operation, token.rate";
    for (rules, idle) in [
        ("{mode: report}", all),
        ("{mode: off}", all),
        ("{actions: {token.expired: report, token.rate: off}}", "token.expired, token.rate"),
    ] {
        let found = warnings(rules);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("3:9: warning: tokens: "), "{found:?}");
        let revoked = ". A token that must stop working now has to be deleted in Wire";
        assert!(
            found[0].ends_with(&format!(" only reported or off: {idle}{revoked}")),
            "{found:?}"
        );
    }
}
