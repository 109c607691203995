//! SIGHUP: all or nothing, and no request is judged by two configs.

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;

use crate::guard::Place;
use crate::load::{Ask, Load};
use crate::support::{
    Backend, Client, OTHER, Reply, TOKEN, answer, control, entry, ok, registry_yaml, user,
    wait_until, with_length,
};

/// A user with a capital letter in the handle, and one without a display name.
fn capital() -> Vec<u8> {
    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "Alice",
        "displayName": "Alice",
        "externalId": "alice@example.com",
    });
    with_length("POST", "/scim/v2/Users", user.to_string().as_bytes())
}

fn nameless() -> Vec<u8> {
    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "alice",
        "externalId": "alice@example.com",
    });
    with_length("POST", "/scim/v2/Users", user.to_string().as_bytes())
}

const NAME_REQUIRED: &str = "rules: {actions: {user.user_name.case: off}}\n";
const CASE_MATTERS: &str = "rules: {actions: {user.display_name.required: off}}\nmap_420: false\n";

fn is_first(status: u16, text: &str) -> bool {
    status == 429 && text.contains("first")
}

fn is_second(status: u16, text: &str) -> bool {
    status == 420 && text.contains("second")
}

#[test]
fn reloads_under_load_lose_no_request_and_mix_no_two_configs_in_one_request() {
    let first = Backend::start(|_| Reply::Bytes(answer(420, "{\"at\":\"first\"}")));
    let second = Backend::start(|_| Reply::Bytes(answer(420, "{\"at\":\"second\"}")));
    let place = Place::new("mixture");
    // Each config has a rule, a form of answers, and a backend of its own.
    let texts = [
        place.text(&first, &format!("log: {{access: false}}\n{NAME_REQUIRED}")),
        place.text(&second, &format!("log: {{access: false}}\n{CASE_MATTERS}")),
    ];
    place.write(&texts[0]);
    let guard = place.start();
    let asks = [
        Ask {
            request: control(),
            expect: |status, text| is_first(status, text) || is_second(status, text),
        },
        Ask {
            request: capital(),
            expect: |status, text| {
                is_first(status, text) || status == 400 && text.contains("user.user_name.case")
            },
        },
        Ask {
            request: nameless(),
            expect: |status, text| {
                is_second(status, text)
                    || status == 400 && text.contains("user.display_name.required")
            },
        },
    ];
    let load = Load::default();
    std::thread::scope(|scope| {
        load.run(scope, place.addr, &asks);
        for turn in 1..=20 {
            load.wait(150);
            place.write(&texts[turn % 2]);
            guard.reload(&place, "applied");
        }
        load.wait(150);
        load.stop();
    });
    assert_eq!(load.failed(), Vec::<String>::new());
    assert!(load.answered() >= 3000);
    let bodies = |backend: &Backend| -> Vec<String> {
        backend.seen().iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect()
    };
    let (first, second) = (bodies(&first), bodies(&second));
    assert!(first.iter().all(|body| body.contains("displayName")));
    assert!(first.iter().any(|body| body.contains("\"Alice\",\"")));
    assert!(second.iter().all(|body| !body.contains("\"userName\":\"Alice\"")));
    assert!(second.iter().any(|body| !body.contains("displayName")));
    assert_eq!(place.metric("scim_guard_reload_failed"), 0.0);
}

#[test]
fn a_request_that_has_begun_is_judged_by_the_config_it_began_with() {
    let backend = Backend::fine();
    let place = Place::new("begun");
    place.write(&place.text(&backend, CASE_MATTERS));
    let guard = place.start();
    let request = nameless();
    let (head, rest) = request.split_at(request.len() - 20);
    let mut client = Client::connect(place.addr);
    client.send(control());
    assert_eq!(client.response().status, 200);
    client.send(head);
    // The head has been read once a later connection is answered.
    wait_until("the request to begin", || place.metric("scim_guard_requests_in_flight") >= 1.0);
    place.write(&place.text(&backend, NAME_REQUIRED));
    guard.reload(&place, "applied");
    client.send(rest);
    assert_eq!(client.response().status, 200);
    client.send(nameless());
    client.response().refused("user.display_name.required");
}

