//! Stored users and groups as SCIM resources.

use serde_json::{Map, Value, json};

use super::reading::{Email, Group};
use super::store::Stored;

const CORE_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const CORE_GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const WIRE_USER: &str = "urn:ietf:params:scim:schemas:extension:wire:1.0:User";
const WIRE_PROFILE: &str = "urn:wire:scim:schemas:profile:1.0";

/// A user with its id and meta.
pub(super) fn user(id: &str, stored: &Stored) -> Value {
    let reading = &stored.reading;
    let map: Map<String, Value> =
        reading.rich_info.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    let fields: Vec<Value> =
        reading.rich_info.iter().map(|(key, value)| json!({"type": key, "value": value})).collect();
    let emails: Vec<Value> = stored.user.emails.iter().map(email).collect();
    let mut user = json!({
        "schemas": [CORE_USER, WIRE_USER, WIRE_PROFILE],
        "id": id,
        "externalId": reading.external_id,
        "userName": reading.handle,
        "displayName": reading.name,
        "active": reading.active,
        "emails": emails,
        "roles": reading.role.iter().collect::<Vec<_>>(),
        WIRE_USER: map,
        WIRE_PROFILE: {"richInfo": {"version": 0, "fields": fields}},
        "meta": {
            "resourceType": "User",
            "location": format!("https://example.com/scim/v2/Users/{id}"),
            "created": stored.created,
            "lastModified": stored.modified,
            "version": format!("W/\"{}\"", stored.modified),
        },
    });
    if let Some(locale) = &reading.locale {
        user["preferredLanguage"] = locale.as_str().into();
    }
    user
}

fn email(email: &Email) -> Value {
    let mut entry = json!({"value": email.address});
    if let Some(kind) = &email.kind {
        entry["type"] = kind.as_str().into();
    }
    if let Some(primary) = email.primary {
        entry["primary"] = primary.into();
    }
    entry
}

/// A group with its id and meta.
pub(super) fn group(id: &str, group: &Group) -> Value {
    let member = |member: &String| json!({"value": member, "type": "User", "$ref": format!("https://example.com/scim/v2/Users/{member}")});
    json!({
        "schemas": [CORE_GROUP],
        "id": id,
        "displayName": group.display_name,
        "members": group.members.iter().map(member).collect::<Vec<_>>(),
        "meta": {
            "resourceType": "Group",
            "location": format!("https://example.com/scim/v2/Groups/{id}"),
        },
    })
}

/// The response to a search.
pub(super) fn list(resources: &[Value]) -> Value {
    page(resources, resources.len(), 1)
}

/// The response to a search with more results, from this one on.
pub(super) fn page(resources: &[Value], total: usize, start: usize) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "itemsPerPage": resources.len(),
        "startIndex": start,
        "Resources": resources,
    })
}
