//! Every rule of the guard over real sockets: a request that hits it and the most similar one that does not, in
//! front of a backend that counts its connections. The answers are stored in `tests/snapshots`, and
//! `docs/rules.md` and `docs/refusals.md` are generated from them.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

#[path = "rules/cases.rs"]
mod cases;
#[path = "rules/page.rs"]
mod page;
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use cases::{Case, authorized, cases, changed, post_user, with_token};
use serde_json::json;
use support::program::{Place, few_descriptors};
use support::{
    Backend, Client, Guarded, OTHER, Reply, Response, TOKEN, USER, control, entry, head, ok,
    registry_file, with_length,
};
use wire_scim_guard::config::{Config, PathPolicy};
use wire_scim_guard::deprovisioning::Limit;
use wire_scim_guard::policy::Action;
use wire_scim_guard::repair::{Repair, Repairs};
use wire_scim_guard::rule::{Enforcement, Entry, Rule, TABLE};

/// Sends the requests of a case and returns the answer to the one that hits the rule.
fn hit(case: &Case) -> Response {
    let rule = case.rule;
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], case.configure);
    let refused = guarded.ask(&case.hit);
    refused.refused(rule.id());
    assert_eq!(backend.accepted(), 0, "{rule}: a refused request reached the backend");
    let hits = format!("scim_guard_rule_hits_total{{action=\"enforce\",rule=\"{rule}\"}}");
    assert!(guarded.metric(&hits) > 0.5, "{rule}: not counted");
    let forwarded = guarded.ask(&case.miss);
    assert_eq!(forwarded.rule(), "-", "{rule}: {}", String::from_utf8_lossy(&forwarded.body));
    assert_eq!(backend.accepted(), 1, "{rule}: the control request did not reach the backend");
    refused
}

/// The answer to a change when the audit log cannot be written.
fn with_full_audit_log() -> Response {
    let backend = Backend::fine();
    let place = Place::new("audit", &backend, "log: {access: false, audit: true}\n");
    place.fill_audit_log().1
}

/// The answer of a guard that has no descriptors left for a connection to the backend.
fn without_descriptors() -> Response {
    let backend = Backend::start(|_| support::last());
    let place = Place::before("rules", &[&backend], "threads: 1\n");
    let running = place.run_logged(&few_descriptors());
    let mut client = Client::connect(place.addr);
    client.send(control());
    assert_eq!(client.response().rule(), "-");
    let _connections = place.starve(&running);
    client.send(control());
    let refused = client.response();
    assert_eq!(backend.seen().len(), 1);
    refused
}

