//! Tokens appear in no output of the process: not in its logs at debug level, its metrics, its
//! probes or its messages, wherever a token was pasted by mistake.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::program::{Process, folder, run};
use crate::support::{Backend, Reply, answer, entry, h2c, registry_yaml, wait_until};
use crate::{USER, request};

/// Tokens of Wire's form with a recognisable beginning, with which they are found even if they are
/// truncated or escaped. None contains `+` or `/`, so that they are valid wherever words are.
struct Canaries(Vec<String>);

impl Canaries {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn next(&mut self) -> String {
        let number = u8::try_from(self.0.len()).unwrap();
        let token = STANDARD.encode([b"canary canary canary canary cana".as_slice()].concat());
        let mut bytes = STANDARD.decode(token).unwrap();
        bytes[30] = b'A' + number / 26;
        bytes[31] = b'A' + number % 26;
        let token = STANDARD.encode(bytes);
        assert!(token.len() == 44 && !token.contains(['+', '/']), "{token}");
        self.0.push(token.clone());
        token
    }

    /// The beginning that all of them share.
    fn trace(&self) -> &str {
        &self.0[0][..16]
    }
}

fn ask(process: &Process, request: impl AsRef<[u8]>) {
    let mut client = process.client();
    client.send(request);
    // The answer does not matter here.
    let _ = client.response_to("GET");
}

fn admin(process: &Process, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(process.admin).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Requests with a token in every position.
fn requests(canaries: &mut Canaries) -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    let mut push = |text: String| requests.push(text.into_bytes());
    let mut next = || canaries.next();
    for form in [
        "Bearer @",
        "Bearer  @",
        "bearer @",
        "Basic @",
        "@",
        "Bearer Bearer @",
        "Bearer \"@\"",
        "Bearer @ ",
    ] {
        let line = form.replace('@', &next());
        push(format!("GET {USER} HTTP/1.1\r\nHost: a\r\nAuthorization: {line}\r\n\r\n"));
    }
    let good = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    push(request("GET", USER, &next(), &format!("Authorization: Bearer {}\r\n", next())));
    push(request("GET", &format!("{USER}?access_token={}", next()), good, ""));
    push(request("GET", &format!("/scim/v2/Users?filter={}", next()), good, ""));
    push(request("GET", &format!("/scim/v2/Users/{}", next()), good, ""));
    push(request("GET", &format!("/{}/../{}", next(), next()), good, ""));
    push(request("GET", &format!("/scim/auth-tokens?id={}", next()), &next(), ""));
    // Its answer contains a token.
    push(request(
        "POST",
        &format!("/scim/auth-tokens?id={}", next()),
        &next(),
        "Content-Length: 0\r\n",
    ));
    push(request("DELETE", &format!("/scim/auth-tokens?id={}", next()), &next(), ""));
    push(request(&next()[..20], USER, good, ""));
    for header in [
        "X-Forwarded-For",
        "X-Request-Id",
        "Cookie",
        "Accept",
        "Z-User",
        "X-Any",
        "Connection",
        "Content-Length",
    ] {
        push(request("GET", USER, good, &format!("{header}: {}\r\n", next())));
    }
    push(request("GET", USER, good, &format!("{}: 1\r\n", next().trim_end_matches('='))));
    push(format!("GET {USER} HTTP/1.1\r\nHost: {}\r\n\r\n", next()));
    push(format!("{}\r\n\r\n", next()));
    push(format!("GET {USER} {}\r\n\r\n", next()));
    for body in [
        "{\"userName\":\"@\",\"externalId\":\"@\",\"displayName\":\"@\"}",
        "{\"@\":\"@\"}",
        "@",
        "{\"userName\":@}",
        "{\"userName\":\"alice\",\"userName\":\"@\"}",
        "{\"userName\":\"alice\",\"displayName\":\"@\",\"externalId\":\"@@example.com\",\"@\":{\"@\":1}}",
        "{\"userName\":\"alice\",\"displayName\":\"a\",\"externalId\":\"@\",\"emails\":[{\"value\":\"@\"}],\"roles\":[\"@\"]}",
    ] {
        let body = body.replace('@', &next());
        let lines = "Content-Type: application/scim+json\r\n";
        let head = request(
            "POST",
            "/scim/v2/Users",
            good,
            &format!("{lines}Content-Length: {}\r\n", body.len()),
        );
        push(head + &body);
        let body = format!(
            "{{\"schemas\":[\"x\"],\"Operations\":[{{\"op\":\"{body}\",\"path\":\"{}\"}}]}}",
            next()
        );
        let head =
            request("PATCH", USER, good, &format!("{lines}Content-Length: {}\r\n", body.len()));
        push(head + &body);
    }
    let token = next();
    push(request(
        "POST",
        "/scim/v2/Users",
        good,
        &format!("Content-Type: {token}\r\nContent-Encoding: {token}\r\nContent-Length: 0\r\n"),
    ));
    requests
}

