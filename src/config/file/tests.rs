use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{
    AccessLines, CertificateFiles, ClientAuth, Limits, Listener, ListenerTls, Log, LogFormat,
    OnFailure, PathPolicy, Server, UpstreamHost, UpstreamTls,
};
use crate::deprovisioning::Limit;
use crate::policy::{Action, Policy};
use crate::release::{Release, Releases};
use crate::repair::{Repair, Repairs};
use crate::rule::Rule;

const LEAST: &str = "listen: [\"127.0.0.1:8080\"]\nupstream: {servers: [\"127.0.0.1:8088\"]}\n";
const EXAMPLE: &str = include_str!("../../../conf/wire-scim-guard.yaml");

/// The errors in a config with these lines after the two required ones.
fn errors(lines: &str) -> Vec<String> {
    let errors = parse(&format!("{LEAST}{lines}")).err().unwrap_or_default();
    errors.iter().map(Diagnostic::to_string).collect()
}

fn valid(lines: &str) -> Config {
    parse(&format!("{LEAST}{lines}")).unwrap()
}

fn defaults() -> Config {
    let server = Server::cleartext("127.0.0.1", 8088);
    Config::new(vec!["127.0.0.1:8080".parse().unwrap()], vec![server])
}

mod sections;

#[test]
fn listen_and_upstream_alone_are_enough() {
    let least = Config { fingerprint: 0, ..valid("") };
    assert_eq!(format!("{least:?}"), format!("{:?}", defaults()));
}

#[test]
fn every_key_is_taken() {
    let config = valid(
        "admin: {listen: \"[::1]:9999\"}\n\
         threads: 3\n\
         other_paths: forward\n\
         auth_tokens: refuse\n\
         z_headers: {keep_from: [10.0.0.0/8, 192.0.2.1]}\n\
         identity: saml\n\
         wire: {release: \"5.34\", rich_info_limit: 7000}\n\
         rules:\n  profile: as-served\n  mode: report\n  actions: {user.roles: off}\n\
         schemas: schemas\n\
         hosts: [Wire.Example.com]\n\
         trusted_proxies: [\"fd00::/8\"]\n\
         tokens: tokens.yaml\n\
         shield: {refused_for: 0s, failures: 7, window: 2m, by_address: true}\n\
         deprovisioning: {at_most: 9, within: 3h}\n\
         map_420: false\n\
         log: {level: warn, access: false, time: true, format: text}\n\
         metrics: {wire_dashboard: true}\n\
         limits:\n  body: 1MiB\n  buffered_bytes: 2MiB\n  header_bytes: 16KiB\n  headers: 50\n\
         \x20 header_timeout: 1s\n  body_timeout: 2s\n  request_timeout: 4s\n  keepalive_timeout: 3s\n  write_timeout: 6s\n\
         \x20 requests_per_connection: 4\n  connections: 5\n  connections_per_address: 3\n  streams: 6\n\
         \x20 upstream_connect_timeout: 700ms\n  upstream_timeout: 8m\n\
         \x20 upstream_idle_timeout: 9s\n  group_patch_wait: 2s\n  upgrades: 8\n  upgrade_idle_timeout: 10s\n  shutdown_delay: 11s\n  shutdown_timeout: 0s\n",
    );
    let seconds = Duration::from_secs;
    assert_eq!(config.admin, "[::1]:9999".parse::<SocketAddr>().unwrap());
    assert_eq!(config.threads, 3);
    let limit = Limit { at_most: 9, within: seconds(3 * 3600) };
    assert_eq!(config.deprovisioning, Some(limit));
    assert_eq!(config.other_paths, PathPolicy::Forward);
    assert_eq!(config.auth_tokens, PathPolicy::Refuse);
    let kept = vec!["10.0.0.0/8".parse().unwrap(), "192.0.2.1/32".parse().unwrap()];
    assert_eq!(config.z_headers, ZHeaders::KeepFrom(kept));
    assert_eq!(config.policy.action(Rule::UserUserNameCase), Action::Off);
    assert_eq!(config.policy.identity, Identity::Saml);
    assert_eq!(config.policy.releases, Releases::Only(Release::R5_34));
    assert_eq!(config.policy.rich_info_limit, 7000);
    assert_eq!(config.policy.action(Rule::UserRoles), Action::Off);
    assert_eq!(config.policy.action(Rule::UserEmails), Action::Report);
    assert_eq!(config.policy.action(Rule::JsonSyntax), Action::Enforce);
    assert_eq!(config.schemas, Some("schemas".into()));
    assert_eq!(config.hosts, ["wire.example.com"]);
    assert_eq!(config.trusted_proxies, ["fd00::/8".parse().unwrap()]);
    assert_eq!(config.tokens, Some("tokens.yaml".into()));
    let shield = RefusalCacheSettings {
        refused_for: seconds(0),
        failures: 7,
        window: seconds(120),
        by_address: Some(true),
    };
    assert_eq!(config.shield, shield);
    assert!(!config.map_420);
    let log = Log {
        level: tracing::Level::WARN,
        access: AccessLines::None,
        time: true,
        format: LogFormat::Text,
    };
    assert_eq!(config.log, log);
    assert!(config.metrics.wire_dashboard);
    let limits = Limits {
        body: 1 << 20,
        buffered_bytes: 2 << 20,
        header_bytes: 16 << 10,
        headers: 50,
        header_timeout: seconds(1),
        body_timeout: seconds(2),
        request_timeout: seconds(4),
        keepalive_timeout: seconds(3),
        write_timeout: seconds(6),
        requests_per_connection: 4,
        connections: 5,
        connections_per_address: 3,
        streams: 6,
        upstream_connect_timeout: Duration::from_millis(700),
        upstream_timeout: seconds(480),
        upstream_idle_timeout: seconds(9),
        group_patch_wait: seconds(2),
        shutdown_delay: seconds(11),
        shutdown_timeout: seconds(0),
        upgrades: 8,
        upgrade_idle_timeout: seconds(10),
    };
    assert_eq!(config.limits, limits);
}

