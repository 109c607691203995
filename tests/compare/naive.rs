//! A server that accepts everything, and ways in which such a server may apply a PATCH.

use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use crate::support::{Backend, Reply, Seen, answer};

type Users = Arc<Mutex<Map<String, Value>>>;

/// Applies one operation to a user.
pub type Apply = fn(&mut Map<String, Value>, &Value);

/// Serves these users and answers every other request with 200 too. A PUT of an unknown id is not stored, as
/// no server creates by PUT.
pub fn start(users: Users, apply: Apply) -> Backend {
    Backend::start(move |seen| {
        let mut users = users.lock().unwrap();
        let id = seen.line().split(' ').nth(1).unwrap().rsplit('/').next().unwrap();
        let Some(user) = users.get_mut(id) else { return Reply::Bytes(answer(200, "{}")) };
        write(user, seen, apply);
        Reply::Bytes(answer(200, &user.to_string()))
    })
}

fn write(user: &mut Value, seen: &Seen, apply: Apply) {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    match seen.line().split(' ').next().unwrap() {
        "PUT" => *user = body,
        "PATCH" => {
            let user = user.as_object_mut().unwrap();
            for operation in body["Operations"].as_array().unwrap() {
                apply(user, operation);
            }
            user.insert("meta".into(), json!({"version": "2"}));
        }
        _ => {}
    }
}

/// Takes the path for the name of a member.
pub fn by_name(user: &mut Map<String, Value>, operation: &Value) {
    let value = operation["value"].clone();
    match (operation["op"].as_str().unwrap(), operation["path"].as_str()) {
        ("remove", Some(path)) => drop(user.remove(path)),
        ("remove", None) => {}
        (_, Some(path)) => drop(user.insert(path.to_owned(), value)),
        (_, None) => user.extend(value.as_object().unwrap().clone()),
    }
}

/// Uses the attribute of the path and ignores its value filter.
pub fn without_filter(user: &mut Map<String, Value>, operation: &Value) {
    let mut operation = operation.clone();
    if let Some(path) = operation["path"].as_str() {
        operation["path"] = path.split(['[', '.']).next().unwrap().into();
    }
    by_name(user, &operation);
}

/// Selects values by type, and appends one if none matches.
pub fn selecting(user: &mut Map<String, Value>, operation: &Value) {
    let path = operation["path"].as_str().unwrap_or_default();
    let Some((attribute, rest)) = path.split_once('[') else { return by_name(user, operation) };
    let kind = rest.split('"').nth(1).unwrap();
    let sub = rest.split_once("].").map(|(_, sub)| sub);
    let entries = user.entry(attribute).or_insert_with(|| json!([])).as_array_mut().unwrap();
    if operation["op"] == "remove" {
        entries.retain(|entry| entry["type"] != kind);
        return;
    }
    if !entries.iter().any(|entry| entry["type"] == kind) {
        entries.push(json!({"type": kind}));
    }
    for entry in entries.iter_mut().filter(|entry| entry["type"] == kind) {
        match sub {
            Some(sub) => entry[sub] = operation["value"].clone(),
            None => *entry = operation["value"][0].clone(),
        }
    }
}

/// Every operation changes the user.
pub fn spoiling(user: &mut Map<String, Value>, _: &Value) {
    user.insert("spoilt".into(), json!(true));
}
