//! Differential tests of the guard and the stand-in on generated documents: two implementations of the same
//! contract that share no code. They serve the same documents and parse them to the same values, except for
//! the rules by which the guard may be stricter.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use wire_scim_guard::evaluator::CheckKind;
use wire_scim_guard::rule::Rule;
use wire_scim_guard::standin::reading::{self, Fault, User};

#[path = "support/readings.rs"]
mod readings;

use readings::{JUDGES, Judge, agree, stored};

/// A name and a value as JSON source, so that names may repeat and values may be anything.
type Member = (String, String);

fn written(members: &[Member]) -> String {
    let member = |(name, value): &Member| format!("{}:{value}", Value::from(name.as_str()));
    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
}

fn strings() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{1,8}",
        1 => "[a-zA-Z0-9@._ -]{0,12}",
        1 => "[\\PC]{0,4}",
        1 => select(vec!["K", "ſ", "ı", "\u{0}", "", "a@b", "ß", "🚀"]).prop_map(str::to_owned),
    ]
}

fn addresses() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{1,5}@[a-z]{1,5}\\.[a-z]{2}",
        1 => "[ (a\"\\\\.)]{0,4}[a\"]{1,3}[ ).]{0,2}@[ (a)\\[.-]{0,4}[a-z]{1,3}[.\\] ]{0,2}",
    ]
}

/// Any JSON value, as JSON source.
fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => strings().prop_map(|text| Value::from(text).to_string()),
        1 => select(vec!["null", "true", "false", "0", "-0", "0e5", "1e999", "1.5", "[]", "{}", "\"TRUE\"", "\"falſe\"",
            "[null]", "[\"admin\"]", "[\"x\",\"y\"]", "[{\"value\":\"a\"}]", "\"\\ud83d\\ude00\"", "\"\\ud800\"",
        ]).prop_map(str::to_owned),
    ]
}

fn rich_fields() -> impl Strategy<Value = Vec<Member>> {
    let key =
        select(vec!["a", "A", "b", "Dept", "DEPT", "ſ", "s", "K", "k", ""]).prop_map(str::to_owned);
    let value = select(vec!["", "x", "y"]).prop_map(|text| Value::from(text).to_string());
    vec((key, value), 0..4)
}

/// A user that is valid or nearly valid: the attributes that Wire reads, each with a likely value.
fn users() -> impl Strategy<Value = Vec<Member>> {
    let text = |text: String| Value::from(text).to_string();
    let address_list = |address: String| json!([{"value": address, "primary": "true"}]).to_string();
    let list = |fields: Vec<Member>| {
        let field = |(key, value): &Member| {
            format!("{{\"type\":{},\"value\":{value}}}", Value::from(key.as_str()))
        };
        let fields = fields.iter().map(field).collect::<Vec<_>>().join(",");
        format!("{{\"richInfo\":{{\"version\":0,\"fields\":[{fields}]}}}}")
    };
    let optional = |name: &'static str, value: BoxedStrategy<String>| {
        proptest::option::of(value)
            .prop_map(move |value| value.map(|value| (name.to_owned(), value)))
    };
    let attributes = (
        optional("displayName", strings().prop_map(text).boxed()),
        optional("emails", addresses().prop_map(address_list).boxed()),
        optional(
            "active",
            select(vec!["true", "\"False\"", "null", "1"]).prop_map(str::to_owned).boxed(),
        ),
        optional(
            "roles",
            select(vec!["[]", "[\"admin\"]", "[\"king\"]"]).prop_map(str::to_owned).boxed(),
        ),
        optional(
            "preferredLanguage",
            select(vec!["\"en\"", "\"DE\"", "\"ıt\""]).prop_map(str::to_owned).boxed(),
        ),
        optional(
            "urn:ietf:params:scim:schemas:extension:wire:1.0:User",
            rich_fields().prop_map(|fields| written(&fields)).boxed(),
        ),
        optional("urn:wire:scim:schemas:profile:1.0", rich_fields().prop_map(list).boxed()),
        optional(
            "profileUrl",
            select(vec!["\"x:\"", "\"a\"", "\"http://[::1]\""]).prop_map(str::to_owned).boxed(),
        ),
    );
    (strings(), addresses(), attributes).prop_map(move |(name, id, (a, b, c, d, e, f, g, h))| {
        let mut members =
            vec![("userName".to_owned(), text(name)), ("externalId".to_owned(), text(id))];
        members.extend([a, b, c, d, e, f, g, h].into_iter().flatten());
        members
    })
}

/// One mutation of an object.
#[derive(Debug, Clone)]
enum Mutation {
    Value(String),
    Upper,
    LongS,
    Kelvin,
    Gone,
    Twice(String),
    TwiceFolded(String),
}

fn faults() -> impl Strategy<Value = (usize, Mutation)> {
    let fault = prop_oneof![
        2 => values().prop_map(Mutation::Value),
        1 => Just(Mutation::Upper),
        1 => Just(Mutation::LongS),
        1 => Just(Mutation::Kelvin),
        1 => Just(Mutation::Gone),
        1 => values().prop_map(Mutation::Twice),
        1 => values().prop_map(Mutation::TwiceFolded),
    ];
    (any::<usize>(), fault)
}

