//! `docs/config-reference.md`: every key of the config and of the token registry.

use std::fmt::Write as _;

use wire_scim_guard::input::key::{Absent, Key, Kind};
use wire_scim_guard::{config, registry};

use super::is_current;

#[test]
fn the_page_of_the_config_is_current() {
    let mut text = String::from(
        "# Config reference\n\nEvery key of the config file and of the [token registry](#the-token-registry).\n\
         [conf/wire-scim-guard.yaml](../conf/wire-scim-guard.yaml) has all of them with their defaults, and\n\
         `wire-scim-guard config check --config FILE` reports all errors of a file at once.\n\n\
         - A **size** is a number of bytes, or a whole number with `KiB`, `MiB` or `GiB`; a **duration** is a whole number with\n  \
         `ms`, `s`, `m` or `h`.\n\
         - `[]` in the name of a key stands for each item of a list.\n\
         - A change is applied by a [reload](reload.md#reload), unless *restart* says otherwise.\n\n\
         Editors complete and check a config whose first line is\n`# yaml-language-server: $schema=wire-scim-guard.schema.json`; \
         `wire-scim-guard config schema` prints that schema, and `config schema\n--register` that of the token registry.\n",
    );
    for key in config::KEYS.keys() {
        writeln!(text, "\n## {}", key.name).unwrap();
        describe(&mut text, key);
        nested(&mut text, &key.kind, key.name);
    }
    text.push_str(
        "\n## The token registry\n\nThe file that `tokens` names; a change is applied within 5 seconds. [tokens.md](tokens.md) describes it.\n",
    );
    for key in registry::KEYS.keys() {
        write_key(&mut text, key, key.name);
    }
    is_current("docs/config-reference.md", &text);
}

/// The keys below one of this name.
fn nested(text: &mut String, kind: &Kind, name: &str) {
    match kind {
        Kind::Map(keys) => {
            for key in *keys {
                write_key(text, key, &format!("{name}.{}", key.name));
            }
        }
        Kind::List(of, ..) => nested(text, of, &format!("{name}[]")),
        Kind::Either(kinds) => kinds.iter().for_each(|kind| nested(text, kind, name)),
        _ => {}
    }
}

fn write_key(text: &mut String, key: &Key, name: &str) {
    writeln!(text, "\n### `{name}`").unwrap();
    describe(text, key);
    nested(text, &key.kind, name);
}

fn describe(text: &mut String, key: &Key) {
    let mut facts = match key.absent {
        Absent::Section => String::new(),
        _ => format!("*{}*", kind(&key.kind)),
    };
    match key.absent {
        Absent::Refused(_) => facts.push_str(", required"),
        Absent::Value(default) => write!(facts, ", default `{}`", default()).unwrap(),
        Absent::Otherwise(words, _) => write!(facts, ", default: {words}").unwrap(),
        Absent::Section => {}
    }
    if key.at_restart {
        facts.push_str(", *restart*");
    }
    if !facts.is_empty() {
        write!(text, "\n{facts}\n").unwrap();
    }
    write!(text, "\n{}\n", linked(key.doc)).unwrap();
}

/// Names of documents become links.
fn linked(doc: &str) -> String {
    let mut parts = doc.split("docs/");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(".md").unwrap();
        write!(text, "[{name}.md]({name}.md){rest}").unwrap();
    }
    text
}

fn kind(kind: &Kind) -> String {
    let all = |words: Vec<&str>| words.join("`, `");
    match kind {
        Kind::Word(words) => match &words()[..] {
            [word] => format!("`{word}`"),
            words => format!("one of `{}`", all(words.to_vec())),
        },
        Kind::List(of, ..) => format!("list, each item: {}", self::kind(of)),
        Kind::Names(of, _) => format!("mapping, each value: {}", self::kind(of)),
        Kind::Either(kinds) => kinds.iter().map(self::kind).collect::<Vec<_>>().join("; or "),
        kind => kind.to_string(),
    }
}
