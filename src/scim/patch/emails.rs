//! Value paths into `emails`, such as `emails[type eq "work"].value`, which Wire serves from 5.35:
//! what each operation does to the entries of a user.

use crate::json::{Array, Name, Object, Type, Value};
use crate::place::Place;
use crate::wire::filter::{Comparison, Literal, Operator};
use crate::wire::{boolean, email};

/// The most changes of a PATCH that are judged.
const MAX_CHANGES: usize = 24;
/// The longest string of a filter or a type that is judged, in bytes. (No address is as long.)
const MAX_TEXT: usize = 512;

/// An entry of `emails`, reduced to what filters and rules use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The address in the form that Wire stores.
    pub address: String,
    /// The empty string if it is absent: that is how Wire compares it.
    pub kind: String,
    pub primary: Option<bool>,
}

impl Entry {
    /// Parses an entry; the error is the attribute that has a wrong value, `None` for the entry
    /// itself.
    pub fn read(value: Value<'_>) -> Result<Self, Option<Name>> {
        let entry = value.as_object().ok_or(None)?;
        let address = entry.string(Name::Value).and_then(email::canonical);
        let address = address.ok_or(Some(Name::Value))?;
        let kind = match present(entry, Name::Type) {
            None => String::new(),
            Some(kind) => kind.as_str().ok_or(Some(Name::Type))?.to_owned(),
        };
        let primary = match present(entry, Name::Primary) {
            None => None,
            Some(primary) => Some(boolean::of(primary).ok_or(Some(Name::Primary))?),
        };
        Ok(Self { address, kind, primary })
    }
}

fn present(entry: Object<'_>, name: Name) -> Option<Value<'_>> {
    entry.value(name).filter(|value| !value.is_null())
}

/// Which entries an operation applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    Address(Operator, String),
    Kind(Operator, String),
    /// Entries whose `primary` is this value, or is not.
    Primary {
        value: bool,
        equal: bool,
    },
    /// A comparison that no entry satisfies, which is not a fault.
    Nothing,
}

impl Filter {
    /// The schema and the sub-attribute of the name are ignored.
    pub fn read(comparison: Comparison<'_>) -> Self {
        let Comparison { attribute, operator, literal } = comparison;
        match (Name::of(attribute.name), literal, operator) {
            (Some(Name::Value), Literal::String(_), _) => {
                literal.to_text().map_or(Self::Nothing, |text| Self::Address(operator, text))
            }
            (Some(Name::Type), Literal::String(_), _) => {
                literal.to_text().map_or(Self::Nothing, |text| Self::Kind(operator, text))
            }
            (Some(Name::Primary), Literal::Boolean(value), Operator::Equal) => {
                Self::Primary { value, equal: true }
            }
            (Some(Name::Primary), Literal::Boolean(value), Operator::NotEqual) => {
                Self::Primary { value, equal: false }
            }
            _ => Self::Nothing,
        }
    }

    /// The string that is compared.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Address(_, text) | Self::Kind(_, text) => Some(text),
            Self::Primary { .. } | Self::Nothing => None,
        }
    }

    pub fn matches(&self, entry: &Entry) -> bool {
        match self {
            Self::Address(operator, text) => compare(*operator, &entry.address, text),
            Self::Kind(operator, text) => compare(*operator, &entry.kind, text),
            Self::Primary { value, equal } => (entry.primary == Some(*value)) == *equal,
            Self::Nothing => false,
        }
    }
}

/// Compares by code points, case-sensitively. The byte order of UTF-8 is that of code points.
fn compare(operator: Operator, value: &str, with: &str) -> bool {
    match operator {
        Operator::Equal => value == with,
        Operator::NotEqual => value != with,
        Operator::Contains => value.contains(with),
        Operator::StartsWith => value.starts_with(with),
        Operator::EndsWith => value.ends_with(with),
        Operator::Greater => value > with,
        Operator::GreaterOrEqual => value >= with,
        Operator::Less => value < with,
        Operator::LessOrEqual => value <= with,
    }
}

/// What an operation does to each entry that its filter matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    SetAddress(String),
    SetKind(String),
    SetPrimary(bool),
    /// The whole entry is replaced.
    Replace(Entry),
    Remove,
}

impl Action {
    /// The type that entries get.
    fn kind(&self) -> Option<&str> {
        match self {
            Self::SetKind(kind) | Self::Replace(Entry { kind, .. }) => Some(kind),
            Self::SetAddress(_) | Self::SetPrimary(_) | Self::Remove => None,
        }
    }

    /// Whether some stored user may end with other addresses than before in a way that a rule
    /// depends on: addresses may be removed, or become primary.
    fn may_be_refused(&self) -> bool {
        match self {
            Self::Remove | Self::SetPrimary(true) => true,
            Self::Replace(entry) => entry.primary == Some(true),
            Self::SetAddress(_) | Self::SetKind(_) | Self::SetPrimary(false) => false,
        }
    }
}

