//! The effect of each repair on bodies, and what it does not change.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use wire_scim_guard::config::Config;
use wire_scim_guard::evaluator::{Evaluator, Head};
use wire_scim_guard::repair::{Repair, Repairs, preset};
use wire_scim_guard::verdict::{Outcome, Verdict};

use crate::support::{TOKEN, USER};

const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const WIRE_USER: &str = "urn:ietf:params:scim:schemas:extension:wire:1.0:User";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const GROUP: &str = "/scim/v2/Groups/3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3";

fn guard(repairs: Repairs) -> Evaluator {
    let mut config = Config::new(Vec::new(), Vec::new());
    config.repairs = Some(repairs);
    Evaluator::new(&config).unwrap()
}

fn judge(repairs: Repairs, method: &Method, target: &str, body: &str) -> Verdict {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("authorization", format!("Bearer {TOKEN}")), ("content-type", "application/json".into())]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
    }
    let head = Head {
        method,
        target: target.as_bytes(),
        headers: &headers,
        client: None,
        certificate: &[],
    };
    guard(repairs).evaluate(head, body.as_bytes())
}

/// What the backend receives, or the rule that refuses.
fn forwarded(
    repairs: &[Repair],
    method: &Method,
    target: &str,
    body: &str,
) -> Result<String, &'static str> {
    match judge(Repairs::of(repairs), method, target, body).outcome {
        Outcome::Forward { body: Some(repaired), .. } => Ok(String::from_utf8(repaired).unwrap()),
        Outcome::Forward { body: None, .. } => Ok(body.to_owned()),
        Outcome::Refuse(refusal) => Err(refusal.rule.id()),
    }
}

fn post(repairs: &[Repair], body: &Value) -> Result<Value, &'static str> {
    let sent = forwarded(repairs, &Method::POST, "/scim/v2/Users", &body.to_string())?;
    Ok(serde_json::from_str(&sent).unwrap())
}

fn put(repairs: &[Repair], body: &Value) -> Result<Value, &'static str> {
    let sent = forwarded(repairs, &Method::PUT, USER, &body.to_string())?;
    Ok(serde_json::from_str(&sent).unwrap())
}

/// The operations that the backend receives.
fn patch(repairs: &[Repair], operations: &Value) -> Result<Value, &'static str> {
    let body = json!({"schemas": [PATCH_OP], "Operations": operations}).to_string();
    let sent = forwarded(repairs, &Method::PATCH, USER, &body)?;
    let sent: Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(sent["schemas"], json!([PATCH_OP]));
    Ok(sent["Operations"].clone())
}

/// A user with one attribute added, replaced or, for null, left out.
fn user(name: &str, value: &Value) -> Value {
    let mut user = json!({
        "userName": "alice", "externalId": "a@example.com", "displayName": "A",
        "emails": [{"value": "a@example.com", "primary": true}],
        "name": {"givenName": "Alice", "familyName": "Example"}
    });
    match value {
        Value::Null => drop(user.as_object_mut().unwrap().remove(name)),
        value => user[name] = value.clone(),
    }
    user
}

#[test]
fn pathless_operations_become_one_for_each_key() {
    let on = [Repair::PatchPathless];
    assert_eq!(
        patch(&on, &json!([{"op": "replace", "value": {"active": false}}])),
        Ok(json!([{"op": "replace", "path": "active", "value": false}]))
    );
    let wire = format!("{WIRE_USER}:Floor");
    assert_eq!(
        patch(
            &on,
            &json!([
                {"op": "Add", "path": null, "value": {
                    "DisplayName": "B", "active": "True", WIRE_USER: {"Department": "x", "Role": "y"},
                    (wire.as_str()): "3"
                }},
                {"op": "remove", "path": "roles"}
            ])
        ),
        Ok(json!([
            {"op": "Add", "path": "displayName", "value": "B"},
            {"op": "Add", "path": "active", "value": "True"},
            {"op": "Add", "path": format!("{WIRE_USER}:Department"), "value": "x"},
            {"op": "Add", "path": format!("{WIRE_USER}:Role"), "value": "y"},
            {"op": "Add", "path": wire, "value": "3"},
            {"op": "remove", "path": "roles"}
        ]))
    );
    // Wire serves it, but clears attributes that are not named: repaired nevertheless.
    assert_eq!(
        patch(
            &on,
            &json!([{"op": "add", "value": {"userName": "bo", "externalId": "x@example.com"}}])
        ),
        Ok(json!([
            {"op": "add", "path": "externalId", "value": "x@example.com"},
            {"op": "add", "path": "userName", "value": "bo"}
        ]))
    );
    for (value, rule) in [
        (json!(null), "patch.value"),
        (json!({}), "patch.value"),
        (json!({"displayName": null, "active": true}), "patch.value"),
        (json!({"Title": "a", "title": "b"}), "patch.path"),
        (json!({WIRE_USER: {}, "active": true}), "patch.path"),
        (json!({"title": "a"}), "patch.path"),
        (json!("x"), "patch.path"),
    ] {
        assert_eq!(patch(&on, &json!([{"op": "add", "value": value}])), Err(rule), "{value}");
    }
    assert_eq!(
        patch(&on, &json!([{"op": "remove", "value": {"active": true}}])),
        Err("patch.no_target")
    );
}