#[test]
fn what_is_probably_unintended_is_a_warning_with_its_position() {
    let warnings = |listen: &str, lines: &str| -> Vec<String> {
        let text = format!(
            "listen: [\"127.0.0.1:8080\", \"{listen}:81\"]\nupstream: {{servers: [b]}}\n{lines}"
        );
        let text = text.replace("[b]", "[\"127.0.0.1:8088\"]");
        parse(&text).unwrap().warnings.iter().map(ToString::to_string).collect()
    };
    let trusted = "trusted_proxies: [10.0.0.0/8]\n";
    for quiet in [
        warnings("127.0.0.2", ""),
        warnings("[::1]", "shield: {failures: 100, window: 1m}\n"),
        warnings("0.0.0.0", trusted),
        warnings("0.0.0.0", "shield: {by_address: true, failures: 7}\n"),
        warnings("0.0.0.0", "shield: {by_address: false}\n"),
        warnings("[::]", &format!("{trusted}shield: {{failures: 7}}\n")),
    ] {
        assert_eq!(quiet, [""; 0]);
    }
    for (warned, at, why) in [
        (
            warnings("0.0.0.0", ""),
            "1:28: warning: listen: 0.0.0.0:81 can be reached",
            "trusted_proxies",
        ),
        (warnings("[::]", ""), "1:28: warning: listen: [::]:81 can be reached", "by_address: true"),
        (
            warnings("127.0.0.2", "shield: {failures: 7}\n"),
            "3:20: warning: shield: failures",
            "trusted_proxies",
        ),
        (
            warnings("127.0.0.2", "shield: {window: 7s}\n"),
            "3:18: warning: shield: failures",
            "trusted_proxies",
        ),
        (
            warnings("0.0.0.0", &format!("{trusted}shield: {{by_address: false, window: 7s}}\n")),
            "4:37: warning: shield: failures",
            "shield.by_address is false",
        ),
    ] {
        let [warning] = &warned[..] else { panic!("{warned:?}") };
        assert!(warning.starts_with(at) && warning.contains(why), "{warning}");
    }
    let both = warnings("0.0.0.0", "shield: {failures: 7}\n");
    assert!(both.len() == 2 && both.is_sorted(), "{both:?}");
}

