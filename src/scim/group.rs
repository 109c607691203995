//! A group of POST and PUT.

use super::repeated::{self, Repetition};
use crate::findings::Findings;
use crate::json::{Array, Name, NameSet, Value};
use crate::place::{IntoPlace, Place};
use crate::refusal::Refusal;
use crate::rule::Rule;
use crate::schema::{Fault, FaultKind, Schema};
use crate::target::is_uuid;

const ATTRIBUTES: NameSet = NameSet::new(&[Name::Schemas, Name::DisplayName, Name::Members]);
const MEMBER: NameSet = NameSet::new(&[Name::Value, Name::Type, Name::Ref]);
/// The longest displayName of a group, in characters.
const MAX_NAME: usize = 4000;

/// Judges a group. Whether its members exist is up to Wire.
pub fn judge(
    value: Value<'_>,
    schema: &Schema,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    if let Some(repetition) = repetition(value) {
        findings.hit(Rule::JsonDuplicateKey, || repetition.at(), || repetition.detail())?;
    }
    schema.judge(value, &SCHEMA_RULES, findings, rule_of, detail_of)?;
    let Some(group) = value.as_object() else { return Ok(()) };
    if let Some(name) = group.string(Name::DisplayName) {
        let length = name.chars().count();
        if !(1..=MAX_NAME).contains(&length) {
            findings.hit(Rule::GroupDisplayName, Name::DisplayName, || {
                format!(
                    "displayName of a group must have 1 to {MAX_NAME} characters; this one has {length}. Map \
                     an attribute that is filled and short enough."
                )
            })?;
        }
    }
    let members = group.value(Name::Members).and_then(Value::as_array);
    for (at, member) in members.into_iter().flat_map(Array::elements).enumerate() {
        let id = member.as_object().and_then(|member| member.string(Name::Value));
        if id.is_some_and(|id| !is_uuid(id.as_bytes())) {
            let place = || Place::of(Some(Name::Members)).index(at).child(Some(Name::Value));
            findings.hit(Rule::GroupMembers, place, || {
                format!(
                    "members[{at}].value is not a UUID. It must be the `id` that Wire gave the user, not \
                     userName or externalId."
                )
            })?;
        }
    }
    if members.is_some_and(|members| !members.is_empty()) {
        // Only Wire knows whether the members exist and belong to the team.
        findings.leave_to_wire();
    }
    Ok(())
}

fn repetition(value: Value<'_>) -> Option<Repetition> {
    let group = value.as_object()?;
    if let Some(name) = repeated::name(group, ATTRIBUTES) {
        return Some(Repetition::folded(name.into_place()));
    }
    let members = group.value(Name::Members)?.as_array()?;
    repeated::in_list(members, || Name::Members.into_place(), MEMBER)
}

/// The rules for faults against the schema.
const SCHEMA_RULES: [Rule; 3] = [Rule::GroupSchema, Rule::GroupMembers, Rule::GroupType];

fn rule_of(fault: &Fault) -> Rule {
    match (&fault.kind, fault.attribute()) {
        _ if fault.beyond_wire => Rule::GroupSchema,
        (
            FaultKind::Keyword { .. } | FaultKind::Unexpected { .. } | FaultKind::Format { .. },
            _,
        ) => Rule::GroupSchema,
        (_, Some(Name::Members)) => Rule::GroupMembers,
        (FaultKind::Missing { .. }, Some(Name::Schemas | Name::DisplayName)) => Rule::GroupType,
        (FaultKind::Missing { .. }, _) => Rule::GroupSchema,
        (FaultKind::Type { .. }, _) => Rule::GroupType,
    }
}

fn detail_of(fault: &Fault) -> String {
    let fix = match fault.attribute() {
        _ if rule_of(fault) == Rule::GroupSchema => {
            "The operator of this proxy requires it in the schema group.json."
        }
        Some(Name::Members) => {
            "Wire needs members, an array that may be empty, and for every member value, type and $ref as \
strings, as in {\"value\": \"<id of the user>\", \"type\": \"User\", \"$ref\": \"...\"}. Entra ID, \
             Okta and others leave some of these out: turn off the provisioning of groups there."
        }
        _ => "Wire needs schemas, displayName and members in every group.",
    };
    format!("{}. {fix}", fault.sentence())
}
