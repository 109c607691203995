//! Every payload of the corpus is judged as Wire's own code judged it: for both identity modes and `any`,
//! both profiles; compared are verdict, status, scimType and the parsed values.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde_json::Value;
use wire_scim_guard::config::Config;
use wire_scim_guard::evaluator::{CheckKind, CheckReport, Evaluator};
use wire_scim_guard::policy::{Action, Identity, Policy, Profile};
use wire_scim_guard::release::{Release, Releases};
use wire_scim_guard::rule::Rule;

#[path = "support/corpus.rs"]
#[allow(dead_code, reason = "requests are not sent here")]
mod corpus;

const RELEASES: [Releases; 3] =
    [Releases::Only(Release::R5_34), Releases::Only(Release::R5_35), Releases::Any];
const IDENTITIES: [Identity; 3] = [Identity::Email, Identity::Saml, Identity::Any];

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
    /// Wire's verdict for each release, oldest first.
    wire: [Value; 2],
    /// Whether a PATCH alone determines the verdict, for each release, if the corpus says so.
    determined: Option<[String; 2]>,
}

/// All rows of both files; rows of the older file hold for 5.35 too, except for those that changed.
fn rows() -> Vec<Row> {
    let changed: HashMap<String, Value> = corpus::rows("changed-in-5.35.jsonl")
        .into_iter()
        .filter(|row| row["file"] == "payloads.jsonl")
        .map(|row| (row["id"].as_str().unwrap().to_owned(), row))
        .collect();
    let older = corpus::rows("payloads.jsonl").into_iter().map(|row| {
        let changed = changed.get(row["id"].as_str().unwrap());
        let before = row["wire"].clone();
        let now = changed.map_or(before.clone(), |changed| changed["5.35"].clone());
        let determined = changed.map(|changed| changed["determined"].clone());
        (row, [before, now], determined.unwrap_or_default())
    });
    let newer = corpus::rows("payloads-5.35.jsonl").into_iter().map(|row| {
        let wire = Release::ALL.map(|release| row["wire"][release.as_str()].clone());
        let determined = row["determined"].clone();
        (row, wire, determined)
    });
    let rows: Vec<Row> = older
        .chain(newer)
        .map(|(row, wire, determined)| {
            let determined = determined.is_object().then(|| {
                Release::ALL
                    .map(|release| determined[release.as_str()].as_str().unwrap().to_owned())
            });
            let kind = kind(row["kind"].as_str().unwrap());
            Row {
                id: row["id"].as_str().unwrap().into(),
                kind,
                body: corpus::body(&row),
                wire,
                determined,
            }
        })
        .collect();
    assert!(rows.len() > 4900 && changed.len() > 50, "the corpus is incomplete");
    rows
}

fn kind(name: &str) -> CheckKind {
    match name {
        "user" => CheckKind::User,
        "patch" => CheckKind::Patch,
        "group" => CheckKind::Group,
        "filter" => CheckKind::Filter,
        "group_filter" => CheckKind::GroupFilter,
        other => panic!("{other}"),
    }
}

fn guard(profile: Profile, identity: Identity, releases: Releases) -> Evaluator {
    let mut config = Config::new(Vec::new(), Vec::new());
    config.policy = Policy::new(profile, identity);
    config.policy.releases = releases;
    Evaluator::new(&config).ok().unwrap()
}

/// Wire's verdicts for every release and identity mode that the backend may have: newest release first, email
/// mode first.
fn verdicts(row: &Row, identity: Identity, releases: Releases) -> Vec<&Value> {
    let modes: &[&str] = match identity {
        Identity::Email => &["email"],
        Identity::Saml => &["saml"],
        Identity::Any => &["email", "saml"],
    };
    let of_release = |release: &Release| {
        let wire = &row.wire[*release as usize];
        let by_mode = matches!(row.kind, CheckKind::User | CheckKind::Patch);
        modes.iter().map(move |mode| if by_mode { &wire[*mode] } else { wire })
    };
    releases.candidates().iter().flat_map(of_release).collect()
}

/// The verdict that the guard has to return: it does not refuse what any release or mode serves; otherwise the
/// first error is returned.
fn expected(row: &Row, identity: Identity, releases: Releases) -> &Value {
    let verdicts = verdicts(row, identity, releases);
    verdicts.iter().find(|verdict| verdict["ok"] == true).unwrap_or(&verdicts[0])
}

