//! The files that `shared` names, and what is wrong with them.

use std::process::Command;

fn check(files: &[(&str, &str)], shared: &str) -> (bool, String) {
    let folder = std::env::temp_dir().join(format!(
        "shared-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, content) in files {
        std::fs::write(folder.join(name), content).unwrap();
    }
    let config = folder.join("config.yaml");
    let text = format!(
        "listen: [\"127.0.0.1:8080\"]\nupstream: {{servers: [\"127.0.0.1:8088\"]}}\nshared: {{{shared}}}\n"
    );
    std::fs::write(&config, text).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_wire-scim-guard"))
        .args(["config", "check", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    let told = [run.stdout, run.stderr].concat();
    (run.status.success(), String::from_utf8(told).unwrap())
}

#[test]
fn each_mistake_in_a_file_is_named_with_its_place() {
    let files = [
        ("short", "secret-but-short\n"),
        ("empty", "\n"),
        ("two", "one-password\nanother\n"),
        ("key", "0123456789abcdef0123456789abcdef\n"),
        ("password", "correct-horse\n"),
    ];
    let (good, told) = check(
        &files,
        "redis: \"redis://a\", key_file: short, username_file: empty, password_file: two",
    );
    assert!(!good);
    for part in [
        "config.yaml:3:40: shared.key_file: ",
        "has a key of 16 characters; write one of at least 32",
        "shared.username_file: ",
        "is empty; write one line into it",
        "shared.password_file: ",
        "has more than one line",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("secret-but-short") && !told.contains("one-password"), "{told}");
    let (good, told) = check(&files, "redis: \"redis://a\", key_file: key, password_file: missing");
    assert!(!good && told.contains("missing cannot be read"), "{told}");
    let (good, told) = check(&files, "redis: \"rediss://a\", key_file: key, ca: password");
    assert!(!good && told.contains("password"), "{told}");
    let (good, told) =
        check(&files, "redis: \"redis://a\", key_file: key, password_file: password");
    assert!(good && !told.contains("warning"), "{told}");
}

#[test]
fn a_missing_key_is_a_warning() {
    let (good, told) = check(&[], "redis: \"redis://a\"");
    assert!(good && told.contains("3:9: warning: shared: without key_file"), "{told}");
}
