//! `reload: {watch: true}`: changed files are applied without a signal, however they are replaced.

use std::os::unix::fs::symlink;

use crate::guard::Place;
use crate::support::tls::Authority;
use crate::support::{Backend, Client, control, unused_addr, wait_until};

const WATCHED: &str = "reload: {watch: true}\n";

/// Mounts a ConfigMap as Kubernetes does: the file is a link through `..data`, which is replaced as
/// a whole.
fn swap(place: &Place, version: &str, text: &str) {
    std::fs::create_dir_all(place.path(version)).unwrap();
    std::fs::write(place.path(version).join("config.yaml"), text).unwrap();
    symlink(version, place.path("..new")).unwrap();
    std::fs::rename(place.path("..new"), place.path("..data")).unwrap();
}

/// Waits until the Host of the test's requests is served, or not.
fn serves(place: &Place, serves: bool) {
    wait_until("the change", || (place.ask(control()).rule() == "-") == serves);
}

#[test]
fn a_swapped_link_a_renamed_file_and_a_rewritten_one_are_applied() {
    let backend = Backend::fine();
    let place = Place::new("watch");
    let open = place.text(&backend, WATCHED);
    let closed = place.text(&backend, &format!("{WATCHED}hosts: [other.example]\n"));
    swap(&place, "1", &open);
    symlink("..data/config.yaml", place.config()).unwrap();
    let guard = place.start();
    serves(&place, true);
    swap(&place, "2", &closed);
    serves(&place, false);
    swap(&place, "3", &open);
    serves(&place, true);
    // A new file replaces the link's target, and then its contents change.
    place.replace("3/config.yaml", &closed);
    serves(&place, false);
    std::fs::write(place.path("3/config.yaml"), &open).unwrap();
    serves(&place, true);
    // A missing file is reported once, and one that reappears is applied.
    std::fs::remove_file(place.config()).unwrap();
    wait_until("the failure", || place.reloads("failed") > 0.0);
    assert_eq!(place.status(), 200);
    place.write(&closed);
    serves(&place, false);
    assert_eq!((place.reloads("failed"), place.reloads("applied")), (1.0, 5.0));
    assert!(guard.logged().contains("cannot be read"));
}

#[test]
fn a_changed_schema_is_applied_and_a_faulty_one_is_not() {
    let backend = Backend::fine();
    let place = Place::new("watch-schemas");
    std::fs::create_dir(place.path("schemas")).unwrap();
    let schema = |required: &str| {
        format!(
            "{{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"type\": \"object\", \"required\": \
             [{required}]}}"
        )
    };
    std::fs::write(place.path("schemas/user.json"), schema("")).unwrap();
    place.write(&place.text(&backend, &format!("{WATCHED}schemas: schemas\n")));
    let _guard = place.start();
    assert_eq!(place.status(), 200);
    place.replace("schemas/user.json", "{\"type\": 7}");
    wait_until("the failure", || place.reloads("failed") > 0.0);
    assert_eq!(place.status(), 200);
    place.replace("schemas/user.json", &schema("\"title\""));
    wait_until("the change", || place.ask(control()).rule() == "user.schema");
}

#[test]
fn changed_files_with_a_token_or_a_key_are_applied() {
    let backend = Backend::fine();
    let place = Place::new("watch-secrets");
    place.replace("admin.token", "the-first-of-two-tokens");
    place.replace("audit.key", &"a".repeat(32));
    place.write(&format!(
        "listen: [\"{}\"]\nadmin: {{listen: \"{}\", token_file: admin.token}}\nthreads: 1\n\
         upstream: {{servers: [\"{}\"]}}\nlog: {{audit: true, audit_key_file: audit.key}}\n{WATCHED}",
        place.addr, place.admin, backend.addr
    ));
    let guard = place.start();
    let admits = |token: &str| {
        let mut client = Client::connect(place.admin);
        client.send(format!("GET /metrics HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n"));
        client.response().status == 200
    };
    assert!(admits("the-first-of-two-tokens") && !admits("the-second-of-two-tokens"));
    place.replace("admin.token", "the-second-of-two-tokens");
    wait_until("the new token", || admits("the-second-of-two-tokens"));
    assert!(!admits("the-first-of-two-tokens"));
    // The key is in use when the same person has another hash.
    let person = || {
        let before = guard.logged().matches("\"person\":").count();
        assert_eq!(place.status(), 200);
        wait_until("the audit line", || guard.logged().matches("\"person\":").count() > before);
        let log = guard.logged();
        let (_, person) = log.rsplit_once("\"person\":\"").unwrap();
        person[..64].to_owned()
    };
    let first = person();
    assert_eq!(first, person());
    place.replace("audit.key", &"b".repeat(32));
    wait_until("the new key", || person() != first);
    // One that cannot be used changes nothing, and is applied when it is corrected.
    let ready = || place.ready();
    place.replace("admin.token", "short");
    wait_until("the failure", || ready().contains("admin.token"));
    assert!(admits("the-second-of-two-tokens"));
    place.replace("admin.token", "the-third-of-three-tokens");
    wait_until("the third token", || admits("the-third-of-three-tokens"));
}

#[test]
fn replicas_that_have_read_the_same_have_the_same_fingerprint() {
    let backend = Backend::fine();
    let place = Place::new("fingerprint");
    let fingerprint = || place.metric("scim_guard_config_fingerprint");
    let hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let register = |label: &str| {
        place.replace("tokens.yaml", &format!("tokens:\n- {{label: {label}, hash: \"{hash}\"}}\n"));
    };
    let schema = |text: &str| place.replace("schemas/user.json", text);
    std::fs::create_dir(place.path("schemas")).unwrap();
    register("a");
    schema("{}");
    place
        .write(&place.text(&backend, &format!("{WATCHED}tokens: tokens.yaml\nschemas: schemas\n")));
    let guard = place.start();
    let first = fingerprint();
    register("b");
    wait_until("the registry", || fingerprint() != first);
    register("a");
    wait_until("the first registry", || fingerprint() == first);
    schema("{\"required\": [\"title\"]}");
    wait_until("the schema", || fingerprint() != first);
    schema("{}");
    wait_until("the first schema", || fingerprint() == first);
    // Another process with these files has the same.
    drop(guard);
    let _guard = place.start();
    assert_eq!(fingerprint(), first);
}

#[test]
fn nothing_is_reloaded_automatically_unless_configured() {
    let backend = Backend::fine();
    let place = Place::new("unwatched");
    let authority = Authority::new("renewed");
    let renew = || {
        let issued = authority.issue(&["dns:wire.example"]);
        place.replace("server.pem", &issued.certificate);
        place.replace("server.key", &issued.key);
    };
    renew();
    let listen = format!(
        "\"{}\", {{address: \"{}\", tls: {{certificates: [{{certificate: server.pem, key: server.key}}]}}}}",
        place.addr,
        unused_addr()
    );
    let text = |more: &str| place.text_for(&listen, &backend, more);
    place.write(&text(""));
    let guard = place.start();
    // Once it is enabled by a signal, it works.
    place.write(&text(WATCHED));
    guard.reload(&place, "applied");
    place.write(&text("hosts: [other.example]\n"));
    serves(&place, false);
    // And now it is disabled again: certificates that were changed later are in use, and it is not.
    place.write(&text(""));
    for renewed in 1..=2 {
        renew();
        let said = "changed certificates are in use";
        wait_until("the certificates", || guard.logged().matches(said).count() == renewed);
    }
    assert_eq!(place.reloads("applied"), 2.0);
    assert_eq!(place.ask(control()).rule(), "framing.host");
}
