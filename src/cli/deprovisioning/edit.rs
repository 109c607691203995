//! Writes an allowance into an entry of a registry that people edit by hand: everything else in the text stays byte
//! for byte.

use std::ops::Range;

use crate::deprovisioning::{Allowance, TokenLimit};
use crate::input::diagnostic::At;
use crate::input::yaml::{self, Node, Value};
use crate::registry::TokenRegistry;

type Entries<'n, 't> = &'n [(Node<'t>, Node<'t>)];

/// The text with the allowance in the entry at this index; `None` if it is written in a way that is not understood
/// here.
pub fn with_allowance(text: &str, index: usize, count: u32, until: &str) -> Option<String> {
    let mark = text.len() - text.trim_start_matches('\u{feff}').len();
    let (bom, text) = text.split_at(mark);
    let (root, _) = yaml::read(text);
    let root = root?;
    let Value::List(tokens) = &find(map(&root)?, "tokens")?.1.value else { return None };
    let entry = tokens.get(index)?;
    let edits = edits(text, entry, count, until)?;
    let mut out = text.to_owned();
    for (range, new) in edits.into_iter().rev() {
        out.replace_range(range, &new);
    }
    Some(format!("{bom}{out}"))
}

/// Whether two registries are the same but for the allowance of one entry.
pub fn differ_only_in_allowance(
    before: &TokenRegistry,
    after: &TokenRegistry,
    index: usize,
    allowance: Allowance,
) -> bool {
    let pairs = before.entries().iter().zip(after.entries()).enumerate();
    before.entries().len() == after.entries().len()
        && pairs.into_iter().all(|(at, (before, after))| {
            let mut meant = before.clone();
            if at == index {
                let limit = before.deprovisioning.and_then(|own| own.limit);
                meant.deprovisioning = Some(TokenLimit { limit, allow: Some(allowance) });
            }
            meant.hash.is(&after.hash) && format!("{meant:?}") == format!("{after:?}")
        })
}

/// What is replaced, in the order of the text.
fn edits(
    text: &str,
    entry: &Node<'_>,
    count: u32,
    until: &str,
) -> Option<Vec<(Range<usize>, String)>> {
    let allow = format!("allow: {{count: {count}, until: {until}}}");
    let members = map(entry)?;
    let Some((_, own)) = find(members, "deprovisioning") else {
        let (key, label) = find(members, "label")?;
        let end = scalar(text, label)?.end;
        let new = format!("deprovisioning: {{{allow}}}");
        if text[offset(text, entry.at)?..].starts_with('{') {
            return Some(vec![(end..end, format!(", {new}"))]);
        }
        let indent = " ".repeat(key.at.column - 1);
        let Some(line) = text[end..].find('\n').map(|length| end + length) else {
            return Some(vec![(text.len()..text.len(), format!("\n{indent}{new}"))]);
        };
        let ending = if text[..line].ends_with('\r') { "\r\n" } else { "\n" };
        return Some(vec![(line + 1..line + 1, format!("{indent}{new}{ending}"))]);
    };
    let parts = map(own)?;
    if let Some((_, allowed)) = find(parts, "allow") {
        let allowed = map(allowed)?;
        let mut edits = vec![
            (scalar(text, &find(allowed, "count")?.1)?, count.to_string()),
            (scalar(text, &find(allowed, "until")?.1)?, until.to_owned()),
        ];
        edits.sort_by_key(|(range, _)| range.start);
        return Some(edits);
    }
    let start = offset(text, own.at)?;
    if text[start..].starts_with('{') {
        let comma = if parts.is_empty() { "" } else { ", " };
        return Some(vec![(start + 1..start + 1, format!("{allow}{comma}"))]);
    }
    let indent = " ".repeat(parts.first()?.0.at.column - 1);
    Some(vec![(start..start, format!("{allow}\n{indent}"))])
}

fn map<'n, 't>(node: &'n Node<'t>) -> Option<Entries<'n, 't>> {
    if let Value::Map(entries) = &node.value { Some(entries) } else { None }
}

fn find<'n, 't>(entries: Entries<'n, 't>, name: &str) -> Option<&'n (Node<'t>, Node<'t>)> {
    entries
        .iter()
        .find(|(key, _)| matches!(&key.value, Value::Scalar { text, .. } if text.as_ref() == name))
}

/// Where a scalar is written, with its quotes.
fn scalar(text: &str, node: &Node<'_>) -> Option<Range<usize>> {
    let Value::Scalar { text: value, .. } = &node.value else { return None };
    let start = offset(text, node.at)?;
    let quotes = usize::from(text[start..].starts_with(['"', '\'']));
    let end = start + quotes + value.len();
    (text.get(start + quotes..end)? == value.as_ref()).then_some(start..end + quotes)
}

