//! Sections of the config with entries of their own.

use super::*;

#[test]
fn a_listener_may_be_a_mapping_with_tls_and_proxy_protocol() {
    let text = "listen:\n- \"127.0.0.1:8080\"\n- address: \"[::]:8443\"\n  tls:\n    certificates:\n    \
                - {certificate: a.pem, key: a.key}\n    - {certificate: b.pem, key: b.key}\n    \
                client_auth: {ca: ca.pem, required: false}\n  proxy_protocol: [10.0.0.0/8]\n\
                upstream: {servers: [\"127.0.0.1:8088\"]}\n";
    let config = parse(text).unwrap();
    assert_eq!(config.listen[0], "127.0.0.1:8080".parse::<SocketAddr>().unwrap().into());
    assert!(config.listen[0].is_plain());
    let files = |name: &str| CertificateFiles {
        certificate: format!("{name}.pem").into(),
        key: format!("{name}.key").into(),
    };
    let tls = ListenerTls {
        certificates: vec![files("a"), files("b")],
        client_auth: Some(ClientAuth { ca: "ca.pem".into(), required: false }),
    };
    let expected = Listener {
        address: "[::]:8443".parse().unwrap(),
        tls: Some(tls),
        proxy_protocol: vec!["10.0.0.0/8".parse().unwrap()],
    };
    assert_eq!(config.listen[1], expected);
    // A PROXY protocol header names the client.
    assert_eq!(config.warnings, []);
}

#[test]
fn all_errors_of_a_listener_are_reported() {
    let listen = |entry: &str| -> Vec<String> {
        let text = format!("listen: [{entry}]\nupstream: {{servers: [\"127.0.0.1:8088\"]}}\n");
        parse(&text).unwrap_err().iter().map(ToString::to_string).collect()
    };
    for (entry, expected) in [
        (
            "{}",
            &["1:10: listen[0].address is missing: write where clients connect: 0.0.0.0:8443"][..],
        ),
        (
            "{address: \"127.0.0.1:1\", tls: {certificates: []}, proxy_protocol: []}",
            &[
                "1:55: listen[0].tls.certificates: the list is empty",
                "proxy_protocol: the list is empty",
            ],
        ),
        (
            "{address: \"127.0.0.1:1\", tls: {certificates: [{key: a}], client_auth: {required: 1}}}",
            &[
                "certificates[0].certificate is missing",
                "client_auth.ca is missing",
                "client_auth.required: expected true",
            ],
        ),
        (
            "{address: \"127.0.0.1:1\", tls: true, proxy_protocol: [0.0.0.0/0]}",
            &[
                "listen[0].tls: expected a mapping",
                "proxy_protocol[0]: \"0.0.0.0/0\" matches every address",
            ],
        ),
        (
            "{address: \"127.0.0.1:1\", tsl: {}}",
            &["listen[0].tsl is an unknown key; did you mean `tls`?"],
        ),
        (
            "\"127.0.0.1:1\", {address: \"127.0.0.1:1\", proxy_protocol: [10.0.0.1]}",
            &["listen: 127.0.0.1:1 and 127.0.0.1:1 take the same port"],
        ),
    ] {
        let errors = listen(entry).join("\n");
        for expected in expected {
            assert!(errors.contains(expected), "{expected} is not in:\n{errors}");
        }
    }
}

