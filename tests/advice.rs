//! Advice in refusals for the well-known mistakes of directories and clients: each message names
//! the place, what is wrong there, and how to fix it.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use serde_json::{Value, json};
use wire_scim_guard::config::Config;
use wire_scim_guard::evaluator::{CheckKind, Evaluator, Head};
use wire_scim_guard::policy::{Identity, Policy, Profile};
use wire_scim_guard::target;
use wire_scim_guard::verdict::Outcome;

const WIRE_USER: &str = "urn:ietf:params:scim:schemas:extension:wire:1.0:User";

fn detail(guard: &Evaluator, kind: CheckKind, body: &[u8]) -> String {
    let report = guard.check(kind, body);
    report.refusal.map(|refusal| refusal.detail).unwrap_or_default()
}

fn guard() -> Evaluator {
    let mut config = Config::new(Vec::new(), Vec::new());
    config.policy = Policy::new(Profile::Documented, Identity::Any);
    Evaluator::new(&config).ok().unwrap()
}

fn says(guard: &Evaluator, kind: CheckKind, body: &[u8], phrases: &[&str]) {
    let detail = detail(guard, kind, body);
    let shown = String::from_utf8_lossy(body);
    for phrase in phrases {
        assert!(detail.contains(phrase), "{shown}\n  {detail}\n  does not say: {phrase}");
    }
}

/// A user with one attribute added or replaced.
fn user(name: &str, value: Value) -> Vec<u8> {
    let mut user = json!({"userName": "alice", "externalId": "a@example.com", "displayName": "A"});
    user[name] = value;
    user.to_string().into_bytes()
}

fn patch(operation: &Value) -> Vec<u8> {
    let schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"];
    json!({"schemas": schemas, "Operations": [operation]}).to_string().into_bytes()
}

