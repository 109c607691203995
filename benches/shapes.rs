//! Bodies for benchmarks and instruction counts: typical ones, and ones by which an attacker would try to make
//! verdicts disproportionately expensive.

use serde_json::{Value, json};
use wire_scim_guard::api::BodyKind;

const WIRE_USER: &str = "urn:ietf:params:scim:schemas:extension:wire:1.0:User";

/// A user as Entra ID sends it: about 1 KB, including attributes that Wire ignores.
pub fn user() -> Value {
    json!({
        "schemas": [
            "urn:ietf:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
        ],
        "externalId": "alice.example@example.com",
        "userName": "alice.example",
        "active": true,
        "displayName": "Alice Example-Müller",
        "title": "Senior Engineer",
        "preferredLanguage": "en-US",
        "emails": [{"primary": true, "type": "work", "value": "alice.example@example.com"}],
        "addresses": [{
            "primary": false, "type": "work", "streetAddress": "1 Example Street",
            "locality": "Berlin", "postalCode": "10178", "country": "DE", "formatted": "1 Example Street, Berlin"
        }],
        "phoneNumbers": [
            {"type": "mobile", "value": "+49 30 1234567"}, {"type": "work", "value": "+49 30 7654321"}
        ],
        "name": {"formatted": "Alice Example-Müller", "givenName": "Alice", "familyName": "Example-Müller"},
        "roles": ["member"],
        "meta": {"resourceType": "User", "location": "https://example.com/scim/v2/Users/1"},
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
            "department": "Research", "employeeNumber": "701984", "manager": "26118915-6090-4610-87e4-49d8ca9f808d"
        },
        WIRE_USER: {"Department": "Research"}
    })
}

/// A body that can be generated in any size.
pub struct Shape {
    pub name: &'static str,
    pub kind: BodyKind,
    /// Generates a body with this many elements, keys or characters.
    pub make: fn(usize) -> Vec<u8>,
    /// The size for a body of a few kilobytes.
    pub small: usize,
}

/// The time for each of these is proportional to its size.
pub const SHAPES: [Shape; 17] = [
    Shape { name: "long text", kind: BodyKind::NewUser, make: long_text, small: 8000 },
    Shape { name: "unknown names", kind: BodyKind::NewUser, make: unknown_names, small: 400 },
    Shape { name: "one name again and again", kind: BodyKind::NewUser, make: one_name, small: 400 },
    Shape { name: "spellings of a name", kind: BodyKind::NewUser, make: spellings, small: 600 },
    Shape { name: "rich info", kind: BodyKind::NewUser, make: rich_info, small: 2000 },
    Shape {
        name: "rich info that repeats",
        kind: BodyKind::NewUser,
        make: rich_info_repeats,
        small: 2500,
    },
    Shape { name: "emails", kind: BodyKind::NewUser, make: emails, small: 100 },
    Shape { name: "comments in an address", kind: BodyKind::NewUser, make: comments, small: 2000 },
    Shape { name: "escapes", kind: BodyKind::NewUser, make: escapes, small: 1000 },
    Shape { name: "arrays in arrays", kind: BodyKind::NewUser, make: nested, small: 20 },
    Shape { name: "wrong types", kind: BodyKind::NewUser, make: wrong_types, small: 400 },
    Shape { name: "members", kind: BodyKind::Group, make: members, small: 60 },
    Shape { name: "operations", kind: BodyKind::Patch, make: operations, small: 60 },
    Shape { name: "operations without a path", kind: BodyKind::Patch, make: pathless, small: 40 },
    Shape {
        name: "a filter and an array",
        kind: BodyKind::Patch,
        make: filter_and_array,
        small: 400,
    },
    Shape { name: "long filters", kind: BodyKind::Patch, make: long_filters, small: 400 },
    Shape { name: "letters beyond ASCII", kind: BodyKind::NewUser, make: letters, small: 2000 },
];

fn with(name: &str, value: Value) -> Vec<u8> {
    let mut user = user();
    user[name] = value;
    user.to_string().into_bytes()
}

/// A user with these members, given as JSON source.
fn with_raw(members: impl Iterator<Item = String>) -> Vec<u8> {
    let user = user().to_string();
    let members: String = members.map(|member| member + ",").collect();
    user.replacen('{', &format!("{{{members}"), 1).into_bytes()
}