/// The rules that take more than one request to be hit.
fn multi_request_cases() -> Vec<(Rule, Response)> {
    let connections = |limit: fn(&mut Config)| {
        let backend = Backend::fine();
        let guarded = Guarded::configured(&[backend.addr], limit);
        let mut first = guarded.client();
        first.send(control());
        assert_eq!(first.response().rule(), "-");
        let refused = guarded.ask(control());
        assert_eq!(backend.seen().len(), 1);
        refused
    };
    let connect = {
        let unused = support::unused_addr();
        Guarded::configured(&[unused], |_| {}).ask(control())
    };
    let answered = |reply: fn() -> Reply| {
        let backend = Backend::start(move |_| reply());
        let short =
            |config: &mut Config| config.limits.upstream_timeout = Duration::from_millis(300);
        let answer = Guarded::configured(&[backend.addr], short).ask(control());
        backend.wait(1);
        answer
    };
    assert_eq!(answered(|| ok("{}")).rule(), "-");
    // The first request goes to the backend; the second one, with the same token, is refused.
    let second = |status, configure: fn(&mut Config), token| {
        let backend = Backend::start(move |_| Reply::Bytes(support::answer(status, "{}")));
        let guarded = Guarded::configured(&[backend.addr], configure);
        assert_eq!(guarded.ask(authorized(&with_token(OTHER))).rule(), "-");
        let refused = guarded.ask(authorized(&with_token(token)));
        assert_eq!(backend.seen().len(), 1);
        refused
    };
    let slow_down: fn(&mut Config) = |config| {
        config.shield.failures = 1;
        config.shield.by_address = Some(true);
    };
    // The first one waits for its group, and the second one for the first.
    let group_patch = {
        let backend = Backend::start(|seen| match seen.line().contains("/Groups/") {
            true => Reply::Stall,
            false => ok("{}"),
        });
        let guarded = Guarded::configured(&[backend.addr], |config| {
            config.repairs = Some(Repairs::of(&[Repair::GroupsPatch]));
            config.limits.group_patch_wait = Duration::from_millis(100);
        });
        assert_eq!(guarded.ask(control()).rule(), "-");
        let patch = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": "displayName", "value": "x"}],
        });
        let target = "/scim/v2/Groups/9d2f7c1a-3b4e-4c5d-a6f7-8091a2b3c4d5";
        let patch = with_length("PATCH", target, patch.to_string().as_bytes());
        let mut first = guarded.client();
        first.send(&patch);
        backend.wait(2);
        guarded.ask(&patch)
    };
    let upgrades = {
        let backend = Backend::fine();
        let guarded = Guarded::configured(&[backend.addr], |config| {
            config.other_paths = PathPolicy::Forward;
            config.limits.upgrades = 0;
        });
        let refused = guarded.ask(
            "GET /await HTTP/1.1\r\nHost: wire.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        assert_eq!(backend.accepted(), 0);
        refused
    };
    let deprovisioning = {
        let backend = Backend::fine();
        let guarded = Guarded::configured(&[backend.addr], |config| {
            config.deprovisioning = Some(Limit { at_most: 1, within: Duration::from_secs(3600) });
        });
        let delete = |id: &str| guarded.ask(format!("{}\r\n", head("DELETE", id)));
        assert_eq!(delete(USER).rule(), "-");
        let refused = delete(&USER.replace('3', "4"));
        assert_eq!(backend.seen().len(), 1);
        refused
    };
    vec![
        (Rule::LimitsGroupPatches, group_patch),
        (Rule::LimitsUpgrades, upgrades),
        (Rule::LimitsDeprovisioning, deprovisioning),
        (Rule::LimitsConnections, connections(|config| config.limits.connections = 1)),
        (Rule::LimitsAddress, connections(|config| config.limits.connections_per_address = 1)),
        (Rule::LimitsDescriptors, without_descriptors()),
        (Rule::LimitsAudit, with_full_audit_log()),
        (Rule::UpstreamConnect, connect),
        // The alert of a server that speaks TLS.
        (Rule::UpstreamTls, answered(|| Reply::Last(b"\x15\x03\x01\x00\x02\x02\x46".to_vec()))),
        (Rule::UpstreamAnswer, answered(|| Reply::Last(b"garbage\r\n\r\n".to_vec()))),
        (Rule::UpstreamTimeout, answered(|| Reply::Stall)),
        (Rule::UpstreamThrottled, answered(|| Reply::Bytes(support::answer(420, "")))),
        (Rule::TokenRefused, second(401, |_| {}, OTHER)),
        (Rule::LimitsFailures, second(401, slow_down, TOKEN)),
        (
            Rule::TokenRate,
            second(
                200,
                |config| config.tokens = Some(registry_file(&[entry("slow", OTHER, "rate: 1/h")])),
                OTHER,
            ),
        ),
    ]
}

/// The answer without the parts that differ from run to run.
fn golden(response: &Response) -> String {
    let lines = response.head.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !["date", "x-request-id"].contains(&name.as_str())
    });
    let head: Vec<&str> = lines.map(str::trim_end).filter(|line| !line.is_empty()).collect();
    format!("{}\n\n{}", head.join("\n"), String::from_utf8_lossy(&response.body))
}

#[test]
fn every_rule_refuses_its_case_and_not_the_nearest_valid_one() {
    let mut answers: BTreeMap<Rule, Response> = BTreeMap::new();
    let mut requests: BTreeMap<Rule, Vec<u8>> = BTreeMap::new();
    for case in cases() {
        let rule = case.rule;
        answers.insert(rule, hit(&case));
        requests.insert(rule, case.hit);
    }
    for (rule, response) in multi_request_cases() {
        response.refused(rule.id());
        answers.insert(rule, response);
    }
    let missing: Vec<&str> =
        Rule::all().filter(|rule| !answers.contains_key(rule)).map(Rule::id).collect();
    assert!(missing.is_empty(), "rules without a case: {missing:?}");
    let mut all = String::new();
    for (rule, response) in &answers {
        write!(all, "### {rule}\n{}\n\n", golden(response)).unwrap();
    }
    insta::assert_snapshot!("refusals", all);
    compare_with_docs(&document(&answers));
    page::check(&requests, &answers);
}

