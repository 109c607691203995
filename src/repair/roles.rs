//! The repair `roles`: roles and entitlements as objects, which Wire expects as strings.

use std::borrow::Cow;

use super::edit::string;
use crate::json::{self, Array, Name, Type, Value};

/// The roles of a user as an array of strings, if an entry is something else and all can be one.
pub(super) fn roles(list: Array<'_>) -> Option<String> {
    let is_sound = |entry: Value<'_>| {
        entry.as_str().is_some_and(|text| !text.starts_with('{') || app_role(text).is_none())
    };
    if list.elements().all(is_sound) { None } else { strings(list, named) }
}

/// Entitlements as an array of strings; Wire ignores the strings.
pub(super) fn entitlements(list: Array<'_>) -> Option<String> {
    let is_sound = |entry: Value<'_>| entry.as_str().is_some();
    if list.elements().all(is_sound) { None } else { strings(list, Cow::Borrowed) }
}

/// The value of a PATCH of roles as an array of strings, if it names them in another form.
pub(super) fn patched(value: Value<'_>) -> Option<String> {
    match value.get() {
        Type::Array(list) => roles(list),
        Type::Object(role) => Some(format!("[{}]", string(&named(role.string(Name::Value)?)))),
        Type::String(role) => Some(format!("[{}]", string(&named(role)))),
        _ => None,
    }
}

fn strings<'d>(list: Array<'d>, read: impl Fn(&'d str) -> Cow<'d, str>) -> Option<String> {
    let text_of = |entry: Value<'d>| match entry.get() {
        Type::String(text) => Some(text),
        Type::Object(role) => role.string(Name::Value),
        _ => None,
    };
    let strings: Option<Vec<String>> =
        list.elements().map(|entry| Some(string(&read(text_of(entry)?)))).collect();
    Some(format!("[{}]", strings?.join(",")))
}

fn named(text: &str) -> Cow<'_, str> {
    app_role(text).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The value of an app role of Entra ID, which it sends as JSON in a string.
fn app_role(text: &str) -> Option<String> {
    if !text.starts_with('{') {
        return None;
    }
    let document = json::parse(text.as_bytes()).ok()?;
    let role = document.root().as_object().filter(|role| !role.document_may_repeat())?;
    // A role nested more deeply is not interpreted.
    let value = role.string(Name::Value).filter(|value| !value.starts_with('{'))?;
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &str, repaired: fn(Array<'_>) -> Option<String>) -> Option<String> {
        let document = json::parse(list.as_bytes()).unwrap();
        repaired(document.root().as_array().unwrap())
    }

    #[test]
    fn objects_become_strings_and_values_stay_unchanged() {
        for (list, expected) in [
            (r#"[{"primary":true,"value":"member"}]"#, r#"["member"]"#),
            (r#"[{"VALUE":"ADMIN"},"owner"]"#, r#"["ADMIN","owner"]"#),
            (r#"["{\"id\":\"1\",\"value\":\"member\",\"displayName\":\"M\"}"]"#, r#"["member"]"#),
            (r#"[{"value":"{\"id\":\"1\",\"value\":\"admin\"}"}]"#, r#"["admin"]"#),
        ] {
            assert_eq!(of(list, roles).as_deref(), Some(expected), "{list}");
        }
        for list in
            ["[]", r#"["member"]"#, r#"[{"display":"x"}]"#, "[1]", r#"["{x"]"#, r#"[{"value":1}]"#]
        {
            assert_eq!(of(list, roles), None, "{list}");
        }
        let json = r#"["{\"value\":\"x\"}"]"#;
        assert_eq!(of(json, entitlements), None);
        assert_eq!(of(r#"[{"value":"x"}]"#, entitlements).as_deref(), Some(r#"["x"]"#));
    }
}
