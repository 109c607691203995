//! The program as operators run it: exit codes, messages and help.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

#[path = "cli/check.rs"]
mod check;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const EXAMPLE: &str = "conf/wire-scim-guard.yaml";
const GOOD: &str =
    r#"{"userName":"new.user","displayName":"New User","externalId":"a@example.com"}"#;
const BAD: &str =
    r#"{"userName":"new user","displayName":"New User","externalId":"a@example.com"}"#;

/// Runs the program and returns its exit code, standard output and standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    run_with(arguments, "")
}

fn run_with(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wire-scim-guard"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that exits before it has read its input closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A folder that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}"));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn wire_release_must_look_like_a_wire_version() {
    for command in ["demo", "standin"] {
        for release in ["any", "5", "5.35.1", ""] {
            let (code, out, err) = run(&[command, "--release", release]);
            assert_eq!((code, out.as_str()), (2, ""), "{command} {release}");
            assert!(err.contains("5.34 or 5.35") && err.lines().count() == 1, "{err}");
        }
    }
}

#[test]
fn every_command_has_help_and_version() {
    for command in [
        &[][..],
        &["serve"],
        &["demo"],
        &["config"],
        &["config", "check"],
        &["rules"],
        &["check"],
        &["compare"],
        &["preflight"],
        &["token"],
        &["token", "create"],
        &["token", "list"],
        &["token", "rename"],
        &["token", "delete"],
        &["token", "hash"],
        &["deprovisioning"],
        &["deprovisioning", "allow"],
        &["config", "schema"],
        &["completions"],
        &["man"],
    ] {
        let (code, out, err) = run(&[command, &["--help"]].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{command:?}");
        assert!(out.contains("Usage: wire-scim-guard"), "{command:?}: {out}");
        let (code, out, err) = run(&[command, &["--version"]].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{command:?}");
        let version = format!("wire-scim-guard {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(out, version, "{command:?}");
    }
    for (command, example) in [
        (&["serve"][..], "wire-scim-guard serve --config"),
        (&["demo"], "wire-scim-guard demo --listen"),
        (&["config", "check"], "wire-scim-guard config check --config"),
        (&["config", "schema"], "wire-scim-guard config schema >"),
        (&["completions"], "wire-scim-guard completions bash >"),
        (&["man"], "wire-scim-guard man /usr"),
        (&["rules"], "wire-scim-guard rules --json | jq"),
        (&["check"], "wire-scim-guard check --kind patch"),
        (&["preflight"], "wire-scim-guard preflight --bridge-config"),
        (&["token", "create"], "wire-scim-guard token create --backend"),
        (&["token", "list"], "wire-scim-guard token list --backend"),
        (&["token", "rename"], "wire-scim-guard token rename"),
        (&["token", "delete"], "wire-scim-guard token delete"),
        (&["token", "hash"], "wire-scim-guard token hash <"),
        (&["deprovisioning", "allow"], "wire-scim-guard deprovisioning allow --register"),
    ] {
        let (_, out, _) = run(&[command, &["--help"]].concat());
        assert!(out.contains("Example") && out.contains(example), "{command:?}: {out}");
    }
}

#[test]
fn only_regular_files_are_read() {
    let folder = Folder::new("irregular");
    let pipe = |name: &str| {
        let path = folder.0.join(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path.to_str().unwrap().to_owned()
    };
    // Nothing writes to these pipes: a reader that opens one blocks forever.
    let least = "listen: [\"127.0.0.1:8080\"]\nupstream: {servers: [\"127.0.0.1:8088\"]}\n";
    std::fs::create_dir(folder.0.join("schemas")).unwrap();
    let wanted = "this is a pipe (FIFO), and only regular files are read";
    for (config, path) in [
        (pipe("config.yaml"), "config.yaml"),
        (
            folder.file("schemas.yaml", format!("{least}schemas: schemas\n")),
            pipe("schemas/user.json").as_str(),
        ),
        (
            folder.file("tokens.yaml", format!("{least}tokens: register\n")),
            pipe("register").as_str(),
        ),
    ] {
        let (code, out, err) = run(&["config", "check", "--config", &config]);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(path) && err.contains(wanted), "{path}: {err}");
    }
    let (code, _, err) = run(&["config", "check", "--config", "/dev/zero"]);
    assert_eq!(code, 2);
    assert!(err.contains("/dev/zero: this is a device, and only regular files"), "{err}");
    let (_, _, err) = run(&["config", "check", "--config", folder.0.to_str().unwrap()]);
    assert!(err.contains("this is a folder, and only regular files"), "{err}");
    // A link to a file is accepted like the file itself: mounted ConfigMaps consist of links.
    let link = folder.0.join("link.yaml");
    std::os::unix::fs::symlink(folder.file("good.yaml", least), &link).unwrap();
    let (code, out, err) = run(&["config", "check", "--config", link.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.ends_with("link.yaml: ok\n"), "{out}");
}

#[test]
fn expensive_schemas_and_long_arrays_are_errors_with_positions() {
    let folder = Folder::new("costly");
    let least = "listen: [\"127.0.0.1:8080\"]\nupstream: {servers: [\"127.0.0.1:8088\"]}\n";
    let hosts: Vec<String> = (0..100_000).map(|nth| format!("h{nth}")).collect();
    let config = folder.file("hosts.yaml", format!("{least}hosts: [{}]\n", hosts.join(", ")));
    let (code, _, err) = run(&["config", "check", "--config", &config]);
    assert_eq!((code, err.lines().count()), (2, 1), "{err}");
    assert!(err.contains("hosts.yaml:3:8: hosts: the list has 100000 items; 1000 are"), "{err}");

    let doubling = (0..40).map(|nth| {
        let next = format!("{{\"$ref\": \"#/$defs/d{}\"}}", nth + 1);
        format!("\"d{nth}\": {{\"anyOf\": [{next}, {next}]}},\n")
    });
    let defs: String = doubling.collect();
    let user = "{\"properties\": {\"title\": {\"$ref\": \"#/$defs/d0\"}}, \"$defs\": {\n";
    std::fs::create_dir(folder.0.join("schemas")).unwrap();
    let schema = format!("{user}{defs}\"d40\": true}}}}\n");
    folder.file("schemas/user.json", schema);
    folder.file("schemas/group.json", "{\"not\": {\"$ref\": \"#\"}}");
    let config = folder.file("costly.yaml", format!("{least}schemas: schemas\n"));
    let (code, _, err) = run(&["config", "check", "--config", &config]);
    assert_eq!((code, err.lines().count()), (2, 2), "{err}");
    assert!(err.contains("more than 1000 subschemas are applied to one value here"), "{err}");
    assert!(err.contains("schemas/user.json:3"), "the place is in the chain: {err}");
    assert!(err.contains("group.json:1:18: this refers back to itself"), "{err}");
}

#[test]
fn a_warning_does_not_change_the_outcome_of_config_check() {
    let folder = Folder::new("warning");
    let config = folder.file(
        "guard.yaml",
        "listen: [\"0.0.0.0:8080\"]\nupstream: {servers: [\"127.0.0.1:8088\"]}\n",
    );
    let (code, out, err) = run(&["config", "check", "--config", &config]);
    assert_eq!((code, out), (0, format!("{config}: ok\n")));
    assert!(err.starts_with(&format!("{config}:1:10: warning: listen: 0.0.0.0:8080 ")), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn invalid_arguments_give_one_sentence_and_exit_code_2() {
    for (arguments, wanted) in [
        (&["serve"][..], "required arguments were not provided: --config <FILE>"),
        (&["sevre"], "unrecognized subcommand 'sevre'"),
        (&["rules", "--yaml"], "unexpected argument '--yaml'"),
        (&["check"], "required arguments were not provided"),
        (&["preflight"], "required arguments were not provided"),
        (&["check", "--kind", "users", "x"], "possible values: user, patch, group"),
        (&["check", "--rows", "x", "y"], "cannot be used with"),
        (&["check", "--rows", "x", "--kind", "group"], "cannot be used with"),
        (&["check", "-", "-"], "can be judged only once"),
        (&["demo", "--listen", "8080"], "invalid socket address"),
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert_eq!(err.lines().count(), 1, "{arguments:?}: {err}");
        assert!(err.contains(wanted), "{arguments:?}: {err}");
    }
    let (code, _, err) = run(&[]);
    assert_eq!(code, 2);
    assert!(err.contains("Usage: wire-scim-guard"), "{err}");
}

#[test]
fn every_config_in_conf_is_ok() {
    let configs = ["conf/wire-scim-guard.yaml", "conf/wire-cloud.yaml"];
    for config in configs {
        assert_eq!(run(&["config", "check", "--config", config]).0, 0, "{config}");
    }
    // No other file there is a config.
    let files = std::fs::read_dir("conf").unwrap().map(|entry| entry.unwrap().path());
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let files = files.filter(|path| path.is_file());
    let found = files.filter(|path| text(path).lines().any(|line| line.starts_with("upstream:")));
    assert_eq!(found.count(), configs.len());
}

#[test]
fn a_valid_config_is_ok() {
    assert_eq!(
        run(&["config", "check", "--config", EXAMPLE]),
        (0, format!("{EXAMPLE}: ok\n"), String::new())
    );
}

#[test]
fn all_errors_of_a_config_are_reported_with_positions() {
    let folder = Folder::new("errors");
    let path = folder.file(
        "bad.yaml",
        "listen: [\"127.0.0.1\"]\nupstreams: {}\nlimits: {body: 0}\nrules:\n  mode: maybe\n",
    );
    let wanted = [
        "1:1: upstream.servers is missing",
        "1:10: listen[0]: \"127.0.0.1\" is not an IP address with a port",
        "2:1: upstreams is an unknown key; did you mean `upstream`?",
        "3:16: limits.body: \"0\" is out of range",
        "5:9: rules.mode: \"maybe\" is none of: enforce, report, off",
    ];
    for command in [&["config", "check"][..], &["serve"], &["check", "x"]] {
        let (code, out, err) = run(&[command, &["--config", &path]].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert_eq!(err.lines().count(), wanted.len(), "{err}");
        for (line, wanted) in err.lines().zip(wanted) {
            assert!(line.starts_with(&format!("{path}:{wanted}")), "{line}");
        }
    }
}

#[test]
fn files_that_are_not_a_config_are_rejected() {
    let folder = Folder::new("no-config");
    let check = |path: &str| {
        let (code, out, err) = run(&["config", "check", "--config", path]);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        err
    };
    let missing = check(folder.0.join("none.yaml").to_str().unwrap());
    assert!(missing.contains("none.yaml: cannot be read: No such file"), "{missing}");
    let directory = check(folder.0.to_str().unwrap());
    assert!(directory.contains("this is a folder, and only regular files are read"), "{directory}");
    let latin = check(&folder.file("latin.yaml", b"listen: []\n# gr\xfc\xdfe\n"));
    assert!(latin.contains("latin.yaml:2:5: this is not UTF-8"), "{latin}");
    let large = check(&folder.file("large.yaml", vec![b'#'; 1024 * 1024 + 1]));
    assert!(large.contains("large.yaml: is larger than 1MiB"), "{large}");
}

#[test]
fn schemas_are_resolved_relative_to_the_config_and_checked_with_it() {
    let folder = Folder::new("schemas");
    let config = "listen: [\"127.0.0.1:8080\"]\nupstream: {servers: [wire:80]}\nschemas: own\n";
    let path = folder.file("config.yaml", config);
    std::fs::create_dir(folder.0.join("own")).unwrap();
    let check = || {
        let (code, _, err) = run(&["config", "check", "--config", &path]);
        (
            code,
            err.lines()
                .map(|line| line.replace(&*folder.0.to_string_lossy(), ""))
                .collect::<Vec<_>>(),
        )
    };
    let none = "/own: there is none of user.json, patch.json, group.json in this folder";
    assert_eq!(check(), (2, vec![none.to_owned()]));
    folder.file("own/user.json", "{\n\"type\": \"objekt\",\n\"pattern\": \"(\"}");
    folder.file("own/groups.json", "{}");
    let (code, lines) = check();
    assert_eq!(code, 2);
    assert!(lines[0].starts_with("/own/groups.json: no schema of this name is read; did you mean"));
    assert!(
        lines[1].starts_with("/own/user.json:2:9: this is not a valid value for `type`"),
        "{lines:?}"
    );
    assert!(
        lines[2].starts_with("/own/user.json:3:12: this regular expression cannot be read"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 3);
    std::fs::remove_file(folder.0.join("own/groups.json")).unwrap();
    folder.file("own/user.json", "{}");
    assert_eq!(check(), (0, Vec::new()));
}

#[test]
fn errors_in_a_config_and_in_the_files_it_names_are_reported_together() {
    let folder = Folder::new("all-at-once");
    std::fs::create_dir(folder.0.join("own")).unwrap();
    folder.file("own/patch.json", "{");
    folder.file("tokens.yaml", "tokens: [{label: a}]\n");
    let config = "listen: [\"127.0.0.1:8080\"]\nupstream: {servers: [wire:80]}\nthreads: 0\n\
                  schemas: own\ntokens: tokens.yaml\n";
    for command in ["serve", "config check", "check x"] {
        let path = folder.file("config.yaml", config);
        let words: Vec<&str> = command.split(' ').chain(["--config", &path]).collect();
        let (code, _, err) = run(&words);
        assert_eq!(code, 2);
        let wanted = [
            "config.yaml:3:10: threads",
            "own/patch.json:1:1: this is not JSON",
            "tokens.yaml:1:10: tokens[0].hash is missing",
        ];
        for (line, wanted) in err.lines().zip(wanted) {
            assert!(line.contains(wanted), "{line}");
        }
        assert_eq!(err.lines().count(), wanted.len(), "{err}");
        let path = folder.file(
            "config.yaml",
            config.replace(": own", ": nowhere").replace("tokens.y", "nothing.y"),
        );
        let words: Vec<&str> = command.split(' ').chain(["--config", &path]).collect();
        let (_, _, err) = run(&words);
        assert!(
            err.contains("config.yaml:4:10: schemas: ")
                && err.contains("config.yaml:5:9: tokens: "),
            "{err}"
        );
        assert_eq!(err.lines().count(), 3, "{err}");
    }
}

#[test]
fn a_bad_key_is_named_beside_a_missing_certificate() {
    let folder = Folder::new("pairs");
    let key = |name: &str| {
        let text =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        folder.file(name, text);
    };
    key("listener.key");
    key("admin.key");
    key("backend.key");
    folder.file("ca.pem", "");
    let pair = |name: &str| format!("certificate: missing-{name}.pem, key: {name}.key");
    let config = folder.file(
        "guard.yaml",
        format!(
            "listen:\n- address: \"127.0.0.1:8443\"\n  tls: {{certificates: [{{{}}}], client_auth: {{ca: missing-ca.pem}}}}\n\
             admin: {{tls: {{certificates: [{{{}}}]}}}}\nupstream:\n  servers: [\"https://a\"]\n  tls: {{ca: ca.pem, {}}}\n",
            pair("listener"),
            pair("admin"),
            pair("backend")
        ),
    );
    let (code, _, err) = run(&["config", "check", "--config", &config]);
    assert_eq!(code, 2);
    for wanted in [
        "guard.yaml:3:38: listen[0].tls.certificates[0].certificate: ",
        "guard.yaml:3:99: listen[0].tls.client_auth.ca: ",
        "guard.yaml:4:44: admin.tls.certificates[0].certificate: ",
        "guard.yaml:7:34: upstream.tls.certificate: ",
        "listener.key:1:1: the key is encrypted",
        "admin.key:1:1: the key is encrypted",
        "backend.key:1:1: the key is encrypted",
        "ca.pem: the file is empty",
    ] {
        assert_eq!(err.matches(wanted).count(), 1, "{wanted} in:\n{err}");
    }
    // Each missing file is named once, and where the config names it.
    assert_eq!(err.lines().count(), 8, "{err}");
}

#[test]
fn rules_prints_a_table() {
    let (code, out, err) = run(&["rules"]);
    assert_eq!((code, err.as_str()), (0, ""));
    insta::assert_snapshot!("the_rules_are_a_table", out);
}

#[test]
fn rules_prints_a_json_array() {
    let (code, out, err) = run(&["rules", "--json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let rules: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    let (_, table, _) = run(&["rules"]);
    assert_eq!(rules.len(), table.lines().count() - 1);
    let case = rules.iter().find(|rule| rule["id"] == "user.user_name.case").unwrap();
    assert_eq!(
        *case,
        serde_json::json!({
            "id": "user.user_name.case",
            "status": 400,
            "scimType": "invalidValue",
            "policy": true,
            "byRelease": null,
            "repairs": ["user_name.lower"],
            "actions": {"documented": "enforce", "as-served": "off"},
            "switchable": true,
            "checks": case["checks"],
        })
    );
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wire-scim-guard"))
        .arg("rules")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn an_address_in_use_fails_at_runtime() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = Folder::new("taken");
    let config = format!("listen: [\"{address}\"]\nupstream: {{servers: [\"127.0.0.1:9\"]}}\n");
    let path = folder.file("config.yaml", config);
    let (code, _, err) = run(&["serve", "--config", &path]);
    assert_eq!(code, 1);
    assert!(err.contains(&format!("cannot listen on {address}: ")), "{err}");
}
