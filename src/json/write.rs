//! Writes strings as JSON.

use std::fmt::Write;

use super::parse::plain_until;

/// Appends a string in quotes, and escapes in it what RFC 8259 §7 demands. Serde would look at each
/// byte of a message alone.
pub fn push_string(json: &mut String, text: &str) {
    json.push('"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_until(rest.as_bytes(), 0));
        json.push_str(plain);
        // What ends a plain run is ASCII.
        let Some(byte) = special.bytes().next() else { break };
        match byte {
            b'"' => json.push_str("\\\""),
            b'\\' => json.push_str("\\\\"),
            _ => {
                let _ = write!(json, "\\u{byte:04x}");
            }
        }
        rest = &special[1..];
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_as_the_text() {
        let ascii: String = (0..128).map(char::from).collect();
        let runs: String =
            ["plain ".repeat(9), "\"".repeat(9), "é\u{2028}\u{1F600}\\".repeat(9)].concat();
        for text in ["", "a", "\"", "ends in \\", "12345678", "1234567\"", &ascii, &runs] {
            let mut json = String::from("[");
            push_string(&mut json, text);
            json.push(']');
            assert_eq!(serde_json::from_str::<[String; 1]>(&json).unwrap(), [text], "{json}");
        }
    }
}
