//! Attributes that stand more than once where Wire reads one of them: two readers could take
//! different ones, so no honest client sends them.

use std::collections::HashSet;

use crate::json::{Member, Name, NameSet, Object, Type, Value};

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

/// Whether the value of a rich info URN repeats a name. Keys of the map and of its fields are
/// compared exactly: there Wire tells spellings apart.
pub fn in_rich_info(urn: Name, value: Value<'_>) -> bool {
    let Type::Object(object) = value.get() else { return false };
    if urn == Name::WireUser {
        return repeats_exactly(object, |_| true);
    }
    if name(object, NameSet::new(&[Name::RichInfo])).is_some() {
        return true;
    }
    let fields = match object.value(Name::RichInfo).map(Value::get) {
        Some(Type::Object(versioned)) => {
            if name(versioned, NameSet::new(&[Name::Version, Name::Fields])).is_some() {
                return true;
            }
            versioned.value(Name::Fields).and_then(Value::as_array)
        }
        Some(Type::Array(fields)) => Some(fields),
        _ => None,
    };
    fields.is_some_and(|fields| {
        fields.elements().filter_map(Value::as_object).any(|field| {
            field.may_repeat() && repeats_exactly(field, |key| key == "type" || key == "value")
        })
    })
}

fn repeats_exactly(object: Object<'_>, read: impl Fn(&str) -> bool) -> bool {
    let keys = || object.members().map(Member::key).filter(|key| read(key));
    if object.len() <= FEW {
        return keys().enumerate().any(|(at, key)| keys().take(at).any(|earlier| earlier == key));
    }
    let mut seen = HashSet::with_capacity(object.len());
    keys().any(|key| !seen.insert(key))
}

/// So few keys are compared with each other faster than they are hashed.
const FEW: usize = 8;

/// The sentence for a repeated attribute.
pub fn detail(place: &str) -> String {
    format!(
        "{place} stands more than once (names are compared without regard to case). Readers differ in \
         which one they take, so send it once."
    )
}
