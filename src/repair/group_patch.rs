//! A PATCH of a group, parsed for `groups.patch`: what its operations do to members and
//! displayName. Wire has no PATCH for groups, so the proxy reads the group, applies the operations,
//! and sends the whole group.

use crate::findings::Findings;
use crate::json::{Array, Name, Object, Type, Value};
use crate::place::{IntoPlace, Place};
use crate::refusal::{Refusal, shortened};
use crate::repair::{Repair, Repairs};
use crate::rule::Rule;
use crate::target::is_uuid;
use crate::wire::filter::{self, Attribute, Comparison, Literal, Operator, Path, ValuePath};

/// The schema of a PATCH (RFC 7644 §3.5.2).
pub(crate) const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The URN that may precede a path.
const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group:";

/// The longest displayName of a group, in characters.
const MAX_NAME: usize = 4000;

/// What a PATCH does to a group, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupPatch {
    pub(super) changes: Vec<Change>,
    /// The repairs that it needs.
    pub by: Repairs,
}

/// One change. Ids of members are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Rename(String),
    Add(Vec<String>),
    Remove(Vec<String>),
    /// From now on these are all members.
    Replace(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Replace,
    Remove,
}

/// Why a PATCH cannot be applied.
#[derive(Debug)]
struct Fault {
    rule: Rule,
    at: Place,
    detail: String,
}

impl Fault {
    fn new(rule: Rule, at: impl IntoPlace, detail: impl Into<String>) -> Self {
        Self { rule, at: at.into_place(), detail: detail.into() }
    }
}

/// What a path names.
enum Part<'a> {
    DisplayName,
    Members,
    /// One member, by its id.
    Member(Literal<'a>),
}

/// Parses a PATCH. `None`: the rule that it hits is not enforced, and the request is left
/// unchanged.
pub fn read(
    root: Value<'_>,
    on: Repairs,
    findings: &mut Findings<'_>,
) -> Result<Option<GroupPatch>, Refusal> {
    let by = Repairs::of(&[Repair::GroupsPatch]);
    let reader = Reader { on, patch: GroupPatch { by, ..GroupPatch::default() } };
    match reader.read(root) {
        Ok(patch) => Ok(Some(patch)),
        Err(Fault { rule, at, detail }) => findings.hit(rule, at, || detail).map(|()| None),
    }
}

struct Reader {
    on: Repairs,
    patch: GroupPatch,
}

impl Reader {
    fn read(mut self, root: Value<'_>) -> Result<GroupPatch, Fault> {
        let body = root.as_object().ok_or_else(|| {
            Fault::new(
                Rule::JsonObject,
                "body",
                format!("The body is not a JSON object. {ENVELOPE}"),
            )
        })?;
        once(body, || "body".into_place())?;
        let mut schemas = body.value(Name::Schemas).and_then(Value::as_array).into_iter();
        if !schemas.any(|all| all.elements().any(|schema| schema.as_str() == Some(PATCH_OP))) {
            let detail = format!("schemas does not contain {PATCH_OP}. {ENVELOPE}");
            return Err(Fault::new(Rule::PatchSchemas, Name::Schemas, detail));
        }
        let operations = body.value(Name::Operations).and_then(Value::as_array);
        let operations = operations.ok_or_else(|| {
            Fault::new(
                Rule::PatchOperations,
                Name::Operations,
                format!("Operations is not an array. {ENVELOPE}"),
            )
        })?;
        for (at, operation) in operations.elements().enumerate() {
            let Some(operation) = operation.as_object() else {
                let place = Name::Operations.into_place().index(at);
                let detail = format!("Operations[{at}] is not an object. {ENVELOPE}");
                return Err(Fault::new(Rule::PatchOperations, place, detail));
            };
            self.operation(at, operation)?;
        }
        Ok(self.patch)
    }

