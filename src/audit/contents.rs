//! What a body sets: names of attributes, whether the user is deactivated, and which person it is
//! about.
//!
//! SECURITY: names are those that Wire reads, with indexes; everything else is `other`, as keys of
//! rich info and filters in paths may be personal data.

use crate::api::BodyKind;
use crate::hash_key::HashKey;
use crate::json::{self, Array, Document, Name, Object, Type, Value};
use crate::scim::user::is_active;
use crate::wire::boolean;
use crate::wire::filter::{CORE_USER, Path, read_path};
use crate::wire::op::Op;

/// The maximum number of names for one request.
const MAX_NAMES: usize = 100;

/// How deeply attributes are followed.
const MAX_DEPTH: usize = 4;

/// What the audit line says about a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub attributes: Vec<String>,
    /// The value that `active` is set to.
    pub active: Option<bool>,
    /// The keyed hash of the externalId.
    pub person: Option<String>,
}

impl Contents {
    /// Reads a body as it is parsed; empty if it cannot be.
    pub fn of(kind: BodyKind, body: &[u8], key: Option<&HashKey>) -> Self {
        match json::parse(body) {
            Ok(document) => Reader { contents: Self::default(), key }.read(kind, &document),
            Err(_) => Self::default(),
        }
    }
}

struct Reader<'k> {
    contents: Contents,
    key: Option<&'k HashKey>,
}

impl Reader<'_> {
    fn read(mut self, kind: BodyKind, document: &Document<'_>) -> Contents {
        if let Some(root) = document.root().as_object() {
            match kind {
                BodyKind::Patch => self.operations(root, true),
                BodyKind::GroupPatch => self.operations(root, false),
                BodyKind::NewUser | BodyKind::User => self.resource(root, true),
                BodyKind::NewGroup | BodyKind::Group | BodyKind::Unserved => {
                    self.resource(root, false);
                }
            }
        }
        self.contents
    }

    fn operations(&mut self, root: Object<'_>, is_user: bool) {
        let operations = root.value(Name::Operations).and_then(Value::as_array);
        for operation in operations.into_iter().flat_map(Array::elements) {
            let Some(operation) = operation.as_object() else { continue };
            let value = operation.value(Name::Value);
            let path = operation.value(Name::Path).filter(|path| !path.is_null());
            match (path, value) {
                (Some(path), value) => {
                    let op = operation.string(Name::Op).and_then(Op::read);
                    match (self.path(path).filter(|_| is_user), value) {
                        (Some(name), _) if op == Some(Op::Remove) => self.note(name, None),
                        (Some(name), Some(value)) => self.note(name, Some(value)),
                        _ => {}
                    }
                }
                // Wire reads it as a whole user.
                (None, Some(value)) => {
                    if let Some(value) = value.as_object() {
                        self.resource(value, is_user);
                    }
                }
                (None, None) => {}
            }
        }
    }

    /// Adds the name of a path. Returns it if it is a whole attribute.
    fn path(&mut self, path: Value<'_>) -> Option<Name> {
        let (attribute, sub) = match path.as_str().and_then(read_path) {
            Some(Path::Attribute(attribute)) => (attribute, attribute.sub),
            Some(Path::Value(path)) => (path.attribute, path.sub),
            None => {
                self.name("other".into());
                return None;
            }
        };
        // Members below the other schemas are keys of rich info.
        let is_core = matches!(attribute.schema, None | Some(CORE_USER));
        let name = Name::of(attribute.name).filter(|_| is_core);
        let mut text = spelled(name).to_owned();
        if let (Some(_), Some(sub)) = (name, sub) {
            text.push('.');
            text.push_str(spelled(Name::of(sub)));
        }
        self.name(text);
        name.filter(|_| sub.is_none())
    }

    /// The attributes of a user or a group.
    fn resource(&mut self, object: Object<'_>, is_user: bool) {
        for member in object.members() {
            match member.name() {
                Some(Name::Schemas) => {}
                name => self.names(spelled(name), member.value, 1),
            }
        }
        if is_user {
            self.contents.active = Some(is_active(object));
            if let Some(id) = object.value(Name::ExternalId) {
                self.note(Name::ExternalId, Some(id));
            }
        }
    }

    /// The names of all single values in a value.
    fn names(&mut self, at: &str, value: Value<'_>, depth: usize) {
        match value.get() {
            Type::Object(object) if depth < MAX_DEPTH && !object.is_empty() => {
                for member in object.members() {
                    let at = format!("{at}.{}", spelled(member.name()));
                    self.names(&at, member.value, depth + 1);
                }
            }
            Type::Array(array) if depth < MAX_DEPTH && !array.is_empty() => {
                for (index, element) in array.elements().enumerate() {
                    if self.contents.attributes.len() == MAX_NAMES {
                        return;
                    }
                    self.names(&format!("{at}[{index}]"), element, depth + 1);
                }
            }
            _ => self.name(at.into()),
        }
    }

    fn name(&mut self, name: String) {
        let names = &mut self.contents.attributes;
        if names.len() < MAX_NAMES && !names.contains(&name) {
            names.push(name);
        }
    }

    /// Notes the value of an attribute; `None`: it is removed.
    fn note(&mut self, name: Name, value: Option<Value<'_>>) {
        match (name, value) {
            // Wire reads a user without it as active.
            (Name::Active, None) => self.contents.active = Some(true),
            (Name::Active, Some(value)) => {
                self.contents.active = boolean::of(value).or(self.contents.active);
            }
            (Name::ExternalId, Some(value)) => {
                if let (Some(key), Some(id)) = (self.key, value.as_str()) {
                    self.contents.person = Some(key.hash(id));
                }
            }
            _ => {}
        }
    }
}

