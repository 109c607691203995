//! The effect of each client's preset on its recorded requests, as tables for docs/repair.md.

use std::fmt::Write;

use serde_json::{Value, json};
use wire_scim_guard::release::Release;
use wire_scim_guard::repair::Repairs;
use wire_scim_guard::repair::preset::{PRESETS, Preset};
use wire_scim_guard::standin::{GROUP_ID, USER_ID};

use crate::support::{Response, Seen, corpus};
use crate::world::World;

/// The tables of all clients, one after the other.
pub fn tables() -> String {
    let rows = corpus::rows("requests.jsonl");
    let mut text = String::new();
    for preset in PRESETS {
        let _ = write!(
            text,
            "### {}\n\n| Request | Wire gets | Wire understands | The client gets |\n|---|---|---|---|\n",
            preset.client
        );
        for row in rows.iter().filter(|row| row["client"] == preset.name) {
            text.extend(line(preset, row));
        }
        text.push('\n');
    }
    text
}

/// The line of a request that Wire refuses unrepaired; `None` for others.
fn line(preset: Preset, row: &Value) -> Option<String> {
    // Refusals because of the token are not a matter of repairs.
    if row["proxy_status"] == 401
        || send(&World::new(Release::NEWEST, Repairs::NONE), row).status < 300
    {
        return None;
    }
    let world = World::new(Release::NEWEST, preset.repairs);
    let target = row["target"].as_str().unwrap();
    let path = target.split('?').next().unwrap();
    let before = world.stored(path);
    let answer = send(&world, row);
    let arrived: Vec<String> = world.arrived().iter().map(gets).collect();
    let created = answer.status == 201;
    let id = if created { answer.json()["id"].as_str().map(str::to_owned) } else { None };
    let path = id.map_or_else(|| path.to_owned(), |id| format!("{path}/{id}"));
    let understood = match row["method"].as_str() {
        Some("GET") => String::new(),
        _ => changes(&before, &world.stored(&path)),
    };
    let request = format!(
        "{}<br>{}",
        row["what"].as_str().unwrap(),
        code(&shortened(
            row["method"].as_str().unwrap(),
            target,
            row["body"].as_str().unwrap_or("")
        ))
    );
    let cells = [request, arrived.join("<br>"), understood, told(&answer)];
    let cells = cells.map(|cell| if cell.is_empty() { "nothing".into() } else { cell });
    Some(format!("| {} |\n", cells.join(" | ")))
}

fn send(world: &World, row: &Value) -> Response {
    let headers = row["headers"].as_object().unwrap();
    let headers = headers.iter().filter(|(name, _)| *name != "Authorization");
    let lines: String =
        headers.map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap())).collect();
    let body = row["body"].as_str().unwrap_or("");
    world.send(
        row["method"].as_str().unwrap(),
        row["target"].as_str().unwrap(),
        &lines,
        body.as_bytes(),
    )
}

fn gets(seen: &Seen) -> String {
    let mut line = seen.line().split(' ');
    let (method, target) = (line.next().unwrap(), line.next().unwrap());
    code(&shortened(method, target, &String::from_utf8_lossy(&seen.body)))
}

/// A request without the attributes that every request has.
fn shortened(method: &str, target: &str, body: &str) -> String {
    let body = match serde_json::from_str::<Value>(body) {
        Ok(Value::Object(mut body)) => {
            body.remove("schemas");
            body.remove("meta");
            format!(" {}", Value::Object(body))
        }
        _ => String::new(),
    };
    let text = format!("{method} {}{body}", target.trim_start_matches("/scim/v2"));
    text.replace(USER_ID, ":user").replace(GROUP_ID, ":group")
}

/// The attributes of a resource that have another value than before.
fn changes(before: &Value, after: &Value) -> String {
    let names = ["userName", "displayName", "externalId", "active", "emails", "roles", "members"];
    let read = |resource: &Value, name: &str| match (name, &resource[name]) {
        ("emails" | "members", Value::Array(entries)) => {
            json!(entries.iter().map(|entry| entry["value"].clone()).collect::<Vec<_>>())
        }
        (_, value) => value.clone(),
    };
    let differing = names.iter().filter(|name| read(before, name) != read(after, name));
    let shown: Vec<String> = differing
        .map(|name| code(&format!("{name}: {}", read(after, name)).replace(USER_ID, ":user")))
        .collect();
    if shown.is_empty() { "no change".into() } else { shown.join("<br>") }
}

fn told(answer: &Response) -> String {
    let by = match (answer.header("scim-guard-rule"), answer.header("scim-guard-repaired")) {
        (Some(rule), _) => format!(" `{rule}`"),
        (None, Some(names)) => format!(", repaired by {names}"),
        (None, None) => String::new(),
    };
    format!("{}{by}", answer.status)
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|").replace('`', "'"))
}
