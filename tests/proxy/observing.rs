//! Metrics, the access log and the admin listener.

use std::io::{Read, Write};

use crate::support::{
    Backend, Client, Guarded, Reply, TOKEN, control, head, ok, unused_addr, user, wait_until,
    with_length,
};

fn requests(handler: &str, method: &str, status: u16, verdict: &str) -> String {
    format!(
        "scim_guard_requests_total{{handler=\"{handler}\",method=\"{method}\",status_code=\"{status}\",verdict=\"{verdict}\"}}"
    )
}

fn hits(rule: &str, action: &str) -> String {
    format!("scim_guard_rule_hits_total{{action=\"{action}\",rule=\"{rule}\"}}")
}

#[test]
fn requests_and_rule_hits_are_counted() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    assert_eq!(guarded.metric(&hits("json.syntax", "enforce")), 0.0);
    let mut client = guarded.client();
    client.send(control());
    assert_eq!(client.response().status, 200);
    client.send(with_length("POST", "/scim/v2/Users", b"{"));
    client.response().refused("json.syntax");
    client.send(head("BREW", "/scim/v2/Users") + "\r\n");
    client.response().refused("method.not_allowed");
    client.send("GET /x HTTP/1.1\r\n\r\n");
    client.response().refused("framing.host");
    guarded.wait_metric(&requests("/scim/v2/Users", "POST", 200, "forwarded"), 1.0);
    guarded.wait_metric(&requests("/scim/v2/Users", "POST", 400, "refused"), 1.0);
    guarded.wait_metric(&requests("/scim/v2/Users", "OTHER", 405, "refused"), 1.0);
    guarded.wait_metric(&requests("invalid", "GET", 400, "refused"), 1.0);
    guarded.wait_metric("scim_guard_requests_in_flight", 0.0);
    for rule in ["json.syntax", "method.not_allowed", "framing.host"] {
        assert_eq!(guarded.metric(&hits(rule, "enforce")), 1.0, "{rule}");
    }
    for (histogram, count) in [
        ("request_duration_seconds", 4.0),
        ("upstream_duration_seconds", 1.0),
        ("validation_duration_seconds", 3.0),
        ("request_body_bytes", 2.0),
    ] {
        assert_eq!(guarded.metric(&format!("scim_guard_{histogram}_count")), count, "{histogram}");
    }
}

/// The metrics of a guard after one request.
fn text(guarded: &Guarded) -> String {
    assert_eq!(guarded.ask(control()).status, 200);
    guarded.wait_metric(&requests("/scim/v2/Users", "POST", 200, "forwarded"), 1.0);
    String::from_utf8(guarded.running.as_ref().unwrap().metrics().text()).unwrap()
}

#[test]
fn requests_are_also_reported_as_wires_services_do_if_configured() {
    let backend = Backend::fine();
    let plain = Guarded::before(&backend);
    assert!(!text(&plain).contains("http_request_duration_seconds"));
    let guarded =
        Guarded::configured(&[backend.addr], |config| config.metrics.wire_dashboard = true);
    let text = text(&guarded);
    let labels = "handler=\"/scim/v2/Users\",method=\"POST\",status_code=\"200\"";
    for series in [
        format!("http_request_duration_seconds_count{{{labels}}} 1"),
        format!("http_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 1"),
    ] {
        assert!(text.lines().any(|line| line == series), "{series}: {text}");
    }
}

#[test]
fn the_config_in_use_appears_in_metrics() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.limits.connections = 77;
        config.fingerprint = 0xffff_ffff_ffff;
    });
    assert_eq!(guarded.metric("scim_guard_connections_limit"), 77.0);
    assert_eq!(guarded.metric("scim_guard_config_fingerprint"), 281_474_976_710_655.0);
}

