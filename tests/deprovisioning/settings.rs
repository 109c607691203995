//! The settings of the limit, and the messages about errors in them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::program::PROGRAM;
use crate::support::{TOKEN, entry, registry_file};

/// The output of `config check` for a config with these lines, and its exit code.
fn check(name: &str, more: &str) -> (Option<i32>, String) {
    let path: PathBuf =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("deprovisioning-{name}.yaml"));
    let text =
        format!("listen: [\"127.0.0.1:8080\"]\nupstream: {{servers: [\"127.0.0.1:1\"]}}\n{more}");
    std::fs::write(&path, text).unwrap();
    let run = Command::new(PROGRAM).args(["config", "check", "--config"]).arg(&path).output();
    let run = run.unwrap();
    (run.status.code(), String::from_utf8(run.stderr).unwrap())
}

#[test]
fn errors_in_a_limit_are_reported_with_their_positions() {
    for (name, text, part) in [
        ("half", "{at_most: 5}", "3:17: deprovisioning.within is missing: write in which time"),
        ("none", "{within: 1h}", "3:17: deprovisioning.at_most is missing: write how many users"),
        ("zero", "{at_most: 0, within: 1h}", "3:27: deprovisioning.at_most: \"0\" is out of range"),
        (
            "long",
            "{at_most: 5, within: 800h}",
            "deprovisioning.within: \"800h\" is out of range; it must be 1s to 744h",
        ),
        ("key", "{at_most: 5, within: 1h, allow: {}}", "deprovisioning.allow is an unknown key"),
    ] {
        let (code, said) = check(name, &format!("deprovisioning: {text}\n"));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(
        check("good", "deprovisioning: {at_most: 5, within: 1h}\n"),
        (Some(0), String::new())
    );
}

#[test]
fn an_entry_may_leave_the_limit_or_the_allowance_out_and_nothing_else() {
    let of = |name: &str, own: &str| {
        let path = registry_file(&[entry("a", TOKEN, &format!("deprovisioning: {own}"))]);
        check(name, &format!("tokens: \"{}\"\n", path.display()))
    };
    for (name, own) in [
        ("limit", "{at_most: 5, within: 1h}"),
        ("allowance", "{allow: {count: 5, until: 2099-01-01}}"),
        ("both", "{at_most: 5, within: 1h, allow: {count: 5, until: 2099-01-01T10:00:00Z}}"),
        ("over", "{allow: {count: 5, until: 2020-01-01}}"),
    ] {
        assert_eq!(of(name, own), (Some(0), String::new()), "{own}");
    }
    for (name, own, part) in [
        ("empty", "{}", "deprovisioning.at_most is missing"),
        (
            "part",
            "{within: 1h, allow: {count: 5, until: 2099-01-01}}",
            "deprovisioning.at_most is missing",
        ),
        ("until", "{allow: {count: 5}}", "deprovisioning.allow.until is missing"),
        (
            "time",
            "{allow: {count: 5, until: soon}}",
            "deprovisioning.allow.until: \"soon\" is not a time",
        ),
    ] {
        let (code, said) = of(name, own);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_limit_that_refuses_nothing_is_a_warning() {
    let limit = "deprovisioning: {at_most: 5, within: 1h}\n";
    for (name, rules, part) in [
        ("mode", "rules: {mode: report}\n", "3:17: warning: deprovisioning: it refuses nothing"),
        ("off", "rules: {mode: 'off'}\n", "3:17: warning: deprovisioning: it has no effect"),
        ("action", "rules: {actions: {limits.deprovisioning: report}}\n", "it refuses nothing"),
    ] {
        let (code, said) = check(name, &format!("{limit}{rules}"));
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(part), "{said}");
    }
    let path = registry_file(&[entry("a", TOKEN, "deprovisioning: {at_most: 5, within: 1h}")]);
    let (code, said) =
        check("entry", &format!("rules: {{mode: report}}\ntokens: \"{}\"\n", path.display()));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("deprovisioning of the token a: it refuses nothing"), "{said}");
}
