//! Every error in the files of a listener is reported as a sentence with its position.

use std::path::PathBuf;
use std::process::Command;

use wire_scim_guard::config::{CertificateFiles, ClientAuth, Config, ListenerTls};
use wire_scim_guard::tls::LoadedTls;

use crate::support::program::PROGRAM;
use crate::support::tls::{Authority, Issued, days, file};
use crate::support::{TOKEN, entry as entry_of, registry_file};

/// The errors in the files of a listener.
fn errors(tls: ListenerTls) -> Vec<String> {
    let mut config = Config::new(vec!["127.0.0.1:0".parse().unwrap()], Vec::new());
    config.listen[0].tls = Some(tls);
    let errors = LoadedTls::load(&config).err().unwrap_or_default();
    errors.iter().map(ToString::to_string).collect()
}

fn pair(certificate: PathBuf, key: PathBuf) -> ListenerTls {
    let certificates = vec![CertificateFiles { certificate, key }];
    ListenerTls { certificates, client_auth: None }
}

/// Asserts that there is one error, in this file, with this text.
fn one(tls: ListenerTls, path: &std::path::Path, at: &str, text: &str) {
    let errors = errors(tls);
    assert_eq!(errors.len(), 1, "{errors:?}");
    let begin = format!("{}:{at} ", path.display());
    assert!(errors[0].starts_with(&begin) && errors[0].contains(text), "{}", errors[0]);
}

const NAMES: &[&str] = &["dns:a.example"];

#[test]
fn certificates_that_no_client_would_accept_are_errors() {
    let authority = Authority::new("files");
    let expired = authority.issue_with(NAMES, |params| params.not_after = days(-3));
    let early = authority.issue_with(NAMES, |params| {
        params.not_before = days(3);
        params.not_after = days(30);
    });
    for (issued, text) in [
        (&expired, "the certificate expired on "),
        (&early, "the certificate is not valid before "),
        (&authority.issue(&[]), "as a subject alternative name"),
        (&authority.issue(&["email:a@example.com"]), "as a subject alternative name"),
    ] {
        let tls = issued.listener();
        let path = tls.certificates[0].certificate.clone();
        one(tls, &path, "1:1:", text);
    }
    assert_eq!(errors(authority.issue(NAMES).listener()), [""; 0]);
}

#[test]
fn the_chain_has_to_be_in_order_and_match_the_key() {
    let root = Authority::new("root");
    let intermediate = root.intermediate("intermediate");
    let Issued { certificate: own, key } = intermediate.issue(NAMES);
    let (issuer, root_pem) = (intermediate.certificate.pem(), root.certificate.pem());
    let key = file(key);
    let lines = |text: &str| text.lines().count();
    let second = format!("{}:1:", lines(&own) + 1);
    for (chain, at, text) in [
        (
            issuer.clone() + &own,
            &*format!("{}:1:", lines(&issuer) + 1),
            "wrong order: certificate 2",
        ),
        (
            own.clone() + &root_pem,
            &*second,
            "certificate 2 of the chain is not the issuer of certificate 1",
        ),
        (root.issue(NAMES).certificate, "1:1:", "does not belong to this certificate"),
    ] {
        let chain = file(chain);
        one(pair(chain.clone(), key.clone()), &chain, at, text);
    }
    let good = file(format!("subject=own\n{own}\nissuer\n{issuer}{root_pem}"));
    assert_eq!(errors(pair(good, key)), [""; 0]);
}

#[test]
fn an_expired_issuer_in_the_chain_is_an_error() {
    let root = Authority::new("root");
    let old = root.intermediate_with("old", |params| params.not_after = days(-1));
    let mut issued = old.issue(NAMES);
    let second = format!("{}:1:", issued.certificate.lines().count() + 1);
    issued.certificate.push_str(&old.certificate.pem());
    let tls = issued.listener();
    let path = tls.certificates[0].certificate.clone();
    one(tls, &path, &second, "expired on");
}