#[test]
fn the_more_exact_action_wins_in_any_order() {
    for lines in [
        "rules: {actions: {user.user_name.case: enforce, \"user.*\": report, \"*\": off}}",
        "rules: {actions: {\"*\": off, \"user.*\": report, user.user_name.case: enforce}}",
    ] {
        let policy: Policy = valid(lines).policy;
        assert_eq!(policy.action(Rule::UserUserNameCase), Action::Enforce);
        assert_eq!(policy.action(Rule::UserEmails), Action::Report);
        assert_eq!(policy.action(Rule::GroupMembers), Action::Off);
    }
}

#[test]
fn the_command_line_comes_before_the_file() {
    let text = format!(
        "{LEAST}identity: saml\nrepairs: [okta]\nwire: {{release: \"5.34\"}}\nrules: {{profile: as-served}}\n"
    );
    let overrides = Overrides {
        profile: Some(Profile::Documented),
        identity: Some(Identity::Email),
        releases: Some(Releases::Any),
        repairs: Some(Repairs::NONE),
    };
    let config = parse_with(&text, overrides).unwrap();
    assert_eq!(config.policy.releases, Releases::Any);
    assert_eq!(config.repairs, Some(Repairs::NONE));
    assert_eq!(config.policy.identity, Identity::Email);
    assert_eq!(config.policy.action(Rule::UserUserNameCase), Action::Enforce);
}