#[test]
fn servers_in_rotation_dropped_lines_and_processor_time_are_metrics() {
    let backend = Backend::fine();
    let unused = unused_addr();
    let guarded = Guarded::configured(&[backend.addr, unused], |config| {
        let host = "does-not-exist.invalid";
        config.upstream.push(wire_scim_guard::config::Server::cleartext(host, 7));
    });
    let in_rotation = |server: &str| {
        guarded.metric(&format!("scim_guard_upstream_in_rotation{{server=\"{server}\"}}"))
    };
    let text = |metrics: &Guarded| {
        String::from_utf8(metrics.running.as_ref().unwrap().metrics().text()).unwrap()
    };
    assert_eq!(in_rotation(&unused.to_string()), 1.0);
    assert_eq!(in_rotation(&backend.addr.to_string()), 1.0);
    for _ in 0..2 {
        assert_eq!(guarded.ask(control()).status, 200);
    }
    assert_eq!(in_rotation(&backend.addr.to_string()), 1.0);
    let text = text(&guarded);
    for series in [
        &format!("scim_guard_upstream_in_rotation{{server=\"{unused}\"}} 0"),
        "scim_guard_upstream_in_rotation{server=\"does-not-exist.invalid:7\"} 0",
        "scim_guard_log_lines_dropped_total 0",
    ] {
        assert!(text.lines().any(|line| line == series), "{series}");
    }
    // Reaching whole seconds would make the test slow.
    wait_until("fractional processor time", || {
        guarded.metric("process_cpu_seconds_total").fract() > 0.0
    });
    assert_eq!(text.matches("\nprocess_cpu_seconds_total ").count(), 1);
    assert!(guarded.metric("process_resident_memory_bytes") > 0.0);
}

#[test]
fn a_client_that_disconnects_before_its_answer_is_counted_as_499() {
    let (gone, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |_| {
        wait.lock().unwrap().recv().unwrap();
        ok("{}")
    });
    let guarded = Guarded::before(&backend);
    let mut client = guarded.client();
    client.send(control());
    wait_until("the request at the backend", || backend.accepted() == 1);
    // With a reset, so that the answer cannot be written.
    socket2::SockRef::from(client.stream.socket())
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(client);
    gone.send(()).unwrap();
    guarded.wait_metric(&requests("/scim/v2/Users", "POST", 499, "failed"), 1.0);
    assert!(!guarded.ready().contains("skipped"));
}

#[test]
fn malformed_heads_are_logged_with_request_id_and_client() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.hosts = vec!["wire.example".into()];
    });
    let more = "X-Request-Id: abc\r\nX-Forwarded-For: 192.0.2.7\r\n";
    for (nth, (rule, head)) in [
        ("framing.host", "GET /x HTTP/1.1\r\nHost: other\r\n"),
        ("target.ambiguous", "OPTIONS * HTTP/1.1\r\nHost: wire.example\r\n"),
        ("framing.message", "GET  /x HTTP/1.1\r\nHost: wire.example\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let response = guarded.ask(format!("{head}{more}\r\n"));
        response.refused(rule);
        assert_eq!(response.header("x-request-id"), Some("abc"), "{head}");
        let line = guarded.access_line(nth + 1);
        assert_eq!((&line["request"], &line["client"]), (&"abc".into(), &"192.0.2.7".into()));
    }
    // The trusted proxy's line comes after more header lines than the limit allows.
    let lines = "X-A: 1\r\n".repeat(150);
    let forged = format!("GET /x HTTP/1.1\r\nX-Forwarded-For: 192.0.2.66\r\n{lines}{more}\r\n");
    guarded.ask(forged).refused("limits.headers");
    assert_eq!(guarded.access_line(4)["client"], "192.0.2.7");
    // A malformed line comes before it.
    let cut = format!("GET /x HTTP/1.1\r\nX-Forwarded-For: 192.0.2.66\r\nX-A: 1\n{more}\r\n");
    guarded.ask(cut).refused("framing.message");
    assert_eq!(guarded.access_line(5)["client"], "127.0.0.1");
}

#[test]
fn requests_abandoned_by_clients_are_not_backend_failures() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    // The client disconnects after `100 Continue`, which is not a final answer.
    let mut client = guarded.client();
    client.send(
        head("POST", "/scim/v2/Users") + "Expect: 100-continue\r\nContent-Length: 50\r\n\r\n",
    );
    assert_eq!(client.response().status, 100);
    drop(client);
    guarded.wait_metric(&requests("/scim/v2/Users", "POST", 499, "failed"), 1.0);
    // A streamed body that is malformed.
    let mut client = guarded.client();
    client.send(head("POST", "/scim/auth-tokens") + "Transfer-Encoding: chunked\r\n\r\nnone\r\n");
    client.response().refused("framing.message");
    guarded.wait_metric(&requests("/scim/auth-tokens", "POST", 400, "refused"), 1.0);
}