/// Whether the verdict on a PATCH depends on the stored user, so that it is forwarded whatever the verdict for
/// the sample user is.
fn is_left_to_wire(row: &Row, releases: Releases) -> bool {
    let Some(determined) = &row.determined else { return false };
    releases.candidates().iter().any(|release| determined[*release as usize] != "refuse")
}

fn compare(row: &Row, wire: &Value, profile: Profile, report: &CheckReport) -> Option<String> {
    let refusal = report.refusal.as_ref();
    let rule = refusal.map(|refusal| refusal.rule.id());
    match (wire["ok"].as_bool().unwrap(), refusal) {
        (true, None) if row.kind == CheckKind::User => {
            let reading = serde_json::to_value(&report.reading).unwrap();
            (reading != wire["reading"])
                .then(|| format!("parsed {} instead of {}", reading, wire["reading"]))
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
#[allow(clippy::print_stdout, reason = "the counts of the corpus, for `--nocapture`")]
fn every_payload_is_judged_as_wire_judges_it() {
    let rows = rows();
    let mut differences = String::new();
    let mut table = String::new();
    for (profile, releases, identity) in all() {
        let guard = guard(profile, identity, releases);
        let mut stricter: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut accepted, mut refused, mut wrong) = (0, 0, 0);
        for row in &rows {
            let wire = expected(row, identity, releases);
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
            if report.refusal.is_none() && is_left_to_wire(row, releases) {
                continue;
            }
            if let Some(why) = compare(row, wire, profile, &report) {
                wrong += 1;
                let rule = report.refusal.as_ref().map(|refusal| refusal.rule.id());
                let body: String = String::from_utf8_lossy(&row.body).chars().take(300).collect();
                writeln!(
                    differences,
                    "{} | {profile:?} {releases:?} {identity:?} | {rule:?} | {why} | {body}",
                    row.id
                )
                .unwrap();
            }
        }
        writeln!(
            table,
            "{profile:?} {releases:?} {identity:?}: rows {}, accepted {accepted}, refused {refused}, wrong \
             {wrong}, stricter than Wire {stricter:?}",
            rows.len()
        )
        .unwrap();
    }
    println!("{table}");
    assert!(differences.is_empty(), "\n{table}\n{differences}");
}

fn all() -> impl Iterator<Item = (Profile, Releases, Identity)> {
    [Profile::AsServed, Profile::Documented].into_iter().flat_map(|profile| {
        RELEASES.into_iter().flat_map(move |releases| {
            IDENTITIES.into_iter().map(move |identity| (profile, releases, identity))
        })
    })
}

/// PATCHes whose verdict does not depend on the stored user are decided; the others are forwarded.
#[test]
fn requests_that_depend_on_the_stored_user_are_forwarded() {
    let mut compared = 0;
    for releases in RELEASES {
        let guard = guard(Profile::AsServed, Identity::Any, releases);
        for row in rows() {
            if row.determined.is_none() {
                continue;
            }
            let report = guard.check(row.kind, &row.body);
            let forwarded = report.refusal.is_none();
            let own = report
                .refusal
                .as_ref()
                .is_some_and(|refusal| STRICTER.contains(&refusal.rule.id()));
            let left = is_left_to_wire(&row, releases);
            assert!(own || forwarded == left, "{} {releases:?}: {:?}", row.id, report.refusal);
            // A verdict that Wire may overrule is marked as left to Wire.
            let served_by_all = releases
                .candidates()
                .iter()
                .all(|release| row.determined.as_ref().unwrap()[*release as usize] == "accept");
            if forwarded && !served_by_all {
                assert!(report.remarks.left_to_wire, "{} {releases:?}", row.id);
            }
            compared += 1;
        }
    }
    assert!(compared > 2500, "{compared} rows compared");
}

#[test]
fn two_primary_addresses_are_reported_if_only_an_older_release_serves_them() {
    let user = |name: &str, value: &str| {
        let emails = r#"[{"value":"a@b","primary":true},{"value":"c@d","primary":"TRUE"}]"#;
        format!(
            r#"{{"userName":"alice","externalId":"a@b","displayName":"A","emails":{emails},"{name}":{value}}}"#
        )
    };
    for (releases, refused, reported) in [
        (Releases::Only(Release::R5_34), None, false),
        (Releases::Only(Release::R5_35), Some(Rule::UserEmailsPrimary), false),
        (Releases::Any, None, true),
    ] {
        let guard = guard(Profile::Documented, Identity::Any, releases);
        let report = guard.check(CheckKind::User, user("title", "null").as_bytes());
        assert_eq!(report.refusal.map(|refusal| refusal.rule), refused, "{releases:?}");
        let hits: Vec<_> =
            report.remarks.reported.iter().map(|hit| (hit.rule, hit.at.clone())).collect();
        assert_eq!(hits.len(), usize::from(reported), "{releases:?}");
        if let Some((rule, at)) = hits.first() {
            assert_eq!(*rule, Rule::UserEmailsPrimary);
            assert_eq!(at.as_ref().unwrap().as_str(), "emails[1].primary");
        }
    }
    // If 5.34 refuses the user for another reason, the error of 5.35 is returned.
    let guard = guard(Profile::Documented, Identity::Any, Releases::Any);
    let report = guard.check(CheckKind::User, user("roles", r#"["king"]"#).as_bytes());
    assert_eq!(report.refusal.unwrap().rule, Rule::UserEmailsPrimary);
}

#[test]
fn the_rich_info_limit_is_configurable() {
    let user = |length: usize| {
        let urn = "urn:ietf:params:scim:schemas:extension:wire:1.0:User";
        let value = "x".repeat(length - 1);
        format!(
            r#"{{"userName":"ab","externalId":"x@y","displayName":"A","{urn}":{{"k":"{value}"}}}}"#
        )
    };
    for limit in [5000, 10] {
        let mut config = Config::new(Vec::new(), Vec::new());
        config.policy.rich_info_limit = limit;
        let guard = Evaluator::new(&config).ok().unwrap();
        let rule = |length| {
            let report = guard.check(CheckKind::User, user(length).as_bytes());
            report.refusal.map(|refusal| refusal.rule)
        };
        assert_eq!(rule(limit), None);
        assert_eq!(rule(limit + 1), Some(Rule::UserRichInfoSize));
    }
}

/// Repeated keys are interpreted as Wire does if an operator permits them.
#[test]
fn without_stricter_rules_repeated_keys_are_judged_as_wire_does() {
    let mut repeated = 0;
    for identity in [Identity::Email, Identity::Saml, Identity::Any] {
        let mut config = Config::new(Vec::new(), Vec::new());
        config.policy = Policy::new(Profile::AsServed, identity);
        for rule in ["json.duplicate_key", "user.user_name.reserved"] {
            config.policy.set(rule, Action::Off).unwrap();
        }
        let lenient = Evaluator::new(&config).ok().unwrap();
        let strict = guard(Profile::AsServed, identity, Releases::Any);
        for row in rows() {
            let report = lenient.check(row.kind, &row.body);
            if report.refusal.is_none() && is_left_to_wire(&row, Releases::Any) {
                continue;
            }
            let refusal = strict.check(row.kind, &row.body).refusal;
            repeated += usize::from(refusal.is_some_and(|r| r.rule == Rule::JsonDuplicateKey));
            let why =
                compare(&row, expected(&row, identity, Releases::Any), Profile::AsServed, &report);
            assert_eq!(why, None, "{} {identity:?}", row.id);
        }
    }
    assert!(repeated > 100, "{repeated} rows repeat a key");
}

#[test]
fn the_first_of_equal_rich_info_keys_is_used() {
    let mut config = Config::new(Vec::new(), Vec::new());
    config.policy.set("json.duplicate_key", Action::Off).unwrap();
    let guard = Evaluator::new(&config).ok().unwrap();
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

/// Reported faults don't hide an enforced one, however many there are.
#[test]
fn all_faults_of_a_document_are_evaluated() {
    let mut config = Config::new(Vec::new(), Vec::new());
    config.policy.set("user.type", Action::Report).unwrap();
    let guard = Evaluator::new(&config).ok().unwrap();
    let wrong = vec!["{\"type\":1}"; 1000].join(",");
    for (emails, refused) in [("x@y", None), ("x", Some(Rule::UserEmails))] {
        let user = format!(
            r#"{{"userName":"ab","externalId":"x@y","displayName":"A","addresses":[{wrong}],"emails":[{{"value":"{emails}"}}]}}"#
        );
        let report = guard.check(CheckKind::User, user.as_bytes());
        assert_eq!(report.refusal.map(|refusal| refusal.rule), refused);
        let reported: Vec<Rule> = report.remarks.reported.iter().map(|hit| hit.rule).collect();
        assert_eq!(reported, [Rule::UserType]);
        assert_eq!(report.remarks.reported[0].at.as_ref().unwrap().as_str(), "addresses[0].type");
    }
}

#[test]
fn stricter_rules_are_existing_rules() {
    for id in STRICTER.iter().chain(&DOCUMENTED) {
        assert!(Rule::from_id(id).is_some(), "{id}");
    }
}