/// The byte at which a place begins.
fn offset(text: &str, at: At) -> Option<usize> {
    let line: usize = text.split_inclusive('\n').take(at.line - 1).map(str::len).sum();
    let rest = &text[line..];
    let (column, _) = rest.char_indices().nth(at.column - 1)?;
    Some(line + column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::file;

    const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const OTHER: &str = "sha256:aa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const UNTIL: &str = "2099-06-30T18:00:00Z";

    /// The text that the command would write into the second of two entries.
    fn allowed(entry: &str) -> Option<String> {
        let before =
            format!("# ours\ntokens:\n- {{label: first, hash: \"{OTHER}\"}} # kept\n{entry}");
        let read = file::parse(&before).unwrap_or_else(|errors| panic!("{before}: {errors:?}"));
        let until = file::read_time(UNTIL).unwrap();
        let after = with_allowance(&before, 1, 450, UNTIL)?;
        let again = file::parse(&after).ok()?;
        let allowance = Allowance { count: 450, until };
        let rest = after.strip_prefix(&before[..before.len() - entry.len()])?.to_owned();
        differ_only_in_allowance(&read, &again, 1, allowance).then_some(rest)
    }

    #[test]
    fn an_allowance_is_written_in_every_style_and_nothing_else_changes() {
        let allow = "allow: {count: 450, until: 2099-06-30T18:00:00Z}";
        for (before, after) in [
            (
                "- {label: a, hash: \"HASH\"}\n",
                "- {label: a, deprovisioning: {ALLOW}, hash: \"HASH\"}\n",
            ),
            (
                "- {hash: \"HASH\", label: 'a'}",
                "- {hash: \"HASH\", label: 'a', deprovisioning: {ALLOW}}",
            ),
            (
                "- label: a # ä\n  # its hash\n  hash: \"HASH\"\n# end",
                "- label: a # ä\n  deprovisioning: {ALLOW}\n  # its hash\n  hash: \"HASH\"\n# end",
            ),
            (
                "- hash: \"HASH\"\r\n  label: \"a\"\r\n",
                "- hash: \"HASH\"\r\n  label: \"a\"\r\n  deprovisioning: {ALLOW}\r\n",
            ),
            (
                "-   hash: \"HASH\"\n    label: a",
                "-   hash: \"HASH\"\n    label: a\n    deprovisioning: {ALLOW}",
            ),
            (
                "- label: a\n  deprovisioning: {at_most: 5, within: 1h} # five\n  hash: \"HASH\"\n",
                "- label: a\n  deprovisioning: {ALLOW, at_most: 5, within: 1h} # five\n  hash: \"HASH\"\n",
            ),
            (
                "- label: a\n  deprovisioning:\n    # five\n    at_most: 5\n    within: 1h\n  hash: \"HASH\"\n",
                "- label: a\n  deprovisioning:\n    # five\n    ALLOW\n    at_most: 5\n    within: 1h\n  hash: \"HASH\"\n",
            ),
            (
                "- label: a\n  deprovisioning: {allow: {until: '2020-01-01', count: 7}} # used\n  hash: \"HASH\"\n",
                "- label: a\n  deprovisioning: {allow: {until: 2099-06-30T18:00:00Z, count: 450}} # used\n  hash: \"HASH\"\n",
            ),
            (
                "- label: a\n  hash: \"HASH\"\n  deprovisioning:\n    at_most: 5\n    within: 1h\n    allow:\n      count: 7 # seven\n      until: 2020-01-01\n",
                "- label: a\n  hash: \"HASH\"\n  deprovisioning:\n    at_most: 5\n    within: 1h\n    allow:\n      count: 450 # seven\n      until: 2099-06-30T18:00:00Z\n",
            ),
        ] {
            let [before, after] =
                [before, after].map(|text| text.replace("HASH", HASH).replace("ALLOW", allow));
            assert_eq!(allowed(&before), Some(after), "{before}");
        }
    }

    #[test]
    fn a_byte_order_mark_stays() {
        let before = format!("\u{feff}tokens: [{{label: a, hash: \"{HASH}\"}}]");
        let after = with_allowance(&before, 0, 1, UNTIL).unwrap();
        assert!(after.starts_with("\u{feff}tokens: [{label: a, deprovisioning: "), "{after}");
        assert!(file::parse(&after).is_ok());
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        let escaped = format!("- label: \"\\x61\"\n  hash: \"{HASH}\"\n");
        assert_eq!(allowed(&escaped), None);
        assert_eq!(with_allowance("tokens: []", 0, 1, UNTIL), None);
    }
}
