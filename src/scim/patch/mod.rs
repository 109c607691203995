//! A PATCH of a user. Wire applies all operations to the stored user and judges the result; the
//! guard does not know that user, so it judges what the operations themselves determine.

use std::collections::HashMap;

use super::repeated::{self, Repetition};
use super::user;
use crate::deprovisioning::AccountChange;
use crate::findings::Findings;
use crate::json::{Array, Name, NameSet, Object, Type, Value, fold};
use crate::place::{IntoPlace, Place};
use crate::policy::Identity;
use crate::refusal::Refusal;
use crate::release::Release;
use crate::rule::Rule;
use crate::schema::{Fault, FaultKind, Schema, Schemas, Step};
use crate::wire::filter::{Attribute, CORE_USER, Path, ValuePath, read_path};
use crate::wire::op::Op;
use crate::wire::{boolean, email};

mod advice;
mod emails;
mod result;
mod stored;

use result::{Clearing, Setting};

const ENVELOPE: NameSet = NameSet::new(&[Name::Schemas, Name::Operations]);
const OPERATION: NameSet = NameSet::new(&[Name::Op, Name::Path, Name::Value]);
/// What Wire can change: everything that a value without a path may contain.
const CHANGEABLE: [Name; 5] =
    [Name::UserName, Name::DisplayName, Name::ExternalId, Name::Active, Name::Roles];

/// What the operations do to an attribute of the stored user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Change<'d> {
    #[default]
    Untouched,
    Cleared(Clearing),
    Set(Setting, &'d str),
}

/// What all operations together do to the stored user.
#[derive(Debug)]
struct Changes<'d> {
    release: Release,
    user_name: Change<'d>,
    display_name: Change<'d>,
    external_id: Change<'d>,
    /// Roles that were set, and by which operation.
    roles: Option<(usize, Array<'d>)>,
    /// The value that `active` was set to last.
    account: AccountChange,
    /// Rich info keys, folded, with the values that they were set to last.
    rich_info: HashMap<String, (&'d str, &'d str)>,
    emails: emails::Changes,
    /// A path selects elements, which not every release serves.
    selects_elements: bool,
}

/// Judges a PATCH.
pub fn judge(
    value: Value<'_>,
    schemas: &Schemas,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    if let Some(repetition) = repetition(value) {
        findings.hit(Rule::JsonDuplicateKey, || repetition.at(), || repetition.detail())?;
    }
    let detail_of = |fault: &Fault| advice::detail_of(fault, value);
    schemas.patch.judge(value, &SCHEMA_RULES, findings, rule_of, detail_of)?;
    let changes = findings.for_releases(|release, findings| {
        let mut changes = Changes::new(release);
        for (at, operation) in operations(value) {
            changes.apply(at, operation, &schemas.user, findings)?;
        }
        user::in_mode(findings, |mode, findings| changes.wire_rules(mode, findings))?;
        Ok(changes)
    })?;
    findings.set_account(changes.account);
    if changes.may_be_refused(findings) {
        findings.leave_to_wire();
    }
    changes.own_rules(findings)
}

/// The operations that are objects, with their indexes in the array.
fn operations(value: Value<'_>) -> impl Iterator<Item = (usize, Object<'_>)> {
    let list = value.as_object().and_then(|patch| patch.value(Name::Operations)?.as_array());
    let elements = list.into_iter().flat_map(Array::elements).enumerate();
    elements.filter_map(|(at, element)| Some((at, element.as_object()?)))
}

/// A part of an operation.
fn place(at: usize, part: Name) -> Place {
    Name::Operations.into_place().index(at).child(Some(part))
}

impl<'d> Changes<'d> {
    fn new(release: Release) -> Self {
        Self {
            release,
            user_name: Change::Untouched,
            display_name: Change::Untouched,
            external_id: Change::Untouched,
            roles: None,
            account: AccountChange::None,
            rich_info: HashMap::new(),
            emails: emails::Changes::default(),
            selects_elements: false,
        }
    }