#[test]
fn operations_on_attributes_that_wire_does_not_store_are_dropped() {
    let on = [Repair::PatchUnsupported];
    let department = format!("{ENTERPRISE}:department");
    assert_eq!(
        patch(
            &on,
            &json!([
                {"op": "Replace", "path": "name.givenName", "value": "A"},
                {"op": "Replace", "path": "displayName", "value": "A"},
                {"op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "1"},
                {"op": "Add", "path": department, "value": "x"},
                {"op": "remove", "path": "title"},
                {"op": "Add", "path": "title", "value": null}
            ])
        ),
        Ok(json!([
            {"op": "Replace", "path": "displayName", "value": "A"},
            {"op": "remove", "path": "title"}
        ]))
    );
    assert_eq!(patch(&on, &json!([{"op": "add", "path": "title", "value": "x"}])), Ok(json!([])));
    for (path, rule) in [
        ("preferredLanguage", "patch.path"),
        ("emails", "patch.path"),
        ("password", "patch.path"),
        ("title ", "patch.path"),
        ("/title", "patch.path"),
        ("roles[value eq \"member\"].value", "patch.path"),
        ("urn:ietf:params:scim:schemas:core:2.0:user:displayName", "patch.path"),
    ] {
        assert_eq!(
            patch(&on, &json!([{"op": "add", "path": path, "value": "en"}])),
            Err(rule),
            "{path}"
        );
    }
    let both = [Repair::PatchPathless, Repair::PatchUnsupported];
    assert_eq!(
        patch(
            &both,
            &json!([{"op": "replace", "value": {
                "schemas": [], "id": "x", "name.familyName": "B", "name": {"givenName": "A"}, "active": true, ENTERPRISE: {"department": "x"}
            }}])
        ),
        Ok(json!([{"op": "replace", "path": "active", "value": true}]))
    );
}

#[test]
fn operations_that_do_not_change_stay_byte_for_byte() {
    let head = r#"{ "schemas" : ["urn:ietf:params:scim:api:messages:2.0:PatchOp"] ,"Operations": "#;
    let (first, last) = (
        r#"{ "op":"Replace" ,"path":"\u0061ctive", "value": "False", "x": 1.0 }"#,
        r#"{"value":"A" , "OP":"add","path":"displayName"}"#,
    );
    let dropped = r#"{"op":"add","path":"title","value":"x"}"#;
    let of = |operations: &str| {
        let body = format!("{head}{operations} , \"id\":null}}\n");
        let on = [Repair::PatchUnsupported, Repair::PatchPathless, Repair::Roles];
        (forwarded(&on, &Method::PATCH, USER, &body).unwrap(), body)
    };
    let (sent, body) = of(&format!("[ {first} ,{last}]"));
    assert_eq!(sent, body);
    let (sent, _) = of(&format!("[ {first} ,{dropped}, {last}]"));
    assert_eq!(sent, format!("{head}[{first},{last}] , \"id\":null}}\n"));
}

#[test]
fn roles_become_strings() {
    let on = [Repair::Roles];
    let app = json!({"id": "1", "value": "member", "displayName": "M"}).to_string();
    for (roles, expected) in [
        (json!([{"primary": true, "type": "x", "value": "member"}]), json!(["member"])),
        (json!([app]), json!(["member"])),
        (json!([{"value": app}]), json!(["member"])),
    ] {
        for sent in [post(&on, &user("roles", &roles)), put(&on, &user("roles", &roles))] {
            assert_eq!(sent.unwrap()["roles"], expected, "{roles}");
        }
        let patched = patch(&on, &json!([{"op": "add", "path": "roles", "value": roles}]));
        assert_eq!(patched.unwrap()[0]["value"], expected, "{roles}");
    }
    let sent = post(&on, &user("entitlements", &json!([{"value": "x"}, "y"]))).unwrap();
    assert_eq!(sent["entitlements"], json!(["x", "y"]));
    for (path, value) in [
        ("roles[primary eq \"True\"].value", json!("admin")),
        ("Roles[primary eq true].value", json!("admin")),
        ("roles", json!({"value": "admin"})),
        ("roles", json!("admin")),
        ("urn:ietf:params:scim:schemas:core:2.0:User:roles", json!([{"value": "admin"}])),
    ] {
        let sent = patch(&on, &json!([{"op": "Replace", "path": path, "value": value}])).unwrap();
        assert_eq!(sent[0]["value"], json!(["admin"]), "{path}");
    }
    for (roles, rule) in [
        (json!([{"value": "ADMIN"}]), "user.roles"),
        (json!([{"value": "admin"}, {"value": "member"}]), "user.roles"),
        (json!([{"display": "admin"}]), "user.type"),
        (json!({"value": "admin"}), "user.type"),
    ] {
        assert_eq!(post(&on, &user("roles", &roles)), Err(rule), "{roles}");
    }
    for operation in [
        json!({"op": "remove", "path": "roles[value eq \"admin\"]"}),
        json!({"op": "add", "path": "roles[primary eq \"True\"].display", "value": "admin"}),
        json!({"op": "add", "path": "roles[primary eq \"False\"].value", "value": "admin"}),
    ] {
        assert_eq!(patch(&on, &json!([operation])), Err("patch.path"), "{operation}");
    }
}

#[test]
fn empty_values_are_left_out_and_no_others() {
    let on = [Repair::EmptyValues];
    for (name, value, expected) in [
        ("profileUrl", json!(""), json!(null)),
        ("preferredLanguage", json!(""), json!(null)),
        ("photos", json!(""), json!(null)),
        (
            "photos",
            json!([{"value": "/a.png"}, {"value": ""}, {"value": "https://a/b"}]),
            json!([{"value": "https://a/b"}]),
        ),
        ("phoneNumbers", json!(["", null, {"value": "1"}]), json!([{"value": "1"}])),
        ("ims", json!([""]), json!([])),
        (
            "emails",
            json!([{"type": "work", "value": ""}, {"value": "b@example.com"}, {"type": "home"}]),
            json!([{"value": "b@example.com"}]),
        ),
    ] {
        let body = user(name, &value);
        assert_eq!(post(&on, &body).unwrap()[name], expected, "{name} {value}");
        assert_eq!(put(&on, &body).unwrap()[name], expected, "{name} {value}");
        assert!(post(&[], &body).is_err(), "{name} {value}");
    }
    for (name, rule) in [
        ("displayName", "user.display_name"),
        ("userName", "user.user_name"),
        ("password", "user.password"),
        ("active", "user.type"),
    ] {
        assert_eq!(post(&on, &user(name, &json!(""))), Err(rule), "{name}");
    }
    assert_eq!(post(&on, &user("profileUrl", &json!("a b"))), Err("user.profile_url"));
    assert_eq!(post(&on, &user("emails", &json!([{"value": "x"}]))), Err("user.emails"));
    // Wire serves it unchanged.
    let served = user("phoneNumbers", &json!([{"value": ""}]));
    assert_eq!(post(&on, &served).unwrap(), served);
}

#[test]
fn passwords_are_left_out() {
    let on = [Repair::Password];
    let sent = put(&on, &user("password", &json!("Secret1!"))).unwrap();
    assert_eq!(sent["password"], json!(null));
    let operations = json!([
        {"op": "replace", "path": "password", "value": "Secret1!"},
        {"op": "replace", "path": "active", "value": true}
    ]);
    assert_eq!(
        patch(&on, &operations),
        Ok(json!([{"op": "replace", "path": "active", "value": true}]))
    );
    let both = [Repair::Password, Repair::PatchPathless];
    assert_eq!(
        patch(&both, &json!([{"op": "replace", "value": {"password": "x"}}])),
        Ok(json!([]))
    );
}

#[test]
fn a_display_name_is_derived_from_the_name() {
    let on = [Repair::DisplayName];
    for (name, expected) in [
        (json!({"formatted": "Dr. A", "givenName": "Alice"}), "Dr. A"),
        (json!({"formatted": " ", "givenName": "Alice", "familyName": "Example"}), "Alice Example"),
        (json!({"givenName": "Alice", "familyName": ""}), "Alice"),
        (json!({"familyName": "Example"}), "Example"),
    ] {
        for lacking in [json!(null), json!("")] {
            let mut body = user("displayName", &lacking);
            body["name"] = name.clone();
            assert_eq!(post(&on, &body).unwrap()["displayName"], expected, "{name}");
            assert_eq!(put(&on, &body).unwrap()["displayName"], expected, "{name}");
        }
        let mut body = user("displayName", &json!("x"));
        body["displayName"] = Value::Null;
        assert!(post(&on, &body).is_ok());
    }
    let mut body = user("displayName", &Value::Null);
    for name in [json!({}), json!({"formatted": "x".repeat(129)}), json!(null)] {
        body["name"] = name;
        assert_eq!(post(&on, &body), Err("user.display_name.required"));
    }
}

#[test]
fn a_missing_external_id_is_the_only_address_of_a_post() {
    let on = [Repair::ExternalId];
    let with = |emails: Value| {
        let mut body = user("externalId", &Value::Null);
        body["emails"] = emails;
        body
    };
    let (a, b) = (json!({"value": "a@example.com"}), json!({"value": "b@example.com"}));
    let primary = json!({"value": "c@example.com", "primary": "True"});
    for (emails, expected) in
        [(json!([a]), "a@example.com"), (json!([a, primary]), "c@example.com")]
    {
        let sent = post(&on, &with(emails.clone())).unwrap();
        assert_eq!(sent["externalId"], expected);
        assert_eq!(put(&on, &with(emails)), Err("user.external_id.required"));
    }
    for emails in [json!([a, b]), json!([primary, primary]), json!([])] {
        assert!(post(&on, &with(emails.clone())).is_err(), "{emails}");
    }
}

#[test]
fn user_names_are_repaired_wherever_they_are_set() {
    let cases = [
        (Repair::UserNameLower, "Alice", "alice"),
        (Repair::UserNameLocalPart, "Alice.B@example.com", "alice.b"),
        (Repair::UserNameAscii, "Müller", "mueller"),
    ];
    for (repair, name, expected) in cases {
        let body = user("userName", &json!(name));
        assert_eq!(post(&[repair], &body).unwrap()["userName"], expected);
        assert_eq!(put(&[repair], &body).unwrap()["userName"], expected);
        let operations = json!([{"op": "replace", "path": "userName", "value": name}]);
        assert_eq!(patch(&[repair], &operations).unwrap()[0]["value"], expected);
        assert!(post(&[], &body).is_err(), "{name}");
    }
    assert_eq!(
        post(&[Repair::UserNameAscii], &user("userName", &json!("a@example.com"))),
        Err("user.user_name")
    );
    let verdict = judge(
        Repairs::of(&[Repair::UserNameLower]),
        &Method::GET,
        "/scim/v2/Users?count=1&filter=userName+eq+%22Alice%22&startIndex=1",
        "",
    );
    let Outcome::Forward { target: Some(target), .. } = verdict.outcome else { panic!("refused") };
    let target = String::from_utf8(target).unwrap();
    assert_eq!(target, "/scim/v2/Users?count=1&filter=userName%20eq%20%22alice%22&startIndex=1");
    assert_eq!(verdict.repaired.names(), "user_name.lower");
}

#[test]
fn members_of_groups_are_completed_and_a_put_is_not_emptied() {
    let on = [Repair::GroupsMembers];
    let id = "3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3";
    let group = |members: Option<Value>| {
        let mut group = json!({"schemas": [], "displayName": "g"});
        if let Some(members) = members {
            group["members"] = members;
        }
        group.to_string()
    };
    let of = |method: &Method, target: &str, members| -> Result<Value, &'static str> {
        let sent = forwarded(&on, method, target, &group(members))?;
        Ok(serde_json::from_str::<Value>(&sent).unwrap()["members"].clone())
    };
    let complete = json!([{"value": id, "type": "User", "$ref": ""}]);
    for (method, target) in [(Method::POST, "/scim/v2/Groups"), (Method::PUT, GROUP)] {
        assert_eq!(
            of(&method, target, Some(json!([{"value": id, "display": "x"}]))).unwrap()[0]["type"],
            "User"
        );
        assert_eq!(
            of(&method, target, Some(json!([{"value": id, "type": null}]))),
            Ok(complete.clone())
        );
        assert_eq!(of(&method, target, Some(json!([{}]))), Err("group.members"));
    }
    for members in [None, Some(json!(null))] {
        assert_eq!(of(&Method::POST, "/scim/v2/Groups", members.clone()), Ok(json!([])));
        assert_eq!(of(&Method::PUT, GROUP, members), Err("group.members"));
    }
}

