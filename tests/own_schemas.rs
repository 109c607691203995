//! Schemas of operators: their constraints are distinguished from Wire's, and the search for all faults of a
//! document is bounded.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wire_scim_guard::config::Config;
use wire_scim_guard::evaluator::{CheckKind, CheckReport, Evaluator};
use wire_scim_guard::policy::{Action, Identity, Policy, Profile};

const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const WIRE_USER: &str = "urn:ietf:params:scim:schemas:extension:wire:1.0:User";

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The schemas of this repository with `more` merged into one of them.
fn own(test: &str, file: &str, more: &Value) -> Folder {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("own-schemas-{test}"));
    std::fs::create_dir_all(&folder).unwrap();
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(file);
    let mut schema = serde_json::from_slice(&std::fs::read(built_in).unwrap()).unwrap();
    merge(&mut schema, more);
    std::fs::write(folder.join(file), schema.to_string()).unwrap();
    Folder(folder)
}

fn merge(schema: &mut Value, more: &Value) {
    match more {
        Value::Object(members) => {
            for (name, value) in members {
                merge(&mut schema[name], value);
            }
        }
        Value::Array(items) if schema.is_array() => {
            schema.as_array_mut().unwrap().extend(items.iter().cloned());
        }
        other => *schema = other.clone(),
    }
}

fn check(schemas: Option<&Folder>, policy: Policy, kind: CheckKind, body: &Value) -> CheckReport {
    let mut config = Config::new(Vec::new(), Vec::new());
    config.policy = policy;
    config.schemas = schemas.map(|folder| folder.0.clone());
    Evaluator::new(&config).ok().unwrap().check(kind, body.to_string().as_bytes())
}

fn enforced() -> Policy {
    Policy::new(Profile::AsServed, Identity::Any)
}

fn user(more: &Value) -> Value {
    let mut user = json!({"userName": "alice", "externalId": "alice@example.com"});
    merge(&mut user, more);
    user
}

fn patch(operation: &Value) -> Value {
    json!({"schemas": [PATCH_OP], "Operations": [operation]})
}

#[test]
fn constraints_of_an_operator_schema_are_reported_as_schema_rules() {
    let group = json!({"schemas": [], "displayName": "g", "members": []});
    let two_schemas = json!({"schemas": [PATCH_OP, "urn:x"], "Operations": []});
    let named = |name: &str| json!({"required": [name]});
    let cases = [
        ("user.json", named("emails"), user(&json!({})), "emails is missing"),
        ("user.json", named("roles"), user(&json!({})), "roles is missing"),
        ("user.json", named("profileUrl"), user(&json!({})), "profileUrl is missing"),
        ("user.json", named(WIRE_USER), user(&json!({})), "is missing"),
        (
            "user.json",
            json!({"properties": {"externalId": {"format": "wire-email"}}}),
            user(&json!({"externalId": "E 4711"})),
            "externalId is not an email address",
        ),
        (
            "user.json",
            json!({"properties": {"title": {"type": "string"}}}),
            user(&json!({"title": "x", "userName": "bob"})),
            "",
        ),
        (
            "user.json",
            json!({"properties": {"title": {"maxLength": 2}}}),
            user(&json!({"title": "boss"})),
            "title does not satisfy the schema (`maxLength`)",
        ),
        (
            "patch.json",
            json!({"properties": {"schemas": {"maxItems": 1}}}),
            two_schemas,
            "schemas does not satisfy the schema (`maxItems`)",
        ),
        ("group.json", named("externalId"), group, "externalId is missing"),
    ];
    for (at, (file, more, body, phrase)) in cases.into_iter().enumerate() {
        let family = file.strip_suffix(".json").unwrap();
        let kind = match family {
            "user" => CheckKind::User,
            "patch" => CheckKind::Patch,
            _ => CheckKind::Group,
        };
        let folder = own(&format!("reported-{at}"), file, &more);
        let refusal = check(Some(&folder), enforced(), kind, &body).refusal;
        assert!(check(None, enforced(), kind, &body).refusal.is_none(), "Wire accepts {body}");
        if phrase.is_empty() {
            assert!(refusal.is_none(), "{more} accepts {body}");
            continue;
        }
        let refusal = refusal.unwrap();
        assert_eq!(refusal.rule.id(), format!("{family}.schema"), "{more}: {}", refusal.detail);
        let by_operator = format!("The operator of this proxy requires it in the schema {file}.");
        for phrase in [phrase, &by_operator] {
            assert!(refusal.detail.contains(phrase), "{more}: {} lacks {phrase}", refusal.detail);
        }
    }
}

