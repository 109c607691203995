//! The query of a search, rewritten for a backend that supports another filter.

use crate::query;
use crate::target::MAX_TARGET;

/// The target with another filter, and without the parameters that are named. `None` if it would be longer than
/// a target may be.
pub(super) fn with_filter(target: &[u8], filter: &str, without: &[&[u8]]) -> Option<Vec<u8>> {
    let (path, query) = split(target);
    let mut rewritten = path.to_vec();
    rewritten.extend_from_slice(b"?filter=");
    query::encode(filter, &mut rewritten);
    for pair in query::pairs(query) {
        let name = query::name_of(pair);
        if !name.is_empty() && *name != *b"filter" && !without.contains(&name.as_ref()) {
            rewritten.push(b'&');
            rewritten.extend_from_slice(pair);
        }
    }
    (rewritten.len() <= MAX_TARGET).then_some(rewritten)
}

/// The path and the query of a target.
pub(super) fn split(target: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, b""),
    }
}

/// A comparison with a string, as written in a filter.
pub(super) fn comparison(attribute: &str, operator: &str, value: &str) -> String {
    let value = serde_json::Value::from(value);
    format!("{attribute} {operator} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_replaced_and_the_rest_is_kept() {
        let filter = comparison("displayName", "co", "a \"b\" ü&\n");
        let target = b"/v8/scim/v2/Groups?x=1&filter=a&startIndex=2;c%6funt=3&&y&filter=b";
        let rewritten = with_filter(target, &filter, &[b"startIndex", b"count"]).unwrap();
        assert_eq!(
            String::from_utf8(rewritten).unwrap(),
            "/v8/scim/v2/Groups?filter=displayName%20co%20%22a%20%5C%22b%5C%22%20%C3%BC%26%5Cn%22&x=1&y"
        );
        assert_eq!(with_filter(b"/a", &"x".repeat(MAX_TARGET), &[]), None);
    }
}
