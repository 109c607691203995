//! What Wire and its nginx answer instead of a SCIM error, turned into one (`answers`).

use std::borrow::Cow;

use serde::Deserialize;

use crate::refusal::{ERROR_SCHEMA, error_json};

/// The maximum size of an answer that is examined, in bytes.
pub const MAX_EXAMINED: usize = 64 * 1024;

/// The maximum size of Wire's own text in the error, in bytes.
const MAX_TEXT: usize = 1024;

/// Whether a body is a SCIM error (RFC 7644 §3.12).
pub fn is_scim_error(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Error<'a> {
        #[serde(borrow)]
        schemas: Vec<Cow<'a, str>>,
    }
    serde_json::from_slice(body)
        .is_ok_and(|Error { schemas }| schemas.iter().any(|schema| schema == ERROR_SCHEMA))
}

/// The SCIM error that replaces an answer with this status and body; no body: it was not read.
pub fn replacement(status: u16, content_type: Option<&str>, body: Option<&[u8]>) -> Vec<u8> {
    let text = body.and_then(|body| text_of(content_type.unwrap_or_default(), body));
    let detail = text.unwrap_or_else(|| {
        let status_code = http::StatusCode::from_u16(status).ok();
        let reason = status_code.and_then(|status| status.canonical_reason()).unwrap_or("an error");
        format!("Wire's server answered {status} ({reason}) and gave no reason.")
    });
    error_json(status, None, &detail)
}

/// The text of an answer for people: the message of Wire's JSON errors, or all of plain text.
fn text_of(content_type: &str, body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct WireError {
        message: String,
    }
    let text = match serde_json::from_slice(body) {
        Ok(WireError { message }) => message,
        Err(_) => {
            let text = std::str::from_utf8(body).ok()?;
            let kind = content_type.split(';').next().unwrap_or_default().trim();
            // Anything else is markup or data.
            let plain = kind.is_empty() || kind.eq_ignore_ascii_case("text/plain");
            let markup = text.trim_start().starts_with(['<', '{', '[']);
            (plain && !markup).then(|| text.to_owned())?
        }
    };
    let text = text.trim().replace(|c: char| c.is_control() && c != '\n' && c != '\t', " ");
    let end = text.floor_char_boundary(MAX_TEXT);
    (!text.is_empty()).then(|| text[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn detail(status: u16, content_type: &str, body: &[u8]) -> String {
        let error: Value =
            serde_json::from_slice(&replacement(status, Some(content_type), Some(body))).unwrap();
        assert_eq!(error["status"], status.to_string());
        assert_eq!(error["schemas"][0], ERROR_SCHEMA);
        error["detail"].as_str().unwrap().to_owned()
    }

    #[test]
    fn scim_errors_are_recognised() {
        for error in [
            r#"{"detail":"x","schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"400"}"#,
            r#" {"schemas":["a","urn:ietf:params:scim:api:messages:2.0:Error"]}"#,
        ] {
            assert!(is_scim_error(error.as_bytes()), "{error}");
        }
        for other in
            ["", "x", "{}", r#"{"schemas":["x"]}"#, r#"{"code":404,"label":"a","message":"b"}"#]
        {
            assert!(!is_scim_error(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn wires_text_is_kept_if_there_is_any() {
        assert_eq!(detail(400, "", b"Error in $.roles[0]: x\n"), "Error in $.roles[0]: x");
        assert_eq!(detail(400, "text/plain; charset=utf-8", b"a\x1b[31m\tb\nc"), "a [31m\tb\nc");
        assert_eq!(
            detail(
                404,
                "application/json",
                br#"{"code":404,"label":"x","message":"no such version"}"#
            ),
            "no such version"
        );
        let long = "ü".repeat(2000);
        assert_eq!(detail(400, "", long.as_bytes()), "ü".repeat(512));
    }

    #[test]
    fn an_answer_without_text_gets_a_generic_message() {
        for (content_type, body) in [
            ("", &b""[..]),
            ("text/html", b"<html>nginx</html>"),
            ("text/html", b"plain"),
            ("", b" <html>nginx</html>"),
            ("", b"\xff\xfe"),
            ("application/json", b"[1]"),
            ("application/json", br#"{"message":""}"#),
            ("application/octet-stream", b"x"),
        ] {
            let detail = detail(502, content_type, body);
            assert_eq!(detail, "Wire's server answered 502 (Bad Gateway) and gave no reason.");
        }
        let unread: Value =
            serde_json::from_slice(&replacement(420, Some("text/plain"), None)).unwrap();
        assert!(unread["detail"].as_str().unwrap().contains("420"));
    }
}