#[test]
fn tokens_appear_in_no_output_of_the_process() {
    let folder = folder("canary");
    let mut canaries = Canaries::new();
    let (known, answered) = (canaries.next(), canaries.next());
    let good = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let echo = answered.clone();
    let backend = Backend::start(move |seen| {
        let body = format!("{{\"token\":\"{echo}\"}}");
        match seen.header("x-do").first() {
            Some(&"garbage") => Reply::Last(format!("{echo} nonsense\r\n\r\n").into_bytes()),
            Some(&"refuse") => Reply::Bytes(answer(401, &body)),
            Some(&"throttle") => Reply::Bytes(answer(420, &body)),
            Some(&"cut") => Reply::Last(
                format!("HTTP/1.1 200 OK\r\nX: {echo}\r\nContent-Length: 99\r\n\r\n{echo}")
                    .into_bytes(),
            ),
            _ => Reply::Bytes(answer(200, &body)),
        }
    });
    let tokens = folder.join("tokens.yaml");
    let entries = [entry("the-label", &known, ""), entry("the-other-label", good, "")];
    std::fs::write(&tokens, registry_yaml(&entries)).unwrap();
    let collector = Backend::start(|_| Reply::Bytes(answer(200, "")));
    std::fs::write(folder.join("audit.key"), canaries.next()).unwrap();
    let process = Process::start(
        &folder,
        backend.addr,
        &format!(
            "tokens: tokens.yaml\nother_paths: forward\nlog: {{level: debug, audit: true, audit_key_file: audit.key, time: true}}\n\
             limits: {{body_timeout: 300ms, header_timeout: 300ms}}\ntracing: {{otlp: \"http://{}\"}}\n",
            collector.addr
        ),
    );
    for doing in ["nothing", "refuse", "throttle", "garbage", "cut"] {
        ask(&process, request("GET", USER, &known, &format!("X-Do: {doing}\r\n")));
    }
    for request in requests(&mut canaries) {
        ask(&process, request);
    }
    let over_h2 = http::Request::get(format!("http://a/scim/v2/Users?{}", canaries.next()))
        .header("authorization", format!("Bearer {}", canaries.next()))
        .body(())
        .unwrap();
    let _ = h2c::ask(process.addr, vec![(over_h2, Vec::new())]);
    // A head that never ends, and a body that never ends.
    ask(&process, format!("GET {USER} HTTP/1.1\r\nAuthorization: Bearer {}", canaries.next()));
    let stalled = format!(
        "Content-Type: application/scim+json\r\nContent-Length: 999\r\n\r\n{{\"{}",
        canaries.next()
    );
    ask(&process, request("POST", "/scim/v2/Users", good, &stalled).trim_end());

    // A token in every position of the token registry.
    let token = canaries.next();
    let long = "a prefix that makes the message too long: Bearer";
    std::fs::write(&tokens, format!(
        "tokens:\n- {{label: \"{token}\", hash: \"{token}\", expires: \"{token}\", rate: \"{token}\", \
         networks: [\"{token}\"], methods: [\"{token}\"], \"{token}\": 1}}\n- \"{token}\"\n\"{token}\": 2\n\
         \"{long} {token}\": 3\nx: [{{hash: \"{long} {token}\", expires: \"{long} {token}\", rate: \"{long} {token}\"}}]\n"
    )).unwrap();
    let ready = || admin(&process, "/i/ready");
    wait_until("the invalid registry", || ready().contains("of the last good file"));
    let (metrics, ready) = (admin(&process, "/metrics"), ready());
    let (page, state) = (admin(&process, "/"), admin(&process, "/i/state"));
    let written = process.stop();
    let spans = collector.seen();
    let spans: Vec<_> = spans.iter().map(|seen| String::from_utf8_lossy(&seen.body)).collect();
    let spans = spans.concat();

    // Control: the search finds strings that are logged.
    assert!(written.contains("[\"audit\"]") && written.contains("\"person\""), "{written}");
    for (what, text) in [
        ("log", &written),
        ("metrics", &metrics),
        ("page", &page),
        ("state", &state),
        ("spans", &spans),
    ] {
        assert!(text.contains("the-label"), "no label in the {what}: {text}");
    }
    assert!(written.contains("cannot be used") && ready.contains("tokens[0].label"), "{ready}");
    let lines = written.lines().count();
    assert!(lines > canaries.0.len(), "{lines} lines for {} tokens", canaries.0.len());
    for (what, text) in [
        ("log", &written),
        ("metrics", &metrics),
        ("ready", &ready),
        ("page", &page),
        ("state", &state),
        ("spans", &spans),
    ] {
        for line in text.lines() {
            assert!(!line.contains(canaries.trace()), "a token in the {what}: {line}");
        }
    }
    println!("{} tokens in {lines} lines of log: none found", canaries.0.len());
}

#[test]
fn commands_never_print_a_token() {
    let whole = Canaries::new().next();
    // Selecting a word by double click leaves out the `=`.
    for token in [whole.as_str(), &whole[..43]] {
        let folder = folder("canary-commands");
        let config = folder.join("config.yaml");
        let config = config.to_str().unwrap();
        std::fs::write(config, format!(
            "listen: [\"{token}\"]\nupstream: {{servers: [\"{token}\"], {token}: 1}}\nidentity: {token}\n\
             tokens: \"{token}\"\nschemas: \"{token}\"\nhosts: [\"{token}\"]\ntrusted_proxies: [\"{token}\"]\n\
             log: {{level: \"Authorization: Bearer {token}\"}}\nlimits: {{body: \"Authorization: Bearer {token}\"}}\n"
        )).unwrap();
        for arguments in [
            ["config", "check", "--config", config].as_slice(),
            &["token", "hash", token],
            &["token", token],
            &["serve", "--config", config, token],
            &["check", "--profile", token, "-"],
            &["serve", "--config", token],
            &["token", "delete", "--backend", "http://127.0.0.1:1", "--email", "a@b", token],
        ] {
            let (code, out, errors) = run(arguments);
            assert_eq!(code, 2, "{errors}");
            assert!(!errors.is_empty());
            assert!(!(out + &errors).contains(&token[..16]), "{errors}");
        }
    }
}