    fn operation(&mut self, at: usize, operation: Object<'_>) -> Result<(), Fault> {
        once(operation, || Name::Operations.into_place().index(at))?;
        let op = match operation.string(Name::Op) {
            Some(op) if op.eq_ignore_ascii_case("add") => Op::Add,
            Some(op) if op.eq_ignore_ascii_case("replace") => Op::Replace,
            Some(op) if op.eq_ignore_ascii_case("remove") => Op::Remove,
            _ => {
                let detail = format!("op of Operations[{at}] is not add, replace or remove.");
                return Err(Fault::new(Rule::PatchOp, place(at, Name::Op), detail));
            }
        };
        let value = operation.value(Name::Value).filter(|value| !value.is_null());
        let path = operation.value(Name::Path).filter(|path| !path.is_null());
        let Some(path) = path else { return self.without_path(at, op, value) };
        match path.as_str().and_then(part) {
            Some(Part::DisplayName) => self.rename(at, op, value),
            Some(Part::Members) => self.members(at, op, value),
            Some(Part::Member(id)) if op == Op::Remove => {
                let id = id.to_text().filter(|id| is_uuid(id.as_bytes()));
                let id = id.ok_or_else(|| not_an_id(place(at, Name::Path), at))?;
                self.patch.changes.push(Change::Remove(vec![id.to_ascii_lowercase()]));
                Ok(())
            }
            _ => Err(unsupported(at, Name::Path, "path")),
        }
    }

    fn rename(&mut self, at: usize, op: Op, value: Option<Value<'_>>) -> Result<(), Fault> {
        if op == Op::Remove {
            let detail = format!(
                "Operations[{at}] removes displayName, which every group has. Replace it instead."
            );
            return Err(Fault::new(Rule::PatchMutability, place(at, Name::Path), detail));
        }
        let Some(name) = value.and_then(Value::as_str) else {
            let detail =
                format!("The value of Operations[{at}] must be the group's displayName, a string.");
            return Err(Fault::new(Rule::GroupType, place(at, Name::Value), detail));
        };
        let length = name.chars().count();
        if !(1..=MAX_NAME).contains(&length) {
            let detail = format!(
                "displayName of a group must have 1 to {MAX_NAME} characters; that of Operations[{at}] has \
                 {length}."
            );
            return Err(Fault::new(Rule::GroupDisplayName, place(at, Name::Value), detail));
        }
        self.patch.changes.push(Change::Rename(name.to_owned()));
        Ok(())
    }

    fn members(&mut self, at: usize, op: Op, value: Option<Value<'_>>) -> Result<(), Fault> {
        let place = place(at, Name::Value);
        let ids = match value {
            Some(value) => ids(at, value, &place)?,
            // SECURITY: an operation that names no member never means all members.
            None => return Err(names_no_member(at, op, place)),
        };
        self.patch.changes.push(match op {
            Op::Add => Change::Add(ids),
            Op::Replace => Change::Replace(ids),
            Op::Remove if ids.is_empty() => return Err(names_no_member(at, op, place)),
            Op::Remove => Change::Remove(ids),
        });
        Ok(())
    }

    /// An operation whose value is a part of the group.
    fn without_path(&mut self, at: usize, op: Op, value: Option<Value<'_>>) -> Result<(), Fault> {
        if op == Op::Remove {
            let detail = format!(
                "Operations[{at}] removes something, but has no path that says what, such as \
                 members[value eq \"...\"]."
            );
            return Err(Fault::new(Rule::PatchNoTarget, place(at, Name::Path), detail));
        }
        if !self.on.contains(Repair::PatchPathless) {
            let detail = format!(
                "Operations[{at}] has no path. The operator of this proxy can allow that with the repair \
                 patch.pathless."
            );
            return Err(Fault::new(Rule::GroupPatch, place(at, Name::Path), detail));
        }
        self.patch.by.insert(Repair::PatchPathless);
        let Some(group) = value.and_then(Value::as_object) else {
            return Err(unsupported(at, Name::Value, "value"));
        };
        once(group, || place(at, Name::Value))?;
        for member in group.members() {
            let value = Some(member.value).filter(|value| !value.is_null());
            match (member.name(), member.key()) {
                (Some(Name::DisplayName), _) if value.is_some() => self.rename(at, op, value)?,
                (Some(Name::Members), _) if value.is_some() => self.members(at, op, value)?,
                (Some(Name::Schemas), _) => {}
                // Read-only: ignored, as in a PUT (RFC 7644 §3.5.1).
                (None, key) if ["id", "meta"].iter().any(|name| key.eq_ignore_ascii_case(name)) => {
                }
                // Interpreted as in a PUT, which is what a client that sends a whole group means.
                (None | Some(Name::ExternalId), _)
                    if self.on.contains(Repair::PatchUnsupported) =>
                {
                    self.patch.by.insert(Repair::PatchUnsupported);
                }
                (_, key) => {
                    let what = format!("`{}`", shortened(key));
                    return Err(unsupported(at, Name::Value, &what));
                }
            }
        }
        Ok(())
    }
}

