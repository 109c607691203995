//! Paths according to RFC 7644 §3.5.2, of which Wire supports a part: any URN, and filters with
//! `and`, `or`, `not`, `pr` and parentheses.

use super::{Reader, is_blank};

/// The components of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RfcPath<'a> {
    /// The preceding URN, if there is one.
    pub schema: Option<&'a str>,
    pub name: &'a str,
}

/// Parses a path, without spaces around it.
pub fn read_rfc_path(text: &str) -> Option<RfcPath<'_>> {
    let (attribute, rest) = text.split_at(text.find('[').unwrap_or(text.len()));
    let path = read_attribute(attribute)?;
    if rest.is_empty() {
        return Some(path);
    }
    let (filter, rest) = rest.strip_prefix('[')?.rsplit_once(']')?;
    read_filter(filter)?;
    match rest.strip_prefix('.') {
        Some(sub) if is_name(sub) => Some(path),
        None if rest.is_empty() => Some(path),
        _ => None,
    }
}

/// `[URN:]name[.sub]`.
fn read_attribute(text: &str) -> Option<RfcPath<'_>> {
    let (schema, attribute) = match text.rsplit_once(':') {
        Some((urn, attribute)) if is_urn(urn) => (Some(urn), attribute),
        Some(_) => return None,
        None => (None, text),
    };
    let (name, sub) = attribute.split_once('.').map_or((attribute, None), |(a, b)| (a, Some(b)));
    // `$ref` is the only name that does not begin with a letter.
    let is_sub = |sub: &str| is_name(sub) || sub == "$ref";
    (is_name(name) && sub.is_none_or(is_sub)).then_some(RfcPath { schema, name })
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_$".contains(&byte))
}

/// `urn:`, a namespace and a name in it, in any characters of a URI.
fn is_urn(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let begins = parts.next().is_some_and(|urn| urn.eq_ignore_ascii_case("urn"));
    begins
        && parts.next().is_some_and(|namespace| !namespace.is_empty())
        && parts.next().is_some_and(|name| !name.is_empty())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"()<>[]\\^`{|}".contains(&byte))
}

/// A filter with every operator of the RFC. Without recursion, so that depth takes no stack.
fn read_filter(text: &str) -> Option<()> {
    let mut reader = Reader { rest: text };
    let mut depth = 0_usize;
    loop {
        while let Some(rest) = opened(reader.rest) {
            reader.rest = rest;
            depth += 1;
        }
        read_condition(&mut reader)?;
        while depth > 0 && reader.skip(')').is_some() {
            depth -= 1;
        }
        if reader.rest.is_empty() {
            return (depth == 0).then_some(());
        }
        reader.blanks()?;
        reader.rest = without(reader.rest, "and").or_else(|| without(reader.rest, "or"))?;
        reader.blanks()?;
    }
}

/// What follows `(` or `not (`.
fn opened(text: &str) -> Option<&str> {
    let negated = without(text, "not").map(|rest| rest.trim_start_matches(is_blank));
    negated.unwrap_or(text).strip_prefix('(')
}

/// What follows a word, in any case.
fn without<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

/// One comparison, or `pr`.
fn read_condition(reader: &mut Reader<'_>) -> Option<()> {
    let length = reader.rest.find(is_blank)?;
    read_attribute(reader.take(length))?;
    reader.blanks()?;
    if let Some(rest) = without(reader.rest, "pr") {
        reader.rest = rest;
        return Some(());
    }
    reader.operator()?;
    reader.blanks()?;
    reader.literal().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_rfc() {
        let of = |text| read_rfc_path(text).map(|path| (path.schema, path.name));
        assert_eq!(of("a.b"), Some((None, "a")));
        assert_eq!(of("urn:x:2.0:User:a.$ref"), Some((Some("urn:x:2.0:User"), "a")));
        for text in [
            r#"a[b eq "]" and not (c pr or d.e gt 1)].f"#,
            "a[(b pr)]",
            "a[NOT(b PR) AND (c eq TRUE)]",
            r#"urn:x:y:a[urn:x:y:b.c eq "z"]"#,
        ] {
            assert!(of(text).is_some(), "{text}");
        }
        for text in [
            "",
            " a",
            "a ",
            "a.",
            "a.b.c",
            "a[",
            "a[]",
            "a[b]",
            "a[b eq]",
            "a[b eq 1",
            "a[b eq 1].",
            "a[(b pr]",
            "a[b pr)]",
            "a[b pr and]",
            "a[b pr xor c pr]",
            "a[not b pr]",
            "a[b eq 1]c",
            "urn:a",
            "x:a:b",
            "urn:x:a b:c",
            "1a",
            "ä",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