#[test]
fn files_with_other_contents_are_errors() {
    let authority = Authority::new("files");
    let Issued { certificate, key } = authority.issue(NAMES);
    let der = {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap().to_vec()
    };
    let (good, good_key) = (file(&certificate), file(&key));
    let cut = &certificate[..certificate.len() / 2];
    let damaged = certificate.replacen("MII", "AAA", 1);
    for (text, at, expected) in [
        (&b""[..], "", "the file is empty"),
        (b"hello\n", "", "there is no PEM block in it"),
        (&der, "", "this is DER; convert it to PEM"),
        (
            key.as_bytes(),
            "",
            "there is no certificate in it, only PRIVATE KEY; are the files of certificate and key swapped?",
        ),
        (cut.as_bytes(), "1:1:", "has no end"),
        (damaged.as_bytes(), "1:1:", "not a certificate, or a damaged one"),
        (
            b"\n-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n",
            "2:1:",
            "is not Base64",
        ),
    ] {
        let path = file(text);
        one(pair(path.clone(), good_key.clone()), &path, at, expected);
    }
    let openssl = |arguments: &[&str], input: &PathBuf| {
        let output =
            Command::new("openssl").args(arguments).arg("-in").arg(input).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let encrypted = openssl(&["pkey", "-aes128", "-passout", "pass:secret"], &good_key);
    let old_form = openssl(&["ec", "-aes128", "-passout", "pass:secret"], &good_key);
    let twice = key.clone() + &key;
    let curve = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
    let p521 = Command::new("openssl").args(curve).output().unwrap().stdout;
    for (text, at, expected) in [
        (&encrypted[..], "1:1:", "the key is encrypted"),
        (&old_form, "1:1:", "the key is encrypted"),
        (
            certificate.as_bytes(),
            "",
            "there is no private key in it, only CERTIFICATE; are the files of certificate and key swapped?",
        ),
        (
            twice.as_bytes(),
            &format!("{}:1:", key.lines().count() + 1),
            "this is a second private key",
        ),
        (
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "1:1:",
            "the key is damaged, or of a kind that is not supported",
        ),
        (&p521, "1:1:", "the key is damaged, or of a kind that is not supported"),
        (b"", "", "the file is empty"),
    ] {
        let path = file(text);
        let tls = pair(good.clone(), path.clone());
        let found = errors(tls.clone()).join("\n");
        assert!(!found.contains("AAAA") && !found.contains("secret"), "{found}");
        one(tls, &path, at, expected);
    }
}

#[test]
fn unreadable_files_are_errors_and_nothing_blocks_on_them() {
    let authority = Authority::new("files");
    let good = authority.issue(NAMES).files();
    let fifo = file("");
    std::fs::remove_file(&fifo).unwrap();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let missing = fifo.with_extension("missing");
    let large = file("x".repeat(1024 * 1024 + 1));
    for (path, text) in [
        (fifo.clone(), "this is a pipe (FIFO), and only regular files are read"),
        (fifo.parent().unwrap().into(), "this is a folder"),
        (missing, "cannot be read: No such file"),
        (large, "is larger than 1MiB"),
    ] {
        for tls in [
            pair(path.clone(), good.key.clone()),
            pair(good.certificate.clone(), path.clone()),
            ListenerTls {
                client_auth: Some(ClientAuth { ca: path.clone(), required: true }),
                ..pair(good.certificate.clone(), good.key.clone())
            },
        ] {
            one(tls, &path, "", text);
        }
    }
}

#[test]
fn authorities_have_to_be_authorities_that_are_valid() {
    let authority = Authority::new("files");
    let tls = |ca: &PathBuf| {
        let client_auth = Some(ClientAuth { ca: ca.clone(), required: true });
        ListenerTls { client_auth, ..authority.issue(NAMES).listener() }
    };
    let old = Authority::new_with("old", |params| params.not_after = days(-1));
    let issued = authority.issue(NAMES);
    for (text, at, expected) in [
        (String::new(), "", "the file is empty"),
        (issued.certificate.clone(), "1:1:", "not the certificate of an authority"),
        (old.certificate.pem(), "1:1:", "expired on"),
        (issued.key, "", "there is no certificate in it"),
    ] {
        let path = file(text);
        one(tls(&path), &path, at, expected);
    }
    // As long as others remain, expired ones are left out.
    let both = file(old.certificate.pem() + &authority.certificate.pem());
    let mut config = Config::new(vec!["127.0.0.1:0".parse().unwrap()], Vec::new());
    config.listen[0].tls = Some(tls(&both));
    let loaded = LoadedTls::load(&config).unwrap();
    let warnings = loaded.warnings(std::time::SystemTime::now());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with(&format!("{}:1:1: warning: ", both.display())));
    assert!(warnings[0].contains("expired on") && warnings[0].ends_with("so it is left out"));
}