    fn apply(
        &mut self,
        at: usize,
        operation: Object<'d>,
        user_schema: &Schema,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        // What cannot be parsed was only reported, or the judging would have ended.
        let Some(op) = operation.string(Name::Op).and_then(Op::read) else { return Ok(()) };
        let value = operation.value(Name::Value).filter(|value| !value.is_null());
        let Some(path) = operation.value(Name::Path).filter(|path| !path.is_null()) else {
            return match op {
                Op::Set => self.set_without_path(at, value, user_schema, findings),
                Op::Remove => findings.hit(
                    Rule::PatchNoTarget,
                    || place(at, Name::Path),
                    || advice::no_target(at),
                ),
            };
        };
        match path.as_str().and_then(read_path) {
            None => Ok(()),
            Some(Path::Value(path)) => self.change_elements(at, op, path, value, findings),
            Some(Path::Attribute(attribute @ Attribute { schema: None | Some(CORE_USER), .. })) => {
                match op {
                    Op::Set => self.set(at, attribute, value, findings),
                    Op::Remove => self.remove(at, attribute, findings),
                }
            }
            Some(Path::Attribute(attribute)) => self.rich_info(at, op, attribute, value, findings),
        }
    }

    /// A value path: not supported up to 5.34, from 5.35 those into `emails`.
    fn change_elements(
        &mut self,
        at: usize,
        op: Op,
        path: ValuePath<'d>,
        value: Option<Value<'d>>,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        let into_emails = Name::of(path.attribute.name) == Some(Name::Emails);
        if self.release < Release::R5_35 {
            return findings.hit(
                Rule::PatchPath,
                || place(at, Name::Path),
                || advice::value_path(at, path, into_emails),
            );
        }
        if op == Op::Set && value.is_none() {
            return findings.hit(
                Rule::PatchValue,
                || place(at, Name::Value),
                || advice::no_value(at, path.attribute.name, into_emails),
            );
        }
        if !into_emails {
            return findings.hit(
                Rule::PatchPath,
                || place(at, Name::Path),
                || advice::value_path(at, path, into_emails),
            );
        }
        self.selects_elements = true;
        let filter = emails::Filter::read(path.filter);
        let Some(value) = value.filter(|_| op == Op::Set) else {
            self.emails.remove(&filter);
            return Ok(());
        };
        match self.emails.set(&filter, path.sub, value) {
            Ok(()) => Ok(()),
            Err(emails::Fault::SubAttribute) => findings.hit(
                Rule::PatchPath,
                || place(at, Name::Path),
                || advice::sub_attribute_of_emails(at),
            ),
            Err(fault) => findings.hit(
                Rule::PatchValue,
                || fault.place(place(at, Name::Value)),
                || advice::value_of_emails(at, fault),
            ),
        }
    }

    fn set(
        &mut self,
        at: usize,
        attribute: Attribute<'d>,
        value: Option<Value<'d>>,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        let name = Name::of(attribute.name).filter(|name| CHANGEABLE.contains(name));
        let Some(value) = value else {
            return findings.hit(
                Rule::PatchValue,
                || place(at, Name::Value),
                || advice::no_value(at, attribute.name, name.is_some()),
            );
        };
        if let (Some(change), Type::String(text)) = (self.change_of(name), value.get()) {
            *change = Change::Set(Setting::ByPath(at), text);
            return Ok(());
        }
        if let (Some(Name::Active), Some(active)) = (name, boolean::of(value)) {
            self.account = AccountChange::of_active(active);
            return Ok(());
        }
        match (name, value.get()) {
            (Some(Name::Roles), Type::Array(roles))
                if roles.elements().all(|role| role.as_str().is_some()) =>
            {
                self.roles = Some((at, roles));
                return Ok(());
            }
            (None, _) => {
                return findings.hit(
                    Rule::PatchPath,
                    || place(at, Name::Path),
                    || advice::unsupported(at, attribute),
                );
            }
            _ => {}
        }
        findings.hit(
            Rule::PatchValue,
            || place(at, Name::Value),
            || advice::mistyped(at, attribute.name, name, value),
        )
    }

