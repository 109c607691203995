//! Common client programs: curl, openssl and Python.

use std::process::{Command, Stdio};

use crate::support::program::Place;
use crate::support::tls::{Authority, NAME, days, file};
use crate::support::{Backend, Guarded, TOKEN, entry, registry_file, wait_until};
use crate::{guarded, listener, listener_for};

/// What `openssl s_client` prints about its connection.
pub fn s_client(guarded: &Guarded, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &guarded.addr.to_string(), "-servername", NAME]);
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// What curl prints: HTTP version, status, then the answer.
fn curl(guarded: &Guarded, ca: &std::path::Path, arguments: &[&str]) -> String {
    let port = guarded.addr.port();
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--write-out", "%{http_version} %{http_code}\n"])
        .args([
            "--output",
            "/dev/null",
            "--resolve",
            &format!("{NAME}:{port}:127.0.0.1"),
            "--cacert",
        ])
        .arg(ca)
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(arguments)
        .arg(format!("https://{NAME}:{port}/scim/v2/ServiceProviderConfig"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap()
}

#[test]
fn curl_is_served_over_http_1_and_2() {
    let backend = Backend::fine();
    let authority = Authority::new("programs");
    let guarded = guarded(&backend, &listener(&authority), |_| {});
    let ca = file(authority.certificate.pem());
    assert_eq!(curl(&guarded, &ca, &["--http1.1"]), "1.1 200\n");
    assert_eq!(curl(&guarded, &ca, &["--http2"]), "2 200\n");
    assert_eq!(curl(&guarded, &ca, &["--http2", "--tls-max", "1.2"]), "2 200\n");
    let other = file(Authority::new("others").certificate.pem());
    assert!(curl(&guarded, &other, &[]).contains("certificate"));
    assert_eq!(backend.seen().len(), 3);
}

#[test]
fn versions_and_protocols_are_as_openssl_sees_them() {
    let backend = Backend::fine();
    let authority = Authority::new("programs");
    let guarded = guarded(&backend, &listener(&authority), |_| {});
    for (arguments, expected) in [
        (&["-tls1_3"][..], "New, TLSv1.3"),
        (&["-tls1_2"], "New, TLSv1.2"),
        (
            &["-ciphersuites", "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"],
            "Cipher is TLS_AES_256",
        ),
        (&["-alpn", "h2,http/1.1"], "ALPN protocol: h2"),
        (&["-alpn", "http/1.1"], "ALPN protocol: http/1.1"),
        (&[], "No ALPN negotiated"),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "alert handshake failure"),
        (&["-tls1_2", "-cipher", "AES128-SHA256"], "alert handshake failure"),
    ] {
        let seen = s_client(&guarded, arguments);
        assert!(seen.contains(expected), "{arguments:?}:\n{seen}");
    }
}

#[test]
fn a_python_client_with_a_certificate_may_use_its_token() {
    const SCRIPT: &str = r#"
import http.client, ssl, sys
ca, port, token, own = sys.argv[1:5]
context = ssl.create_default_context(cafile=ca)
if own:
    context.load_cert_chain(own)
context.check_hostname = False
connection = http.client.HTTPSConnection("127.0.0.1", int(port), context=context)
for _ in range(2):
    connection.request("GET", "/scim/v2/Users/3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3", headers={"Authorization": "Bearer " + token})
    answer = connection.getresponse()
    answer.read()
    print(answer.status, answer.getheader("Scim-Guard-Rule"))
"#;
    let backend = Backend::fine();
    let (authority, clients) = (Authority::new("programs"), Authority::new("clients"));
    let guarded = guarded(&backend, &listener_for(&authority, &clients, false), |config| {
        let certified = entry("idp", TOKEN, "client_certificate: \"dns:idp.example\"");
        config.tokens = Some(registry_file(&[certified]));
    });
    let ca = file(authority.certificate.pem());
    let ask = |own: &str| {
        let output = Command::new("python3")
            .args(["-c", SCRIPT])
            .arg(&ca)
            .args([&guarded.addr.port().to_string(), TOKEN, own])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let issued = clients.issue(&["dns:idp.example"]);
    let own = file(issued.certificate + &issued.key);
    assert_eq!(ask(own.to_str().unwrap()), "200 None\n200 None\n");
    assert_eq!(ask(""), "403 token.certificate\n403 token.certificate\n");
}

#[test]
fn the_program_warns_at_its_start_of_certificates_that_expire_soon() {
    let backend = Backend::fine();
    let authority = Authority::new("programs");
    let soon = authority.issue_with(&["dns:a.example"], |params| params.not_after = days(3));
    let files = soon.files();
    let place = Place::before("tls-expiry", &[&backend], "threads: 1\n");
    let text = std::fs::read_to_string(&place.config).unwrap();
    let plain = format!("listen: [\"{}\"]", place.addr);
    let with_tls = format!(
        "listen: [{{address: \"{}\", tls: {{certificates: [{{certificate: {}, key: {}}}]}}}}]",
        place.addr,
        files.certificate.display(),
        files.key.display()
    );
    assert!(text.contains(&plain));
    std::fs::write(&place.config, text.replace(&plain, &with_tls)).unwrap();
    let _running = place.run_logged("exec \"$@\"");
    let warning = format!("the certificate {}/1 expires in 3 days", place.addr);
    wait_until("the warning", || place.logged().contains(&warning));
}
