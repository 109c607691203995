//! Attributes that stand more than once where Wire reads one of them: two readers could take
//! different ones, so no honest client sends them.

use std::collections::HashSet;

use crate::json::{Name, NameSet, Object, Type, Value};

/// The first name out of `read` that stands in an object more than once, in any spelling.
pub fn name(object: Object<'_>, read: NameSet) -> Option<Name> {
    if !object.may_repeat() {
        return None;
    }
    let mut seen = NameSet::default();
    object
        .members()
        .filter_map(|member| member.name)
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
    let mut seen = HashSet::with_capacity(object.len());
    object.members().any(|member| read(member.key) && !seen.insert(member.key))
}

/// The sentence for a repeated attribute.
pub fn detail(place: &str) -> String {
    format!(
        "{place} stands more than once (names are compared without regard to case). Readers differ in \
         which one they take, so send it once."
    )
}