    /// What an operation does to an attribute that is a string.
    fn change_of(&mut self, name: Option<Name>) -> Option<&mut Change<'d>> {
        match name? {
            Name::UserName => Some(&mut self.user_name),
            Name::DisplayName => Some(&mut self.display_name),
            Name::ExternalId => Some(&mut self.external_id),
            _ => None,
        }
    }

    fn remove(
        &mut self,
        at: usize,
        attribute: Attribute<'d>,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        let cleared = Change::Cleared(Clearing::Removed(at));
        match Name::of(attribute.name) {
            Some(Name::UserName) => {
                return findings.hit(Rule::PatchMutability, || place(at, Name::Path), || {
                    format!("Operations[{at}] removes userName; every user must have one. Replace it instead.")
                });
            }
            Some(Name::DisplayName) => self.display_name = cleared,
            Some(Name::ExternalId) => self.external_id = cleared,
            Some(Name::Roles) => self.roles = None,
            // Wire reads a user without it as active.
            Some(Name::Active) => self.account = AccountChange::Activates,
            _ => {}
        }
        Ok(())
    }

    /// A value without a path is parsed as a whole user: attributes that it does not name are
    /// cleared, and its roles are parsed, but not applied.
    fn set_without_path(
        &mut self,
        at: usize,
        value: Option<Value<'d>>,
        user_schema: &Schema,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        let here = || place(at, Name::Value);
        let Some(value) = value else {
            return findings.hit(Rule::PatchValue, here, || {
                format!("Operations[{at}] has neither path nor value.")
            });
        };
        let object = value.as_object().filter(|object| unchangeable(*object).is_none());
        let Some(object) = object else {
            return findings.hit(Rule::PatchPath, here, || {
                advice::pathless(at, value.as_object().and_then(unchangeable))
            });
        };
        let rule_of = |_: &Fault| Rule::PatchValue;
        user_schema.built_in().judge(value, &[Rule::PatchValue], findings, rule_of, |fault| {
            advice::pathless_user(at, fault)
        })?;
        let left_out = Change::Cleared(Clearing::LeftOut(at));
        let set = |text| Change::Set(Setting::WithoutPath(at), text);
        let change = |name| object.string(name).map_or(left_out, set);
        if let Some(user_name) = object.string(Name::UserName) {
            self.user_name = set(user_name);
        }
        self.display_name = change(Name::DisplayName);
        self.external_id = change(Name::ExternalId);
        self.account = AccountChange::of_active(user::is_active(object));
        Ok(())
    }

    fn rich_info(
        &mut self,
        at: usize,
        op: Op,
        attribute: Attribute<'d>,
        value: Option<Value<'d>>,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        if attribute.sub.is_some() {
            return findings.hit(Rule::PatchValue, || place(at, Name::Path), || {
                format!("Operations[{at}]: a key of rich info has no sub-attributes (there is a dot in its name).")
            });
        }
        let key = fold(attribute.name);
        match (op, value.and_then(Value::as_str)) {
            (Op::Set, None) => findings.hit(
                Rule::PatchValue,
                || place(at, Name::Value),
                || format!("Operations[{at}]: the value of a key of rich info must be a string."),
            ),
            (Op::Set, Some(text)) if !text.is_empty() => {
                self.rich_info.insert(key, (attribute.name, text));
                Ok(())
            }
            _ => {
                self.rich_info.remove(&key);
                Ok(())
            }
        }
    }

    /// Whether Wire may refuse the PATCH for some stored user, release or kind of team, although it
    /// is forwarded.
    fn may_be_refused(&self, findings: &Findings<'_>) -> bool {
        let cleared = matches!(self.display_name, Change::Cleared(_));
        let by_identity = findings.identity() != Identity::Saml
            && matches!(self.external_id, Change::Set(_, id) if !email::is_address(id));
        let by_release = self.selects_elements && findings.releases().len() > 1;
        let by_stored_user = !self.rich_info.is_empty() || cleared || self.emails.may_be_refused();
        by_identity || by_release || by_stored_user
    }
}