#[test]
fn errors_in_tls_to_the_backend_have_positions() {
    let upstream = |lines: &str| parse(&LEAST.replace("{servers: [\"127.0.0.1:8088\"]}", lines));
    let config = upstream(
        "{servers: [\"https://wire.example\", \"http://b:80\"], host: Other.Example, \
         tls: {ca: a.pem, certificate: b.pem, key: b.key}}",
    )
    .unwrap();
    assert_eq!(config.upstream.iter().map(|server| server.tls).collect::<Vec<_>>(), [true, false]);
    assert_eq!(config.upstream_host, UpstreamHost::Name("other.example".into()));
    let identity = CertificateFiles { certificate: "b.pem".into(), key: "b.key".into() };
    let tls = UpstreamTls { ca: Some("a.pem".into()), identity: Some(identity) };
    assert_eq!(config.upstream_tls, tls);
    let config = upstream("{servers: [\"https://wire.example\"], host: keep}").unwrap();
    assert_eq!(config.upstream_host, UpstreamHost::Keep);
    for (lines, wanted) in [
        (
            "{servers: [\"https://a\"], tls: {certificate: b.pem}}",
            "2:55: upstream.tls.certificate: a certificate takes its private key",
        ),
        (
            "{servers: [\"https://a\"], tls: {key: b.key}}",
            "2:47: upstream.tls.key: a key takes its certificate",
        ),
        (
            "{servers: [\"a:1\"], tls: {ca: a.pem}}",
            "2:35: upstream.tls: no entry of upstream.servers begins with https://",
        ),
        (
            "{servers: [\"https://a\"], tls: {verify: false}}",
            "upstream.tls.verify is an unknown key",
        ),
        (
            "{servers: [\"https://a/scim/v2\"]}",
            "has a path after the host: requests keep the path that they came with; write https://a",
        ),
        ("{servers: [\"https://me:secret@a\"]}", "a user name or a password before the @"),
        (
            "{servers: [\"https://a\"], host: \"https://b\"}",
            "upstream.host: \"https://b\" is a URL; write the host alone",
        ),
        ("{servers: [\"https://a\", \"https://a:443\"]}", "this is given twice"),
    ] {
        let errors = upstream(lines).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        let error = errors[0].to_string();
        assert!(error.contains(wanted) && !error.contains("secret"), "{lines}: {error}");
    }
}

#[test]
fn errors_in_shared_have_positions() {
    let config = valid("shared: {redis: \"rediss://redis.example.com/2\"}\n");
    let shared = config.shared.unwrap();
    assert_eq!(shared.store.to_string(), "rediss://redis.example.com:6379");
    assert_eq!((shared.store.database, shared.store.prefix.as_str()), (2, "scim-guard:"));
    assert_eq!((shared.timeout, shared.on_failure), (Duration::from_millis(20), OnFailure::Local));
    let [warning] = &config.warnings[..] else { panic!("one warning") };
    assert!(warning.to_string().contains("3:9: warning: shared: without key_file"), "{warning}");
    for (lines, message) in [
        ("shared: {}\n", "3:9: shared.redis is missing: write redis://"),
        ("shared: {redis: \"a:6379\"}\n", "3:17: shared.redis: \"a:6379\" is not the URL"),
        ("shared: {redis: \"redis://u:p@a\"}\n", "3:17: shared.redis: has a user or a password"),
        ("shared: {redis: \"redis-sentinel://a\"}\n", "does not name the master"),
        (
            "shared: {redis: \"redis://a\", timeout: 0ms}\n",
            "\"0ms\" is out of range; it must be 1ms to 10s",
        ),
        (
            "shared: {redis: \"redis://a\", on_failure: open}\n",
            "\"open\" is none of: local, refuse",
        ),
        ("shared: {redis: \"redis://a\", prefix: \"{a}\"}\n", "\"{a}\" is no prefix"),
        ("shared: {redis: \"redis://a\", username_file: u}\n", "a user takes a password as well"),
        ("shared: {redis: \"redis://a\", ca: c.pem}\n", "speaks cleartext; write rediss://"),
        ("shared: {redis: \"redis://a\", pasword_file: p}\n", "did you mean"),
    ] {
        let errors = errors(lines);
        assert!(errors.len() == 1 && errors[0].contains(message), "{lines}: {errors:?}");
    }
}

#[test]
fn repairs_are_named_alone_or_by_preset_and_unknown_names_are_errors() {
    let config = parse(&format!("{LEAST}repairs: [keycloak, language]\n")).unwrap();
    assert_eq!(config.repairs, Some(Repairs::of(&[Repair::Roles, Repair::Language])));
    let off = parse(&format!("{LEAST}repairs: [okta]\nrules: {{mode: off}}\n")).unwrap();
    assert_eq!(off.repairs, None);
    let errors = parse(&format!("{LEAST}repairs: [role, azure]\n")).unwrap_err();
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(errors[0].contains("`roles`?") && errors[0].contains("repairs[0]"), "{errors:?}");
    assert!(errors[1].contains("entra, okta, onelogin"), "{errors:?}");
}
