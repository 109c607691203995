//! Lifting the limit for a planned change with the command, while the guard runs.

use std::path::Path;
use std::process::{Command, Output};

use crate::requests::{HELD, ask, delete, limited_with, path};
use crate::support::program::PROGRAM;
use crate::support::{Backend, OTHER, TOKEN, entry, registry_file, wait_until};
use serde_json::json;
use wire_scim_guard::config::Audit;

fn allow(registry: &Path, label: &str, count: &str, until: &str) -> Output {
    let run = Command::new(PROGRAM)
        .args(["deprovisioning", "allow", "--register"])
        .arg(registry)
        .args(["--label", label, "--count", count, "--until", until])
        .output();
    run.unwrap()
}

#[test]
fn lifting_the_limit_lets_one_run_finish_and_no_more() {
    let backend = Backend::fine();
    let registry = registry_file(&[entry("bridge", TOKEN, "methods: [GET, DELETE]")]);
    let before = std::fs::read_to_string(&registry).unwrap();
    let guarded = limited_with(&backend, 50, |config| config.tokens = Some(registry.clone()));
    let mut client = guarded.client();
    let run = |client: &mut _| (0..500).filter(|user| ask(client, &delete(*user)).0 == 200).count();
    assert_eq!(run(&mut client), 50);
    let allowed = allow(&registry, "bridge", "450", "2099-06-30");
    assert!(allowed.status.success(), "{allowed:?}");
    let said = String::from_utf8(allowed.stdout).unwrap();
    assert!(said.contains("bridge: 450 users more than the limit"), "{said}");
    assert!(said.contains("no limit of its own"), "{said}");
    let after = std::fs::read_to_string(&registry).unwrap();
    let new = ", deprovisioning: {allow: {count: 450, until: 2099-06-30}}";
    assert_eq!(after.replacen(new, "", 1), before);
    // The same run again: users who were deleted before cost nothing.
    wait_until("the allowance", || guarded.ask(delete(499)).status == 200);
    assert_eq!(run(&mut client), 500);
    assert_eq!(ask(&mut client, &delete(500)), (429, HELD.to_owned()));
    let deleted: std::collections::HashSet<_> =
        backend.seen().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(deleted.len(), 500);
    assert!(!deleted.iter().any(|line| line.contains(&path(500))));
    // Another allowance starts from zero; an expired one allows nothing.
    assert!(allow(&registry, "bridge", "1", "2099-07-01").status.success());
    wait_until("the next allowance", || guarded.ask(delete(500)).status == 200);
    guarded.ask(delete(501)).refused(HELD);
    let over = std::fs::read_to_string(&registry).unwrap().replace("2099-07-01", "2020-01-01");
    std::fs::write(&registry, over.replace("count: 1,", "count: 100,")).unwrap();
    let read = "scim_guard_register_read_timestamp_seconds";
    let last = guarded.metric(read);
    wait_until("the registry", || guarded.metric(read) > last);
    guarded.ask(delete(501)).refused(HELD);
}

#[test]
fn what_is_allowed_beyond_the_limit_is_audited_when_it_changes() {
    let backend = Backend::fine();
    let before = entry("before", OTHER, "deprovisioning: {allow: {count: 7, until: 2099-01-01}}");
    let over = "deprovisioning: {allow: {count: 8, until: 2020-01-01}}";
    let registry = registry_file(&[
        entry("bridge", TOKEN, "methods: [GET, DELETE]"),
        before,
        entry("over", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=", over),
    ]);
    let guarded = limited_with(&backend, 5, |config| {
        config.tokens = Some(registry.clone());
        config.audit = Some(Audit::default());
    });
    let lines = || -> Vec<serde_json::Value> {
        let lines = guarded.audit_lines().into_iter();
        let changes = lines.filter(|line| line["resource"] == "deprovisioning");
        changes
            .map(|mut line| {
                assert!(
                    line.as_object_mut()
                        .unwrap()
                        .remove("time")
                        .is_some_and(|time| time.is_string())
                );
                assert_eq!((&line["msgs"][0], &line["outcome"]), (&json!("audit"), &json!("done")));
                json!([line["token"], line["action"], line["count"], line["until"]])
            })
            .collect()
    };
    // What the registry allowed at the start; what is over is nothing.
    let first = json!(["before", "allow", 7, "2099-01-02T00:00:00.000Z"]);
    wait_until("the first line", || lines() == [first.clone()]);
    assert!(allow(&registry, "bridge", "450", "2099-06-30T18:00:00Z").status.success());
    let second = json!(["bridge", "allow", 450, "2099-06-30T18:00:00.000Z"]);
    wait_until("the second line", || lines() == [first.clone(), second.clone()]);
    // A change of something else is no line.
    let text = std::fs::read_to_string(&registry).unwrap();
    std::fs::write(&registry, text.replace("[GET, DELETE]", "[GET, DELETE, POST]")).unwrap();
    let read = "scim_guard_register_read_timestamp_seconds";
    let last = guarded.metric(read);
    wait_until("the registry", || guarded.metric(read) > last);
    assert_eq!(lines().len(), 2);
    let text = std::fs::read_to_string(&registry).unwrap();
    std::fs::write(
        &registry,
        text.replace("count: 7, until: 2099-01-01", "count: 7, until: 2021-01-01"),
    )
    .unwrap();
    let third = json!(["before", "disallow", null, null]);
    wait_until("the third line", || lines() == [first.clone(), second.clone(), third.clone()]);
}

#[test]
fn an_allowance_that_cannot_be_written_is_reported_and_the_file_stays() {
    let registry = registry_file(&[entry("bridge", TOKEN, "")]);
    let before = std::fs::read_to_string(&registry).unwrap();
    for (label, count, until, part) in [
        ("brigde", "5", "2099-06-30", "bridge"),
        ("bridge", "0", "2099-06-30", "0 is not in 1..=1000000"),
        ("bridge", "5", "2020-06-30", "--until is in the past"),
        ("bridge", "5", "tomorrow", "--until: \"tomorrow\" is not a time"),
    ] {
        let failed = allow(&registry, label, count, until);
        assert_eq!(failed.status.code(), Some(2), "{failed:?}");
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&registry).unwrap(), before);
    let missing = registry.with_extension("missing");
    let failed = allow(&missing, "bridge", "5", "2099-06-30");
    assert_eq!(failed.status.code(), Some(2));
    assert!(String::from_utf8(failed.stderr).unwrap().contains("there is no such file"));
    assert!(!missing.exists());
}