#[test]
fn a_failed_reload_changes_nothing_and_says_why_in_log_metrics_and_readiness() {
    let backend = Backend::fine();
    let place = Place::new("failures");
    let good = place.text(&backend, NAME_REQUIRED);
    place.write(&good);
    let guard = place.start();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let schemas = place.path("schemas");
    std::fs::create_dir(&schemas).unwrap();
    std::fs::write(schemas.join("user.json"), "{\"type\": 7}").unwrap();
    std::fs::write(place.path("tokens.yaml"), "tokens: [{label: a}]").unwrap();
    let with = |more: &str| place.text(&backend, more);
    let path = place.config();
    let named = |what: &str| format!("{}{what}", path.display());
    let cases: Vec<(String, Vec<String>)> = vec![
        // All errors in all files at once.
        (
            with("schemas: schemas\ntokens: tokens.yaml\nlimts: {}\nhosts: 7\n"),
            vec![
                named(":7:1: "),
                named(":8:8: "),
                format!("{}:1:10: ", schemas.join("user.json").display()),
                format!("{}:1:10: tokens[0].hash is missing", place.path("tokens.yaml").display()),
            ],
        ),
        (
            good.replace("threads: 2", "threads: 3")
                .replace(&place.admin.to_string(), "127.0.0.1:1"),
            vec![format!(
                "a reload cannot change threads (in use: 2; now in the file: 3) and admin.listen (in use: {}; now in \
                 the file: 127.0.0.1:1)",
                place.admin
            )],
        ),
        (
            place.text_for(&format!("\"{}\", \"{taken}\"", place.addr), &backend, ""),
            vec![format!("listen: cannot listen on {taken}: ")],
        ),
        (
            good.replace(&backend.addr.to_string(), "does-not-exist.invalid:8080"),
            vec!["upstream.servers: does-not-exist.invalid:8080 cannot be resolved".into()],
        ),
    ];
    for (text, errors) in &cases {
        place.write(text);
        fails(&place, &guard, errors);
    }
    std::fs::remove_file(&path).unwrap();
    fails(&place, &guard, &[named(": cannot be read: No such file")]);
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    fails(&place, &guard, &[named(": this is a pipe (FIFO), and only regular files are read")]);
    drop(holder);
    place.write(&good);
    guard.reload(&place, "unchanged");
    assert_eq!(place.metric("scim_guard_reload_failed"), 0.0);
    assert!(place.ready().contains("config: unchanged at the reload at "), "{}", place.ready());
    place.write(&place.text(&backend, ""));
    guard.reload(&place, "applied");
    assert!(place.ready().contains("config: reloaded at "), "{}", place.ready());
}

/// Reloads, and asserts that this fails with these errors and that the rules are unchanged.
fn fails(place: &Place, guard: &crate::guard::Guard, errors: &[String]) {
    let before = guard.messages().len();
    guard.reload(place, "failed");
    assert_eq!(place.metric("scim_guard_reload_failed"), 1.0);
    let ready = place.ready();
    assert!(ready.starts_with("ready\n"), "{ready}");
    assert!(ready.contains("failed, and the last good config stays in use:\n"), "{ready}");
    for error in errors {
        assert!(ready.contains(error), "{error}\n{ready}");
        let logged = |line: &String| line.contains(&format!("reload: {error}"));
        wait_until("the log", || guard.messages()[before..].iter().any(logged));
    }
    place.ask(nameless()).refused("user.display_name.required");
    assert_eq!(place.ask(capital()).status, 200);
}

#[test]
fn everything_that_is_configured_follows_a_reload() {
    let backend = Backend::fine();
    let place = Place::new("everything");
    place.write(&place.text(&backend, "log: {access: false, level: error}\n"));
    let guard = place.start();
    assert_eq!(place.status(), 200);
    std::fs::create_dir(place.path("schemas")).unwrap();
    std::fs::write(
        place.path("schemas/user.json"),
        r#"{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["title"]}"#,
    )
    .unwrap();
    std::fs::write(place.path("tokens.yaml"), registry_yaml(&[entry("known", TOKEN, "")])).unwrap();
    let more = "log: {access: true}\nlimits: {body: 400, buffered_bytes: 32MiB}\nhosts: [wire.example]\n\
                schemas: schemas\ntokens: tokens.yaml\nshield: {failures: 7}\n";
    let text = place.text(&backend, more);
    let check = format!(
        "upstream: {{check: {{path: /status, every: 1h}}, servers: [\"{}\"]}}",
        backend.addr
    );
    place.write(&text.replace(&format!("upstream: {{servers: [\"{}\"]}}", backend.addr), &check));
    guard.reload(&place, "applied");
    // Health checks, the memory budget, the log's level and its access lines, warnings.
    wait_until("a health check", || {
        backend.seen().iter().any(|seen| seen.line().contains("/status"))
    });
    assert_eq!(place.metric("scim_guard_buffered_bytes_limit"), f64::from(32 << 20));
    wait_until("the log", || {
        let log = guard.logged();
        log.contains("the config was reloaded")
            && log.contains("failures and window have no effect")
    });
    // Schemas, limits, hosts and the token registry.
    place.ask(control()).refused("user.schema");
    place.ask(with_length("POST", "/scim/v2/Users", &user(500))).refused("body.too_large");
    let foreign = String::from_utf8(control()).unwrap().replace("wire.example", "other.example");
    place.ask(foreign).refused("framing.host");
    let unknown = String::from_utf8(control()).unwrap().replace(TOKEN, OTHER);
    place.ask(unknown).refused("token.unknown");
    wait_until("an access line", || guard.logged().contains("\"token\":\"known\""));
    // The registry that was added is watched.
    place.replace("tokens.yaml", &registry_yaml(&[entry("other", OTHER, "")]));
    wait_until("the registry", || place.ask(control()).rule() == "token.unknown");
}

