//! Repairs of a PATCH of a user: operation by operation, in the order of the text.

use std::borrow::Cow;
use std::collections::HashSet;

use super::body::Judged;
use super::edit::{Edits, string};
use super::{Repair, Repairs, roles, unsupported, user_name};
use crate::json::{Array, Name, Object, Type, Value, fold, folds_alike};
use crate::wire::filter::{Attribute, CORE_USER, Literal, Operator, Path, ValuePath, read_path};
use crate::wire::op::Op;

/// The attributes of a user that Wire can change by a plain path.
const CHANGEABLE: [Name; 5] =
    [Name::UserName, Name::DisplayName, Name::ExternalId, Name::Active, Name::Roles];

/// The repairs of operations.
const OF_OPERATIONS: Repairs = Repairs::of(&[
    Repair::PatchPathless,
    Repair::PatchUnsupported,
    Repair::Roles,
    Repair::Password,
    Repair::UserNameLower,
    Repair::UserNameLocalPart,
    Repair::UserNameAscii,
]);

/// The minimum size of an operation with a path and a value, in bytes.
const SHORTEST: usize = r#"{"op":"add","path":"","value":1}"#.len();

/// An operation with an `op` that Wire knows.
struct Operation<'d> {
    op: Op,
    /// `op` as a value of the body.
    written: Value<'d>,
    path: Option<Cow<'d, str>>,
    value: Option<Value<'d>>,
    /// The new value, in JSON.
    repaired: Option<String>,
}

/// Repairs a PATCH. Operations that do not change stay byte for byte.
pub(super) fn repair<'d>(patch: Object<'d>, on: Repairs, judged: Judged, edits: &mut Edits<'d>) {
    if on.both(OF_OPERATIONS).is_empty() {
        return;
    }
    let Some(operations) = patch.value(Name::Operations) else { return };
    let Some(list) = operations.as_array() else { return };
    let mut out = Rewritten { list, sound: 0, text: None, by: Repairs::NONE };
    for element in Array::elements(list) {
        repair_element(element, on, judged, edits, &mut out);
    }
    let Rewritten { text: Some(mut text), by, .. } = out else { return };
    text.push(']');
    if let Some(first) = by.iter().next() {
        edits.replace(first, operations, text);
    }
    by.iter().for_each(|repair| edits.note(repair));
}

/// The new array of operations.
struct Rewritten<'d> {
    list: Array<'d>,
    /// How many operations at the beginning have not changed.
    sound: usize,
    /// Written from the first change on, as most PATCHes have none.
    text: Option<String>,
    by: Repairs,
}

impl<'d> Rewritten<'d> {
    fn keep(&mut self, element: Value<'d>, edits: &Edits<'d>) {
        match self.text {
            None => self.sound += 1,
            Some(_) => self.push(edits.written(element), edits),
        }
    }

    /// Records a change, with the operation that results from it, if one does.
    fn change(&mut self, by: Repair, operation: Option<&str>, edits: &Edits<'d>) {
        self.by.insert(by);
        if self.text.is_none() {
            self.text = Some(String::from("["));
            for element in self.list.elements().take(self.sound) {
                self.push(edits.written(element), edits);
            }
        }
        if let Some(operation) = operation {
            self.push(operation, edits);
        }
    }

    fn push(&mut self, operation: &str, edits: &Edits<'d>) {
        let Some(text) = &mut self.text else { return };
        // SECURITY: changes that exceed the limit are not collected.
        if text.len() > edits.limit() {
            return;
        }
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(operation);
    }
}

fn repair_element<'d>(
    element: Value<'d>,
    on: Repairs,
    judged: Judged,
    edits: &Edits<'d>,
    out: &mut Rewritten<'d>,
) {
    let members = element.as_object().map(Members::of).filter(|members| !members.needs_none());
    let Some(mut operation) = members.and_then(Members::read) else {
        return out.keep(element, edits);
    };
    let parts = on.contains(Repair::PatchPathless).then(|| operation.split(edits.limit()));
    let Some(parts) = parts.flatten() else {
        return match operation.repair(on, judged) {
            Repaired::Unchanged => out.keep(element, edits),
            Repaired::Changed(by) => out.change(by, Some(&operation.write(edits)), edits),
            Repaired::Dropped(by) => out.change(by, None, edits),
        };
    };
    for mut operation in parts {
        let dropped = match operation.repair(on, judged) {
            Repaired::Unchanged => false,
            Repaired::Changed(by) => {
                out.by.insert(by);
                false
            }
            Repaired::Dropped(by) => {
                out.by.insert(by);
                true
            }
        };
        let written = (!dropped).then(|| operation.write(edits));
        out.change(Repair::PatchPathless, written.as_deref(), edits);
    }
}

/// The parts of an operation, each at most once.
#[derive(Default)]
struct Members<'d> {
    op: Option<Value<'d>>,
    path: Option<Value<'d>>,
    value: Option<Value<'d>>,
}

impl<'d> Members<'d> {
    fn of(operation: Object<'d>) -> Self {
        let mut members = Self::default();
        for member in operation.members() {
            match member.name() {
                Some(Name::Op) => members.op = Some(member.value),
                Some(Name::Path) => members.path = Some(member.value),
                Some(Name::Value) => members.value = Some(member.value),
                _ => {}
            }
        }
        members
    }

    fn needs_none(&self) -> bool {
        self.path.and_then(Value::as_str).is_some_and(needs_none)
    }

