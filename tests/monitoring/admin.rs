//! The page of the admin listener, the same data as JSON, and the token that protects them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use wire_scim_guard::admin::AdminToken;
use wire_scim_guard::config::file;
use wire_scim_guard::policy::Action;

use crate::support::{
    Backend, Client, Guarded, Response, TOKEN, control, entry, ok, registry_file, tls, user,
    wait_until, with_length,
};

const SECRET: &str = "a-token-of-the-operator";

fn ask(guarded: &Guarded, path: &str, lines: &str) -> Response {
    let mut client = Client::connect(guarded.running.as_ref().unwrap().admin_addr());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    client.response()
}

fn state(guarded: &Guarded) -> serde_json::Value {
    let answer = ask(guarded, "/i/state", "");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

fn page(guarded: &Guarded) -> String {
    let answer = ask(guarded, "/", "");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    String::from_utf8(answer.body).unwrap()
}

#[test]
fn the_page_and_the_state_show_what_was_refused_reported_and_overruled() {
    let backend = Backend::start(|_| ok("{}"));
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.policy.set("user.roles", Action::Report).unwrap();
        config.tokens = Some(registry_file(&[entry("okta", TOKEN, "")]));
    });
    assert_eq!(state(&guarded)["rules"], json!([]));
    assert!(page(&guarded).contains("No request has hit a rule since the start."));
    let mut client = guarded.client();
    client.send(control());
    assert_eq!(client.response().status, 200);
    client.send(with_length("POST", "/scim/v2/Users", b"{"));
    client.response().refused("json.syntax");
    let roles = String::from_utf8(user(300)).unwrap().replace("{\"", "{\"roles\":[\"king\"],\"");
    client.send(with_length("POST", "/scim/v2/Users", roles.as_bytes()));
    assert_eq!(client.response().status, 200);
    wait_until("both rules", || state(&guarded)["rules"].as_array().unwrap().len() == 2);
    let now = state(&guarded);
    let rule = |id: &str| {
        now["rules"].as_array().unwrap().iter().find(|rule| rule["rule"] == id).unwrap().clone()
    };
    let syntax = rule("json.syntax");
    assert_eq!(syntax["lately"]["refused"], 1);
    assert_eq!(syntax["handlers"], json!([["/scim/v2/Users", 1]]));
    assert_eq!(syntax["tokens"], json!([["okta", 1]]));
    let roles = rule("user.roles");
    assert_eq!(
        (&roles["lately"]["reported"], &roles["lately"]["overruled"]),
        (&1.into(), &1.into())
    );
    assert_eq!(roles["example"], "POST /scim/v2/Users, at roles[0]");
    assert_eq!(now["enforce"][0]["safe_to_enforce"], "no");
    assert_eq!(now["servers"][0]["state"], "in rotation");
    assert_eq!(now["registry"]["tokens"], 1);
    let page = page(&guarded);
    for part in
        ["json.syntax", "okta: 1", "POST /scim/v2/Users, at roles[0]", "in rotation", ">no</td>"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    for personal in ["king", "alice", TOKEN] {
        assert!(!page.contains(personal) && !now.to_string().contains(personal), "{personal}");
    }
}

#[test]
fn the_page_allows_nothing_but_its_own_style() {
    let backend = Backend::fine();
    let guarded = Guarded::before(&backend);
    let answer = ask(&guarded, "/", "");
    let policy = answer.header("content-security-policy").unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let page = String::from_utf8(answer.body).unwrap();
    for part in ["<script", "src=", "http://", "https://", "style=", "@import", "url("] {
        assert!(!page.contains(part), "{part}");
    }
}

#[test]
fn with_a_token_only_the_probes_are_open() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.admin_token = Some(AdminToken::read(SECRET).unwrap());
    });
    for open in ["/i/status", "/i/ready"] {
        assert_eq!(ask(&guarded, open, "").status, 200, "{open}");
    }
    let basic = STANDARD.encode(format!("me:{SECRET}"));
    for path in ["/", "/metrics", "/i/metrics", "/i/state", "/nothing"] {
        let refused = ask(&guarded, path, "");
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.head.contains("Basic realm=") && refused.head.contains("Bearer realm="));
        let wrong = ask(&guarded, path, "Authorization: Bearer another-token-of-somebody\r\n");
        assert_eq!(wrong.status, 401, "{path}");
        for line in [format!("Bearer {SECRET}"), format!("Basic {basic}")] {
            let answer = ask(&guarded, path, &format!("Authorization: {line}\r\n"));
            assert_eq!(answer.status, if path == "/nothing" { 404 } else { 200 }, "{path}");
        }
    }
}

#[test]
fn an_open_admin_listener_is_a_warning_and_an_unusable_token_an_error() {
    let warnings = |admin: &str| -> Vec<String> {
        let text = format!(
            "listen: [\"127.0.0.1:8080\"]\nupstream: {{servers: [\"127.0.0.1:8088\"]}}\nadmin: {admin}\n"
        );
        file::parse(&text).unwrap().warnings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(warnings("{listen: \"127.0.0.1:9\"}"), [""; 0]);
    assert_eq!(warnings("{listen: \"0.0.0.0:9\", token_file: admin.token}"), [""; 0]);
    let open = warnings("{listen: \"[::]:9\"}");
    assert!(open[0].contains("admin: {token_file: FILE}"), "{open:?}");
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("admin-token");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("admin.token"), "short\n").unwrap();
    let config = folder.join("config.yaml");
    let text = "listen: [\"127.0.0.1:8080\"]\nupstream: {servers: [\"127.0.0.1:8088\"]}\nadmin: {token_file: admin.token}\n";
    std::fs::write(&config, text).unwrap();
    let error = file::load(&config, file::Overrides::default()).1.unwrap().to_string();
    assert!(error.contains("config.yaml:3:21: admin.token_file: "), "{error}");
    assert!(error.contains("no token of at least 16") && !error.contains("short"), "{error}");
}

#[test]
fn the_admin_listener_speaks_tls_if_configured() {
    use std::io::{Read, Write};
    let backend = Backend::fine();
    let authority = tls::Authority::new("admin");
    let guarded = Guarded::configured(&[backend.addr], |config| {
        let issued = authority.issue(&[&format!("dns:{}", tls::NAME)]);
        config.admin_tls = Some(issued.listener());
    });
    let admin = guarded.running.as_ref().unwrap().admin_addr();
    let ask = |protocols: &[&str]| {
        let stream = std::net::TcpStream::connect(admin).unwrap();
        let config = tls::client_config(&authority, None, protocols);
        let mut stream = tls::Wire::tls(stream, config, tls::NAME);
        stream.write_all(b"GET /i/state HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = ask(&["http/1.1"]);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let state: serde_json::Value =
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(state["certificates"].as_array().unwrap().len(), 1);
    // HTTP/2 is not offered.
    assert!(ask(&["h2", "http/1.1"]).starts_with("HTTP/1.1 200 OK"));
    // Cleartext receives no answer.
    let mut plain = std::net::TcpStream::connect(admin).unwrap();
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"));
}