/// One operation on `emails`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub filter: Filter,
    pub action: Action,
}

/// Why the value of an operation cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The sub-attribute is not value, type or primary.
    SubAttribute,
    Address,
    Kind,
    Primary,
    /// An entry is wrong: its index if it is in an array, and its attribute.
    Entry(Option<usize>, Option<Name>),
}

impl Fault {
    /// The place of the fault in the value of an operation.
    pub fn place(self, value: Place) -> Place {
        let Self::Entry(index, attribute) = self else { return value };
        let entry = index.map_or(value.clone(), |index| value.clone().index(index));
        match attribute {
            Some(attribute) => entry.child(Some(attribute)),
            None => entry,
        }
    }
}

/// All changes of a PATCH to `emails`, in the order in which Wire makes them.
///
/// SECURITY: what is judged is bounded in number and length, as its cost grows with their product.
#[derive(Debug, Default)]
pub struct Changes {
    judged: Vec<Change>,
    /// There are more, or longer ones: they are left to Wire.
    too_much: bool,
    may_be_refused: bool,
}

impl Changes {
    /// `None` if they are too many or too long to be judged.
    pub fn judged(&self) -> Option<&[Change]> {
        (!self.too_much).then_some(&self.judged)
    }

    /// Whether Wire may refuse them for some stored user.
    pub fn may_be_refused(&self) -> bool {
        self.may_be_refused
    }

    pub fn remove(&mut self, filter: &Filter) {
        self.push(filter, Action::Remove);
    }

    /// What an add or replace does.
    pub fn set(
        &mut self,
        filter: &Filter,
        sub: Option<&str>,
        value: Value<'_>,
    ) -> Result<(), Fault> {
        let Some(sub) = sub else {
            return match value.get() {
                Type::Array(entries) => self.replace_by_all(filter, entries),
                _ => match Entry::read(value) {
                    Ok(entry) => {
                        self.push(filter, Action::Replace(entry));
                        Ok(())
                    }
                    Err(attribute) => Err(Fault::Entry(None, attribute)),
                },
            };
        };
        let action = match Name::of(sub) {
            Some(Name::Value) => value
                .as_str()
                .and_then(email::canonical)
                .map(Action::SetAddress)
                .ok_or(Fault::Address),
            Some(Name::Type) => {
                value.as_str().map(|kind| Action::SetKind(kind.to_owned())).ok_or(Fault::Kind)
            }
            Some(Name::Primary) => boolean::of(value).map(Action::SetPrimary).ok_or(Fault::Primary),
            _ => Err(Fault::SubAttribute),
        };
        self.push(filter, action?);
        Ok(())
    }

    /// An array is applied from its last element to its first.
    fn replace_by_all(&mut self, filter: &Filter, entries: Array<'_>) -> Result<(), Fault> {
        let read =
            |(at, entry)| Entry::read(entry).map_err(|attribute| Fault::Entry(Some(at), attribute));
        let entries: Vec<Entry> =
            entries.elements().enumerate().map(read).collect::<Result<_, _>>()?;
        for entry in entries.into_iter().rev() {
            self.push(filter, Action::Replace(entry));
        }
        Ok(())
    }

    fn push(&mut self, filter: &Filter, action: Action) {
        self.may_be_refused |= action.may_be_refused();
        let is_long = |text: Option<&str>| text.is_some_and(|text| text.len() > MAX_TEXT);
        self.too_much |=
            is_long(filter.text()) || is_long(action.kind()) || self.judged.len() == MAX_CHANGES;
        if !self.too_much {
            self.judged.push(Change { filter: filter.clone(), action });
        }
    }
}

impl Change {
    /// Applies the change; an entry that no filter matched may be appended.
    pub fn apply(&self, entries: &mut Vec<Entry>) {
        let matched = entries.iter().any(|entry| self.filter.matches(entry));
        if !matched {
            entries.extend(self.appended());
            return;
        }
        if self.action == Action::Remove {
            entries.retain(|entry| !self.filter.matches(entry));
            return;
        }
        for entry in entries.iter_mut().filter(|entry| self.filter.matches(entry)) {
            match &self.action {
                Action::SetAddress(address) => entry.address.clone_from(address),
                Action::SetKind(kind) => entry.kind.clone_from(kind),
                Action::SetPrimary(primary) => entry.primary = Some(*primary),
                Action::Replace(new) => *entry = new.clone(),
                Action::Remove => {}
            }
        }
    }

    /// What is appended if no entry matches.
    fn appended(&self) -> Option<Entry> {
        match (&self.action, &self.filter) {
            (Action::Replace(entry), _) => Some(entry.clone()),
            (Action::SetAddress(address), Filter::Kind(Operator::Equal, kind)) => {
                Some(Entry { address: address.clone(), kind: kind.clone(), primary: None })
            }
            _ => None,
        }
    }
}