#[test]
fn constraints_of_wire_keep_their_rule_and_advice() {
    let folder = own("wires", "user.json", &json!({"required": ["emails"]}));
    for (body, rule) in [
        (user(&json!({"roles": [{"value": "member"}], "emails": []})), "user.type"),
        (user(&json!({"emails": [{"value": "x"}]})), "user.emails"),
        (user(&json!({"emails": [{}]})), "user.emails"),
        (json!({"externalId": "a@example.com", "emails": []}), "user.user_name"),
    ] {
        let refusal = check(Some(&folder), enforced(), CheckKind::User, &body).refusal.unwrap();
        assert_eq!(refusal.rule.id(), rule, "{body}: {}", refusal.detail);
    }
    // Wire reads such a value as a user; schemas of operators apply to whole users only.
    let whole = json!({"op": "add", "value": {"userName": "alice", "externalId": "a@example.com"}});
    let report = check(Some(&folder), enforced(), CheckKind::Patch, &patch(&whole));
    assert!(report.refusal.is_none());
}

#[test]
fn a_reported_fault_does_not_hide_enforced_faults() {
    let folder = own("hides", "user.json", &json!({"properties": {"title": {"type": "string"}}}));
    let body = |more: usize| {
        let mut body = user(&json!({"title": null, "nickName": 5}));
        body["unknown"] = json!(vec![0; more]);
        body
    };
    for size in [0, 10_000] {
        let mut policy = enforced();
        policy.set("user.type", Action::Report).unwrap();
        let report = check(Some(&folder), policy, CheckKind::User, &body(size));
        assert_eq!(report.refusal.unwrap().rule.id(), "user.schema");
        let mut policy = enforced();
        policy.set("user.schema", Action::Report).unwrap();
        let refusal = check(Some(&folder), policy, CheckKind::User, &body(size)).refusal.unwrap();
        assert_eq!(refusal.rule.id(), "user.type");
        assert!(refusal.detail.starts_with("nickName"), "{}", refusal.detail);
    }
}

#[test]
fn faults_of_rules_that_are_off_are_not_searched_for() {
    let numbers = |count: usize, last: Value| {
        let mut emails = vec![json!(1); count];
        emails.push(last);
        user(&json!({"emails": emails}))
    };
    let bad_address = || json!({"value": "x"});
    let reported = |report: &CheckReport| {
        report.remarks.reported.iter().map(|hit| hit.rule.id()).collect::<Vec<_>>().join(" ")
    };
    let mut all = enforced();
    all.cap(Action::Report);
    let report = check(None, all.clone(), CheckKind::User, &numbers(10, bad_address()));
    assert!(report.refusal.is_none());
    assert_eq!(reported(&report), "user.type user.emails");
    // With all rules reported no later fault can change the outcome: the search ends at the first one.
    let report = check(None, all, CheckKind::User, &numbers(10_000, bad_address()));
    assert!(report.refusal.is_none());
    assert_eq!(reported(&report), "user.type");
    // An enforced rule can change the outcome: the last fault is found as well.
    let mut one = enforced();
    one.set("user.type", Action::Report).unwrap();
    let report = check(None, one, CheckKind::User, &numbers(10_000, bad_address()));
    assert_eq!(report.refusal.unwrap().rule.id(), "user.emails");
}

#[test]
fn operations_are_reported_by_index() {
    let mut policy = enforced();
    policy.set("patch.operations", Action::Report).unwrap();
    for (operation, phrase) in [
        (json!({"op": "remove", "path": "userName"}), "Operations[1] removes userName"),
        (json!({"op": "replace", "path": "", "value": "x"}), "Operations[1].path is empty"),
    ] {
        let body = json!({"schemas": [PATCH_OP], "Operations": ["x", operation]});
        let refusal = check(None, policy.clone(), CheckKind::Patch, &body).refusal.unwrap();
        assert!(refusal.detail.contains(phrase), "{}", refusal.detail);
    }
}

