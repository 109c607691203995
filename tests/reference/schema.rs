//! The JSON Schemas of config and token registry, beside the reader of each.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use wire_scim_guard::config::file::parse;
use wire_scim_guard::input::schema::value;

use super::{is_current, run};

const LEAST: &str = "listen: [\"127.0.0.1:8080\"]\nupstream: {servers: [\"127.0.0.1:8088\"]}\n";

fn schema(arguments: &[&str]) -> Value {
    let (code, out, err) = run(&[&["config", "schema"], arguments].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    serde_json::from_str(&out).unwrap()
}

/// What the schema has to say against a YAML text.
fn faults(schema: &Value, text: &str) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).unwrap();
    let value = value(text).unwrap_or_else(|| panic!("no YAML: {text}"));
    validator
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn the_schemas_in_conf_are_those_that_the_program_prints() {
    for (arguments, path) in [
        (&[][..], "conf/wire-scim-guard.schema.json"),
        (&["--register"], "conf/tokens.schema.json"),
    ] {
        let (_, out, _) = run(&[&["config", "schema"], arguments].concat());
        is_current(path, &out);
        assert!(jsonschema::meta::is_valid(&schema(arguments)), "{path}");
    }
    // The files that name them are beside them.
    for (file, schema) in [
        ("conf/wire-scim-guard.yaml", "wire-scim-guard.schema.json"),
        ("conf/wire-cloud.yaml", "wire-scim-guard.schema.json"),
        ("conf/tokens.yaml", "tokens.schema.json"),
    ] {
        let line = format!("# yaml-language-server: $schema={schema}");
        assert_eq!(fs::read_to_string(file).unwrap().lines().next(), Some(&*line), "{file}");
    }
}

#[test]
fn every_config_that_is_shown_fits_its_schema() {
    let config = schema(&[]);
    let register = schema(&["--register"]);
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    for path in ["conf/wire-scim-guard.yaml", "conf/wire-cloud.yaml"] {
        assert_eq!(faults(&config, &text(Path::new(path))), [""; 0], "{path}");
    }
    assert_eq!(faults(&register, &text(Path::new("conf/tokens.yaml"))), [""; 0]);
    let all = text(Path::new("conf/wire-scim-guard.yaml"));
    assert_eq!(faults(&config, &switched_on(&all)), [""; 0]);

    // Configs in documents, and parts of them.
    let mut parts = config.clone();
    parts.as_object_mut().unwrap().remove("required");
    parts["properties"]["upstream"].as_object_mut().unwrap().remove("required");
    let mut seen = 0;
    let docs = fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path());
    let documents = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    for path in documents.chain(["README.md".into()]) {
        for block in text(&path).split("```yaml").skip(1) {
            let (info, block) = block.split_once('\n').unwrap();
            let block = block.split("```").next().unwrap();
            let schema = match info.split_whitespace().next() {
                _ if info.contains("not-run") => continue,
                None => &config,
                Some("fragment") => &parts,
                Some("register") if block.starts_with("tokens:") => &register,
                Some(word) if word.starts_with("file=") => &config,
                _ => continue,
            };
            assert_eq!(faults(schema, block), [""; 0], "{}:\n{block}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} configs in documents");

    let mut values = 0;
    for folder in ["conf/helm/examples", "conf/helm/wire-scim-guard"] {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.extension().is_none_or(|end| end != "yaml") {
                continue;
            }
            let read = value(&text(&path)).unwrap_or_else(|| panic!("{}", path.display()));
            let Some(part) = read.get("config").filter(|part| part.is_object()) else { continue };
            let validator = jsonschema::validator_for(&parts).unwrap();
            let faults: Vec<String> =
                validator.iter_errors(part).map(|error| error.to_string()).collect();
            assert_eq!(faults, [""; 0], "{}", path.display());
            values += 1;
        }
    }
    assert!(values > 3, "{values} values with a config");
}

/// The example with what is behind a `#`, in the place of the defaults that exclude it.
fn switched_on(example: &str) -> String {
    let replaced = ["z_headers: strip", "listen: [", "access: true"];
    let kept = example
        .lines()
        .filter(|line| !replaced.iter().any(|start| line.trim_start().starts_with(start)));
    let switched = kept.map(|line| match line.trim_start().strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => line.replacen('#', "", 1),
        _ => line.to_owned(),
    });
    switched.map(|line| line + "\n").collect()
}

/// All keys of a schema, each with a text in which the key has this value alone.
fn keys(schema: &Value, path: &str, around: &dyn Fn(String) -> String, found: &mut Vec<Found>) {
    if let Some(kinds) = schema["anyOf"].as_array() {
        kinds.iter().for_each(|kind| keys(kind, path, around, found));
    }
    if schema["items"].is_object() {
        keys(&schema["items"], &format!("{path}[0]"), &|inner| around(format!("[{inner}]")), found);
    }
    // The keys of a mapping of names are data.
    let Some(properties) = schema["properties"].as_object().filter(|all| !all.contains_key("*"))
    else {
        return;
    };
    for (key, value) in properties {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let within = |inner: String| around(format!("{{{key}: {inner}}}"));
        // No value of any kind: no single value, and no list where a list is expected.
        let wrong = if value["type"] == "array" { "{}" } else { "[]" };
        found.push(Found {
            path: path.clone(),
            wrong: within(wrong.into()),
            unknown: around(format!("{{{key}_x: 1}}")),
        });
        keys(value, &path, &within, found);
    }
}

