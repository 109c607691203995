//! Strings that must not be seen: tokens and passwords.

use std::fmt;

/// A token or a password.
///
/// SECURITY: there is no `Debug`, `Display` or `Serialize` on purpose, so that no log line, error
/// or dump of a larger value can contain one: it does not compile. The only access to the string is
/// [`Secret::reveal`], whose few uses are easy to review.
#[allow(missing_debug_implementations, reason = "a secret is never shown")]
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The string itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A message in which everything that looks like a token is replaced.
///
/// SECURITY: messages about a file quote its content, and a token may have been pasted in the wrong
/// place.
pub fn redacted(text: &str) -> String {
    /// The length of a token of Wire, or a little less, as its beginning may not have been copied.
    const LEAST: usize = 40;
    let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    // Selecting by double click omits the `=`. Long words and hexadecimal digits lack this mixture
    // of characters.
    let is_mixed = |run: &str| {
        let has = |kind: fn(&u8) -> bool| run.bytes().any(|byte| kind(&byte));
        has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(is_digit) {
        let (before, run) = rest.split_at(begin);
        let end = run.find(|c| !is_digit(c)).unwrap_or(run.len());
        let padding = run[end..].len() - run[end..].trim_start_matches('=').len();
        out.push_str(before);
        if end >= LEAST && (padding > 0 || is_mixed(&run[..end])) {
            out.push_str("(hidden)");
        } else {
            out.push_str(&run[..end + padding]);
        }
        rest = &run[end + padding..];
    }
    out.push_str(rest);
    out
}

/// Writes a value's `Debug` output without its content.
pub(crate) fn hidden(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    write!(f, "{name}(hidden)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_redacted_and_other_words_are_not() {
        let token = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        assert_eq!(redacted(&format!("not {token:?} here")), "not \"(hidden)\" here");
        assert_eq!(redacted(token), "(hidden)");
        assert_eq!(redacted(&token[..43]), "(hidden)");
        for text in [
            "sha256:c6e87fc9a6b6b4a5a44a9c4e0c5e2a5f5bd0c5e8ef0cb0a1f1fbd3a0b6f1a0c2",
            "",
            "a = b",
            "listen[1]: \"localhost:81\" is no address; write a=b",
            "/etc/wire-scim-guard/a-very-long-path/of-more-than-forty/letters: cannot be read",
            "größer als =",
        ] {
            assert_eq!(redacted(text), text);
        }
    }
}
