//! Attributes that stand more than once where Wire reads one of them: two readers could take
//! different ones, so no honest client sends them.

use std::collections::HashSet;

use crate::json::{Array, Member, Name, NameSet, Object, Type, Value};
use crate::verdict::shortened;

/// What stands more than once.
#[derive(Debug, PartialEq, Eq)]
pub struct Repetition {
    /// Such as `emails[0].value`.
    place: String,
    /// It does so letter by letter, where names are not folded.
    exactly: bool,
}

impl Repetition {
    /// A name that folds like another one.
    pub fn folded(place: impl Into<String>) -> Self {
        Self { place: place.into(), exactly: false }
    }

    fn exact(place: String) -> Self {
        Self { place, exactly: true }
    }

    /// The sentence for it.
    pub fn detail(&self) -> String {
        let how = if self.exactly { "" } else { " (names are compared without regard to case)" };
        format!(
            "{} stands more than once{how}. Readers differ in which one they take, so send it once.",
            self.place
        )
    }
}

/// The first name out of `read` that stands in an object more than once, in any spelling.
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

/// The first of `read` that an entry of a list has more than once, as in `emails[0].value`.
pub fn in_list(list: Array<'_>, attribute: Name, read: NameSet) -> Option<Repetition> {
    list.elements().enumerate().find_map(|(at, entry)| {
        let part = name(entry.as_object()?, read)?;
        Some(Repetition::folded(format!("{}[{at}].{}", attribute.as_str(), part.as_str())))
    })
}

/// What the value of a rich info URN repeats. Keys of the map and of its fields are compared
/// exactly: there Wire tells spellings apart.
pub fn in_rich_info(urn: Name, value: Value<'_>) -> Option<Repetition> {
    let Type::Object(object) = value.get() else { return None };
    let place = |part: &str| format!("{}: `{}`", urn.as_str(), shortened(part));
    if urn == Name::WireUser {
        return exactly(object, |_| true).map(|key| Repetition::exact(place(key)));
    }
    if name(object, NameSet::new(&[Name::RichInfo])).is_some() {
        return Some(Repetition::folded(place("richInfo")));
    }
    let fields = match object.value(Name::RichInfo).map(Value::get) {
        Some(Type::Object(versioned)) => {
            if let Some(name) = name(versioned, NameSet::new(&[Name::Version, Name::Fields])) {
                return Some(Repetition::folded(place(name.as_str())));
            }
            versioned.value(Name::Fields).and_then(Value::as_array)?
        }
        Some(Type::Array(fields)) => fields,
        _ => return None,
    };
    fields.elements().enumerate().find_map(|(at, field)| {
        let field = field.as_object().filter(|field| field.may_repeat())?;
        let key = exactly(field, |key| key == "type" || key == "value")?;
        Some(Repetition::exact(format!("{}: {key} of field {at}", urn.as_str())))
    })
}

/// The first key out of those to read that stands again, letter by letter.
fn exactly<'d>(object: Object<'d>, read: impl Fn(&str) -> bool) -> Option<&'d str> {
    let mut keys = object.members().map(Member::key).filter(|key| read(key));
    if object.len() <= FEW {
        let mut seen = [""; FEW];
        return keys.enumerate().find_map(|(at, key)| {
            seen[at] = key;
            seen[..at].contains(&key).then_some(key)
        });
    }
    let mut seen = HashSet::with_capacity(object.len());
    keys.find(|key| !seen.insert(*key))
}

/// So few keys are compared with each other faster than they are hashed.
const FEW: usize = 8;
