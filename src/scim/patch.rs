//! A PATCH of a user. Wire folds all operations into the stored user and judges the result; the
//! guard does not know that user, so it judges what the operations themselves determine.

use std::collections::HashMap;

use super::filter::{Attribute, CORE_USER, Path, WIRE_PROFILE, WIRE_USER, read_path};
use super::repeated::{self, Repetition};
use super::user::{self, Mode};
use super::{email, rich_info, text};
use crate::json::{Array, Name, NameSet, Object, Type, Value, fold, folds_alike};
use crate::rule::Rule;
use crate::schema::{Fault, FaultKind, Schema, Schemas, Step};
use crate::verdict::{Findings, Refusal, shortened};

const ENVELOPE: NameSet = NameSet::new(&[Name::Schemas, Name::Operations]);
const OPERATION: NameSet = NameSet::new(&[Name::Op, Name::Path, Name::Value]);
/// What Wire can change, and all that a path-less value may hold.
const CHANGEABLE: [Name; 5] =
    [Name::UserName, Name::DisplayName, Name::ExternalId, Name::Active, Name::Roles];

/// What an operation does. Wire treats add and replace alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Set,
    Remove,
}

impl Op {
    /// Reads `op`, in any case.
    pub fn read(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("add") || text.eq_ignore_ascii_case("replace") {
            Some(Self::Set)
        } else if text.eq_ignore_ascii_case("remove") {
            Some(Self::Remove)
        } else {
            None
        }
    }
}

/// What becomes of an attribute of the stored user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Change<'d> {
    #[default]
    Untouched,
    Cleared(Clearing),
    Set(&'d str),
}

/// How an attribute is cleared, and by which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clearing {
    Removed(usize),
    /// A value without a path leaves it out.
    LeftOut(usize),
}

/// What all operations together do to the stored user.
#[derive(Debug, Default)]
struct Changes<'d> {
    user_name: Change<'d>,
    display_name: Change<'d>,
    external_id: Change<'d>,
    roles: Option<Value<'d>>,
    /// Rich info keys, folded, with what they were set to last.
    rich_info: HashMap<String, (&'d str, &'d str)>,
}

/// Judges a PATCH.
pub fn judge(
    value: Value<'_>,
    schemas: &Schemas,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    if let Some(repetition) = repetition(value) {
        findings.hit(Rule::JsonDuplicateKey, || repetition.detail())?;
    }
    let detail_of = |fault: &Fault| detail_of(fault, value);
    schemas.patch.judge(value, &SCHEMA_RULES, findings, rule_of, detail_of)?;
    let mut changes = Changes::default();
    for (at, operation) in operations(value) {
        changes.apply(at, operation, &schemas.user, findings)?;
    }
    user::in_mode(findings, |mode, findings| changes.wire_rules(mode, findings))?;
    changes.own_rules(findings)
}

/// The operations that are objects, with their places in the list.
fn operations(value: Value<'_>) -> impl Iterator<Item = (usize, Object<'_>)> {
    let list = value.as_object().and_then(|patch| patch.value(Name::Operations)?.as_array());
    let elements = list.into_iter().flat_map(Array::elements).enumerate();
    elements.filter_map(|(at, element)| Some((at, element.as_object()?)))
}

