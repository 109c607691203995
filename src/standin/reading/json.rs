//! JSON objects as Wire reads them: lazily, name by name, so that attributes which are not read can have any value.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Fault;

/// A value that was scanned but not parsed.
pub(super) type Raw<'a> = &'a RawValue;

/// The members of an object in order; of equal names only the first.
#[derive(Debug, Default)]
pub(super) struct Members<'a>(pub Vec<(String, Raw<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(String, Raw<'de>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                let mut seen = HashSet::new();
                while let Some((name, value)) = map.next_entry::<String, Raw<'de>>()? {
                    if seen.insert(name.clone()) {
                        members.push((name, value));
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(InOrder).map(Members)
    }
}

/// An object by its folded names; of several spellings, the greatest is used.
#[derive(Debug)]
pub(super) struct Object<'a>(BTreeMap<String, Raw<'a>>);

impl<'a> Object<'a> {
    pub(super) fn read(raw: Raw<'a>, what: &str) -> Result<Self, Fault> {
        let Ok(Members(mut members)) = serde_json::from_str(raw.get()) else {
            return Fault::parse(what);
        };
        members.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self(members.into_iter().map(|(name, value)| (fold(&name), value)).collect()))
    }

    pub(super) fn get(&self, name: &str) -> Option<Raw<'a>> {
        self.0.get(name).copied()
    }

    /// The value of a name; `None` also for null.
    pub(super) fn some(&self, name: &str) -> Option<Raw<'a>> {
        self.get(name).filter(|raw| raw.get() != "null")
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<String>, Fault> {
        self.some(name)
            .map(|raw| as_string(raw).ok_or_else(|| Fault::Parse(format!("Error in $.{name}"))))
            .transpose()
    }

    pub(super) fn required_string(&self, name: &str) -> Result<String, Fault> {
        self.string(name)?
            .ok_or_else(|| Fault::Parse(format!("Error in $: key \"{name}\" not found")))
    }

    /// An array; null and a missing value are empty.
    pub(super) fn array(&self, name: &str) -> Result<Vec<Raw<'a>>, Fault> {
        match self.some(name) {
            None => Ok(Vec::new()),
            Some(raw) => as_array(raw).ok_or_else(|| Fault::Parse(format!("Error in $.{name}"))),
        }
    }

    pub(super) fn strings(&self, name: &str) -> Result<Vec<String>, Fault> {
        let list = self.array(name)?.into_iter().map(as_string).collect::<Option<_>>();
        list.ok_or_else(|| Fault::Parse(format!("Error in $.{name}: not a string")))
    }

    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, Fault> {
        let Some(raw) = self.some(name) else { return Ok(None) };
        match as_boolean(raw) {
            Some(value) => Ok(Some(value)),
            None => Fault::parse(name),
        }
    }
}

pub(super) fn as_string(raw: Raw<'_>) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

pub(super) fn as_array(raw: Raw<'_>) -> Option<Vec<Raw<'_>>> {
    serde_json::from_str(raw.get()).ok()
}

/// A boolean, or a string with its name in any case.
pub(super) fn as_boolean(raw: Raw<'_>) -> Option<bool> {
    match raw.get() {
        "true" => Some(true),
        "false" => Some(false),
        _ => match fold(&as_string(raw)?).as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        },
    }
}

/// Scans a body; serde_json checks the syntax of all of it, at any depth.
pub(super) fn scan(text: &str) -> Result<Raw<'_>, Fault> {
    serde_json::from_str(text).map_err(|_| Fault::Parse("Error in $: not enough input".into()))
}

/// The body in a form that serde_json reads like Wire: Wire accepts control characters in a string after its first
/// backslash or non-ASCII character, so those are written as escapes.
pub(super) fn text_of(body: &[u8]) -> Result<String, Fault> {
    let text =
        std::str::from_utf8(body).map_err(|_| Fault::Parse("Error in $: invalid UTF-8".into()))?;
    let mut out = String::with_capacity(text.len());
    let (mut quoted, mut lenient, mut escaped) = (false, false, false);
    for c in text.chars() {
        if quoted && lenient && c < ' ' {
            // A backslash before a control character is not an escape.
            if escaped {
                return Err(Fault::Parse("Error in $: invalid escape".into()));
            }
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
            continue;
        }
        match c {
            '"' if !escaped => {
                quoted = !quoted;
                lenient = false;
            }
            '\\' if quoted => lenient = true,
            _ if !c.is_ascii() => lenient = true,
            _ => {}
        }
        escaped = quoted && c == '\\' && !escaped;
        out.push(c);
    }
    if surrogates_are_paired(&out) { Ok(out) } else { Fault::parse("a lone surrogate") }
}

/// Whether every escaped surrogate has its other half; serde_json does not check strings that it skips.
fn surrogates_are_paired(text: &str) -> bool {
    let code = |escape: &str| u32::from_str_radix(escape.strip_prefix('u')?.get(..4)?, 16).ok();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        rest = &rest[at + 1..];
        let after = rest.chars().next().map_or(0, char::len_utf8);
        match code(rest) {
            Some(0xD800..=0xDBFF) => {
                let low = rest[5..].strip_prefix('\\').and_then(code);
                if !low.is_some_and(|low| (0xDC00..=0xDFFF).contains(&low)) {
                    return false;
                }
                rest = &rest[11..];
            }
            Some(0xDC00..=0xDFFF) => return false,
            _ => rest = &rest[after..],
        }
    }
    true
}

/// Whether a body is JSON.
pub fn is_json(body: &[u8]) -> bool {
    text_of(body).is_ok_and(|text| scan(&text).is_ok())
}

/// Full case folding by converting to upper case, which has the same result except for these: the dotless i shares its
/// upper case with another letter, the capital sharp s folds to two letters, and Cherokee folds to upper case.
pub(super) fn fold(text: &str) -> String {
    let folded = |c: char| -> String {
        match c {
            'ı' => c.into(),
            'ẞ' => "ss".into(),
            '\u{13a0}'..='\u{13fd}' | '\u{ab70}'..='\u{abbf}' => c.to_uppercase().collect(),
            _ => c.to_uppercase().flat_map(char::to_lowercase).collect(),
        }
    };
    text.chars().map(folded).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn folding_is_that_of_another_implementation() {
        // Letters of the newest versions of Unicode, which not every implementation knows.
        let new = |c: char| {
            matches!(c, '\u{1c89}' | '\u{a7cb}'..='\u{a7e2}' | '\u{ab6c}' | '\u{ab6d}' | '\u{10d50}'..='\u{10d65}'
                | '\u{16ea0}'..='\u{16ed3}' | '\u{1df40}'..='\u{1df95}')
        };
        for c in ('\0'..=char::MAX).filter(|c| !new(*c)) {
            let text = c.to_string();
            assert_eq!(
                super::fold(&text),
                unicase::UniCase::unicode(&text).to_folded_case(),
                "{c:?}"
            );
        }
    }
}