/// A schema with every kind of keyword, some of which Wire's own schema has at the same places.
fn schema_with_every_keyword() -> Value {
    json!({
        "properties": {
            "title": {"type": "string", "maxLength": 20},
            "externalId": {"allOf": [{"$ref": "#/$defs/filled"}, {"pattern": "@"}]},
            "emails": {
                "minItems": 1,
                "contains": {"$ref": "#/$defs/primary"},
                "items": {"if": {"required": ["primary"]}, "then": {"required": ["type"]}}
            },
            "roles": {"prefixItems": [{"enum": ["member", "admin"]}], "uniqueItems": true},
            "x-tree": {"$ref": "#/$defs/tree"},
            "x-pair": {"prefixItems": [{"type": "string"}], "items": {"type": "number"}},
            "x-closed": {
                "properties": {"a": {"type": "string"}},
                "patternProperties": {"^x": {"type": "number"}},
                "additionalProperties": false
            },
            "x-open": {"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "number"}},
            "x-either": {"anyOf": [{"type": "string"}, {"items": {"type": "string"}}]},
            "x-rest": {"allOf": [{"properties": {"a": {"type": "string"}}}], "unevaluatedProperties": false},
            "x-never": false
        },
        "dependentRequired": {"nickName": ["displayName"]},
        "propertyNames": {"maxLength": 60},
        "$defs": {
            "filled": {"minLength": 1},
            "primary": {"type": "object", "required": ["primary"]},
            "tree": {"type": "object", "properties": {
                "value": {"type": "string"}, "left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}
            }}
        }
    })
}

#[test]
fn a_large_document_is_judged_like_a_small_one() {
    let folder = own("large", "user.json", &schema_with_every_keyword());
    let email = |more: Value| {
        let mut email = json!({"value": "a@example.com", "primary": true, "type": "work"});
        merge(&mut email, &more);
        email
    };
    let good = json!([email(json!({}))]);
    let bodies = [
        json!({}),
        json!({"userName": 5}),
        json!({"userName": null, "title": 7}),
        json!({"title": null}),
        json!({"title": "x".repeat(30), "nickName": 4}),
        json!({"externalId": ""}),
        json!({"externalId": 4}),
        json!({"nickName": "al"}),
        json!({"emails": []}),
        json!({"emails": [{"value": "a@example.com"}]}),
        json!({"emails": [{"value": "x", "primary": true}]}),
        json!({"emails": [email(json!({})), {"value": 4}, {"value": "x"}, {}, 5]}),
        json!({"emails": [email(json!({"primary": "maybe"}))]}),
        json!({"roles": ["owner"]}),
        json!({"roles": ["member", "member", 4]}),
        json!({"roles": "member"}),
        json!({"profileUrl": "/x", "photos": [{"value": "/x"}, 4]}),
        json!({"x-tree": {"left": {"right": {"value": 4}}}}),
        json!({"x-tree": {"left": {"right": {"value": "4"}}}}),
        json!({"x-pair": ["a", 1, 2]}),
        json!({"x-pair": ["a", "b"]}),
        json!({"x-closed": {"a": "a", "x1": 1}}),
        json!({"x-closed": {"b": "a"}}),
        json!({"x-closed": {"x1": "a"}}),
        json!({"x-open": {"b": "a"}}),
        json!({"x-either": 4}),
        json!({"x-either": ["a", 4]}),
        json!({"x-rest": {"a": "a"}}),
        json!({"x-rest": {"b": "a"}}),
        json!({"x-rest": {"a": 4}}),
        json!({"x-never": null}),
        json!({"urn:wire:scim:schemas:profile:1.0": {"richInfo": [{"type": "a"}]}}),
        json!({"urn:wire:scim:schemas:profile:1.0": {}}),
        json!({"x".repeat(70): 1}),
    ];
    let rules = [
        "user.schema",
        "user.user_name",
        "user.rich_info",
        "user.emails",
        "user.profile_url",
        "user.type",
    ];
    let mut policies = Vec::new();
    for rule in rules {
        for (others, this) in [(Action::Enforce, Action::Report), (Action::Report, Action::Enforce)]
        {
            let mut policy = enforced();
            for other in rules {
                policy.set(other, others).unwrap();
            }
            policy.set(rule, this).unwrap();
            policies.push((format!("{rule} {this:?}"), policy, this == Action::Enforce));
        }
    }
    for schemas in [Some(&folder), None] {
        for (name, policy, alone) in &policies {
            let mut config = Config::new(Vec::new(), Vec::new());
            config.policy = policy.clone();
            config.schemas = schemas.map(|folder| folder.0.clone());
            let guard = Evaluator::new(&config).ok().unwrap();
            for more in &bodies {
                let verdict = |padding: usize| {
                    let mut body = user(&json!({"emails": good, "displayName": "A"}));
                    merge(&mut body, more);
                    // `merge` appends to arrays; here the array is replaced.
                    if let Some(list) = more.get("emails") {
                        body["emails"] = list.clone();
                    }
                    body["x-pad"] = json!(vec![0; padding]);
                    let report = guard.check(CheckKind::User, body.to_string().as_bytes());
                    let mut reported: Vec<&str> =
                        report.remarks.reported.iter().map(|hit| hit.rule.id()).collect();
                    reported.sort_unstable();
                    // Which of several enforced rules is reported, and which reported ones come before it, depends
                    // on the order in which keywords are evaluated.
                    let answers = |rule: &'static str| if *alone { rule } else { "one of them" };
                    let refused = report.refusal.map(|refusal| answers(refusal.rule.id()));
                    (refused, if refused.is_some() { Vec::new() } else { reported })
                };
                assert_eq!(
                    verdict(10_000),
                    verdict(0),
                    "{name}, own: {}, {more}",
                    schemas.is_some()
                );
            }
        }
    }
}

#[test]
fn an_expensive_schema_is_rejected_with_its_position() {
    let mut defs = json!({"d40": {"type": "string"}});
    for nth in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", nth + 1)});
        defs[format!("d{nth}")] = json!({"allOf": [next, next]});
    }
    let more = json!({"properties": {"title": {"$ref": "#/$defs/d0"}}, "$defs": defs});
    let folder = own("cost", "user.json", &more);
    let mut config = Config::new(Vec::new(), Vec::new());
    config.schemas = Some(folder.0.clone());
    let error = Evaluator::new(&config).err().unwrap().to_string();
    assert!(error.contains("user.json:1:"), "{error}");
    assert!(error.contains("more than 1000 subschemas are applied to one value here"), "{error}");
}
