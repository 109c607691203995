//! Attributes that appear more than once although Wire reads only one: two readers could choose
//! different ones, so no legitimate client sends them.

use std::collections::HashSet;

use crate::json::{Array, Member, Name, NameSet, Object, Type, Value};
use crate::place::{IntoPlace, Place};
use crate::refusal::shortened;

/// What appears more than once.
#[derive(Debug, PartialEq, Eq)]
pub struct Repetition {
    at: Place,
    /// What is repeated there, if names are compared exactly and not folded.
    exactly: Option<String>,
}

impl Repetition {
    /// A name that folds like another one.
    pub fn folded(at: Place) -> Self {
        Self { at, exactly: None }
    }

    fn exact(at: Place, what: String) -> Self {
        Self { at, exactly: Some(what) }
    }

    pub fn at(&self) -> Place {
        self.at.clone()
    }

    /// The message for it.
    pub fn detail(&self) -> String {
        let (what, how) = match &self.exactly {
            Some(what) => (what.as_str(), ""),
            None => (self.at.as_str(), " (names are compared without regard to case)"),
        };
        format!(
            "{what} appears more than once{how}. Servers differ in which one they use, so send it once."
        )
    }
}

/// The first name out of `read` that appears in an object more than once, in any spelling.
pub fn name(object: Object<'_>, read: NameSet) -> Option<Name> {
    if !object.may_repeat() {
        return None;
    }
    let mut seen = NameSet::default();
    object
        .members()
        .filter_map(Member::name)
        .find(|name| read.contains(*name) && !seen.insert(*name))
}

/// The first of `read` that an element of an array has more than once, as in `emails[0].value`.
pub fn in_list(
    list: Array<'_>,
    place: impl FnOnce() -> Place,
    read: NameSet,
) -> Option<Repetition> {
    let part_of = |entry: Value<'_>| name(entry.as_object()?, read);
    let (at, part) =
        list.elements().enumerate().find_map(|(at, entry)| Some((at, part_of(entry)?)))?;
    Some(Repetition::folded(place().index(at).child(Some(part))))
}

/// What the value of a rich info URN repeats. Keys of the map and of its fields are compared
/// exactly: Wire distinguishes spellings there.
pub fn in_rich_info(urn: Name, value: Value<'_>) -> Option<Repetition> {
    let Type::Object(object) = value.get() else { return None };
    let here = || urn.into_place();
    if urn == Name::WireUser {
        let key = exactly(object, |_| true)?;
        let what = format!("{}: `{}`", urn.as_str(), shortened(key));
        return Some(Repetition::exact(here().child(None), what));
    }
    if name(object, NameSet::new(&[Name::RichInfo])).is_some() {
        return Some(Repetition::folded(here().child(Some(Name::RichInfo))));
    }
    let fields = match object.value(Name::RichInfo).map(Value::get) {
        Some(Type::Object(versioned)) => {
            if let Some(name) = name(versioned, NameSet::new(&[Name::Version, Name::Fields])) {
                let place = here().child(Some(Name::RichInfo)).child(Some(name));
                return Some(Repetition::folded(place));
            }
            versioned.value(Name::Fields).and_then(Value::as_array)?
        }
        Some(Type::Array(fields)) => fields,
        _ => return None,
    };
    fields.elements().enumerate().find_map(|(at, field)| {
        let field = field.as_object().filter(|field| field.may_repeat())?;
        let key = exactly(field, |key| key == "type" || key == "value")?;
        let what = format!("{}: {key} of field {at}", urn.as_str());
        Some(Repetition::exact(here().child(Some(Name::RichInfo)), what))
    })
}

/// The first key out of those to read that is repeated exactly.
fn exactly<'d>(object: Object<'d>, read: impl Fn(&str) -> bool) -> Option<&'d str> {
    let mut keys = object.members().map(Member::key).filter(|key| read(key));
    if object.len() <= PAIRWISE_LIMIT {
        let mut seen = [""; PAIRWISE_LIMIT];
        return keys.enumerate().find_map(|(at, key)| {
            seen[at] = key;
            seen[..at].contains(&key).then_some(key)
        });
    }
    let mut seen = HashSet::with_capacity(object.len());
    keys.find(|key| !seen.insert(*key))
}

/// Up to this many keys, comparing them with each other is faster than hashing them.
const PAIRWISE_LIMIT: usize = 8;
