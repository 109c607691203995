//! Definitions of keys as JSON Schema, for editors: in draft 7, which all of them read.

use serde_json::{Map, Value as Json, json};

use super::key::{Absent, Key, Kind};
use super::yaml::{self, Node, Value};

/// The schema of a file.
pub fn of_file(title: &str, kind: &Kind) -> Json {
    let mut schema = of_kind(kind);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!(title);
    schema
}

fn of_kind(kind: &Kind) -> Json {
    match kind {
        Kind::Flag => json!({"type": "boolean"}),
        // Numbers may be in quotes.
        Kind::Count(least, most) => json!({
            "type": ["integer", "string"], "minimum": least, "maximum": most, "pattern": "^[0-9]+$",
        }),
        Kind::Size(least, most) => json!({
            "type": ["integer", "string"], "minimum": least, "maximum": most,
            "pattern": "^[0-9]+ *(B|KiB|MiB|GiB)?$",
        }),
        Kind::Duration(..) => json!({"type": "string", "pattern": "^[0-9]+ *(ms|s|m|h)$"}),
        Kind::Share => json!({
            "type": ["number", "string"], "minimum": 0, "maximum": 1, "pattern": "^[0-9.]+$",
        }),
        Kind::Word(words) => json!({"enum": words()}),
        Kind::Text(form) => {
            let mut text = json!({"type": "string"});
            if form.number {
                text["type"] = json!(["string", "number"]);
            }
            if let Some(pattern) = form.pattern {
                text["pattern"] = json!(pattern);
            }
            text
        }
        // A list that must not be empty must not repeat an item either.
        Kind::List(of, least, most) => json!({
            "type": "array", "items": of_kind(of), "minItems": least, "maxItems": most,
            "uniqueItems": *least > 0,
        }),
        Kind::Map(keys) => of_mapping(keys),
        Kind::Names(_, names) => {
            let names = names().into_iter().map(|(name, words)| (name, json!({"enum": words})));
            let names: Map<String, Json> = names.collect();
            json!({"type": "object", "properties": names, "additionalProperties": false})
        }
        Kind::Either(kinds) => json!({"anyOf": kinds.iter().map(of_kind).collect::<Vec<_>>()}),
    }
}

fn of_mapping(keys: &[Key]) -> Json {
    let properties = keys.iter().map(|key| (key.name.to_owned(), of_key(key)));
    let properties: Map<String, Json> = properties.collect();
    let required: Vec<&str> =
        keys.iter().filter(|key| is_required(key)).map(|key| key.name).collect();
    json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    })
}

/// The key itself, or one within it, cannot be left out.
pub fn is_required(key: &Key) -> bool {
    match key.absent {
        Absent::Refused(_) => true,
        Absent::Section => key.kind.keys().iter().any(is_required),
        Absent::Value(_) | Absent::Otherwise(..) => false,
    }
}

fn of_key(key: &Key) -> Json {
    let mut schema = of_kind(&key.kind);
    schema["title"] = json!(key.kind.to_string());
    let mut description = key.doc.to_owned();
    match &key.absent {
        Absent::Value(default) => schema["default"] = value(&default()).unwrap_or(Json::Null),
        Absent::Otherwise(words, example) => {
            description.push_str(&format!(" Default: {words}."));
            if let Some(example) = value(example) {
                schema["examples"] = json!([example]);
            }
        }
        Absent::Refused(example) => {
            if let Some(example) = value(example) {
                schema["examples"] = json!([example]);
            }
        }
        Absent::Section => {}
    }
    if key.at_restart {
        description.push_str(" A change requires a restart.");
    }
    schema["description"] = json!(description);
    schema
}

/// A YAML text as the value that a JSON Schema is applied to; `None` if there is no value.
pub fn value(text: &str) -> Option<Json> {
    let (node, errors) = yaml::read(text);
    node.filter(|_| errors.is_empty()).map(|node| of_node(&node))
}

fn number(text: &str) -> Option<Json> {
    let whole = || text.parse::<u64>().ok().map(Json::from);
    let decimal = || text.parse::<f64>().ok().map(Json::from);
    // Words such as `inf` are no numbers here.
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    is_number.then(|| whole().or_else(decimal)).flatten()
}

/// The nesting of nodes is bounded by [`yaml::read`].
fn of_node(node: &Node<'_>) -> Json {
    match &node.value {
        Value::Null | Value::Unread => Json::Null,
        Value::Scalar { text, plain: false } => json!(text),
        Value::Scalar { text, plain: true } => match &**text {
            "true" => json!(true),
            "false" => json!(false),
            text => number(text).unwrap_or_else(|| json!(text)),
        },
        Value::List(items) => items.iter().map(of_node).collect(),
        Value::Map(entries) => {
            let name = |node: &Node<'_>| match &node.value {
                Value::Scalar { text, .. } => text.to_string(),
                _ => String::new(),
            };
            entries.iter().map(|(key, value)| (name(key), of_node(value))).collect()
        }
    }
}