fn spelled(name: Option<Name>) -> &'static str {
    name.map_or("other", Name::as_str)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn names(kind: BodyKind, body: &str) -> Vec<String> {
        Contents::of(kind, body.as_bytes(), None).attributes
    }

    #[test]
    fn names_are_those_that_wire_reads_with_indexes() {
        let user = r#"{"schemas":["x"],"userName":"alice","EMAILS":[{"value":"a@b","type":"work"},{"value":"c@d"}],
            "alice@example.com":1,"secret":{"alice":2},
            "urn:ietf:params:scim:schemas:extension:wire:1.0:User":{"alice":"x","bob":"y"}}"#;
        assert_eq!(
            names(BodyKind::NewUser, user),
            [
                "userName",
                "emails[0].value",
                "emails[0].type",
                "emails[1].value",
                "other",
                "other.other",
                "urn:ietf:params:scim:schemas:extension:wire:1.0:User.other"
            ]
        );
        let group = r#"{"displayName":"a","members":[{"value":"b"}]}"#;
        assert_eq!(names(BodyKind::Group, group), ["displayName", "members[0].value"]);
        for unreadable in ["", "[", "[1]", "7"] {
            assert_eq!(names(BodyKind::User, unreadable), [""; 0]);
        }
    }

    #[test]
    fn operations_have_the_names_of_their_paths_without_filters() {
        let operation = |path: &str| {
            format!(r#"{{"Operations":[{{"op":"replace","path":{path:?},"value":"x"}}]}}"#)
        };
        for (path, name) in [
            ("displayName", "displayName"),
            ("urn:ietf:params:scim:schemas:core:2.0:User:userName", "userName"),
            ("emails[value eq \"alice@example.com\"].type", "emails.type"),
            ("urn:ietf:params:scim:schemas:extension:wire:1.0:User:alice", "other"),
            ("alice@example.com", "other"),
            ("alice", "other"),
            ("name.alice", "name.other"),
        ] {
            assert_eq!(names(BodyKind::Patch, &operation(path)), [name], "{path}");
        }
        let bare = r#"{"Operations":[{"op":"add","value":{"displayName":"x","alice":1}}]}"#;
        assert_eq!(names(BodyKind::Patch, bare), ["displayName", "other"]);
    }

    #[test]
    fn active_and_the_person_are_found_in_users_and_patches() {
        let key = HashKey::read("0123456789abcdef0123456789abcdef").unwrap();
        let hash = Some(key.hash("a@b"));
        for (kind, body) in [
            (BodyKind::User, r#"{"active":false,"externalId":"a@b"}"#),
            (
                BodyKind::Patch,
                r#"{"Operations":[{"op":"replace","value":{"active":false,"externalId":"a@b"}}]}"#,
            ),
            (
                BodyKind::Patch,
                r#"{"Operations":[{"op":"add","path":"externalId","value":"a@b"},
                    {"op":"replace","path":"ACTIVE","value":false}]}"#,
            ),
        ] {
            let contents = Contents::of(kind, body.as_bytes(), Some(&key));
            assert_eq!((contents.active, contents.person), (Some(false), hash.clone()), "{body}");
        }
        let contents = Contents::of(BodyKind::User, br#"{"externalId":"a@b"}"#, None);
        assert_eq!((contents.active, contents.person), (Some(true), None));
    }

    #[test]
    fn active_is_read_as_wire_reads_it() {
        for (kind, operation, active) in [
            (BodyKind::Patch, r#""op":"Replace","path":"active","value":"False""#, Some(false)),
            (BodyKind::Patch, r#""op":"add","path":"active","value":"TRUE""#, Some(true)),
            (BodyKind::Patch, r#""op":"Remove","path":"active""#, Some(true)),
            (BodyKind::Patch, r#""op":"Remove","path":"active","value":false"#, Some(true)),
            (BodyKind::Patch, r#""op":"replace","value":{"active":"fal\u017fe"}"#, Some(false)),
            // Wire reads a value without a path as a whole user.
            (BodyKind::Patch, r#""op":"replace","value":{"userName":"alice"}"#, Some(true)),
            (BodyKind::Patch, r#""op":"replace","path":"displayName","value":"a""#, None),
            (BodyKind::Patch, r#""op":"replace","path":"active""#, None),
            (BodyKind::Patch, r#""op":"replace","path":"active.a","value":false"#, None),
            (BodyKind::GroupPatch, r#""op":"replace","path":"active","value":false"#, None),
            (BodyKind::GroupPatch, r#""op":"replace","value":{"displayName":"a"}"#, None),
        ] {
            let body = format!(r#"{{"Operations":[{{{operation}}}]}}"#);
            assert_eq!(Contents::of(kind, body.as_bytes(), None).active, active, "{body}");
        }
        let user = br#"{"active":"FALSE"}"#;
        assert_eq!(Contents::of(BodyKind::User, user, None).active, Some(false));
        assert_eq!(Contents::of(BodyKind::Group, user, None).active, None);
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let emails: Vec<String> = (0..500).map(|_| r#"{"value":"a@b"}"#.into()).collect();
        let user = format!(r#"{{"emails":[{}]}}"#, emails.join(","));
        assert_eq!(names(BodyKind::User, &user).len(), MAX_NAMES);
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_chooses_is_a_name(text in any::<String>()) {
            let text = format!("alice.{text}@example.com");
            let object = json!({ &text: { &text: [&text, { &text: &text }] }, "emails": [{ &text: &text }] });
            let operation = |path: &str| json!({ "op": "add", "path": path, "value": &object });
            let patch = json!({ "Operations": [
                operation(&text),
                operation(&format!("name.{text}")),
                operation(&format!("emails[value eq \"{text}\"].type")),
                operation(&format!("urn:ietf:params:scim:schemas:extension:wire:1.0:User:{text}")),
                { "op": "add", "value": &object },
            ] });
            for (kind, body) in [(BodyKind::NewUser, &object), (BodyKind::Patch, &patch)] {
                let names = names(kind, &body.to_string()).concat();
                prop_assert!(!names.contains("alice") && !names.contains("example"), "{names}");
            }
        }
    }
}
