//! A group: all three attributes are required, and all three of each member.

use super::Fault;
use super::json::{Object, scan, text_of};

/// A group that was parsed and whose name and member ids are well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub display_name: String,
    pub members: Vec<String>,
}

/// Parses and judges a group.
pub fn group(body: &[u8]) -> Result<Group, Fault> {
    let text = text_of(body)?;
    let object = Object::read(scan(&text)?, "group")?;
    for list in ["schemas", "members"] {
        if object.some(list).is_none() {
            return Fault::parse(list);
        }
    }
    object.strings("schemas")?;
    let display_name = object.required_string("displayname")?;
    let mut members = Vec::new();
    for member in object.array("members")? {
        let member = Object::read(member, "members")?;
        member.required_string("type")?;
        member.required_string("$ref")?;
        members.push(member.required_string("value")?);
    }
    if !members.iter().all(|id| is_uuid(id)) {
        return Err(Fault::value("a member's value is not a UUID"));
    }
    if !(1..=4000).contains(&display_name.chars().count()) {
        return Err(Fault::value("displayName: outside range [1, 4000]"));
    }
    Ok(Group { display_name, members })
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}