/// The contents of `docs/rules.md`, from the rule table and the answers.
fn document(answers: &BTreeMap<Rule, Response>) -> String {
    let mut text = String::from(
        "# Rules\n\nEvery rule of the guard. The ids appear in the \
         configuration, in\nmetrics, in the access log and in the `Scim-Guard-Rule` header of an answer. The answers \
         below are those of\nthe project's own tests.\n\n| rule | status | scimType | documented | as-served |\n\
         |---|---|---|---|---|\n",
    );
    for Entry { id, status, scim_type, enforcement, .. } in &TABLE {
        let scim_type = scim_type.map_or("", |kind| kind.as_str());
        let (documented, as_served) = match enforcement {
            Enforcement::Fixed(_) => ("always", "always"),
            Enforcement::EveryProfile => ("enforce", "enforce"),
            Enforcement::Documented => ("enforce", "off"),
            Enforcement::OptIn => ("off", "off"),
        };
        let anchor = id.replace('.', "");
        writeln!(
            text,
            "| [`{id}`](#{anchor}) | {status} | {scim_type} | {documented} | {as_served} |"
        )
        .unwrap();
    }
    text.push_str("\n`always`: cannot be switched; the reason is given with the rule.\n");
    for entry in &TABLE {
        let answer = &answers[&entry.rule];
        let detail = as_markdown(answer.json()["detail"].as_str().unwrap());
        write!(text, "\n## `{}`\n\n{}", entry.id, entry.checks).unwrap();
        if let Some(how) = entry.by_release {
            write!(text, " {how}").unwrap();
        }
        if entry.policy {
            text.push_str(" Stricter than Wire by design.");
        }
        if let Some(why) = entry.enforcement.fixed() {
            write!(text, " Always enforced: {why}.").unwrap();
        }
        write!(text, "\n\n> {detail}\n").unwrap();
    }
    text
}

/// Placeholders such as <host> are text, not tags; in code they are text already.
fn as_markdown(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts =
        parts.map(|(at, part)| if at % 2 == 1 { part.into() } else { part.replace('<', "&lt;") });
    parts.collect::<Vec<_>>().join("`")
}

fn compare_with_docs(text: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write("docs/rules.md", text).unwrap();
    }
    let written = std::fs::read_to_string("docs/rules.md").unwrap_or_default();
    assert!(written == text, "docs/rules.md is out of date: run this test with UPDATE_DOCS=1");
}

#[test]
fn a_reported_rule_is_counted_and_the_request_is_forwarded_unchanged() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.policy.set("user.user_name", Action::Report).unwrap();
        config.policy.set("user.roles", Action::Report).unwrap();
    });
    let body = changed(&json!({"userName": "a@b.c", "roles": ["king"]}));
    assert_eq!(guarded.ask(post_user(&body)).rule(), "-");
    assert_eq!(backend.wait(1).body, body.as_bytes());
    for rule in ["user.user_name", "user.roles"] {
        let series = format!("scim_guard_rule_hits_total{{action=\"report\",rule=\"{rule}\"}}");
        guarded.wait_metric(&series, 1.0);
    }
    // The first enforced rule refuses the request; rules reported before it are counted as well.
    let body = changed(&json!({"userName": "a@b.c", "displayName": ""}));
    guarded.ask(post_user(&body)).refused("user.display_name");
    guarded
        .wait_metric("scim_guard_rule_hits_total{action=\"report\",rule=\"user.user_name\"}", 2.0);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn mode_off_forwards_everything_that_can_be_parsed() {
    for mode in [Action::Report, Action::Off] {
        let backend = Backend::fine();
        let guarded = Guarded::configured(&[backend.addr], |config| config.policy.cap(mode));
        let switchable = |case: &Case| case.rule.entry().enforcement == Enforcement::EveryProfile;
        for (at, case) in cases().into_iter().filter(switchable).enumerate() {
            // Schemas of operators are not loaded here, and `externalId` needs an email address in one identity mode only.
            let answer = guarded.ask(&case.hit);
            assert_eq!(answer.rule(), "-", "{} under {mode:?}", case.rule);
            let seen = backend.wait(at + 1);
            let body = case.hit.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
            assert!(seen.body == case.hit[body..], "{} under {mode:?}", case.rule);
        }
        // The body of a request with a method that Wire does not serve is forwarded too.
        assert_eq!(guarded.ask(with_length("PUT", "/scim/v2/Users", b"{]")).rule(), "-");
        assert_eq!(backend.seen().last().unwrap().body, b"{]");
        guarded.ask(head("GET", "/scim/v2/../x") + "\r\n").refused("target.ambiguous");
    }
}