struct Found {
    path: String,
    wrong: String,
    unknown: String,
}

#[test]
fn the_reader_knows_exactly_the_keys_of_the_schema() {
    let of_config = |text: &str| -> Vec<String> {
        parse(text).unwrap_err().iter().map(|error| error.message.clone()).collect()
    };
    let of_register = |text: &str| -> Vec<String> {
        let errors = wire_scim_guard::registry::file::parse(text).unwrap_err();
        errors.iter().map(|error| error.message.clone()).collect()
    };
    for (schema, errors, least) in [
        (schema(&[]), &of_config as &dyn Fn(&str) -> Vec<String>, 90),
        (schema(&["--register"]), &of_register, 15),
    ] {
        let mut found = Vec::new();
        keys(&schema, "", &|inner| inner, &mut found);
        assert!(found.len() >= least, "{} keys", found.len());
        for Found { path, wrong, unknown } in found {
            // The reader looks at the value of the key.
            let said = errors(&wrong);
            let wanted = format!("{path}: expected ");
            assert!(said.iter().any(|error| error.starts_with(&wanted)), "{path}: {said:?}");
            assert_ne!(faults(&schema, &wrong), [""; 0], "{path}");
            let said = errors(&unknown);
            let wanted = format!("{path}_x is an unknown key");
            assert!(said.iter().any(|error| error.starts_with(&wanted)), "{path}: {said:?}");
            let faults = faults(&schema, &unknown).join("\n");
            let name = path.rsplit('.').next().unwrap();
            assert!(
                faults.contains(&format!("{name}_x")) || faults.contains("anyOf"),
                "{path}: {faults}"
            );
        }
    }
}

#[test]
fn what_the_reader_refuses_for_its_type_or_word_the_schema_refuses() {
    let schema = schema(&[]);
    for line in [
        "threads: many",
        "threads: 100000",
        "threads: 0",
        "threads: [1]",
        "threads: 1.5",
        "log: {access: \"true\"}",
        "log: {access: yes}",
        "log: {access: {sample: 2}}",
        "log: {level: inf}",
        "log: [info]",
        "wire: {release: 5.35}",
        "wire: {release: v5}",
        "wire: {rich_info_limit: -1}",
        "wire: {releases: any}",
        "z_headers: keep",
        "z_headers: {keep_from: []}",
        "z_headers: {}",
        "rules: {mode: of}",
        "rules: {profile: x}",
        "rules: {actions: {\"framing.*\": off}}",
        "rules: {actions: {framing.host: report}}",
        "rules: {actions: {\"pach.*\": off}}",
        "rules: {actions: {user.roles: warn}}",
        "limits: {body: 9MB}",
        "limits: {body: 9000000}",
        "limits: {header_timeout: 10}",
        "limits: {header_timeout: 10 seconds}",
        "limits: {streams: 1s}",
        "limits: {shutdown_timeouts: 1s}",
        "schemas: []",
        "schemas: 5",
        "hosts: a.example.com",
        "repairs: [role]",
        "repairs: okta",
        "tracing: {sample: 0.1}",
        "tracing: true",
        "shield: {by_address: 1}",
        "deprovisioning: {at_most: 5}",
        "deprovisioning: 5",
        "reload: {watch: on}",
        "admin: {listen: 9090}",
        "admin: {tls: {certificates: [{certificate: a}]}}",
        "map_420: \"false\"",
        "lisen: []",
    ] {
        let text = format!("{LEAST}{line}\n");
        let refused = parse(&text).is_err();
        // A path may be any text, and a number is one.
        assert!(refused || line == "schemas: 5", "{line}");
        assert_ne!(faults(&schema, &text), [""; 0], "{line}");
    }
    for text in [
        "",
        "listen: []\n",
        "upstream: {servers: []}\n",
        "upstream: {}\nlisten: [\"127.0.0.1:1\"]\n",
    ] {
        assert!(parse(text).is_err(), "{text}");
        let value = value(text).unwrap_or(json!({}));
        assert!(!jsonschema::is_valid(&schema, &value), "{text}");
    }
    for line in [
        "threads: \"3\"",
        "limits: {body: 1000, header_timeout: 1500 ms}",
        "rules: {mode: off, actions: {\"*\": report, \"user.user_name.*\": off, framing.host: enforce}}",
        "log: {access: {sample: 0.5}}",
        "wire: {release: \"5.34\"}",
        "listen: [{address: \"127.0.0.1:1\", proxy_protocol: [10.0.0.1]}]",
    ] {
        let text = match line.starts_with("listen") {
            true => LEAST.replace("listen: [\"127.0.0.1:8080\"]", line),
            false => format!("{LEAST}{line}\n"),
        };
        assert!(parse(&text).is_ok(), "{line}: {:?}", parse(&text).err());
        assert_eq!(faults(&schema, &text), [""; 0], "{line}");
    }
}