    fn read(self) -> Option<Operation<'d>> {
        let written = self.op?;
        let op = Op::read(written.as_str()?)?;
        let path = match self.path.map(Value::get) {
            None | Some(Type::Null) => None,
            Some(Type::String(path)) => Some(Cow::Borrowed(path)),
            Some(_) => return None,
        };
        Some(Operation { op, written, path, value: self.value, repaired: None })
    }
}

/// Whether a path is one of the most frequent ones, for which there is no repair.
fn needs_none(path: &str) -> bool {
    matches!(Name::of(path), Some(Name::Active | Name::DisplayName | Name::ExternalId))
}

/// The result of repairing an operation.
enum Repaired {
    Unchanged,
    Changed(Repair),
    Dropped(Repair),
}

impl<'d> Operation<'d> {
    /// One operation for each key of a value without a path; `None` if it has one, or if that could
    /// change the meaning.
    fn split(&self, limit: usize) -> Option<Vec<Self>> {
        if self.op != Op::Set || self.path.is_some() {
            return None;
        }
        let object = self.value?.as_object().filter(|object| !object.is_empty())?;
        let mut parts = Vec::new();
        let mut seen = HashSet::new();
        let mut push = |path: Cow<'d, str>, value: Value<'d>| {
            // SECURITY: more would not fit into the repaired body.
            let fits = parts.len() <= limit / SHORTEST;
            let fresh = fits && seen.insert(fold(&path));
            let Self { op, written, .. } = *self;
            parts.push(Self { op, written, path: Some(path), value: Some(value), repaired: None });
            fresh.then_some(())
        };
        for member in object.members() {
            match member.name() {
                Some(urn @ (Name::WireUser | Name::WireProfile)) => {
                    let keys = member.value.as_object().filter(|keys| !keys.is_empty())?;
                    for key in keys.members() {
                        push(format!("{}:{}", urn.as_str(), key.key()).into(), key.value)?;
                    }
                }
                Some(name) if CHANGEABLE.contains(&name) => {
                    // Clearing it is not the same as setting it to nothing.
                    if member.value.is_null() {
                        return None;
                    }
                    push(name.as_str().into(), member.value)?;
                }
                _ => push(member.key().into(), member.value)?,
            }
        }
        Some(parts)
    }

    fn repair(&mut self, on: Repairs, judged: Judged) -> Repaired {
        let Some(path) = self.path.clone().filter(|path| !needs_none(path)) else {
            return Repaired::Unchanged;
        };
        let read = read_path(&path);
        if on.contains(Repair::PatchUnsupported)
            && unsupported::is_dropped(self.op, &path, read.as_ref())
        {
            return Repaired::Dropped(Repair::PatchUnsupported);
        }
        if self.op != Op::Set {
            return Repaired::Unchanged;
        }
        let Some(value) = self.value else { return Repaired::Unchanged };
        match read {
            Some(Path::Attribute(attribute)) => self.repair_attribute(attribute, value, on, judged),
            Some(Path::Value(path)) if on.contains(Repair::Roles) && is_primary_role(path) => {
                let Some(roles) = value.as_str().and_then(|_| roles::patched(value)) else {
                    return Repaired::Unchanged;
                };
                self.path = Some(Cow::Borrowed("roles"));
                self.repaired = Some(roles);
                Repaired::Changed(Repair::Roles)
            }
            _ => Repaired::Unchanged,
        }
    }

    fn repair_attribute(
        &mut self,
        attribute: Attribute<'_>,
        value: Value<'d>,
        on: Repairs,
        judged: Judged,
    ) -> Repaired {
        let Attribute { schema: None | Some(CORE_USER), name, sub } = attribute else {
            return Repaired::Unchanged;
        };
        let repaired = match (Name::of(name), sub) {
            (Some(Name::Password), _) if on.contains(Repair::Password) => {
                return Repaired::Dropped(Repair::Password);
            }
            (Some(Name::Roles), None) if on.contains(Repair::Roles) => {
                roles::patched(value).map(|roles| (roles, Repair::Roles))
            }
            (Some(Name::UserName), None) => value
                .as_str()
                .and_then(|name| user_name::repaired(name, on, judged.case))
                .map(|(name, by)| (string(&name), by)),
            _ => None,
        };
        let Some((repaired, by)) = repaired else { return Repaired::Unchanged };
        self.repaired = Some(repaired);
        Repaired::Changed(by)
    }

    fn write(&self, edits: &Edits<'d>) -> String {
        let op = edits.written(self.written);
        let mut text = format!("{{\"op\":{op}");
        if let Some(path) = &self.path {
            text.push_str(",\"path\":");
            text.push_str(&string(path));
        }
        let value = self.repaired.as_deref().or_else(|| Some(edits.written(self.value?)));
        if let Some(value) = value {
            text.push_str(",\"value\":");
            text.push_str(value);
        }
        text.push('}');
        text
    }
}

/// Whether a path is Entra ID's `roles[primary eq "True"].value`.
fn is_primary_role(path: ValuePath<'_>) -> bool {
    let ValuePath { attribute, filter, sub } = path;
    let is_true = match filter.literal {
        Literal::Boolean(primary) => primary,
        literal => literal.to_text().is_some_and(|text| folds_alike(&text, "true")),
    };
    Name::of(attribute.name) == Some(Name::Roles)
        && sub.and_then(Name::of) == Some(Name::Value)
        && Name::of(filter.attribute.name) == Some(Name::Primary)
        && filter.operator == Operator::Equal
        && is_true
}
