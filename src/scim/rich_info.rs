//! Rich info: the free fields of a user's profile, in two URNs whose fields Wire merges.

use std::collections::{HashMap, HashSet};

use crate::json::{Array, Member, Name, Object, Type, Value, fold};
use crate::refusal::shortened;

/// The fields of both URNs, as they were sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RichInfo<'d> {
    map: Fields<'d>,
    list: Fields<'d>,
}

/// Why rich info cannot be parsed, as the end of a sentence that begins with the attribute's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub attribute: Name,
    pub what: String,
}

impl<'d> RichInfo<'d> {
    /// Parses the rich info of a user.
    pub fn read(user: Object<'d>) -> Result<Self, Fault> {
        let map = user.value(Name::WireUser);
        let list = user.value(Name::WireProfile);
        if map.is_none() && list.is_none() {
            return Ok(Self::default());
        }
        let fault = |attribute| move |what| Fault { attribute, what };
        let map = map.map_or(Ok(Vec::new()), read_map).map_err(fault(Name::WireUser))?;
        let list = list.map_or(Ok(Vec::new()), read_list).map_err(fault(Name::WireProfile))?;
        Ok(Self { map, list })
    }

    /// The size as Wire measures it, if it is more than `limit`.
    pub fn excess(&self, limit: usize) -> Option<usize> {
        // Merging only removes fields, and a character has at least one byte.
        let fields = self.map.iter().chain(&self.list);
        let bytes: usize = fields.map(|(key, value)| key.len() + value.len()).sum();
        if bytes <= limit {
            return None;
        }
        Some(size(&self.merged())).filter(|size| *size > limit)
    }

    /// The fields of both URNs in the order in which Wire stores them.
    pub fn merged(&self) -> Fields<'d> {
        merge(self.map.clone(), self.list.clone())
    }
}

/// The number of characters of all keys and values together, as Wire measures rich info.
pub fn size(fields: &[(&str, &str)]) -> usize {
    fields.iter().map(|(key, value)| key.chars().count() + value.chars().count()).sum()
}

/// Keys and values.
pub type Fields<'d> = Vec<(&'d str, &'d str)>;

fn read_map<'d>(value: Value<'d>) -> Result<Fields<'d>, String> {
    let object = value.as_object().ok_or("must be an object of strings")?;
    let field = |member: Member<'d>| Some((member.key(), member.value.as_str()?));
    if let Some(fields) = object.members().map(field).collect() {
        return Ok(fields);
    }
    // Of members that are spelled alike only the first is used.
    let mut seen = HashSet::new();
    let read = object.members().filter(|member| seen.insert(member.key()));
    read.map(|member| field(member).ok_or_else(|| no_text(member))).collect()
}

fn no_text(member: Member<'_>) -> String {
    let (key, found) = (shortened(member.key()), member.value.type_name());
    format!("must be an object whose values are all strings; `{key}` is {found}")
}

fn read_list(value: Value<'_>) -> Result<Fields<'_>, String> {
    let rich_info = value
        .as_object()
        .and_then(|profile| profile.value(Name::RichInfo))
        .ok_or("must have richInfo")?;
    match rich_info.get() {
        Type::Array(fields) => read_fields(fields),
        Type::Object(versioned) => {
            if !versioned.value(Name::Version).is_some_and(is_zero) {
                return Err("must have 0 as the version in richInfo".into());
            }
            let fields = versioned.value(Name::Fields).and_then(Value::as_array);
            let mut fields = read_fields(fields.ok_or("must have fields, an array, in richInfo")?)?;
            let mut types: Vec<String> = fields.iter().map(|(key, _)| fold(key)).collect();
            types.sort_unstable();
            if types.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err("has two fields of the same type in richInfo".into());
            }
            fields.retain(|(_, value)| !value.is_empty());
            Ok(fields)
        }
        _ => Err("must have an array or an object as richInfo".into()),
    }
}

/// The objects of an array of fields; their names, unlike others, are compared exactly.
fn read_fields<'d>(fields: Array<'d>) -> Result<Fields<'d>, String> {
    let read = |field: Value<'d>| {
        let field = field.as_object()?;
        let text = |name: &str| field.members().find(|member| member.key() == name)?.value.as_str();
        Some((text("type")?, text("value")?))
    };
    let fault = |at| {
        format!(
            "must have fields with type and value (in lower case) as strings in richInfo, which field {at} has not"
        )
    };
    fields.elements().enumerate().map(|(at, field)| read(field).ok_or_else(|| fault(at))).collect()
}

/// Whether a number is zero however it is written: `0`, `-0`, `0.0`, `0e5`.
fn is_zero(value: Value<'_>) -> bool {
    let Type::Number(written) = value.get() else { return false };
    let digits = written.split(['e', 'E']).next().unwrap_or_default();
    digits.bytes().all(|byte| matches!(byte, b'-' | b'.' | b'0'))
}

/// Merges the map into the list: a key of the map replaces the first field with that key, or is
/// appended; then empty values are removed, and of equal keys all but the first.
fn merge<'d>(mut map: Fields<'d>, mut list: Fields<'d>) -> Fields<'d> {
    let mut first: HashMap<String, usize> = HashMap::with_capacity(list.len());
    for (at, (key, _)) in list.iter().enumerate() {
        first.entry(fold(key)).or_insert(at);
    }
    // Of keys that fold alike the greatest spelling is used, of equal keys the first.
    map.sort_by_key(|(key, _)| *key);
    map.dedup_by_key(|(key, _)| *key);
    let mut folded: Vec<(String, (&str, &str))> =
        map.into_iter().map(|field| (fold(field.0), field)).collect();
    folded.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.0.cmp(a.1.0)));
    folded.dedup_by(|later, kept| later.0 == kept.0);
    for (key, field) in folded {
        match first.get(&key) {
            Some(at) => list[*at] = field,
            None => list.push(field),
        }
    }
    list.retain(|(_, value)| !value.is_empty());
    let mut seen = HashSet::with_capacity(list.len());
    list.retain(|(key, _)| seen.insert(fold(key)));
    list
}