fn long_text(size: usize) -> Vec<u8> {
    with("x-notes", "n".repeat(size).into())
}

fn unknown_names(size: usize) -> Vec<u8> {
    with_raw((0..size).map(|at| format!("\"x{at}\":{at}")))
}

/// A name that Wire reads, but not in a user.
fn one_name(size: usize) -> Vec<u8> {
    with_raw((0..size).map(|_| "\"value\":1".to_owned()))
}

/// All spellings of a name that Wire reads, but not in a user.
fn spellings(size: usize) -> Vec<u8> {
    let spelled = |at: usize| -> String {
        let letters = "honorificprefix".chars().enumerate();
        letters
            .map(|(nth, c)| if at >> nth & 1 == 1 { c.to_ascii_uppercase() } else { c })
            .collect()
    };
    let map: String = (0..size).map(|at| format!("\"{}\":\"v\",", spelled(at))).collect();
    let user = user().to_string();
    user.replace("\"Department\"", &format!("{map}\"Department\"")).into_bytes()
}

fn rich_info(size: usize) -> Vec<u8> {
    let fields: Vec<Value> =
        (0..size).map(|at| json!({"type": format!("k{at}"), "value": ""})).collect();
    with("urn:wire:scim:schemas:profile:1.0", json!({"richInfo": fields}))
}

fn rich_info_repeats(size: usize) -> Vec<u8> {
    let fields: Vec<Value> = (0..size).map(|_| json!({"type": "k", "value": "v"})).collect();
    with("urn:wire:scim:schemas:profile:1.0", json!({"richInfo": fields}))
}

fn emails(size: usize) -> Vec<u8> {
    with("emails", vec![json!({"value": "alice@example.com"}); size].into())
}

fn comments(size: usize) -> Vec<u8> {
    with("emails", json!([{"value": format!("{}a@b", "(".repeat(size))}]))
}

fn escapes(size: usize) -> Vec<u8> {
    with("x-notes", "\u{1}".repeat(size).into())
}

fn nested(size: usize) -> Vec<u8> {
    let list = format!("{}{}", "[".repeat(100), "]".repeat(100));
    with_raw((0..size).map(|at| format!("\"x{at}\":{list}")))
}

fn wrong_types(size: usize) -> Vec<u8> {
    with("roles", vec![json!({}); size].into())
}

fn members(size: usize) -> Vec<u8> {
    let member =
        json!({"value": "5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f", "type": "User", "$ref": "x"});
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Engineers",
        "members": vec![member; size]
    })
    .to_string()
    .into_bytes()
}

fn patch(operation: &Value, size: usize) -> Vec<u8> {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": vec![operation; size]
    })
    .to_string()
    .into_bytes()
}

fn operations(size: usize) -> Vec<u8> {
    patch(&json!({"op": "Replace", "path": "displayName", "value": "Alice"}), size)
}

/// A long filter, and as many entries for what it selects.
fn filter_and_array(size: usize) -> Vec<u8> {
    let path = format!("emails[type eq \"{}\"]", "w".repeat(size));
    let entries = vec![json!({"value": "a@b", "primary": true}); size];
    patch(&json!({"op": "replace", "path": path, "value": entries}), 1)
}

/// Filters of which each could select other addresses.
fn long_filters(size: usize) -> Vec<u8> {
    let operations: Vec<Value> = (0..8)
        .map(|at| {
            let attribute = if at < 4 { "type" } else { "value" };
            let path = format!("emails[{attribute} ne \"{at}{}\"]", "w".repeat(size));
            json!({"op": "replace", "path": path, "value": {"value": "a@b", "primary": true}})
        })
        .collect();
    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations})
        .to_string()
        .into_bytes()
}

fn letters(size: usize) -> Vec<u8> {
    with("userName", "\u{436}".repeat(size).into())
}

fn pathless(size: usize) -> Vec<u8> {
    let value =
        json!({"userName": "alice", "displayName": "Alice", "externalId": "alice@example.com"});
    patch(&json!({"op": "Replace", "value": value}), size)
}
