//! The `token` command, against the embedded Wire, through a guard, and against servers that refuse.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wire_scim_guard::config::PathPolicy;
use wire_scim_guard::digest::StoredHash;
use wire_scim_guard::standin::{ADMIN_EMAIL, ADMIN_PASSWORD, Standin, USER_ID};

use crate::program::{PROGRAM, folder, run};
use crate::request;
use crate::support::{Backend, Guarded, Reply, TOKEN, answer, unused_addr, wait_until};

fn wire() -> Standin {
    Standin::start("127.0.0.1:0".parse().unwrap()).unwrap()
}

fn password(folder: &Path, password: &str) -> PathBuf {
    let path = folder.join("password");
    std::fs::write(&path, password).unwrap();
    path
}

/// Runs `token COMMAND` against a server.
fn token(folder: &Path, command: &[&str], url: &str, more: &[&str]) -> (i32, String, String) {
    let file = folder.join("password");
    if !file.exists() {
        password(folder, ADMIN_PASSWORD);
    }
    let access =
        ["--backend", url, "--email", ADMIN_EMAIL, "--password-file", file.to_str().unwrap()];
    run(&[&["token"], command, &access, more].concat())
}

fn url(addr: SocketAddr) -> String {
    format!("http://{addr}")
}

#[test]
fn a_token_is_created_used_through_the_guard_and_deleted() {
    let folder = folder("life");
    let wire = wire();
    let registry = folder.join("tokens.yaml");
    std::fs::write(&registry, "# who may provision\n").unwrap();
    let guarded = Guarded::configured(&[wire.addr()], |config| {
        config.tokens = Some(registry.clone());
        config.other_paths = PathPolicy::Forward;
        config.shield.failures = 1_000_000;
    });
    let url = url(guarded.addr);
    let end = SystemTime::now() + Duration::from_secs(5);
    let expires = OffsetDateTime::from(end).format(&Rfc3339).unwrap();
    let (code, out, errors) = token(
        &folder,
        &["create"],
        &url,
        &[
            "--description",
            "Okta, production",
            "--name",
            "okta",
            "--register",
            registry.to_str().unwrap(),
            "--label",
            "okta",
            "--expires",
            &expires,
        ],
    );
    assert_eq!(code, 0, "{errors}");
    let secret = out.trim_end();
    assert_eq!(secret.len(), 44, "{out}");
    assert!(errors.contains("first token") && errors.contains("entry added"), "{errors}");
    assert!(!errors.contains(secret));
    let written = std::fs::read_to_string(&registry).unwrap();
    assert!(written.starts_with("# who may provision\n") && !written.contains(secret), "{written}");
    assert!(written.contains(&StoredHash::wire(secret.as_bytes()).to_string()));

    let user = r#"{"userName":"bob","displayName":"Bob","externalId":"bob@example.com"}"#;
    let post = |user: &str| {
        let length =
            format!("Content-Type: application/scim+json\r\nContent-Length: {}\r\n", user.len());
        guarded.ask(request("POST", "/scim/v2/Users", secret, &length) + user)
    };
    wait_until("the registry to be read", || post(user).status != 401);
    assert!([201, 409].contains(&post(&user.replace("bob", "carol")).status));
    wait_until("the token to expire", || post(user).rule() == "token.expired");

    let (code, out, errors) = token(&folder, &["list"], &url, &[]);
    assert_eq!(code, 0, "{errors}");
    let row: Vec<&str> =
        out.lines().nth(1).unwrap().split("  ").filter(|t| !t.is_empty()).collect();
    let [id, _, "okta", _, "Okta, production"] = row[..] else { panic!("{out}") };
    let (code, _, errors) = token(&folder, &["rename", id, "Okta 2"], &url, &[]);
    assert_eq!((code, errors), (0, format!("renamed token {id}\n")));
    assert!(token(&folder, &["list"], &url, &[]).1.contains("Okta 2"));
    let (code, _, errors) = token(&folder, &["delete", id], &url, &[]);
    assert_eq!(code, 0);
    assert!(errors.contains("last token"), "{errors}");
    // Wire itself no longer accepts it.
    let straight = Guarded::configured(&[wire.addr()], |_| {});
    let target = format!("/scim/v2/Users/{USER_ID}");
    assert_eq!(straight.ask(request("GET", &target, secret, "")).status, 401);
    for command in [&["delete", id][..], &["rename", id, "x"]] {
        let (code, _, errors) = token(&folder, command, &url, &[]);
        assert_eq!(code, 1);
        assert!(errors.contains("has no token"), "{errors}");
    }
    assert_eq!(token(&folder, &["rename", id, ""], &url, &[]).0, 2);
}

