//! Rich info of both URNs, merged as Wire merges it.

use std::collections::HashSet;

use super::Fault;
use super::json::{Members, Object, Raw, as_array, as_string, fold};

type Fields = Vec<(String, String)>;

/// Reads and merges the rich info of a user.
pub(super) fn read(user: &Object<'_>) -> Result<Fields, Fault> {
    let map = match user.get("urn:ietf:params:scim:schemas:extension:wire:1.0:user") {
        Some(raw) => map(raw)?,
        None => Vec::new(),
    };
    let list = match user.get("urn:wire:scim:schemas:profile:1.0") {
        Some(raw) => list(raw)?,
        None => Vec::new(),
    };
    Ok(merge(map, list))
}

fn map(raw: Raw<'_>) -> Result<Fields, Fault> {
    let Ok(Members(members)) = serde_json::from_str(raw.get()) else {
        return Fault::parse("richInfo");
    };
    let strings = members
        .into_iter()
        .map(|(key, value)| Some((key, as_string(value)?)))
        .collect::<Option<_>>();
    strings.ok_or_else(|| Fault::Parse("Error in $: rich info is not a map of strings".into()))
}

fn list(raw: Raw<'_>) -> Result<Fields, Fault> {
    let profile = Object::read(raw, "richInfo")?;
    let Some(rich_info) = profile.get("richinfo") else { return Fault::parse("richInfo") };
    if let Some(legacy) = as_array(rich_info) {
        return legacy.into_iter().map(field).collect();
    }
    let versioned = Object::read(rich_info, "richInfo")?;
    if !versioned.get("version").is_some_and(|version| is_zero(version.get())) {
        return Fault::parse("richInfo.version");
    }
    let Some(fields) = versioned.get("fields").and_then(as_array) else {
        return Fault::parse("richInfo.fields");
    };
    let fields = fields.into_iter().map(field).collect::<Result<Fields, _>>()?;
    let mut seen = HashSet::new();
    if !fields.iter().all(|(key, _)| seen.insert(fold(key))) {
        return Fault::parse("richInfo.fields: duplicate");
    }
    Ok(fields.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

/// One field; its names are not folded.
fn field(raw: Raw<'_>) -> Result<(String, String), Fault> {
    let Ok(Members(members)) = serde_json::from_str(raw.get()) else {
        return Fault::parse("richInfo.fields");
    };
    let text = |name: &str| as_string(members.iter().find(|(key, _)| key == name)?.1);
    text("type").zip(text("value")).ok_or_else(|| Fault::Parse("Error in $.richInfo.fields".into()))
}

/// Whether a number is 0, in any notation.
fn is_zero(number: &str) -> bool {
    number.starts_with(['-', '0'])
        && number
            .chars()
            .take_while(|c| !matches!(c, 'e' | 'E'))
            .all(|c| matches!(c, '-' | '0' | '.'))
}

fn merge(mut map: Fields, mut list: Fields) -> Fields {
    // In ascending order of spelling, so that the greatest of those with the same folded name comes last.
    map.sort();
    let mut by_key: Vec<(String, (String, String))> = Vec::new();
    for field in map {
        let key = fold(&field.0);
        by_key.retain(|(other, _)| *other != key);
        by_key.push((key, field));
    }
    by_key.sort();
    for (key, field) in by_key {
        match list.iter_mut().find(|(other, _)| fold(other) == key) {
            Some(place) => *place = field,
            None => list.push(field),
        }
    }
    normal(list)
}

/// Removes empty values, and of equal keys all but the first.
pub(super) fn normal(list: Fields) -> Fields {
    let mut seen = HashSet::new();
    list.into_iter().filter(|(key, value)| !value.is_empty() && seen.insert(fold(key))).collect()
}
