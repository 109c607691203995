//! Absolute URIs as Wire parses them in `profileUrl` and the values of `photos`.
//!
//! RFC 3986 with two peculiarities (zones in bracketed hosts, one digit after `v`), which no URI
//! crate shares; the regular expression follows the RFC's grammar line by line.

use once_cell::sync::Lazy;
use regex::Regex;

/// Whether Wire accepts `text` as an absolute URI.
pub fn is_absolute(text: &str) -> bool {
    URI.is_match(text)
}

static URI: Lazy<Regex> = Lazy::new(|| {
    let unreserved = "[A-Za-z0-9._~-]";
    let encoded = "%[0-9A-Fa-f]{2}";
    let sub_delims = "[!$&'()*+,;=]";
    let pchar = format!("(?:{unreserved}|{encoded}|{sub_delims}|[:@])");
    let octet = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})";
    let ipv4 = format!(r"{octet}(?:\.{octet}){{3}}");
    let group = "[0-9A-Fa-f]{1,4}";
    let tail = format!("(?:{group}:{group}|{ipv4})");
    let ipv6 = [
        format!("(?:{group}:){{6}}{tail}"),
        format!("::(?:{group}:){{5}}{tail}"),
        format!("(?:(?:{group}:){{0,0}}{group})?::(?:{group}:){{4}}{tail}"),
        format!("(?:(?:{group}:){{0,1}}{group})?::(?:{group}:){{3}}{tail}"),
        format!("(?:(?:{group}:){{0,2}}{group})?::(?:{group}:){{2}}{tail}"),
        format!("(?:(?:{group}:){{0,3}}{group})?::{group}:{tail}"),
        format!("(?:(?:{group}:){{0,4}}{group})?::{tail}"),
        format!("(?:(?:{group}:){{0,5}}{group})?::{group}"),
        format!("(?:(?:{group}:){{0,6}}{group})?::"),
    ]
    .join("|");
    let zone = format!("(?:%25(?:{unreserved}|{encoded})+)?");
    let future = format!(r"v[0-9A-Fa-f]\.(?:{unreserved}|{sub_delims})+");
    let host =
        format!(r"(?:\[(?:(?:{ipv6}){zone}|{future})\]|(?:{unreserved}|{encoded}|{sub_delims})*)");
    let user = format!("(?:(?:{unreserved}|{encoded}|{sub_delims}|:)*@)?");
    let authority = format!("{user}{host}(?::[0-9]*)?");
    let hier = format!(
        "(?://{authority}(?:/{pchar}*)*|/(?:{pchar}+(?:/{pchar}*)*)?|{pchar}+(?:/{pchar}*)*|)"
    );
    let tail = format!("(?:{pchar}|[/?])*");
    let uri = format!(r"\A[A-Za-z][A-Za-z0-9+.-]*:{hier}(?:\?{tail})?(?:#{tail})?\z");
    Regex::new(&uri).expect("the grammar is a constant")
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_uris() {
        for text in [
            "x:",
            "x:a#",
            "http://",
            "http://a:99999999",
            "https://example.com/~a?b=c/d?e#f",
            "urn:a:b",
            "http://[::1]/",
            "http://[fe80::1%25eth0]",
            "http://[v1.x]",
            "http://[::001.2.3.4]",
            "http://u:p@h:/",
            "mailto:a@b",
            "x:/",
        ] {
            assert!(is_absolute(text), "{text}");
        }
    }

    #[test]
    fn anything_else() {
        for text in [
            "",
            "a",
            "/a",
            "a/b:c",
            "http://a b",
            "http://ä",
            "x:\"",
            "x:%",
            "x:%g0",
            "x:a#b#c",
            "x:[",
            "http://[::1",
            "http://[v12.x]",
            "http://[V1.x]",
            "http://[v1.a:b]",
            "http://a]",
            "1x:a",
            "x:\n",
            "http://[::1%eth0]",
            "http://[1:2:3:4:5:6:7]",
        ] {
            assert!(!is_absolute(text), "{text}");
        }
    }
}