/// The first key of an object that Wire cannot change, or that is another spelling of an earlier one.
fn unchangeable(object: Object<'_>) -> Option<&str> {
    let mut spellings: [Option<&str>; CHANGEABLE.len()] = [None; CHANGEABLE.len()];
    object.members().map(|member| (member.key(), member.name())).find_map(|(key, name)| {
        let place = CHANGEABLE.iter().position(|changeable| name == Some(*changeable));
        let fine = place.is_some_and(|at| *spellings[at].get_or_insert(key) == key);
        (!fine).then_some(key)
    })
}

fn repetition(value: Value<'_>) -> Option<Repetition> {
    let patch = value.as_object().filter(|patch| patch.document_may_repeat())?;
    if let Some(name) = repeated::name(patch, ENVELOPE) {
        return Some(Repetition::folded(name.into_place()));
    }
    operations(value).find_map(|(at, operation)| {
        if let Some(name) = repeated::name(operation, OPERATION) {
            return Some(Repetition::folded(place(at, name)));
        }
        let value = operation.value(Name::Value)?;
        let here = || place(at, Name::Value);
        if let Some(path) = operation.value(Name::Path).filter(|path| !path.is_null()) {
            return repetition_in_emails(path.as_str()?, value, here);
        }
        let object = value.as_object()?;
        // For two spellings Wire itself answers `invalidPath`; for the same name twice it does not.
        let allowed = unchangeable(object).is_none();
        let name = repeated::name(object, user::ATTRIBUTES).filter(|_| allowed)?;
        Some(Repetition::folded(here().child(Some(name))))
    })
}

/// What is repeated in the entries that an operation puts into `emails`.
fn repetition_in_emails(
    path: &str,
    value: Value<'_>,
    here: impl FnOnce() -> Place,
) -> Option<Repetition> {
    let repetition = match value.get() {
        Type::Object(entry) => {
            let name = repeated::name(entry, user::EMAIL)?;
            Repetition::folded(here().child(Some(name)))
        }
        Type::Array(entries) => repeated::in_list(entries, here, user::EMAIL)?,
        _ => return None,
    };
    let path = read_path(path)?;
    let into_emails = matches!(path, Path::Value(ValuePath { attribute, sub: None, .. })
        if Name::of(attribute.name) == Some(Name::Emails));
    into_emails.then_some(repetition)
}

/// The rules for faults against the schema.
const SCHEMA_RULES: [Rule; 5] =
    [Rule::PatchSchema, Rule::PatchSchemas, Rule::PatchOperations, Rule::PatchOp, Rule::PatchPath];

fn rule_of(fault: &Fault) -> Rule {
    match (fault.attribute(), fault.path.get(2)) {
        _ if is_operators(fault) => Rule::PatchSchema,
        (Some(Name::Schemas), _) => Rule::PatchSchemas,
        (Some(Name::Operations), Some(Step::Key(key))) => match Name::of(key) {
            Some(Name::Path) => Rule::PatchPath,
            Some(Name::Op) => Rule::PatchOp,
            _ => Rule::PatchSchema,
        },
        (Some(Name::Operations), None) => match &fault.kind {
            FaultKind::Missing { attribute } if Name::of(attribute) == Some(Name::Op) => {
                Rule::PatchOp
            }
            _ => Rule::PatchOperations,
        },
        _ => Rule::PatchSchema,
    }
}

/// Whether an operator's schema requires it, but Wire does not.
fn is_operators(fault: &Fault) -> bool {
    fault.beyond_wire
        || match &fault.kind {
            FaultKind::Keyword { keyword } => {
                keyword != "contains" || fault.attribute() != Some(Name::Schemas)
            }
            FaultKind::Unexpected { .. } => true,
            _ => false,
        }
}