#[test]
fn all_errors_come_at_once_and_in_order() {
    let text = "\
listen: [\"127.0.0.1:8080\", \"localhost:81\", \"127.0.0.1:8080\"]
admin:
  listen: 127.0.0.1:8080
upstream:
  servers: [\"https://wire/scim\"]
  server: x
lisen: []
threads: 0
other_paths: maybe
identity: saml
identity: email
rules:
  actions:
    user.handle: report
    target.ambiguous: off
    json.*: warn
limits: {body: 0, header_timeout: 10, body_size: 5}
log: [info]
";
    let errors: Vec<String> = parse(text).unwrap_err().iter().map(Diagnostic::to_string).collect();
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_file_that_is_not_a_config_is_refused_as_a_whole() {
    let first = |text: &str| parse(text).unwrap_err()[0].to_string();
    assert!(first("").starts_with("1:1: listen is missing"), "{}", first(""));
    assert!(first("# nothing\n").contains("listen is missing"));
    assert!(first("- a\n- b\n").contains("expected a mapping (key: value), found a list"));
    assert!(first("a: [").starts_with("2:1: this is not YAML: "));
    assert!(first(&format!("{LEAST}---\n{LEAST}")).starts_with("3:1: a second document"));
    assert!(first(&format!("{LEAST}threads: 1\0000\n")).contains("control character U+0000"));
    assert!(first(&"- ".repeat(200_000)).contains("nested more than"));
    for flow in ["[", "{a: ", "- [", "? "] {
        let error = first(&flow.repeat(100_000));
        assert!(error.contains("nested more than") || error.contains("not YAML"), "{error}");
    }
}

#[test]
fn unsupported_yaml_is_named() {
    assert_eq!(
        errors("hosts: &hosts [a]\ntrusted_proxies: *hosts\n"),
        ["4:18: aliases (`*name`) are not read here; write the value itself"]
    );
    assert_eq!(
        errors("threads: !!int 3\n"),
        ["3:10: tags (`!name`) are not read here; write the value alone"]
    );
    assert!(errors("? [a]\n: b\n")[0].contains("a key is a single word"));
}

#[test]
fn single_errors_say_what_to_do() {
    for (line, wanted) in [
        ("threads:", "3:1: threads has no value"),
        ("\"*\": report", "* is an unknown key"),
        ("rules: {actions: {*: report}}", "has to be quoted"),
        ("hosts: a: b", "a space missing after a colon"),
        ("trusted_proxies: [a", "not closed"),
        ("admin: {listen: \"127.0.0.1:70000\"}", "no valid port after the colon (1 to 65535)"),
        ("admin: {listen: }", "admin.listen has no value"),
        ("upstream: {check: /status, servers: [\"a:1\"]}", "given twice"),
        ("threads: many", "threads: \"many\" is not a whole number; write one from 1 to 1024"),
        ("threads: 100000", "threads: \"100000\" is out of range; it must be 1 to 1024"),
        ("threads: [1]", "threads: expected a single value, found a list"),
        ("log: {access: \"true\"}", "log.access: expected true or false, without quotes, found"),
        ("log: {access: yes}", "log.access: expected true or false"),
        ("wire: {release: 5.35}", "wire.release: 5.35 is a number; write it in quotes: \"5.35\""),
        (
            "wire: {release: v5}",
            "wire.release: \"v5\" is not a release of Wire: write \"any\", or two numbers",
        ),
        ("wire: {rich_info_limit: -1}", "wire.rich_info_limit: \"-1\" is not a whole number"),
        ("wire: {releases: any}", "wire.releases is an unknown key; did you mean `release`?"),
        ("log: {level: inf}", "did you mean `info`?"),
        ("z_headers: keep", "neither strip nor {keep_from"),
        ("z_headers: {keep_from: []}", "the list is empty; write z_headers: strip"),
        ("z_headers: {}", "z_headers.keep_from is missing"),
        ("z_headers: {keep_from: [0.0.0.0/0]}", "matches every address"),
        ("rules: {mode: of}", "is none of: enforce, report, off; did you mean `off`?"),
        ("rules: {actions: {\"framing.*\": off}}", "is always enforced"),
        ("rules: {actions: {\"pach.*\": off}}", "no such rule; did you mean `patch.*`?"),
        ("rules: {profil: x}", "rules.profil is an unknown key; did you mean `profile`?"),
        ("limits: {body: 8MiB, buffered_bytes: 4MiB}", "(4MiB) is less than limits.body (8MiB)"),
        (
            "limits: {body: 9MiB}",
            "limits.body: \"9MiB\" is out of range; it must be 1 byte to 8MiB",
        ),
        ("admin: {listen: \"127.0.0.1:8080\"}", "take the same port"),
        ("admin: {listen: \"0.0.0.0:8080\"}", "take the same port"),
        ("admin: {listen: \"127.0.0.1:8088\"}", "is this guard itself"),
        ("admin: {listen: \"[::]:8088\"}", "127.0.0.1:8088 is this guard itself"),
        ("admin: {listen: \"[::]:8080\"}", "take the same port"),
        ("schemas: \"\"", "schemas: \"\" is not a path"),
        ("admin: {listen: x}", "admin.listen: \"x\" is not an IP address with a port"),
        ("schemas: []", "schemas: expected a single value, found a list"),
        ("hosts: [\"::1\"]", "an IPv6 address without brackets; write [::1]"),
        (
            "admin: {listen: \"::1:9090\"}",
            "write [::1]:9090, or [::1:9090]:8080 if 9090 is a part of",
        ),
        ("hosts: a.example.com", "hosts: expected a list, such as [a, b], found"),
    ] {
        let found = errors(line);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].contains(wanted), "{line}: {found:?}");
    }
}

#[test]
fn an_error_about_an_ipv6_address_without_brackets_shows_the_right_form() {
    for (server, wanted) in [
        ("::1:8080", "write [::1]:8080, or [::1:8080]:8080 if 8080 is a part of the address"),
        ("2001:db8::1:443", "write [2001:db8::1]:443, or"),
        ("2001:db8:0:0:0:0:0:1:443", "brackets; write [2001:db8:0:0:0:0:0:1]:443"),
        ("2001:db8::abcd", "has no port; write [2001:db8::abcd]:8080"),
        ("::1:65536", "no valid port after the colon (1 to 65535)"),
        ("a:b:80", "several colons"),
    ] {
        let text = LEAST.replace("127.0.0.1:8088", server);
        let errors = parse(&text).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].message.contains(wanted), "{server}: {errors:?}");
    }
}

