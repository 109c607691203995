//! Files and tests that the documentation names exist.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::path::{Path, PathBuf};

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // What tests have installed there may be large, and links in it may lead anywhere.
    let entries = entries.filter(|path| path != Path::new("./target"));
    let within = |path: PathBuf| match path.is_dir() {
        true => files(&path, ending),
        false => vec![path],
    };
    let all: Vec<PathBuf> = entries.flat_map(within).collect();
    all.into_iter().filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The strings between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_named_in_security_md_exists() {
    let security = read(Path::new("SECURITY.md"));
    let table = security.split("### Known").next().unwrap();
    let tests: String = files(Path::new("tests"), ".rs").iter().map(|path| read(path)).collect();
    let named = quoted(table)
        .filter(|name| !name.contains([' ', '.', '/', '-', ':']))
        .chain(quoted(table).filter_map(|name| name.rsplit_once("::")).map(|(_, name)| name));
    let mut seen = 0;
    for name in named.filter(|name| name.contains('_') && *name != "*") {
        let prefix = name.trim_end_matches('*');
        let rest = if prefix == name { "(" } else { "" };
        let is_there = tests.contains(&format!("fn {prefix}{rest}"));
        let is_file = Path::new("tests").join(format!("{name}.rs")).exists();
        let is_setting = read(Path::new("conf/wire-scim-guard.yaml")).contains(name);
        assert!(is_there || is_file || is_setting, "{name}");
        seen += 1;
    }
    assert!(seen > 25, "{seen} names");
    let http2 = read(Path::new("tests/http2/run.py"));
    for scenarios in table.split("`tests/http2/run.py`: ").skip(1) {
        let end = scenarios.find([';', '|']).unwrap();
        for scenario in scenarios[..end].split(", ").map(str::trim) {
            let scenario = scenario.split(" in raw frames").next().unwrap();
            assert!(http2.contains(&format!("(\"{scenario}\",")), "{scenario}");
        }
    }
}

#[test]
fn the_chart_has_the_alerts_of_prometheus() {
    let alerts = "wire-scim-guard.rules.yaml";
    let of_chart = read(&Path::new("conf/helm/wire-scim-guard/files").join(alerts));
    assert_eq!(of_chart, read(&Path::new("conf/prometheus").join(alerts)), "copy it to the chart");
}

/// The rows of a table: each alert with what its description says to do.
fn what_to_do(rules: &str) -> String {
    let value = |line: &str| line.split_once(": ").unwrap().1.trim_matches('\'').replace("''", "'");
    let mut rows = String::from("| alert | what to do |\n|---|---|\n");
    let mut alert = String::new();
    for line in rules.lines() {
        if line.trim_start().starts_with("- alert:") {
            alert = value(line);
        } else if line.trim_start().starts_with("description:") {
            rows.push_str(&format!("| `{alert}` | {} |\n", value(line).replace('|', "\\|")));
        }
    }
    rows
}

#[test]
fn monitoring_md_says_what_to_do_about_each_alert() {
    let path = Path::new("docs/monitoring.md");
    let text = read(path);
    let (before, rest) = text.split_once("<!-- alerts -->\n").unwrap();
    let (written, after) = rest.split_once("<!-- end -->").unwrap();
    let rows = what_to_do(&read(Path::new("conf/prometheus/wire-scim-guard.rules.yaml")));
    assert!(rows.lines().count() > 15, "{rows}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}<!-- alerts -->\n{rows}<!-- end -->{after}"))
            .unwrap();
        return;
    }
    assert!(written == rows, "{} is out of date: run this test with UPDATE_DOCS=1", path.display());
}

#[test]
fn every_linked_file_exists() {
    let mut links = 0;
    let documents = [files(Path::new("docs"), ".md"), files(Path::new("."), ".md")].concat();
    for path in &documents {
        for link in read(path).split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let file = link.split('#').next().unwrap();
            assert!(path.parent().unwrap().join(file).exists(), "{}: {link}", path.display());
            links += 1;
        }
    }
    assert!(links > 15, "{links} links");
}

#[test]
fn every_module_named_in_architecture_md_exists() {
    let text = read(Path::new("ARCHITECTURE.md"));
    let mut modules = 0;
    let is_path = |name: &&str| name.ends_with(".rs") || name.contains('/');
    for name in quoted(&text).filter(is_path) {
        let place = |folder: &str| Path::new(folder).join(name).exists();
        let within = [
            "",
            "src",
            "src/registry",
            "src/scim",
            "src/wire",
            "src/proxy",
            "src/proxy/downstream",
            "src/proxy/request",
            "src/proxy/upstream",
        ]
        .into_iter()
        .any(place);
        assert!(within, "{name}");
        modules += 1;
    }
    assert!(modules > 40, "{modules} modules");
}

fn defines(source: &str, kind: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    source.split(&format!("{kind} {name}")).skip(1).any(ends)
}

#[test]
fn every_type_and_function_named_in_architecture_md_exists() {
    let text = read(Path::new("ARCHITECTURE.md"));
    let source: String = files(Path::new("src"), ".rs").iter().map(|path| read(path)).collect();
    let is_name = |name: &&str| name.chars().all(|c| c.is_alphanumeric() || "_:".contains(c));
    let in_code = |name: &&str| name.contains(['_', ':']) || name.contains(char::is_uppercase);
    let mut names = 0;
    for name in quoted(&text).filter(is_name).filter(in_code) {
        for part in name.split("::") {
            let kinds = ["struct", "enum", "const", "mod", "fn", "pub"];
            assert!(kinds.iter().any(|kind| defines(&source, kind, part)), "{name}");
        }
        names += 1;
    }
    assert!(names > 20, "{names} names");
}

#[test]
fn modules_of_the_core_use_only_those_that_architecture_md_lists_later() {
    let text = read(Path::new("ARCHITECTURE.md"));
    let list = text.split("each uses only those that come later: ").nth(1).unwrap();
    let order: Vec<&str> = quoted(list.split('.').next().unwrap()).collect();
    assert!(order.len() > 20, "{order:?}");
    for (at, module) in order.iter().enumerate() {
        let folder = Path::new("src").join(module);
        let mut sources = vec![folder.with_extension("rs")];
        if folder.exists() {
            sources.extend(files(&folder, ".rs"));
        }
        sources.retain(|path| path.exists() && !path.to_str().unwrap().contains("tests"));
        assert!(!sources.is_empty(), "{module}");
        for path in sources {
            let source = read(&path);
            let code = source.split("#[cfg(test)]\nmod tests").next().unwrap();
            for earlier in &order[..at] {
                assert!(!defines(code, "use", &format!("crate::{earlier}")), "{path:?}: {earlier}");
            }
        }
    }
}