const ENVELOPE: &str = "A PATCH is {\"schemas\": [\"urn:ietf:params:scim:api:messages:2.0:PatchOp\"], \
     \"Operations\": [{\"op\": \"add\", \"path\": \"members\", \"value\": [{\"value\": \"<id of the user>\"}]}]}.";

/// A part of an operation.
fn place(at: usize, part: Name) -> Place {
    Name::Operations.into_place().index(at).child(Some(part))
}

/// Fails if an attribute that Wire reads appears twice in an object.
fn once(object: Object<'_>, at: impl FnOnce() -> Place) -> Result<(), Fault> {
    if !object.may_repeat() {
        return Ok(());
    }
    let detail = "An attribute appears more than once in one object (names are compared without regard to case). \
         Readers differ in which one they take, so send it once.";
    Err(Fault::new(Rule::JsonDuplicateKey, at, detail))
}

fn part(path: &str) -> Option<Part<'_>> {
    let path = match path.split_at_checked(GROUP_URN.len()) {
        Some((urn, path)) if urn.eq_ignore_ascii_case(GROUP_URN) => path,
        _ => path,
    };
    let is = |attribute: Attribute<'_>, name| {
        let Attribute { schema, name: written, sub } = attribute;
        schema.is_none() && sub.is_none() && Name::of(written) == Some(name)
    };
    match filter::read_path(path)? {
        Path::Attribute(attribute) if is(attribute, Name::DisplayName) => Some(Part::DisplayName),
        Path::Attribute(attribute) if is(attribute, Name::Members) => Some(Part::Members),
        Path::Value(ValuePath {
            attribute,
            filter: Comparison { attribute: inner, operator: Operator::Equal, literal },
            sub: None,
        }) if is(attribute, Name::Members) && is(inner, Name::Value) => Some(Part::Member(literal)),
        _ => None,
    }
}

/// The ids of the members in a value: an array of them, or a single one.
fn ids(at: usize, value: Value<'_>, place: &Place) -> Result<Vec<String>, Fault> {
    let id = |member: Value<'_>| {
        let member = member.as_object().ok_or_else(|| not_an_id(place.clone(), at))?;
        once(member, || place.clone())?;
        let id = member.string(Name::Value).filter(|id| is_uuid(id.as_bytes()));
        id.map(str::to_ascii_lowercase).ok_or_else(|| not_an_id(place.clone(), at))
    };
    match value.get() {
        Type::Array(members) => Array::elements(members).map(id).collect(),
        _ => Ok(vec![id(value)?]),
    }
}

fn not_an_id(place: Place, at: usize) -> Fault {
    let detail = format!(
        "Operations[{at}] must name members by the `id` that Wire gave the user, a UUID, as in \
         [{{\"value\": \"<id of the user>\"}}]; userName and externalId are not ids."
    );
    Fault::new(Rule::GroupMembers, place, detail)
}

fn names_no_member(at: usize, op: Op, place: Place) -> Fault {
    let detail = match op {
        Op::Remove => format!(
            "Operations[{at}] removes members without saying which, which is not interpreted as all of them. Name them \
             in value, as in [{{\"value\": \"<id of the user>\"}}], or in path, as in \
             members[value eq \"<id of the user>\"]; to remove all, replace members by []."
        ),
        _ => format!(
            "Operations[{at}] has no value that names members. Name them, as in \
             [{{\"value\": \"<id of the user>\"}}]; for none, replace members by []."
        ),
    };
    Fault::new(Rule::GroupMembers, place, detail)
}

