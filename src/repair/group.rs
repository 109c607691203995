//! Repairs of groups.

use super::edit::Edits;
use super::{Repair, Repairs};
use crate::json::{Array, Name, Object, Value};

/// Repairs a group of POST (`new`) or PUT.
pub(super) fn repair<'d>(group: Object<'d>, new: bool, on: Repairs, edits: &mut Edits<'d>) {
    if on.contains(Repair::GroupsMembers) {
        complete_members(group, new, edits);
    }
}

/// Wire requires type and $ref of every member, but ignores both. A PUT without members is not
/// repaired: it does not say that the group is to be emptied.
fn complete_members<'d>(group: Object<'d>, new: bool, edits: &mut Edits<'d>) {
    match group.value(Name::Members) {
        None if new => edits.add(Repair::GroupsMembers, group, "\"members\":[]"),
        Some(members) if members.is_null() && new => {
            edits.replace(Repair::GroupsMembers, members, "[]");
        }
        Some(members) => {
            let members = members.as_array().into_iter().flat_map(Array::elements);
            for member in members.filter_map(Value::as_object) {
                complete_member(member, edits);
            }
        }
        None => {}
    }
}

fn complete_member<'d>(member: Object<'d>, edits: &mut Edits<'d>) {
    let mut lacking = Vec::new();
    for (name, default) in [(Name::Type, "User"), (Name::Ref, "")] {
        match member.value(name) {
            None => lacking.push(format!("\"{}\":\"{default}\"", name.as_str())),
            Some(value) if value.is_null() => {
                edits.replace_string(Repair::GroupsMembers, value, default);
            }
            Some(_) => {}
        }
    }
    if !lacking.is_empty() {
        edits.add(Repair::GroupsMembers, member, &lacking.join(","));
    }
}
