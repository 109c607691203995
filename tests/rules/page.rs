//! `docs/refusals.md`: for every rule a request that hits it, and the guard's answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use wire_scim_guard::rule::{Rule, TABLE};

use crate::golden;
use crate::support::{Response, TOKEN};

const PATH: &str = "docs/refusals.md";
const LONGEST_LINE: usize = 300;
const MOST_LINES: usize = 10;

/// Fails if the page is stale; `UPDATE_DOCS=1` writes it.
pub fn check(requests: &BTreeMap<Rule, Vec<u8>>, answers: &BTreeMap<Rule, Response>) {
    let text = page(requests, answers);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PATH, &text).unwrap();
    }
    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(written == text, "{PATH} is out of date: run this test with UPDATE_DOCS=1");
}

fn page(requests: &BTreeMap<Rule, Vec<u8>>, answers: &BTreeMap<Rule, Response>) -> String {
    let mut text = String::from(
        "# Requests and refusals\n\nFor every rule a request that hits it, and the answer of the guard, as recorded by the \
         project's tests over real\nsockets. In each of them the backend received nothing of the request, except where the rule \
         is about the backend's own\nfailure. [rules.md](rules.md) says what each rule checks and whether it can be switched.\n\n\
         `<token>` stands for a token of Wire's form. `\\n` at the end of a line: it ends there without CR. Long requests are \
         shortened. Where a rule depends on the configuration (hosts, limits, schemas, the token registry), the test has set \
         it; limits are lower there than by default.\n",
    );
    let mut kind = "";
    for entry in &TABLE {
        let own = entry.id.split('.').next().unwrap();
        if own != kind {
            kind = own;
            write!(text, "\n## {kind}\n").unwrap();
        }
        let anchor = entry.id.replace('.', "");
        write!(text, "\n### `{}`\n\n[What it checks](rules.md#{anchor})", entry.id).unwrap();
        match requests.get(&entry.rule) {
            Some(request) => write!(text, "\n\n```http\n{}\n```\n", shown(request)).unwrap(),
            None => writeln!(text, ". {}", several(entry.rule)).unwrap(),
        }
        write!(text, "\n```http\n{}\n```\n", golden(&answers[&entry.rule])).unwrap();
    }
    text
}

/// A request as a reader sees it.
fn shown(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request).replace(TOKEN, "<token>");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines: Vec<String> = head.split("\r\n").take(MOST_LINES).map(visible).collect();
    if head.split("\r\n").count() > MOST_LINES {
        lines.push(format!("... ({} lines in all)", head.split("\r\n").count()));
    }
    if !body.is_empty() {
        lines.push(String::new());
        lines.extend(body.split("\r\n").map(visible));
    }
    lines.join("\n")
}

/// A line without characters that are invisible or change the order of others, and not too long.
fn visible(line: &str) -> String {
    let mut shown = String::new();
    for char in line.chars().take(LONGEST_LINE) {
        match char {
            '\n' => shown.push_str("\\n\n"),
            char if char.is_control() || !(char.is_ascii() || char.is_alphanumeric()) => {
                write!(shown, "{}", char.escape_unicode()).unwrap();
            }
            char => shown.push(char),
        }
    }
    if line.chars().nth(LONGEST_LINE).is_some() {
        write!(shown, "... ({} bytes in all)", line.len()).unwrap();
    }
    shown.trim_end().to_owned()
}

/// What hits a rule that no single request can hit.
fn several(rule: Rule) -> &'static str {
    match rule {
        Rule::LimitsGroupPatches => {
            "The second PATCH of the same group, while the first one waits for Wire:"
        }
        Rule::LimitsUpgrades => {
            "A WebSocket of Wire's clients (`other_paths: forward`), with `limits.upgrades: 0`:"
        }
        Rule::LimitsDeprovisioning => {
            "The DELETE of a second user, with `deprovisioning: {at_most: 1, within: 1h}`:"
        }
        Rule::LimitsConnections => "A second connection, with `limits.connections: 1`:",
        Rule::LimitsAddress => "A second connection, with `limits.connections_per_address: 1`:",
        Rule::LimitsDescriptors => {
            "Any request that needs a connection to the backend, when the process has no descriptors left:"
        }
        Rule::LimitsAudit => {
            "A request that changes something, while standard error does not accept the audit log:"
        }
        Rule::UpstreamConnect => "Any request, when no server accepts connections:",
        Rule::UpstreamTls => {
            "Any request, when the server speaks TLS and the configuration does not:"
        }
        Rule::UpstreamAnswer => {
            "Any request, when the server answers with something that is not HTTP:"
        }
        Rule::UpstreamTimeout => {
            "Any request, when the server does not answer within `limits.upstream_timeout`:"
        }
        Rule::UpstreamThrottled => "Any request that Wire's nginx answers with 420:",
        Rule::TokenRefused => {
            "The second request with a token that Wire has just answered with 401:"
        }
        Rule::LimitsFailures => {
            "The second request with an invalid token, with `shield: {failures: 1, by_address: true}`:"
        }
        Rule::TokenRate => "The second request with a token whose entry has `rate: 1/h`:",
        rule => panic!("{rule} has neither a request nor a description"),
    }
}