fn with_faults(mut members: Vec<Member>, faults: Vec<(usize, Mutation)>) -> Vec<Member> {
    for (at, fault) in faults {
        if members.is_empty() {
            break;
        }
        let at = at % members.len();
        let name = members[at].0.clone();
        match fault {
            Mutation::Value(value) => members[at].1 = value,
            Mutation::Upper => members[at].0 = name.to_uppercase(),
            Mutation::LongS => members[at].0 = name.replacen('s', "ſ", 1),
            Mutation::Kelvin => members[at].0 = name.replacen('k', "K", 1),
            Mutation::Gone => drop(members.remove(at)),
            Mutation::Twice(value) => members.push((name, value)),
            Mutation::TwiceFolded(value) => members.insert(0, (name.to_lowercase(), value)),
        }
    }
    members
}

fn operations() -> impl Strategy<Value = Vec<Member>> {
    let path = select(vec![
        "userName",
        "displayName",
        "externalId",
        "active",
        "roles",
        "ROLES",
        "userName.x",
        "title",
        "emails[type eq \"work\"].value",
        "emails[type eq \"work\"].primary",
        "Emails[value co \"@\"].type",
        "emails[primary eq true]",
        "phoneNumbers[type eq \"work\"].value",
        "urn:ietf:params:scim:schemas:extension:wire:1.0:User:Dept",
        "urn:wire:scim:schemas:profile:1.0:dept",
        "urn:x:userName",
        "",
        " active",
        "urn:ietf:params:scim:schemas:core:2.0:User:displayName",
    ]);
    let op = select(vec!["add", "Replace", "remove", "set"]);
    let pathless = users().prop_map(|user| {
        let known = ["userName", "externalId", "displayName", "active"];
        written(
            &user
                .into_iter()
                .filter(|(name, _)| known.contains(&name.as_str()))
                .collect::<Vec<_>>(),
        )
    });
    let entry = (addresses(), select(vec!["true", "\"True\"", "false", "null"])).prop_map(
        |(address, primary)| {
            format!(r#"{{"value":{},"type":"work","primary":{primary}}}"#, Value::from(address))
        },
    );
    let address = addresses().prop_map(|address| Value::from(address).to_string());
    let value = prop_oneof![3 => values(), 1 => pathless, 1 => entry, 1 => address];
    (op, proptest::option::of(path), proptest::option::of(value)).prop_map(|(op, path, value)| {
        let mut members = vec![("op".to_owned(), Value::from(op).to_string())];
        members.extend(path.map(|path| ("path".to_owned(), Value::from(path).to_string())));
        members.extend(value.map(|value| ("value".to_owned(), value)));
        members
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn users_agree(user in users(), faults in vec(faults(), 0..3)) {
        let body = written(&with_faults(user, faults));
        for Judge { guard, release, mode } in JUDGES.iter() {
            let outcome =
                reading::user(body.as_bytes()).and_then(|user| reading::validate(&user, *mode, *release));
            agree(&body, &guard.check(CheckKind::User, body.as_bytes()), &[outcome]);
        }
    }

    #[test]
    fn patches_agree(operations in vec((operations(), vec(faults(), 0..2)), 0..4)) {
        let operations: Vec<String> =
            operations.into_iter().map(|(operation, faults)| written(&with_faults(operation, faults))).collect();
        let body = format!(
            r#"{{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{}]}}"#,
            operations.join(",")
        );
        for Judge { guard, release, mode } in JUDGES.iter() {
            let on = |user: User| {
                let patched = reading::patch(body.as_bytes())?.apply(&user, *release)?;
                reading::validate(&patched, *mode, *release)
            };
            let outcomes: Vec<_> = stored().into_iter().map(on).collect();
            agree(&body, &guard.check(CheckKind::Patch, body.as_bytes()), &outcomes);
        }
    }

    #[test]
    fn groups_agree(name in values(), id in "[0-9a-fA-F]{8}(-[0-9a-f]{4}){3}-[0-9a-g]{12}", faults in vec(faults(), 0..3)) {
        let member = format!(r#"{{"value":"{id}","type":"User","$ref":""}}"#);
        let group = [("schemas", "[]".to_owned()), ("displayName", name), ("members", format!("[{member}]"))];
        let body = written(&with_faults(group.map(|(name, value)| (name.to_owned(), value)).to_vec(), faults));
        let outcome = reading::group(body.as_bytes()).map(|group| group.display_name);
        agree(&body, &JUDGES[0].guard.check(CheckKind::Group, body.as_bytes()), &[outcome]);
    }

    #[test]
    fn filters_agree(
        name in select(vec!["userName", "EXTERNALID", "displayName", "userName.x", "id", "uſerName"]),
        blanks in select(vec![" ", "  ", "\t", "\u{a0}", ""]),
        operator in select(vec!["eq", "EQ", "co", "ne", "pr"]),
        literal in prop_oneof![values(), "[-+0-9.eE]{1,5}", select(vec!["NULL", "True", "x"]).prop_map(str::to_owned)],
        rest in select(vec!["", "", "", " ", " and x eq 1", ")"]),
    ) {
        let filter = format!("{name}{blanks}{operator} {literal}{rest}");
        let guard = &JUDGES[0].guard;
        let outcome = reading::user_filter(&filter).map(|_| ());
        agree(&filter, &guard.check(CheckKind::Filter, filter.as_bytes()), &[outcome]);
        let outcome = reading::group_filter(&filter).map(|_| ());
        let report = guard.check(CheckKind::GroupFilter, filter.as_bytes());
        // For what Wire answers with a 500, the guard says that it is not supported.
        let failing = matches!(outcome, Err(Fault::Rule { status: 500, .. }));
        if failing {
            assert_eq!(report.refusal.map(|refusal| refusal.rule), Some(Rule::FilterUnsupported));
        } else {
            agree(&filter, &report, &[outcome]);
        }
    }
}