#[test]
fn advice_for_users() {
    let guard = guard();
    let cases: [(&str, Value, &[&str]); 16] = [
        ("userName", json!("alice@corp.example"), &["an `@`", "Entra ID: Item(", "Okta:"]),
        (
            "userName",
            json!("j\u{fc}rg@corp.example"),
            &["an `@`", "character 2 (U+00FC)", "Entra ID: Item("],
        ),
        ("userName", json!("o'brien"), &["character 2 (U+0027)"]),
        ("userName", json!("\u{130}brahim"), &["character 1 (U+0130)"]),
        (
            "externalId",
            json!(17),
            &["externalId must be a string: the email address or the SAML NameID"],
        ),
        ("displayName", json!(5), &["displayName must be a string."]),
        ("password", json!(5), &["password must not be sent at all"]),
        ("roles", json!([{"value": "member"}]), &["roles[0] must be a string", "[\"member\"]"]),
        (
            "emails",
            json!([{"value": "a@b.example", "primary": "yes"}]),
            &["emails[0].primary", "Send true or false"],
        ),
        (
            "photos",
            json!(["https://example.com/x"]),
            &["photos[0] must be an object", "[{\"value\":"],
        ),
        ("profileUrl", json!("/x"), &["profileUrl is not an absolute URI", "Relative references"]),
        (
            "phoneNumbers",
            json!([{"value": 49}]),
            &["phoneNumbers[0].value must be a string", "in quotes"],
        ),
        (WIRE_USER, json!({"Floor": 5}), &["`Floor` is a number"]),
        (
            "urn:wire:scim:schemas:profile:1.0",
            json!({"richInfo": {"version": 0, "fields": [{"type": "a", "value": "b"}, {"type": "c"}]}}),
            &["fields[1] has no value"],
        ),
        (
            "urn:wire:scim:schemas:profile:1.0",
            json!({"richInfo": [{"type": "a", "value": "b"}, {"type": "c", "Value": "d"}]}),
            &["(in lower case)", "which field 1 has not"],
        ),
        ("preferredLanguage", json!("Englisch"), &["ISO 639-1"]),
    ];
    for (name, value, phrases) in cases {
        says(&guard, CheckKind::User, &user(name, value), phrases);
    }
    let repeated: [(String, &[&str]); 4] = [
        (r#""displayName":"B""#.into(), &["displayName appears more than once (names are"]),
        (
            r#""emails":[{"value":"a@b.example"},{"value":"a@b.example","VALUE":"c@b.example"}]"#.into(),
            &["emails[1].value appears more than once (names are"],
        ),
        (
            format!(r#""{WIRE_USER}":{{"Floor":"5","Floor":"6"}}"#),
            &["User: `Floor` appears more than once. Servers"],
        ),
        (
            r#""urn:wire:scim:schemas:profile:1.0":{"richInfo":[{"type":"a","type":"b","value":"c"}]}"#.into(),
            &["profile:1.0: type of field 0 appears more than once. Servers"],
        ),
    ];
    for (more, phrases) in repeated {
        let body = String::from_utf8(user("displayName", json!("A"))).unwrap();
        says(
            &guard,
            CheckKind::User,
            body.replacen('{', &format!("{{{more},"), 1).as_bytes(),
            phrases,
        );
    }
    says(&guard, CheckKind::User, b"", &["it is empty."]);
    says(&guard, CheckKind::User, b"\xEF\xBB\xBF{}", &["byte order mark"]);
    says(&guard, CheckKind::User, b"a=b", &["at line 1, byte 1"]);
}

#[test]
fn advice_for_patches() {
    let guard = guard();
    let replace = |path: &str, value: Value| json!({"op": "replace", "path": path, "value": value});
    let remove = |path: &str| json!({"op": "remove", "path": path});
    let cases: [(Value, &[&str]); 15] = [
        (replace("title", Value::Null), &["no value for title", "cannot change this attribute"]),
        (replace("displayName", Value::Null), &["no value for displayName", "that is filled"]),
        (replace("title", json!("x")), &["Wire cannot change title"]),
        (replace("active", json!("Disabled")), &["active must be true or false"]),
        (
            replace("/userName", json!("bob")),
            &["Operations[0].path has a slash or a space", "does not belong there"],
        ),
        (replace("", json!("bob")), &["Operations[0].path is empty"]),
        (
            replace(
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
                json!("x"),
            ),
            &["enterprise extension"],
        ),
        (
            replace(&format!("{}:Floor", WIRE_USER.to_lowercase()), json!("5")),
            &["in exactly this spelling", WIRE_USER],
        ),
        (
            replace(&format!("{WIRE_USER}:Cost Center"), json!("5")),
            &["letters, digits", "all ASCII"],
        ),
        (replace("urn:example:2.0:User:x", json!("5")), &["a schema that Wire does not know"]),
        (
            replace("phoneNumbers[type eq \"work\"].value", json!("a@b.example")),
            &["filter in brackets", "emails alone"],
        ),
        (json!({"op": "remove"}), &["has no path", "\"path\": \"roles\""]),
        (remove("externalId"), &["Operations[0] removes externalId", "Every user must have one"]),
        (remove("displayName"), &["Operations[0] removes displayName", "instead"]),
        (
            json!({"op": "replace", "value": {"id": "x", "active": false}}),
            &["Operations[0] has no path", "`id` is not allowed", "aadOptscim062020"],
        ),
    ];
    for (operation, phrases) in cases {
        says(&guard, CheckKind::Patch, &patch(&operation), phrases);
    }
    let operation = json!({"op": "replace", "value": {"userName": "bob", "displayName": "B"}});
    says(
        &guard,
        CheckKind::Patch,
        &patch(&operation),
        &["clears what it leaves out, here externalId"],
    );
    let body = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                   "Operations":[{"op":"add","OP":"remove","path":"roles"}]}"#;
    says(&guard, CheckKind::Patch, body.as_bytes(), &["Operations[0].op appears more than once"]);
}

#[test]
fn advice_for_groups_and_filters() {
    let guard = guard();
    let group = |name: &str, members: Value| {
        json!({"schemas": [], "displayName": name, "members": members}).to_string().into_bytes()
    };
    says(
        &guard,
        CheckKind::Group,
        &group("", json!([])),
        &["displayName of a group", "that is filled"],
    );
    let member = json!([{"value": "alice", "type": "User", "$ref": ""}]);
    says(
        &guard,
        CheckKind::Group,
        &group("g", member),
        &["members[0].value is not a UUID", "not userName"],
    );
    let body = r#"{"schemas":[],"displayName":"g","members":[{"value":"a","value":"b"}]}"#;
    says(&guard, CheckKind::Group, body.as_bytes(), &["members[0].value appears more than once"]);
    says(&guard, CheckKind::Filter, b"userName eq 'alice'", &["in double quotes"]);
    says(&guard, CheckKind::Filter, b"emails.value eq \"a\"", &["names another attribute"]);
    says(
        &guard,
        CheckKind::GroupFilter,
        b"displayName eq \"g\"",
        &["Turn off the provisioning of groups"],
    );
}

#[test]
fn advice_for_tokens() {
    const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let guard = guard();
    let encoded = TOKEN.replace('=', "%3D");
    let cases = [
        (format!("Bearer {TOKEN}, Bearer {TOKEN}"), "had joined two Authorization headers"),
        (format!("Bearer {TOKEN},"), "there is a comma in it"),
        (format!("Bearer {encoded}"), "is percent-encoded"),
        (format!("Bearer {TOKEN}%0A"), "has a line break or space"),
        (format!("Bearer {TOKEN} "), "has a line break or space"),
        (format!("Bearer {}", &TOKEN[..43]), "the `=` at the end of the token is missing"),
        (format!("Bearer {TOKEN}\u{a0}"), "a character that is not ASCII"),
        ("Bearer {{token}}".into(), "a placeholder"),
        ("Bearer {{ scim token }}".into(), "a placeholder"),
        ("Bearer ${SCIM_TOKEN}".into(), "a placeholder"),
        ("Bearer $TOKEN".into(), "a placeholder"),
        ("Bearer <token>".into(), "a placeholder"),
        ("Bearer [object Object]".into(), "a placeholder"),
        ("Bearer undefined".into(), "a placeholder"),
        ("Bearer 3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3".into(), "this is a UUID"),
        (format!("Bearer {}", "A".repeat(20)), "too short"),
        (format!("Bearer {TOKEN}{TOKEN}"), "too long"),
    ];
    for (line, wanted) in cases {
        let mut headers = http::HeaderMap::new();
        let value = http::HeaderValue::from_bytes(line.as_bytes()).unwrap();
        headers.insert(http::header::AUTHORIZATION, value);
        let head = Head {
            method: &http::Method::GET,
            target: b"/scim/v2/Users/3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3",
            headers: &headers,
            client: None,
            certificate: &[],
        };
        let Outcome::Refuse(refusal) = guard.evaluate(head, b"").outcome else { panic!("{line}") };
        assert_eq!(refusal.rule.id(), "token.malformed", "{line}");
        assert!(refusal.detail.contains(wanted), "{line}: {}", refusal.detail);
        assert!(!refusal.detail.contains(TOKEN), "{line}");
    }
}

#[test]
fn advice_for_targets() {
    for (target, rule, phrase) in [
        ("/scim/v2/User", "target.not_found", "in exactly this spelling"),
        ("/scim/v2/scim/v2/Users", "target.not_found", "it contains the base URL twice"),
        ("/scim/v2/ResourceTypes/User", "target.not_found", "nothing follows"),
        ("/scim/v2/Users/i", "target.id", "not userName or externalId"),
        ("/scim/v2/Schemas/i", "target.not_found", "internal paths (/i) are not served"),
        (
            "/scim/v2%20/Users",
            "target.ambiguous",
            "a space, which may have been pasted with the base URL",
        ),
        ("/scim/v2%0A/Users", "target.ambiguous", "a line break, which may have been pasted"),
        ("/scim/v2%09/Users", "target.ambiguous", "a tab, which may have been pasted"),
        (
            "/scim/v2%E2%80%8B/Users",
            "target.ambiguous",
            "a character that is not ASCII (byte 0xE2)",
        ),
        ("/scim/v2%00/Users", "target.ambiguous", "the byte 0x00"),
        ("/v7/i/status", "target.not_found", "internal paths (/i) are not served"),
    ] {
        let refusal = target::read(target.as_bytes()).unwrap_err();
        assert_eq!(refusal.rule.id(), rule, "{target}");
        assert!(refusal.detail.contains(phrase), "{target}: {}", refusal.detail);
    }
}

#[test]
fn attributes_that_wire_changes_only_in_a_put_are_to_be_mapped_for_creation() {
    let guard = guard();
    for path in ["preferredLanguage", "emails"] {
        let operation = json!({"op": "replace", "path": path, "value": "en"});
        says(
            &guard,
            CheckKind::Patch,
            &patch(&operation),
            &["Only during object creation", "a PUT of the user"],
        );
    }
}
