//! Repairs of the negotiation headers.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

/// Whether a client whose Accept Wire does not serve wants JSON nevertheless.
pub fn wants_json(headers: &HeaderMap) -> bool {
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|range| !range.is_empty())
        .peekable();
    ranges.peek().is_none() || ranges.any(admits_json)
}

/// Whether a body whose media type Wire does not accept is declared as JSON, or not declared at
/// all.
pub fn means_json(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    match (lines.next(), lines.next()) {
        (None, _) => true,
        (Some(line), None) => {
            let (kind, _) = media_type(line.as_bytes());
            kind.is_empty() || is_json(kind)
        }
        (Some(_), Some(_)) => false,
    }
}

/// Whether a media range admits JSON, in any form, and does not exclude it by a weight of 0.
fn admits_json(range: &[u8]) -> bool {
    let (kind, parameters) = media_type(range);
    let admitted = [&b"*/*"[..], b"application/*"];
    let excluded = |parameter: &[u8]| {
        let weight = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="));
        weight.is_some_and(|weight| !weight.iter().any(|byte| matches!(byte, b'1'..=b'9')))
    };
    (is_json(kind) || admitted.iter().any(|known| kind.eq_ignore_ascii_case(known)))
        && !parameters.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).any(excluded)
}

fn is_json(kind: &[u8]) -> bool {
    let known = [&b"application/json"[..], b"application/scim+json", b"text/json"];
    known.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// A media type without its parameters, and these.
fn media_type(line: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b';', line).unwrap_or(line.len());
    (line[..end].trim_ascii(), line.get(end + 1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(name: &http::HeaderName, lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn json_is_recognised_in_many_spellings_and_html_alone_is_not() {
        for lines in [
            &[""][..],
            &["application/json;odata=verbose"],
            &["text/json"],
            &["text/html, application/json; charset=iso-8859-1"],
            &["text/html", "TEXT/JSON"],
            &[" , "],
        ] {
            assert!(wants_json(&headers(&ACCEPT, lines)), "{lines:?}");
        }
        for lines in [
            &["text/html"][..],
            &["application/xml, text/xml"],
            &["text/json;q=0"],
            &["text/json; q=0.0"],
        ] {
            assert!(!wants_json(&headers(&ACCEPT, lines)), "{lines:?}");
        }
    }

    #[test]
    fn a_body_is_json_unless_declared_otherwise() {
        for lines in
            [&[][..], &["application/json;"], &["application/json;charset"], &["Text/JSON"], &[""]]
        {
            assert!(means_json(&headers(&CONTENT_TYPE, lines)), "{lines:?}");
        }
        for lines in [
            &["text/plain"][..],
            &["application/xml"],
            &["application/x-www-form-urlencoded"],
            &["text/json", "text/json"],
            &["application/jsonx"],
        ] {
            assert!(!means_json(&headers(&CONTENT_TYPE, lines)), "{lines:?}");
        }
    }
}