impl<'d> Changes<'d> {
    fn apply(
        &mut self,
        at: usize,
        operation: Object<'d>,
        user_schema: &Schema,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        // What cannot be read was reported, or the judging would have ended.
        let Some(op) = operation.text(Name::Op).and_then(Op::read) else { return Ok(()) };
        let value = operation.value(Name::Value).filter(|value| !value.is_null());
        let Some(path) = operation.value(Name::Path).filter(|path| !path.is_null()) else {
            return match op {
                Op::Set => self.set_without_path(at, value, user_schema, findings),
                Op::Remove => findings.hit(Rule::PatchNoTarget, || {
                    format!(
                        "Operations[{at}] removes something, but has no path that says what. Add one, as in \
                         {{\"op\": \"remove\", \"path\": \"roles\"}}."
                    )
                }),
            };
        };
        match path.as_text().and_then(read_path) {
            None => Ok(()),
            Some(Path::Value(attribute)) => {
                findings.hit(Rule::PatchPath, || value_path_detail(at, attribute))
            }
            Some(Path::Attribute(attribute @ Attribute { schema: None | Some(CORE_USER), .. })) => {
                match op {
                    Op::Set => self.set(at, attribute, value, findings),
                    Op::Remove => self.remove(at, attribute, findings),
                }
            }
            Some(Path::Attribute(attribute)) => self.rich_info(at, op, attribute, value, findings),
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
            return findings.hit(Rule::PatchValue, || {
                let mend = match name {
                    Some(_) => "Map an attribute that is filled, or leave the operation out.",
                    None => "Leave the operation out: Wire cannot change this attribute at all.",
                };
                let name = shortened(attribute.name);
                format!("Operations[{at}] has no value for {name} (null counts as none). {mend}")
            });
        };
        if let (Some(change), Type::Text(text)) = (self.change_of(name), value.get()) {
            *change = Change::Set(text);
            return Ok(());
        }
        let fault = match (name, value.get()) {
            (Some(Name::Active), Type::Bool(_)) => return Ok(()),
            (Some(Name::Active), Type::Text(text))
                if folds_alike(text, "true") || folds_alike(text, "false") =>
            {
                return Ok(());
            }
            (Some(Name::Roles), Type::Array(roles))
                if roles.elements().all(|role| role.as_text().is_some()) =>
            {
                self.roles = Some(value);
                return Ok(());
            }
            (Some(Name::Active), Type::Text(_)) => {
                "must be true or false, no other text".to_owned()
            }
            (Some(Name::Active), _) => format!("must be true or false, not {}", value.type_name()),
            (Some(Name::Roles), Type::Array(roles)) => {
                let entry = roles.elements().find(|role| role.as_text().is_none());
                let found = entry.map_or("something else", Value::type_name);
                format!("must be a list of texts such as [\"member\"]; an entry is {found}")
            }
            (Some(Name::Roles), _) => {
                format!("must be a list of texts such as [\"member\"], not {}", value.type_name())
            }
            (Some(_), _) => format!("must be a text, not {}", value.type_name()),
            (None, _) => {
                return findings.hit(Rule::PatchPath, || unsupported_detail(at, attribute));
            }
        };
        findings.hit(Rule::PatchValue, || {
            format!("Operations[{at}]: the value of {} {fault}.", shortened(attribute.name))
        })
    }

