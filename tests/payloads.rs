//! Every payload of the corpus, judged as Wire's own code judged it: both identity modes and
//! `any`, both profiles, verdict, status, scimType and reading.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use wire_scim_guard::config::Config;
use wire_scim_guard::guard::{CheckKind, CheckReport, Guard};
use wire_scim_guard::policy::{Action, Identity, Policy, Profile};
use wire_scim_guard::rule::Rule;

/// The rules that may refuse what Wire serves, in every profile.
const STRICTER: [&str; 6] = [
    "json.duplicate_key",
    "json.depth",
    "json.number",
    "json.syntax",
    "user.user_name.reserved",
    "body.too_large",
];
const DOCUMENTED: [&str; 2] = ["user.user_name.case", "user.display_name.required"];

struct Row {
    id: String,
    kind: CheckKind,
    body: Vec<u8>,
    wire: Value,
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string("tests/corpus/payloads.jsonl").unwrap();
    let rows: Vec<Row> = text
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            let kind = match row["kind"].as_str().unwrap() {
                "user" => CheckKind::User,
                "patch" => CheckKind::Patch,
                "group" => CheckKind::Group,
                "filter" => CheckKind::Filter,
                "group_filter" => CheckKind::GroupFilter,
                other => panic!("{other}"),
            };
            let body = match row["body_base64"].as_str() {
                Some(encoded) => STANDARD.decode(encoded).unwrap(),
                None => row["body"].as_str().unwrap().as_bytes().to_vec(),
            };
            Row { id: row["id"].as_str().unwrap().into(), kind, body, wire: row["wire"].clone() }
        })
        .collect();
    assert!(rows.len() > 3000, "the corpus is not whole");
    rows
}

fn guard(profile: Profile, identity: Identity) -> Guard {
    let mut config = Config::new(Vec::new(), Vec::new());
    config.policy = Policy::new(profile, identity);
    Guard::new(&config).ok().unwrap()
}

/// What Wire answers under an identity mode; `any` is refused only if both modes refuse.
fn expected(row: &Row, identity: Identity) -> &Value {
    if !matches!(row.kind, CheckKind::User | CheckKind::Patch) {
        return &row.wire;
    }
    let (email, saml) = (&row.wire["email"], &row.wire["saml"]);
    match identity {
        Identity::Email => email,
        Identity::Saml => saml,
        Identity::Any if email["ok"] == false && saml["ok"] == true => saml,
        Identity::Any => email,
    }
}

fn compare(row: &Row, wire: &Value, profile: Profile, report: &CheckReport) -> Option<String> {
    let refusal = report.refusal.as_ref();
    let rule = refusal.map(|refusal| refusal.rule.id());
    match (wire["ok"].as_bool().unwrap(), refusal) {
        (true, None) if row.kind == CheckKind::User => {
            let reading = serde_json::to_value(&report.reading).unwrap();
            (reading != wire["reading"])
                .then(|| format!("second reading: {} is not {}", reading, wire["reading"]))
        }
        (true, None) => None,
        (true, Some(_)) if STRICTER.contains(&rule.unwrap()) => None,
        (true, Some(_))
            if profile == Profile::Documented && DOCUMENTED.contains(&rule.unwrap()) =>
        {
            None
        }
        (true, Some(refusal)) => Some(format!("false refusal: {}", refusal.detail)),
        (false, None) => Some(format!("false pass: {}", wire["error"])),
        (false, Some(refusal)) => {
            let own = STRICTER.contains(&rule.unwrap())
                || (profile == Profile::Documented && DOCUMENTED.contains(&rule.unwrap()));
            let status = match wire["status"].as_u64().unwrap() {
                500 => 400,
                status => status,
            };
            let scim_type = wire["scimType"].as_str();
            let answered =
                refusal.rule.entry().scim_type.map(wire_scim_guard::rule::ScimType::as_str);
            if !own && u64::from(refusal.status()) != status {
                return Some(format!("status {} is not {status}", refusal.status()));
            }
            (!own && scim_type.is_some() && scim_type != answered)
                .then(|| format!("scimType {answered:?} is not {scim_type:?}: {}", refusal.detail))
        }
    }
}