#[test]
fn a_changed_secret_is_a_change() {
    let backend = Backend::fine();
    let place = Place::new("secret");
    let text = place.text(&backend, "");
    let listen = format!("admin: {{listen: \"{}\"", place.admin);
    assert!(text.contains(&listen));
    std::fs::write(place.path("token"), "the-first-token-of-operators\n").unwrap();
    place.write(&text.replace(&listen, &format!("{listen}, token_file: token")));
    let guard = place.start();
    let status = |token: &str| {
        let mut client = Client::connect(place.admin);
        client.send(format!("GET /metrics HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n"));
        client.response().status
    };
    assert_eq!(status("the-first-token-of-operators"), 200);
    place.replace("token", "the-second-token-of-operators\n");
    guard.signal("-HUP");
    wait_until("the other token", || status("the-second-token-of-operators") == 200);
    assert_eq!(status("the-first-token-of-operators"), 401);
}

#[test]
fn counters_and_pools_outlive_a_reload() {
    let backend = Backend::fine();
    let place = Place::new("counters");
    let tokens = registry_yaml(&[entry("slow", TOKEN, "rate: 2/h")]);
    std::fs::write(place.path("tokens.yaml"), tokens).unwrap();
    place.write(
        &place.text(&backend, "tokens: tokens.yaml\nthreads: 1\n").replace("threads: 2\n", ""),
    );
    let guard = place.start();
    let mut client = Client::connect(place.addr);
    for _ in 0..2 {
        client.send(control());
        assert_eq!(client.response().status, 200);
    }
    let changed = place.text(&backend, "tokens: tokens.yaml\nthreads: 1\nhosts: [wire.example]\n");
    place.write(&changed.replace("threads: 2\n", ""));
    guard.reload(&place, "applied");
    // The rate is exhausted, over the same connection.
    client.send(control());
    client.response().refused("token.rate");
    assert_eq!(backend.accepted(), 1);
    let series = "scim_guard_token_requests_total{token=\"slow\",verdict=\"forwarded\"}";
    assert_eq!(place.metric(series), 2.0);
}

#[test]
fn a_faulty_config_on_disk_keeps_no_revoked_token_in_use() {
    let backend = Backend::fine();
    let place = Place::new("revoked");
    std::fs::write(place.path("tokens.yaml"), registry_yaml(&[entry("leaked", TOKEN, "")]))
        .unwrap();
    let good = place.text(&backend, "tokens: tokens.yaml\nreload: {watch: true}\n");
    place.write(&good);
    let guard = place.start();
    assert_eq!(place.status(), 200);
    place.write("listen: 7\n");
    guard.reload(&place, "failed");
    assert_eq!(place.status(), 200);
    place.replace("tokens.yaml", &registry_yaml(&[entry("other", OTHER, "")]));
    wait_until("the revocation", || place.ask(control()).rule() == "token.unknown");
    assert_eq!(place.metric("scim_guard_reload_failed"), 1.0);
}

#[test]
fn new_servers_are_resolved_before_they_are_used() {
    let (before, after) = (Backend::fine(), Backend::fine());
    let place = Place::new("names");
    place.write(&place.text(&before, ""));
    let guard = place.start();
    assert_eq!(place.status(), 200);
    let named = format!("localhost:{}", after.addr.port());
    place.write(&place.text(&after, "").replace(&after.addr.to_string(), &named));
    guard.reload(&place, "applied");
    assert_eq!(place.status(), 200);
    assert_eq!(after.accepted(), 1);
}

#[test]
fn signals_that_arrive_while_the_guard_stops_are_ignored() {
    let (go, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let backend = Backend::start(move |_| {
        let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(30));
        ok("{}")
    });
    let place = Place::new("stopping");
    place.write(&place.text(&backend, ""));
    let mut guard = place.start();
    let mut client = Client::connect(place.addr);
    client.send(control());
    backend.wait(1);
    guard.signal("-TERM");
    wait_until("the stop", || place.ready().starts_with("draining"));
    for (signal, name) in [("-HUP", "SIGHUP"), ("-USR2", "SIGUSR2")] {
        guard.signal(signal);
        let said = format!("{name} is ignored: this process is stopping");
        wait_until(name, || guard.logged().contains(&said));
    }
    go.send(()).unwrap();
    assert_eq!(client.response().status, 200);
    assert_eq!(guard.exit_code(), Some(0));
}