    /// What becomes of an attribute that is a text.
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
        match Name::of(attribute.name) {
            Some(Name::UserName) => {
                return findings.hit(Rule::PatchMutability, || {
                    format!("Operations[{at}] removes userName; every user must have one. Replace it instead.")
                });
            }
            Some(Name::DisplayName) => self.display_name = Change::Cleared(Clearing::Removed(at)),
            Some(Name::ExternalId) => self.external_id = Change::Cleared(Clearing::Removed(at)),
            Some(Name::Roles) => self.roles = None,
            _ => {}
        }
        Ok(())
    }

    /// A value without a path is read as a whole user: what it does not name is cleared, and its
    /// roles are read, but not taken.
    fn set_without_path(
        &mut self,
        at: usize,
        value: Option<Value<'d>>,
        user_schema: &Schema,
        findings: &mut Findings<'_>,
    ) -> Result<(), Refusal> {
        let Some(value) = value else {
            return findings
                .hit(Rule::PatchValue, || format!("Operations[{at}] has neither path nor value."));
        };
        let object = value.as_object().filter(|object| unchangeable(*object).is_none());
        let Some(object) = object else {
            return findings.hit(Rule::PatchPath, || {
                let found = value.as_object().and_then(unchangeable).map(shortened);
                let found = found.map_or_else(String::new, |key| format!(" (`{key}` is too many)"));
                format!(
                    "Operations[{at}] has no path, so its value must be an object with no other attributes \
                     than userName, displayName, externalId, active and roles, each once{found}. Send one \
                     operation with a path for each attribute instead (Entra ID: leave the aadOptscim062020 \
                     flag off)."
                )
            });
        };
        let rule_of = |_: &Fault| Rule::PatchValue;
        user_schema.wires().judge(value, &[Rule::PatchValue], findings, rule_of, |fault| {
            format!(
                "Operations[{at}] has no path, so Wire reads its value as a whole user, and there {}. \
                 Send an operation with a path instead, as in {{\"op\": \"replace\", \"path\": \
                 \"active\", \"value\": false}}.",
                fault.sentence()
            )
        })?;
        let left_out = Change::Cleared(Clearing::LeftOut(at));
        let change = |name| object.text(name).map_or(left_out, Change::Set);
        if let Change::Set(user_name) = change(Name::UserName) {
            self.user_name = Change::Set(user_name);
        }
        self.display_name = change(Name::DisplayName);
        self.external_id = change(Name::ExternalId);
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
            return findings.hit(Rule::PatchValue, || {
                format!("Operations[{at}]: a key of rich info has no sub-attributes (there is a dot in its name).")
            });
        }
        let key = fold(attribute.name);
        match (op, value.and_then(Value::as_text)) {
            (Op::Set, None) => findings.hit(Rule::PatchValue, || {
                format!("Operations[{at}]: the value of a key of rich info must be a text.")
            }),
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

    /// Wire's rules on the result, as far as the operations determine it.
    fn wire_rules(&self, mode: Mode, findings: &mut Findings<'_>) -> Result<(), Refusal> {
        if let Change::Cleared(by) = self.external_id {
            findings.hit(Rule::UserExternalIdRequired, || {
                cleared("externalId", by, "Every user must have one")
            })?;
        }
        if let Change::Set(user_name) = self.user_name {
            user::judge_user_name(user_name, findings)?;
        }
        match (self.display_name, self.external_id, mode) {
            (Change::Set(name), ..) => user::judge_display_name(name, findings)?,
            // With SAML the name then comes from externalId alone; else from the stored emails.
            (Change::Cleared(_), Change::Set(id), Mode::Saml) => {
                let name = email::canonical(id);
                user::judge_default_name(name.as_deref().unwrap_or(id), findings)?;
            }
            _ => {}
        }
        user::judge_rich_info_size(rich_info::size(&self.rich_info_set()), findings)?;
        if let Some(roles) = self.roles.and_then(Value::as_array) {
            user::judge_roles(roles.elements().filter_map(Value::as_text), findings)?;
        }
        Ok(())
    }

    /// The guard's own rules, on what the operations set themselves.
    fn own_rules(&self, findings: &mut Findings<'_>) -> Result<(), Refusal> {
        if let Change::Set(user_name) = self.user_name {
            user::judge_user_name_case(user_name, findings)?;
        }
        if let Change::Cleared(by) = self.display_name {
            findings.hit(Rule::UserDisplayNameRequired, || {
                let why = "Wire would show the email address or externalId in its place";
                cleared("displayName", by, why)
            })?;
        }
        let display_name =
            if let Change::Set(name) = self.display_name { Some(name) } else { None };
        text::judge(display_name, || self.rich_info_set(), findings)
    }

    fn rich_info_set(&self) -> Vec<(&'d str, &'d str)> {
        self.rich_info.values().copied().collect()
    }
}

/// The first key of an object that Wire cannot change, or that is another spelling of one before.
fn unchangeable(object: Object<'_>) -> Option<&str> {
    let mut spellings: [Option<&str>; CHANGEABLE.len()] = [None; CHANGEABLE.len()];
    object.members().map(|member| (member.key(), member.name())).find_map(|(key, name)| {
        let place = CHANGEABLE.iter().position(|changeable| name == Some(*changeable));
        let fine = place.is_some_and(|at| *spellings[at].get_or_insert(key) == key);
        (!fine).then_some(key)
    })
}

fn repetition(value: Value<'_>) -> Option<Repetition> {
    if let Some(name) = repeated::name(value.as_object()?, ENVELOPE) {
        return Some(Repetition::folded(name.as_str()));
    }
    operations(value).find_map(|(at, operation)| {
        if let Some(name) = repeated::name(operation, OPERATION) {
            return Some(Repetition::folded(format!("Operations[{at}].{}", name.as_str())));
        }
        let pathless = operation.value(Name::Path).is_none_or(Value::is_null);
        let object = operation.value(Name::Value).filter(|_| pathless)?.as_object()?;
        // Two spellings are Wire's own fault `invalidPath`; the same name twice is not.
        let allowed = unchangeable(object).is_none();
        let name = repeated::name(object, user::ATTRIBUTES).filter(|_| allowed)?;
        Some(Repetition::folded(format!("Operations[{at}].value.{}", name.as_str())))
    })
}

/// The rules that faults against the schema belong to.
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

/// Whether it is an operator's schema that asks for it, and not Wire.
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