#[test]
fn every_list_is_bounded() {
    let items = |count: usize, item: &dyn Fn(usize) -> String| {
        (0..count).map(item).collect::<Vec<_>>().join(", ")
    };
    let host = |nth: usize| format!("h{nth}.example");
    let network = |nth: usize| format!("10.{}.{}.1", nth / 250, nth % 250);
    for (key, item) in [
        ("hosts", &host as &dyn Fn(usize) -> String),
        ("trusted_proxies", &network),
        ("z_headers: {keep_from", &network),
    ] {
        let close = if key.contains('{') { "]}" } else { "]" };
        let list = |count| format!("{key}: [{}{close}\n", items(count, item));
        assert_eq!(errors(&list(1000)), Vec::<String>::new(), "{key}");
        let found = errors(&list(1001));
        assert_eq!(found.len(), 1, "{key}: {found:?}");
        let wanted = "the list has 1001 items; 1000 are the most that is read here";
        assert!(found[0].contains(wanted), "{key}: {found:?}");
    }
}

#[test]
fn a_large_file_is_read_to_its_end() {
    use std::fmt::Write;
    let (mut keys, mut servers) = (String::new(), String::from(LEAST).replace("\"]}", "\""));
    for number in 0..50_000 {
        writeln!(keys, "key{number}: x").unwrap();
        write!(servers, ",a:{}", number + 1).unwrap();
    }
    assert!(errors(&keys)[200].ends_with("and so on: 49800 more errors"));
    assert!(parse(&format!("{}]}}\n", servers.trim_end())).is_err());
}

#[test]
fn the_example_shows_the_defaults() {
    let example = Config { fingerprint: 0, ..parse(EXAMPLE).unwrap() };
    assert_eq!(format!("{example:?}"), format!("{:?}", defaults()));
}

#[test]
fn the_example_is_valid_with_everything_switched_on() {
    // Keys follow `#` alone, sentences follow `# `.
    let switched_on: String = EXAMPLE
        .lines()
        .filter(|line| {
            let replaced = ["z_headers: strip", "listen: [", "  access: true"];
            !replaced.iter().any(|start| line.starts_with(start))
        })
        .map(|line| match line.trim_start().strip_prefix('#') {
            Some(key) if !key.is_empty() && !key.starts_with(' ') => line.replacen('#', "", 1),
            _ => {
                line.replace("servers: [\"127.0.0.1:8088\"]", "servers: [\"https://wire.example\"]")
            }
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let config = parse(&switched_on).unwrap();
    assert!(matches!(config.z_headers, ZHeaders::KeepFrom(_)));
    assert!(config.listen.iter().any(|listener| listener.tls.is_some()));
    assert!(config.upstream[0].tls && config.upstream_tls.identity.is_some());
    assert!(config.deprovisioning.is_some() && config.tracing.is_some());
}

#[test]
fn only_the_first_errors_of_a_file_are_reported() {
    let text: String = (0..300).map(|nth| format!("key_{nth}: 1\n")).collect();
    let errors = parse(&text).unwrap_err();
    assert_eq!(errors.len(), 201);
    assert!(errors[200].message.starts_with("and so on: 10"), "{}", errors[200].message);
    let text = format!("listen: [&a x, {}]", "*a,".repeat(100_000));
    assert!(parse(&text).unwrap_err().len() <= 202);
    let text = format!("listen: [{}]", "a,".repeat(1_000_000));
    let errors = parse(&text).unwrap_err();
    assert!(errors[0].message.contains("more than 1000000 values"), "{}", errors[0].message);
}

proptest! {
    #[test]
    fn no_input_makes_the_reader_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_yaml_like_text_makes_the_reader_panic(
        text in r#"([a-z_]{0,9}|[ ]{1,4}|[\[\]{}:,\-?&*!|>'"%@`#~.]|\n|\t|[0-9]{1,3}|é|---|\.\.\.){0,60}"#
    ) {
        let _ = parse(&text);
    }

    #[test]
    fn no_mutated_config_makes_the_reader_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, ".{0,4}"), 1..6)
    ) {
        let mut text: Vec<char> = EXAMPLE.lines().filter(|line| !line.trim_start().starts_with('#'))
            .flat_map(|line| line.chars().chain(['\n'])).collect();
        for (place, length, insert) in cuts {
            let start = place.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, insert.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(errors) = parse(&text) {
            prop_assert!(!errors.is_empty());
            prop_assert!(errors.is_sorted());
            let lines = text.matches(['\n', '\r']).count() + 2;
            prop_assert!(errors.iter().all(|m| m.line >= 1 && m.line <= lines && m.column >= 1));
        }
    }
}