#[test]
fn every_payload_is_judged_as_wire_judges_it() {
    let rows = rows();
    let mut differences = String::new();
    let mut table = String::new();
    for profile in [Profile::AsServed, Profile::Documented] {
        for identity in [Identity::Email, Identity::Saml, Identity::Any] {
            let guard = guard(profile, identity);
            let mut stricter: BTreeMap<&str, usize> = BTreeMap::new();
            let (mut accepted, mut refused, mut wrong) = (0, 0, 0);
            for row in &rows {
                let wire = expected(row, identity);
                let report = guard.check(row.kind, &row.body);
                match &report.refusal {
                    None => accepted += 1,
                    Some(_) => refused += 1,
                }
                if let Some(refusal) = &report.refusal
                    && wire["ok"] == true
                {
                    *stricter.entry(refusal.rule.id()).or_default() += 1;
                }
                if let Some(why) = compare(row, wire, profile, &report) {
                    wrong += 1;
                    let rule = report.refusal.as_ref().map(|refusal| refusal.rule.id());
                    let body: String =
                        String::from_utf8_lossy(&row.body).chars().take(300).collect();
                    writeln!(
                        differences,
                        "{} | {profile:?} {identity:?} | {:?} | {why} | {body}",
                        row.id, rule
                    )
                    .unwrap();
                }
            }
            writeln!(
                table,
                "{profile:?} {identity:?}: rows {}, accepted {accepted}, refused {refused}, wrong {wrong}, \
                 stricter than Wire {stricter:?}",
                rows.len()
            )
            .unwrap();
        }
    }
    println!("{table}");
    assert!(differences.is_empty(), "\n{table}\n{differences}");
}

/// What repeats is read as Wire reads it where an operator lets it pass.
#[test]
fn without_its_strictest_rules_the_guard_judges_repeated_keys_as_wire_does() {
    let mut repeated = 0;
    for identity in [Identity::Email, Identity::Saml, Identity::Any] {
        let mut config = Config::new(Vec::new(), Vec::new());
        config.policy = Policy::new(Profile::AsServed, identity);
        for rule in ["json.duplicate_key", "user.user_name.reserved"] {
            config.policy.set(rule, Action::Off).unwrap();
        }
        let lenient = Guard::new(&config).ok().unwrap();
        let strict = guard(Profile::AsServed, identity);
        for row in rows() {
            let report = lenient.check(row.kind, &row.body);
            let refusal = strict.check(row.kind, &row.body).refusal;
            repeated += usize::from(refusal.is_some_and(|r| r.rule == Rule::JsonDuplicateKey));
            let why = compare(&row, expected(&row, identity), Profile::AsServed, &report);
            assert_eq!(why, None, "{} {identity:?}", row.id);
        }
    }
    assert!(repeated > 100, "{repeated} rows repeat a key");
}

#[test]
fn of_keys_of_rich_info_that_are_spelled_alike_the_first_is_read() {
    let mut config = Config::new(Vec::new(), Vec::new());
    config.policy.set("json.duplicate_key", Action::Off).unwrap();
    let guard = Guard::new(&config).ok().unwrap();
    let user = |map: &str| {
        let urn = "urn:ietf:params:scim:schemas:extension:wire:1.0:User";
        let user = format!(
            r#"{{"userName":"ab","externalId":"x@y","displayName":"A","{urn}":{{{map}}}}}"#
        );
        guard.check(CheckKind::User, user.as_bytes())
    };
    for map in [r#""k":"v","k":5"#, r#""type":"v","type":5"#, r#""userName":"v","userName":null"#] {
        let report = user(map);
        assert_eq!(report.refusal, None, "{map}");
        assert_eq!(report.reading.unwrap().rich_info[0].1, "v", "{map}");
    }
    assert_eq!(user(r#""k":5,"k":"v""#).refusal.unwrap().rule, Rule::UserRichInfo);
}

/// Faults that are only reported don't hide one that is enforced, however many they are.
#[test]
fn all_faults_of_a_document_are_looked_at() {
    let mut config = Config::new(Vec::new(), Vec::new());
    config.policy.set("user.type", Action::Report).unwrap();
    let guard = Guard::new(&config).ok().unwrap();
    let wrong = vec!["{\"type\":1}"; 1000].join(",");
    for (emails, refused) in [("x@y", None), ("x", Some(Rule::UserEmails))] {
        let user = format!(
            r#"{{"userName":"ab","externalId":"x@y","displayName":"A","addresses":[{wrong}],"emails":[{{"value":"{emails}"}}]}}"#
        );
        let report = guard.check(CheckKind::User, user.as_bytes());
        assert_eq!(report.refusal.map(|refusal| refusal.rule), refused);
        assert_eq!(report.reported, [Rule::UserType]);
    }
}

#[test]
fn the_list_of_stricter_rules_names_rules() {
    for id in STRICTER.iter().chain(&DOCUMENTED) {
        assert!(Rule::from_id(id).is_some(), "{id}");
    }
}