fn detail_of(fault: &Fault, value: Value<'_>) -> String {
    let mend = match rule_of(fault) {
        _ if is_operators(fault) => {
            "The operator of this proxy asks for it in the schema patch.json."
        }
        // A text is missing in the list; the keyword says so in its own words only.
        Rule::PatchSchemas if matches!(fault.kind, FaultKind::Keyword { .. }) => {
            return format!(
                "schemas does not contain {PATCH_OP}, which every PATCH has to name, spelled so."
            );
        }
        Rule::PatchSchemas => {
            "A PATCH is {\"schemas\": [\"urn:ietf:params:scim:api:messages:2.0:PatchOp\"], \"Operations\": [...]}, \
             with the URN spelled exactly so."
        }
        Rule::PatchPath => {
            if let Some(detail) = unreadable_path_detail(fault, value) {
                return detail;
            }
            SUPPORTED
        }
        Rule::PatchOp | Rule::PatchOperations => {
            "Operations is a list of objects such as {\"op\": \"replace\", \"path\": \"active\", \"value\": false}."
        }
        _ => "Correct the request.",
    };
    format!("{}. {mend}", fault.sentence())
}

const SUPPORTED: &str = "Wire changes userName, displayName, externalId, active, roles, and keys of rich info such as \
     urn:ietf:params:scim:schemas:extension:wire:1.0:User:Department. A single unsupported path makes Wire \
     refuse the whole PATCH: remove that attribute from the mapping.";

const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The sentence for an attribute that every user must have and that the operations take away.
fn cleared(attribute: &str, by: Clearing, why: &str) -> String {
    match by {
        Clearing::Removed(at) => format!(
            "Operations[{at}] removes {attribute}. {why}: replace it, or leave the operation out."
        ),
        Clearing::LeftOut(at) => format!(
            "Operations[{at}] has no path, so Wire reads its value as a whole user and clears what it leaves \
             out, here {attribute}. {why}: send {attribute} as well, or one operation with a path for each \
             attribute."
        ),
    }
}

/// The sentence for a path that Wire cannot read.
fn unreadable_path_detail(fault: &Fault, value: Value<'_>) -> Option<String> {
    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let [_, Step::Index(at), ..] = fault.path.as_slice() else { return None };
    let (_, operation) = operations(value).find(|(place, _)| place == at)?;
    let path = operation.text(Name::Path)?;
    let begins_with =
        |start: &str| path.get(..start.len()).is_some_and(|s| s.eq_ignore_ascii_case(start));
    let is_of = |urn: &&str| {
        begins_with(urn) && matches!(path.as_bytes().get(urn.len()), None | Some(b':'))
    };
    let trimmed = path.trim_matches(|c: char| c == '/' || c.is_whitespace());
    let what = if path.is_empty() {
        "is empty"
    } else if begins_with(ENTERPRISE) {
        "names an attribute of the enterprise extension, which Wire does not know"
    } else if trimmed != path && read_path(trimmed).is_some() {
        "has a slash or a blank around it, which does not belong there"
    } else if let Some(urn) = [WIRE_USER, WIRE_PROFILE, CORE_USER].into_iter().find(is_of) {
        return Some(format!(
            "Operations[{at}].path begins with a URN and cannot be read: it has to be {urn}, in exactly this \
             spelling, then a `:` and a name that begins with a letter and goes on with letters, digits, `-` \
             or `_`, all ASCII."
        ));
    } else if begins_with("urn:") {
        "names an attribute of a schema that Wire does not know"
    } else {
        "is not the name of an attribute: a letter, then letters, digits, `-` or `_`, all ASCII"
    };
    Some(format!("Operations[{at}].path {what}. {SUPPORTED}"))
}

fn value_path_detail(at: usize, attribute: Attribute<'_>) -> String {
    format!(
        "Operations[{at}].path selects entries of {} by a filter in brackets, which Wire cannot do. {SUPPORTED}",
        shortened(attribute.name)
    )
}

fn unsupported_detail(at: usize, attribute: Attribute<'_>) -> String {
    let name = shortened(attribute.name);
    let sub = attribute.sub.map(|sub| format!(".{}", shortened(sub))).unwrap_or_default();
    format!("Operations[{at}].path: Wire cannot change {name}{sub}. {SUPPORTED}")
}
