//! `check`: documents judged offline.

use crate::{BAD, Folder, GOOD, run, run_with};

#[test]
fn documents_are_judged_in_order_and_the_worst_verdict_sets_the_exit_code() {
    let folder = Folder::new("check");
    let (good, bad) = (folder.file("good.json", GOOD), folder.file("bad.json", BAD));
    assert_eq!(run(&["check", &good]), (0, format!("{good}: ok\n"), String::new()));
    let (code, out, err) = run(&["check", &bad, &good]);
    assert_eq!((code, err.as_str()), (1, ""));
    let (first, second) = out.trim_end().split_once('\n').unwrap();
    let wanted = format!("{bad}: refused, 400 user.user_name (invalidValue): ");
    assert!(first.starts_with(&wanted), "{first}");
    assert_eq!(second, format!("{good}: ok"));
    let (code, out, err) = run(&["check", &bad, "none.json", &good]);
    assert_eq!((code, out.lines().count()), (2, 2));
    assert!(err.starts_with("none.json: cannot be read: "), "{err}");
}

#[test]
fn check_reads_standard_input_filters_and_profiles() {
    let upper = GOOD.replace("new.user", "New.User");
    assert_eq!(run_with(&["check", "-"], &upper).0, 1);
    assert_eq!(run_with(&["check", "--profile", "as-served", "-"], &upper).0, 0);
    let name_id = GOOD.replace("a@example.com", "4711");
    assert_eq!(run_with(&["check", "-"], &name_id).0, 0);
    assert_eq!(run_with(&["check", "--identity", "email", "-"], &name_id).0, 1);
    let filter = ["check", "--kind", "filter", "-"];
    assert_eq!(run_with(&filter, "userName eq \"a\"\n").0, 0);
    assert_eq!(run_with(&filter, "userName co \"a\"\n").0, 1);
}

#[test]
fn check_follows_the_config() {
    let folder = Folder::new("check-config");
    let config = folder.file(
        "config.yaml",
        "listen: [\"127.0.0.1:8080\"]\nupstream: {servers: [wire:80]}\n\
         rules: {actions: {user.user_name: report}}\n",
    );
    let (code, out, _) = run_with(&["check", "--config", &config, "-"], BAD);
    assert_eq!((code, out.as_str()), (0, "-: ok [reported: user.user_name]\n"));
    let upper = GOOD.replace("new.user", "New.User");
    assert_eq!(run_with(&["check", "--config", &config, "-"], &upper).0, 1);
    let as_served = ["check", "--config", &config, "--profile", "as-served", "-"];
    assert_eq!(run_with(&as_served, &upper).0, 0);
}

#[test]
fn every_json_line_has_every_key() {
    let folder = Folder::new("json");
    let (good, bad) = (folder.file("good.json", GOOD), folder.file("bad.json", BAD));
    let (code, out, _) = run(&["check", "--json", &good, &bad]);
    assert_eq!(code, 1);
    let lines: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines[0],
        serde_json::json!({
            "file": good, "ok": true, "status": null, "rule": null, "scimType": null,
            "detail": null, "reported": [],
            "reading": {
                "handle": "new.user", "name": "New User", "externalId": "a@example.com",
                "emails": ["a@example.com"], "role": null, "active": true, "locale": null,
                "richInfo": [],
            },
        })
    );
    assert_eq!(
        lines[1],
        serde_json::json!({
            "file": bad, "ok": false, "status": 400, "rule": "user.user_name",
            "scimType": "invalidValue", "detail": lines[1]["detail"], "reported": [],
        })
    );
    assert!(lines[1]["detail"].as_str().unwrap().contains("userName"));
}

#[test]
fn each_row_is_judged_by_its_kind() {
    let folder = Folder::new("rows");
    let row = |value: serde_json::Value| format!("{value}\n");
    let rows = [
        row(serde_json::json!({"id": "a", "kind": "user", "body": GOOD, "wire": {"x": [1]}})),
        row(serde_json::json!({"id": "b", "kind": "user", "body_base64": "/w=="})),
        "\n".into(),
        row(serde_json::json!({"kind": "group_filter", "body": "displayName co \"x\""})),
    ];
    let path = folder.file("rows.jsonl", rows.concat());
    let (code, out, err) = run(&["check", "--json", "--rows", &path]);
    assert_eq!((code, err.as_str()), (1, ""));
    let summary: Vec<(String, bool)> = out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| (line["id"].as_str().unwrap().to_string(), line["ok"].as_bool().unwrap()))
        .collect();
    let third = format!("{path}:4");
    assert_eq!(summary, [("a".into(), true), ("b".into(), false), (third, true)]);

    // What a file contains does not reach the terminal as a control sequence.
    let row = serde_json::json!({"id": "\u{1b}[31mred", "kind": "user", "body": "{}"}).to_string();
    let path = folder.file("control.jsonl", row);
    let (code, out, _) = run(&["check", "--rows", &path]);
    assert_eq!(code, 1);
    assert!(out.starts_with("\u{fffd}[31mred: refused"), "{out}");
    let path = folder.file("bad.jsonl", "{\n{\"kind\":\"x\",\"body\":\"\"}\n{\"kind\":\"user\"}\n{\"kind\":\"user\",\"body_base64\":\"?\"}\n");
    let (code, out, err) = run(&["check", "--rows", &path]);
    assert_eq!((code, out.as_str()), (2, ""));
    let wanted = ["this row is not JSON", "kind is \"x\"", "a row has either body", "not base64"];
    for ((line, wanted), number) in err.lines().zip(wanted).zip(1..) {
        assert!(line.starts_with(&format!("{path}:{number}: ")), "{line}");
        assert!(line.contains(wanted), "{line}");
    }
    assert_eq!(err.lines().count(), 4, "{err}");
    let (_, out, _) = run(&["check", "--json", "--rows", &path]);
    let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["ok"], &first["id"]), (&false.into(), &format!("{path}:1").into()));
    assert_eq!(out.lines().count(), 4);
    assert_eq!(run(&["check", "--rows", "none.jsonl"]).0, 2);
}

#[test]
fn check_repairs_as_the_proxy_would_and_shows_what_was_judged() {
    let patch = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":false}}]}"#;
    let check =
        |more: &[&str]| run_with(&[&["check", "--kind", "patch"], more, &["-"]].concat(), patch);
    let (code, out, _) = check(&[]);
    assert_eq!(code, 1);
    assert!(out.contains("can switch on a repair for it: patch.pathless."), "{out}");
    let (code, out, _) = check(&["--repairs", "keycloak,patch.pathless"]);
    assert_eq!((code, out.as_str()), (0, "-: ok [repaired: patch.pathless]\n"));
    let (code, out, _) = check(&["--repairs", "okta", "--json"]);
    let line: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &line["repaired"][0]), (0, &"patch.pathless".into()));
    assert_eq!(line["body"]["Operations"][0]["path"], "active");
    let folder = Folder::new("check-repairs");
    let config = "listen: [\"127.0.0.1:8080\"]\nupstream: {servers: [wire:80]}\nrepairs: [okta]\n";
    let config = folder.file("config.yaml", config);
    assert_eq!(check(&["--config", &config]).0, 0);
    assert_eq!(check(&["--config", &config, "--repairs", "roles"]).0, 1);
    let (code, _, err) = run(&["check", "--repairs", "okat", "x"]);
    assert!(code == 2 && err.contains("did you mean `okta`?"), "{err}");
}
