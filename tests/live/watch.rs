//! `reload: {watch: true}`: changed files are applied without a signal, however they are replaced.

use std::os::unix::fs::symlink;

use crate::guard::Place;
use crate::support::{Backend, control, wait_until};

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
fn nothing_is_reloaded_automatically_unless_configured() {
    let backend = Backend::fine();
    let place = Place::new("unwatched");
    place.write(&place.text(&backend, ""));
    let guard = place.start();
    // Once it is enabled by a signal, it works.
    place.write(&place.text(&backend, WATCHED));
    guard.reload(&place, "applied");
    let closed = place.text(&backend, "hosts: [other.example]\n");
    place.write(&closed);
    serves(&place, false);
    // And now it is disabled again.
    place.write(&place.text(&backend, ""));
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(place.reloads("applied"), 2.0);
}