fn unsupported(at: usize, part: Name, what: &str) -> Fault {
    let detail = format!(
        "Operations[{at}]: the {what} names something other than members and displayName of a group, which is all \
         that Wire keeps. Members are added, replaced and removed by path members, or removed by \
         members[value eq \"<id of the user>\"]. Nothing of this request was done: remove the attribute from the \
         mapping."
    );
    Fault::new(Rule::GroupPatch, place(at, part), detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::policy::{Identity, Policy, Profile};

    const A: &str = "3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3";
    const B: &str = "0F0E0D0C-0B0A-4908-8706-050403020100";

    const NONE: Repairs = Repairs::NONE;
    const PATHLESS: Repairs = Repairs::of(&[Repair::PatchPathless]);
    const BOTH: Repairs = Repairs::of(&[Repair::PatchPathless, Repair::PatchUnsupported]);

    fn patch(operations: &str, on: Repairs) -> Result<Option<GroupPatch>, Rule> {
        let body = format!(r#"{{"schemas":["{PATCH_OP}"],"Operations":[{operations}]}}"#);
        read_body(&body, on)
    }

    fn read_body(body: &str, on: Repairs) -> Result<Option<GroupPatch>, Rule> {
        let policy = Policy::new(Profile::Documented, Identity::Any);
        let document = json::parse(body.as_bytes()).unwrap();
        let mut findings = Findings::new(&policy);
        read(document.root(), on, &mut findings).map_err(|refusal| refusal.rule)
    }

    fn changes(operations: &str) -> Vec<Change> {
        patch(operations, NONE).unwrap().unwrap().changes
    }

    #[test]
    fn operations_are_read_in_every_form_that_clients_send() {
        let b = B.to_ascii_lowercase();
        let operations = format!(
            r#"{{"op":"Add","path":"members","value":[{{"$ref":null,"value":"{A}"}},{{"value":"{B}"}}]}},
               {{"op":"remove","path":"Members[Value EQ \"{B}\"]"}},
               {{"op":"Remove","path":"{GROUP_URN}members","value":{{"value":"{A}"}}}},
               {{"op":"replace","path":"members","value":[]}},
               {{"OP":"REPLACE","Path":"displayname","VALUE":"x"}},
               {{"op":"add","path":"displayName","value":"y"}}"#
        );
        assert_eq!(
            changes(&operations),
            [
                Change::Add(vec![A.into(), b.clone()]),
                Change::Remove(vec![b]),
                Change::Remove(vec![A.into()]),
                Change::Replace(Vec::new()),
                Change::Rename("x".into()),
                Change::Rename("y".into()),
            ]
        );
        assert_eq!(changes(""), []);
    }

    #[test]
    fn operations_without_a_path_need_permission() {
        let operation = format!(
            r#"{{"op":"replace","value":{{"id":"x","schemas":[],"meta":{{}},"displayName":"n","members":[{{"value":"{A}"}}]}}}}"#
        );
        assert_eq!(patch(&operation, NONE), Err(Rule::GroupPatch));
        let patch = patch(&operation, PATHLESS).unwrap().unwrap();
        assert_eq!(patch.changes, [Change::Rename("n".into()), Change::Replace(vec![A.into()])]);
        assert_eq!(patch.by.names(), "patch.pathless, groups.patch");
        // Attributes that Wire does not store are ignored as in a PUT, but an operation whose path
        // names one is refused.
        let whole =
            r#"{"op":"replace","value":{"displayName":"n","externalId":"x","urn:x:Group":{}}}"#;
        assert_eq!(self::patch(whole, PATHLESS), Err(Rule::GroupPatch));
        let patch = self::patch(whole, BOTH).unwrap().unwrap();
        assert_eq!(patch.changes, [Change::Rename("n".into())]);
        assert_eq!(patch.by.names(), "patch.pathless, patch.unsupported, groups.patch");
        let named = r#"{"op":"replace","path":"externalId","value":"x"}"#;
        assert_eq!(self::patch(named, BOTH), Err(Rule::GroupPatch));
    }

    #[test]
    fn an_operation_that_cannot_be_done_is_refused_by_its_rule() {
        for (operation, rule) in [
            (r#"{"op":"remove","path":"members"}"#, Rule::GroupMembers),
            (r#"{"op":"remove","path":"members","value":null}"#, Rule::GroupMembers),
            (r#"{"op":"remove","path":"members","value":[]}"#, Rule::GroupMembers),
            (r#"{"op":"replace","path":"members"}"#, Rule::GroupMembers),
            (r#"{"op":"add","path":"members","value":null}"#, Rule::GroupMembers),
            (r#"{"op":"add","path":"members","value":["x"]}"#, Rule::GroupMembers),
            (r#"{"op":"add","path":"members","value":"x"}"#, Rule::GroupMembers),
            (r#"{"op":"add","path":"members","value":[{"value":"bob"}]}"#, Rule::GroupMembers),
            (r#"{"op":"add","path":"members","value":[{}]}"#, Rule::GroupMembers),
            (r#"{"op":"remove","path":"members[value eq \"bob\"]"}"#, Rule::GroupMembers),
            (r#"{"op":"remove","path":"members[value eq true]"}"#, Rule::GroupMembers),
            (r#"{"op":"add","path":"members[value eq \"bob\"]"}"#, Rule::GroupPatch),
            (r#"{"op":"remove","path":"members[value sw \"bob\"]"}"#, Rule::GroupPatch),
            (r#"{"op":"remove","path":"members[type eq \"User\"]"}"#, Rule::GroupPatch),
            (r#"{"op":"remove","path":"members[value eq \"bob\"].value"}"#, Rule::GroupPatch),
            (r#"{"op":"add","path":"externalId","value":"x"}"#, Rule::GroupPatch),
            (r#"{"op":"add","path":"members.value","value":"x"}"#, Rule::GroupPatch),
            (r#"{"op":"add","path":"","value":"x"}"#, Rule::GroupPatch),
            (r#"{"op":"add","path":5,"value":"x"}"#, Rule::GroupPatch),
            (r#"{"op":"remove","path":"displayName"}"#, Rule::PatchMutability),
            (r#"{"op":"replace","path":"displayName","value":""}"#, Rule::GroupDisplayName),
            (r#"{"op":"replace","path":"displayName","value":5}"#, Rule::GroupType),
            (r#"{"op":"replace","path":"displayName"}"#, Rule::GroupType),
            (r#"{"op":"remove"}"#, Rule::PatchNoTarget),
            (r#"{"op":"move","path":"members"}"#, Rule::PatchOp),
            (r#"{"path":"members"}"#, Rule::PatchOp),
            (r#"5"#, Rule::PatchOperations),
            (r#"{"op":"add","path":"members","PATH":"displayName"}"#, Rule::JsonDuplicateKey),
            (r#"{"op":"replace","value":{}}"#, Rule::GroupPatch),
        ] {
            assert_eq!(patch(operation, NONE), Err(rule), "{operation}");
        }
        for (operation, rule) in [
            (r#"{"op":"replace","value":5}"#, Rule::GroupPatch),
            (r#"{"op":"replace"}"#, Rule::GroupPatch),
            (r#"{"op":"replace","value":{"externalId":"x"}}"#, Rule::GroupPatch),
            (r#"{"op":"replace","value":{"displayName":null}}"#, Rule::GroupPatch),
            (r#"{"op":"replace","value":{"members":null}}"#, Rule::GroupPatch),
        ] {
            assert_eq!(patch(operation, PATHLESS), Err(rule), "{operation}");
        }
        for (body, rule) in [
            ("[]", Rule::JsonObject),
            ("{}", Rule::PatchSchemas),
            (r#"{"schemas":[],"Operations":[]}"#, Rule::PatchSchemas),
            (&format!(r#"{{"schemas":["{PATCH_OP}"]}}"#), Rule::PatchOperations),
        ] {
            assert_eq!(read_body(body, PATHLESS), Err(rule), "{body}");
        }
    }
}