#[test]
fn all_errors_of_all_files_are_reported_at_once() {
    let authority = Authority::new("files");
    let mut tls = authority.issue(&[]).listener();
    tls.certificates
        .push(authority.issue_with(NAMES, |params| params.not_after = days(-1)).files());
    tls.certificates[1].key = file("");
    tls.client_auth = Some(ClientAuth { ca: file("x"), required: false });
    assert_eq!(errors(tls).len(), 3);
}

#[test]
fn the_files_that_were_read_are_identified_by_their_contents() {
    let authority = Authority::new("files");
    let tls = authority.issue(NAMES).listener();
    let key = tls.certificates[0].key.clone();
    let mut config = Config::new(vec!["127.0.0.1:0".parse().unwrap()], Vec::new());
    config.listen[0].tls = Some(tls);
    let loaded = LoadedTls::load(&config).unwrap();
    let is_same = || {
        let file = loaded.files().iter().find(|file| file.path == key).unwrap();
        *file == wire_scim_guard::tls::file::TlsFile::of(&key)
    };
    assert_eq!(loaded.files().len(), 2);
    assert!(is_same());
    std::fs::write(&key, "x").unwrap();
    assert!(!is_same());
    std::fs::remove_file(&key).unwrap();
    assert!(!is_same());
}

/// Runs `config check` on a listener with these files; what it prints on standard error, and its exit code.
fn check(listen: &str, more: &str) -> (String, i32) {
    let config = file(format!(
        "listen:\n- address: \"127.0.0.1:1\"\n  tls:\n    {listen}\nupstream: {{servers: [\"127.0.0.1:2\"]}}\n{more}"
    ));
    let output =
        Command::new(PROGRAM).args(["config", "check", "--config"]).arg(config).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

#[test]
fn config_check_reports_errors_and_warnings_of_certificates() {
    let authority = Authority::new("files");
    let soon = authority.issue_with(NAMES, |params| params.not_after = days(5)).files();
    let entry = |files: &CertificateFiles| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        format!("certificates: [{{certificate: {certificate}, key: {key}}}]")
    };
    let (warning, code) = check(&entry(&soon), "");
    assert_eq!(code, 0, "{warning}");
    assert!(
        warning.contains(&format!("{}:1:1: warning: ", soon.certificate.display())),
        "{warning}"
    );
    assert!(warning.contains("127.0.0.1:1/1 expires in 5 days"), "{warning}");
    let expired = authority.issue_with(NAMES, |params| params.not_after = days(-1)).files();
    let (errors, code) = check(&entry(&expired), "threads: 0\n");
    assert_eq!(code, 2);
    assert!(errors.contains("threads: \"0\" is out of range"), "{errors}");
    assert!(errors.contains("the certificate expired on"), "{errors}");
    let tokens =
        registry_file(&[entry_of("idp", TOKEN, "client_certificate: \"dns:idp.example\"")]);
    let (warnings, code) = check(&entry(&soon), &format!("tokens: {}\n", tokens.display()));
    assert_eq!(code, 0, "{warnings}");
    assert!(
        warnings.contains("the token idp may be used with a client certificate only"),
        "{warnings}"
    );
    let wrong = registry_file(&[entry_of("idp", TOKEN, "client_certificate: idp.example")]);
    let (errors, code) = check(&entry(&soon), &format!("tokens: {}\n", wrong.display()));
    assert_eq!(code, 2);
    assert!(errors.contains("client_certificate: \"idp.example\" has no kind of name"), "{errors}");
    let missing = CertificateFiles { key: "no.key".into(), ..soon };
    let (errors, code) = check(&entry(&missing), "");
    assert_eq!(code, 2);
    assert!(errors.contains(":4:"), "{errors}");
    assert!(
        errors.contains("certificates[0].key:") && errors.contains("no.key cannot be read"),
        "{errors}"
    );
}