#[test]
fn a_reported_rule_is_counted_before_the_request_is_forwarded() {
    let backend = Backend::start(|_| Reply::Stall);
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.policy.set("user.user_name", wire_scim_guard::policy::Action::Report).unwrap();
    });
    let body = String::from_utf8(user(300)).unwrap().replace("alice\"", "a b\"");
    let mut client = guarded.client();
    client.send(with_length("POST", "/scim/v2/Users", body.as_bytes()));
    assert_eq!(String::from_utf8(backend.wait(1).body).unwrap(), body);
    // There is no answer yet, but the verdict and the matching rule are counted.
    let verdicts = "scim_guard_verdicts_total{handler=\"/scim/v2/Users\",verdict=\"reported\"}";
    assert_eq!(guarded.metric(verdicts), 1.0);
    assert_eq!(guarded.metric(&hits("user.user_name", "report")), 1.0);
}

#[test]
fn an_access_line_describes_the_request_without_its_contents() {
    let backend = Backend::start(|_| Reply::Bytes(crate::support::answer(201, "{\"id\":1}")));
    let guarded = Guarded::before(&backend);
    let body = user(300);
    let mut client = guarded.client();
    client.send(
        [
            head("POST", "/scim/v2/Users?secret=query").into_bytes(),
            format!("X-Request-Id: req.1\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(),
            body.clone(),
        ]
        .concat(),
    );
    assert_eq!(client.response().status, 201);
    let line = guarded.access_line(1);
    for (key, value) in [
        ("level", "Info".into()),
        ("request", "req.1".into()),
        ("handler", "/scim/v2/Users".into()),
        ("method", "POST".into()),
        ("status", 201.into()),
        ("verdict", "forwarded".into()),
        ("bytes_in", body.len().into()),
        ("bytes_out", 8.into()),
        ("client", "127.0.0.1".into()),
        ("upstream", backend.addr.to_string().into()),
    ] as [(&str, serde_json::Value); 10]
    {
        assert_eq!(line[key], value, "{key}: {line}");
    }
    client.send("GET /scim/v2/Users?secret=query HTTP/1.1\r\nHost: a\nb\r\n\r\n");
    client.response().refused("framing.message");
    let line = guarded.access_line(2);
    assert_eq!((&line["rule"], &line["handler"]), (&"framing.message".into(), &"invalid".into()));
    let all = guarded.access_lines().iter().map(ToString::to_string).collect::<String>();
    for secret in ["secret", TOKEN, "alice", "wire.example"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}

fn admin(guarded: &Guarded, method: &str, path: &str) -> (u16, String) {
    let addr = guarded.running.as_ref().unwrap().admin_addr();
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
}

#[test]
fn the_admin_listener_serves_only_metrics_and_probes() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    for path in ["/metrics", "/i/metrics"] {
        let (status, text) = admin(&guarded, "GET", path);
        assert_eq!(status, 200);
        assert!(text.contains("scim_guard_build_info{version="));
        assert!(text.contains("process_open_fds"));
    }
    assert_eq!(admin(&guarded, "GET", "/i/status").0, 200);
    let (status, text) = admin(&guarded, "GET", "/i/ready");
    assert_eq!(status, 200);
    assert!(text.contains(&format!("upstream {}: in rotation", backend.addr)), "{text}");
    assert!(admin(&guarded, "HEAD", "/i/status").1.ends_with("\r\n\r\n"));
    assert_eq!(admin(&guarded, "POST", "/metrics").0, 405);
    assert_eq!(admin(&guarded, "GET", "/scim/v2/Users").0, 404);
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn the_admin_listener_bounds_requests_and_ends_each_connection() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let addr = guarded.running.as_ref().unwrap().admin_addr();
    let mut silent = Client::connect(addr);
    let (_, head) = admin(&guarded, "HEAD", "/i/status");
    assert!(head.contains("\r\nContent-Length: 6\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{head}");
    // The body is not waited for.
    let mut client = Client::connect(addr);
    client.send("POST /metrics HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
    let refused = client.response();
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    let mut client = Client::connect(addr);
    client.send(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(16 * 1024)));
    assert!((400..500).contains(&client.response().status));
    // A connection without a request delays no other, and it is closed.
    assert_eq!(admin(&guarded, "GET", "/i/status").0, 200);
    silent.ends();
}
