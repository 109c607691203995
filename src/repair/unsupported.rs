//! The repair `patch.unsupported`: operations on attributes that Wire does not store, and which it
//! ignores in a PUT of the same client.

use crate::json::Name;
use crate::wire::filter::{CORE_USER, Path, WIRE_PROFILE, WIRE_USER, read_rfc_path};
use crate::wire::op::Op;

/// Attributes of a user that Wire stores, or refuses, in any position: an operation on them is
/// never dropped.
const KEPT: [Name; 8] = [
    Name::UserName,
    Name::DisplayName,
    Name::ExternalId,
    Name::Active,
    Name::Roles,
    Name::Emails,
    Name::PreferredLanguage,
    Name::Password,
];

/// Whether Wire refuses an operation because its path names something that it does not store.
/// `read`: the path as Wire parses it.
///
/// A path that does not follow the grammar of RFC 7644 names nothing, so its meaning is not known.
pub(super) fn is_dropped(op: Op, path: &str, read: Option<&Path<'_>>) -> bool {
    if [WIRE_USER, WIRE_PROFILE].iter().any(|urn| begins_with(path, urn))
        || path.eq_ignore_ascii_case(CORE_USER)
    {
        return false;
    }
    match read {
        // Wire accepts the removal of attributes that it does not store, without effect.
        Some(Path::Attribute(attribute)) => op == Op::Set && !is_kept(attribute.name),
        Some(Path::Value(path)) => !is_kept(path.attribute.name),
        None => read_rfc_path(path).is_some_and(|path| {
            let of_core =
                path.schema.is_none_or(|urn| CORE.iter().any(|core| begins_with(urn, core)));
            !of_core || !is_kept(path.name)
        }),
    }
}

/// The URNs of the core schema, including SCIM 1, begin with these.
const CORE: [&str; 2] = ["urn:ietf:params:scim:schemas:core:", "urn:scim:schemas:core:"];

fn is_kept(name: &str) -> bool {
    Name::of(name).is_some_and(|name| KEPT.contains(&name))
}

fn begins_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::filter::read_path;

    fn is_dropped(op: Op, path: &str) -> bool {
        super::is_dropped(op, path, read_path(path).as_ref())
    }

    #[test]
    fn only_what_wire_refuses_and_does_not_keep_is_dropped() {
        for path in [
            "title",
            "name.givenName",
            "urn:ietf:params:scim:schemas:core:2.0:User:name.familyName",
            r#"phoneNumbers[type eq "mobile"].value"#,
            r#"addresses[type eq "work" and primary eq true].country"#,
            r#"entitlements[not (value pr)]"#,
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.$ref",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            "urn:example:2.0:User:userName",
            "timezone",
        ] {
            assert!(is_dropped(Op::Set, path), "{path}");
        }
        for path in [
            "userName",
            "USERNAME",
            "active.x",
            "password",
            "emails",
            r#"emails[type eq "work"].value"#,
            r#"emails[type eq "work" and primary eq true].value"#,
            r#"roles[primary eq "True"].display"#,
            "preferredLanguage",
            "urn:ietf:params:scim:schemas:core:2.0:user:active",
            "urn:scim:schemas:core:1.0:active",
            "URN:IETF:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:wire:1.0:User:Department",
            "urn:ietf:params:scim:schemas:extension:wire:1.0:user:Department",
            "URN:wire:scim:schemas:profile:1.0:Cost Center",
            "",
            "/title",
            "title ",
            "a.b.c",
            "title[",
            "übername",
        ] {
            assert!(!is_dropped(Op::Set, path), "{path}");
        }
        assert!(!is_dropped(Op::Remove, "title"));
        assert!(is_dropped(Op::Remove, r#"phoneNumbers[type eq "mobile"]"#));
        assert!(is_dropped(Op::Remove, "urn:example:2.0:User:x"));
    }
}