#[test]
fn an_older_wire_has_no_token_names() {
    let folder = folder("older");
    let url = url(wire_until_7().addr);
    let (code, out, errors) = token(&folder, &["create"], &url, &["--description", "x"]);
    assert_eq!((code, out.trim_end()), (0, TOKEN), "{errors}");
    for (command, more) in [
        (&["rename", USER_ID, "b"][..], &[][..]),
        (&["create"], &["--description", "x", "--name", "b"]),
    ] {
        let (code, _, errors) = token(&folder, command, &url, more);
        assert_eq!(code, 2);
        assert!(errors.contains("needs API version 8"), "{errors}");
    }
}

fn wire_until_7() -> Backend {
    Backend::start(|seen| {
        let body = match seen.line() {
            "GET /api-version HTTP/1.1" => r#"{"supported":[0,1,2,7],"development":[8]}"#.into(),
            "POST /v7/login HTTP/1.1" => r#"{"access_token":"a"}"#.into(),
            "POST /v7/scim/auth-tokens HTTP/1.1" => {
                assert_eq!(seen.header("authorization"), ["Bearer a"]);
                format!(r#"{{"token":"{TOKEN}","info":{{"id":"{USER_ID}","description":"x"}}}}"#)
            }
            "GET /v7/scim/auth-tokens HTTP/1.1" => r#"{"tokens":[]}"#.into(),
            line => panic!("{line}"),
        };
        Reply::Bytes(answer(200, &body))
    })
}

#[test]
fn every_failure_is_one_sentence_and_an_exit_code() {
    let folder = folder("failures");
    let labelled = |path: &'static str, status: u16, label: &'static str| {
        Backend::start(move |seen| {
            let body = match seen.line().split(' ').nth(1).unwrap() {
                target if target.ends_with(path) => {
                    let body = format!(r#"{{"code":{status},"label":"{label}","message":"m"}}"#);
                    return Reply::Bytes(answer(status, &body));
                }
                "/api-version" => r#"{"supported":[8]}"#,
                "/v8/login" => r#"{"access_token":"a"}"#,
                target => panic!("{target}"),
            };
            Reply::Bytes(answer(200, body))
        })
    };
    let nothing = Backend::start(|_| Reply::Bytes(answer(404, "")));
    let wire = wire();
    let closed = Guarded::configured(&[wire.addr()], |_| {});
    let free = unused_addr();
    let tokens = "/scim/auth-tokens";
    let backends = [
        (labelled("/login", 403, "invalid-credentials"), "this email address with this password"),
        (labelled("/login", 403, "suspended"), "suspended"),
        (labelled("/login", 429, "client-error"), "too many requests"),
        (labelled(tokens, 403, "insufficient-permissions"), "as an admin or owner"),
        (labelled(tokens, 403, "token-limit-reached"), "as many SCIM tokens as Wire allows"),
        (labelled(tokens, 403, "password-authentication-failed"), "does not accept this password"),
        (labelled(tokens, 500, "oops"), "Wire answered 500 (oops): m"),
        (labelled("/api-version", 404, "unsupported-version"), "does not support API version"),
    ];
    let mut cases: Vec<(String, &str)> =
        backends.iter().map(|(backend, sentence)| (url(backend.addr), *sentence)).collect();
    cases.push((url(nothing.addr), "is this the address of a Wire backend?"));
    cases.push((url(closed.addr), "does not forward /api-version: set `other_paths: forward`"));
    cases.push((url(free), "cannot be reached"));
    cases.push(("https://wire.invalid".into(), "wire.invalid: "));
    for (url, sentence) in cases {
        let (code, out, errors) = token(&folder, &["create"], &url, &["--description", "x"]);
        assert_eq!((code, out.as_str()), (1, ""), "{errors}");
        assert!(errors.contains(sentence), "{sentence}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    for (url, more) in [
        ("wire.example", &[][..]),
        ("https://a/b", &[]),
        ("http://127.0.0.1:99999", &[]),
        ("http://a:", &[]),
        ("http://a", &["--ca", "/nowhere"]),
    ] {
        let (code, _, errors) = token(&folder, &["list"], url, more);
        assert_eq!(code, 2, "{errors}");
    }
}

#[test]
fn a_second_factor_code_is_requested_and_prompted_for() {
    let folder = folder("factor");
    let backend = Backend::start(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let wanted = r#"{"code":403,"label":"code-authentication-required","message":"m"}"#;
        let target = seen.line().split(' ').nth(1).unwrap();
        let (status, answered) = match target {
            "/api-version" => (200, r#"{"supported":[8]}"#.into()),
            "/v8/verification-code/send" => (200, String::new()),
            "/v8/login" if body.contains(r#""verification_code":"123456""#) => {
                (200, r#"{"access_token":"a"}"#.into())
            }
            "/v8/scim/auth-tokens" if body.contains(r#""verification_code":"654321""#) => {
                (200, format!(r#"{{"token":"{TOKEN}","info":{{"id":"{USER_ID}"}}}}"#))
            }
            _ => (403, wanted.into()),
        };
        Reply::Bytes(answer(status, &answered))
    });
    let url = url(backend.addr);
    let create = |more: &[&str]| {
        token(&folder, &["create"], &url, &[&["--description", "x"], more].concat())
    };
    let (code, _, errors) = create(&[]);
    assert_eq!(code, 2);
    assert!(errors.contains("has sent one") && errors.contains("--login-code CODE"), "{errors}");
    let sent = backend.seen().into_iter().find(|seen| seen.line().contains("/send")).unwrap();
    assert!(String::from_utf8_lossy(&sent.body).contains(r#""action":"login""#));
    let (code, _, errors) = create(&["--login-code", "000000"]);
    assert_eq!(code, 1);
    assert!(errors.contains("does not accept the second-factor code"), "{errors}");
    let (code, _, errors) = create(&["--login-code", "123456"]);
    assert_eq!(code, 2);
    assert!(errors.contains("--token-code CODE"), "{errors}");
    let (code, out, _) = create(&["--login-code", "123456", "--token-code", "654321"]);
    assert_eq!((code, out.trim_end()), (0, TOKEN));
}

/// A server with a self-signed certificate.
fn tls_server() -> SocketAddr {
    let file = |name: &str| Path::new("tests/tokens").join(name);
    let certificate = CertificateDer::from_pem_file(file("localhost.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("localhost.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream);
            // Every request gets the same answer.
            let mut request = [0; 4096];
            let _ = std::io::Read::read(&mut tls, &mut request);
            let _ = tls.write_all(&answer(404, ""));
            let _ = tls.flush();
        }
    });
    addr
}

#[test]
fn an_untrusted_certificate_is_reported_as_such() {
    let folder = folder("tls");
    let url = format!("https://localhost:{}", tls_server().port());
    let (code, _, errors) = token(&folder, &["list"], &url, &[]);
    assert_eq!(code, 1);
    assert!(
        errors.contains("certificate is not trusted") && errors.contains("--ca FILE"),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 1, "{errors}");
    // With the certificate authority, the connection succeeds.
    let (_, _, errors) = token(&folder, &["list"], &url, &["--ca", "tests/tokens/localhost.pem"]);
    assert!(errors.contains("is this the address of a Wire backend?"), "{errors}");
    // Without TLS on the other side.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in plain.incoming().map_while(Result::ok) {
            let _ = stream.write_all(&answer(400, ""));
        }
    });
    let (code, _, errors) = token(&folder, &["list"], &url, &[]);
    assert_eq!(code, 1);
    assert!(errors.contains("the server does not speak TLS"), "{errors}");
}

#[test]
fn hash_reads_standard_input_and_prints_both_forms() {
    let hash = |input: &str| {
        let mut child = Command::new(PROGRAM)
            .args(["token", "hash"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let forms = format!(
        "{}\n{}\n",
        StoredHash::wire(TOKEN.as_bytes()),
        StoredHash::short(TOKEN.as_bytes())
    );
    for input in [TOKEN.to_owned(), format!("{TOKEN}\r\n"), format!("Bearer {TOKEN}\n")] {
        assert_eq!(hash(&input), (0, forms.clone()));
    }
    for input in ["", "\n", &TOKEN[1..], "not a token at all"] {
        assert_eq!(hash(input), (2, String::new()), "{input:?}");
    }
}

#[test]
fn no_token_is_created_that_cannot_be_saved() {
    let folder = folder("unwritten");
    let backend = Backend::fine();
    let registry = folder.join("tokens.yaml");
    std::fs::write(&registry, "tokens: [{label: a}]\n").unwrap();
    let path = registry.to_str().unwrap();
    let another = folder.join("another.yaml");
    let another = another.to_str().unwrap();
    for (path, label, expires) in [
        (path, "b", "9999-12-31"),
        ("/nowhere/tokens.yaml", "b", "9999-12-31"),
        (path, "not a label", "9999-12-31"),
        (another, "b # c", "9999-12-31"),
        (another, "b", "2020-12-31"),
    ] {
        let more =
            ["--description", "x", "--register", path, "--label", label, "--expires", expires];
        let (code, _, errors) = token(&folder, &["create"], &url(backend.addr), &more);
        assert_eq!(code, 2, "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    assert_eq!(backend.accepted(), 0);
}