#[test]
fn ambiguous_bodies_are_not_repaired() {
    let body = r#"{"userName":"alice","externalId":"a@b","displayName":"A","password":"x","PASSWORD":"y"}"#;
    let refused = forwarded(&[Repair::Password], &Method::POST, "/scim/v2/Users", body);
    assert_eq!(refused, Err("json.duplicate_key"));
}

#[test]
fn no_preset_merges_or_drops_what_a_person_has_chosen() {
    let never = [Repair::Password, Repair::UserNameLocalPart, Repair::UserNameAscii];
    for preset in preset::PRESETS {
        assert!(!preset.repairs.is_empty(), "{}", preset.name);
        assert!(never.iter().all(|repair| !preset.repairs.contains(*repair)), "{}", preset.name);
    }
}

#[test]
fn refusals_name_a_disabled_repair_that_would_help() {
    let detail = |repairs: &[Repair], method: Method, target: &str, body: &Value| match judge(
        Repairs::of(repairs),
        &method,
        target,
        &body.to_string(),
    )
    .outcome
    {
        Outcome::Refuse(refusal) => refusal.detail,
        Outcome::Forward { .. } => panic!("forwarded"),
    };
    let patched = |operation: Value| json!({"schemas": [PATCH_OP], "Operations": [operation]});
    for (method, target, body, named) in [
        (
            Method::POST,
            "/scim/v2/Users",
            user("userName", &json!("a@b.example")),
            "user_name.local_part",
        ),
        (Method::POST, "/scim/v2/Users", user("userName", &json!("José")), "user_name.ascii"),
        (Method::POST, "/scim/v2/Users", user("userName", &json!("Jose")), "user_name.lower"),
        (Method::POST, "/scim/v2/Users", user("roles", &json!([{"value": "member"}])), "roles"),
        (Method::POST, "/scim/v2/Users", user("profileUrl", &json!("")), "empty_values"),
        (Method::POST, "/scim/v2/Users", user("preferredLanguage", &json!("EN")), "language"),
        (Method::POST, "/scim/v2/Users", user("password", &json!("x")), "password"),
        (Method::POST, "/scim/v2/Users", user("displayName", &json!(null)), "display_name"),
        (Method::POST, "/scim/v2/Users", user("externalId", &json!(null)), "external_id"),
        (
            Method::PATCH,
            USER,
            patched(json!({"op": "add", "value": {"active": false}})),
            "patch.pathless",
        ),
        (
            Method::PATCH,
            USER,
            patched(json!({"op": "add", "path": "title", "value": "x"})),
            "patch.unsupported",
        ),
        (
            Method::PUT,
            GROUP,
            json!({"schemas": [], "displayName": "g", "members": [{"value": "x"}]}),
            "groups.members",
        ),
    ] {
        let sentence = detail(&[], method.clone(), target, &body);
        assert!(
            sentence.ends_with(&format!("can switch on a repair for it: {named}.")),
            "{sentence}"
        );
    }
    let admin = user("roles", &json!([{"value": "ADMIN"}]));
    assert!(!detail(&[Repair::Roles], Method::POST, "/scim/v2/Users", &admin).contains("repair"));
    let plain = user("roles", &json!(["ADMIN"]));
    assert!(!detail(&[], Method::POST, "/scim/v2/Users", &plain).contains("repair"));
}

#[test]
fn a_caller_that_sends_no_additional_requests_has_only_repairs_of_requests() {
    let all = Repairs::all();
    let add = json!({"schemas": [PATCH_OP], "Operations": [
        {"op": "add", "path": "members", "value": [{"value": "3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3"}]}
    ]});
    let search = "/scim/v2/Groups?filter=displayName+eq+%22Staff%22";
    for (method, target, body, rule) in [
        (Method::PATCH, GROUP, add.to_string(), "group.patch"),
        (Method::GET, search, String::new(), "filter.unsupported"),
    ] {
        let Outcome::Refuse(refusal) = judge(all, &method, target, &body).outcome else {
            panic!("{method} {target} is forwarded");
        };
        assert_eq!(refusal.rule.id(), rule);
    }
    let verdict = judge(
        all,
        &Method::PATCH,
        USER,
        &json!({"schemas": [PATCH_OP], "Operations": [
            {"op": "replace", "value": {"active": false}}
        ]})
        .to_string(),
    );
    assert!(matches!(verdict.outcome, Outcome::Forward { body: Some(_), .. }));
}
