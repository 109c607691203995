//! `conf/wire-scim-guard.yaml`: every key with its default, or with an example behind a `#`.

use wire_scim_guard::config;
use wire_scim_guard::input::key::{Absent, Key, Kind};

use super::is_current;

const WIDTH: usize = 118;

const HEAD: &str = "\
# yaml-language-server: $schema=wire-scim-guard.schema.json
#
# wire-scim-guard: every key, with its default.
#
# Only `listen` and `upstream` are required. Unknown keys, unknown rule ids and invalid values are errors, and all of
# them are reported at once by
#
#     wire-scim-guard config check --config FILE
#
# Commented keys without a space after the `#` are examples: their defaults cannot be written, or depend on the
# machine. Sizes are bytes or whole numbers with KiB, MiB or GiB; durations are whole numbers with ms, s, m or h. This
# file may have 1MiB, and each of its arrays 1,000 items; the files that it refers to have to be regular files or links
# to them. SIGHUP reloads this file and those that it refers to, all or nothing; where a restart is required, it is said
# below. The token registry and certificates are reloaded by themselves. The first line is for editors:
# `wire-scim-guard config schema` prints that schema.
";

#[test]
fn the_example_config_is_current() {
    let mut lines = Vec::new();
    for key in config::KEYS.keys() {
        lines.push(String::new());
        write_key(&mut lines, key, "", false);
    }
    is_current("conf/wire-scim-guard.yaml", &format!("{HEAD}{}\n", lines.join("\n")));
}

/// A key at this indentation, and all below it. In a commented mapping all keys are commented.
fn write_key(lines: &mut Vec<String>, key: &Key, indent: &str, is_commented: bool) {
    let mut doc = key.doc.to_owned();
    if let Absent::Otherwise(words, _) = key.absent {
        doc.push_str(&format!(" Default: {words}."));
    }
    if let Some(range) = range(&key.kind) {
        doc.push_str(&format!(" {range}."));
    }
    if key.at_restart {
        doc.push_str(" A change requires a restart.");
    }
    wrap(lines, &doc, indent);
    let mark = if is_commented { "#" } else { "" };
    let name = key.name;
    let below = format!("{indent}  ");
    match key.absent {
        Absent::Section => {
            lines.push(format!("{indent}{mark}{name}:"));
            write_keys(lines, key.kind.keys(), &below, is_commented);
        }
        Absent::Refused("") | Absent::Otherwise(_, "") => {
            lines.push(format!("{indent}#{name}:"));
            write_below(lines, &key.kind, &below);
        }
        Absent::Otherwise(_, example) => lines.push(format!("{indent}#{name}: {example}")),
        Absent::Refused(value) => {
            lines.push(format!("{indent}{mark}{name}: {value}"));
            write_alternative(lines, key, indent);
        }
        Absent::Value(value) => {
            lines.push(format!("{indent}{mark}{name}: {}", value()));
            write_alternative(lines, key, indent);
        }
    }
}

/// The mapping that may be in the place of a single value, or of one in a list.
fn write_alternative(lines: &mut Vec<String>, key: &Key, indent: &str) {
    let kind = match &key.kind {
        Kind::List(of, ..) => of,
        kind => kind,
    };
    if !kind.keys().is_empty() {
        lines.push(format!("{indent}#{}:", key.name));
        write_below(lines, &key.kind, &format!("{indent}  "));
    }
}

fn write_below(lines: &mut Vec<String>, kind: &Kind, indent: &str) {
    match kind {
        Kind::List(of, ..) => {
            let first = lines.len();
            write_keys(lines, of.keys(), &format!("{indent}  "), true);
            // The dash is before the first key, and the comments above it are where that is.
            for line in &mut lines[first..] {
                let content = line.trim_start();
                if !content.starts_with("# ") {
                    *line = format!("{indent}#- {}", content.trim_start_matches('#'));
                    break;
                }
                *line = format!("{indent}{content}");
            }
        }
        kind => write_keys(lines, kind.keys(), indent, true),
    }
}

fn write_keys(lines: &mut Vec<String>, keys: &[Key], indent: &str, is_commented: bool) {
    for key in keys {
        write_key(lines, key, indent, is_commented);
    }
}

fn range(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Count(..) | Kind::Size(..) | Kind::Duration(..) => {
            let text = kind.to_string();
            let (_, range) = text.split_once(", ")?;
            Some(range[..1].to_uppercase() + &range[1..])
        }
        _ => None,
    }
}

fn wrap(lines: &mut Vec<String>, text: &str, indent: &str) {
    let mut line = format!("{indent}#");
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            lines.push(line);
            line = format!("{indent}#");
        }
        line = format!("{line} {word}");
    }
    lines.push(line);
}
