//! Distinguished names, compared as a directory server does: ignoring case and white space around
//! the parts of a name, with escapes resolved (RFC 4514).
//!
//! The schema of the server is not known, so every attribute is compared as a string.

/// A name in normalised form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dn(Vec<String>);

impl Dn {
    /// Parses a name; every name can be parsed.
    pub fn new(text: &str) -> Self {
        if text.trim().is_empty() {
            return Self(Vec::new());
        }
        Self(split(text, &[',', ';']).into_iter().map(relative).collect())
    }

    /// Whether this is `base` itself or below it.
    pub fn is_within(&self, base: &Self) -> bool {
        self.0.ends_with(&base.0)
    }
}

/// The base of a search.
#[derive(Debug, Clone)]
pub struct Base {
    dn: Dn,
    /// The base as most entries spell it, if it can be compared directly.
    plain: Option<String>,
}

impl Base {
    pub fn new(text: &str) -> Self {
        Self { dn: Dn::new(text), plain: is_plain(text).then(|| text.to_string()) }
    }

    /// Whether the entry of this name is the base or below it.
    pub fn holds(&self, name: &str) -> bool {
        // Nearly all names need no normalisation, and there are many.
        if let Some(base) = self.plain.as_ref().filter(|_| is_plain(name)) {
            let (name, base) = (name.as_bytes(), base.as_bytes());
            let Some(above) = name.len().checked_sub(base.len()) else { return false };
            return name[above..].eq_ignore_ascii_case(base)
                && (above == 0 || name[above - 1] == b',');
        }
        Dn::new(name).is_within(&self.dn)
    }
}

/// Whether there are no escapes, no quotes, no multi-valued parts, and no insignificant blanks.
fn is_plain(name: &str) -> bool {
    let mut before = b',';
    for byte in name.bytes() {
        let edge = matches!(before, b',' | b'=' | b' ');
        match byte {
            b' ' if edge => return false,
            b',' | b'=' if before == b' ' => return false,
            b'\\' | b'"' | b';' | b'+' => return false,
            b' '..=b'~' => before = byte,
            _ => return false,
        }
    }
    !name.is_empty() && before != b' '
}

/// One relative name; the order of its parts does not matter.
fn relative(text: &str) -> String {
    let mut parts: Vec<String> = split(text, &['+']).into_iter().map(part).collect();
    parts.sort();
    parts.join("+")
}

/// `type=value`.
fn part(text: &str) -> String {
    let (name, value) = text.split_once('=').unwrap_or(("", text));
    let name = name.trim().to_lowercase();
    format!("{name}={}", value_of(value))
}

/// The value without escapes and quotes, in lower case, with single blanks.
fn value_of(written: &str) -> String {
    let trimmed = trim(written);
    let quoted = trimmed.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut bytes = Vec::new();
    let mut rest = quoted.unwrap_or(trimmed).as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = match (*first, escaped, after) {
            (b'\\', Some(byte), _) => {
                bytes.push(byte);
                &after[2..]
            }
            (b'\\', None, [next, after @ ..]) => {
                bytes.push(*next);
                after
            }
            _ => {
                bytes.push(*first);
                after
            }
        };
    }
    folded(&String::from_utf8_lossy(&bytes))
}

/// A string in lower case, with single blanks and none at its ends: the form that servers compare.
pub fn folded(text: &str) -> String {
    if text.is_ascii() && !text.contains("  ") && text.trim() == text {
        return text.to_ascii_lowercase();
    }
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Removes blanks at both ends, except an escaped one.
fn trim(text: &str) -> &str {
    let text = text.trim_start();
    let trimmed = text.trim_end();
    let blank = text[trimmed.len()..].chars().next().filter(|_| trimmed.ends_with('\\'));
    &text[..trimmed.len() + blank.map_or(0, char::len_utf8)]
}

/// Splits at separators that are neither escaped nor in quotes.
fn split<'t>(text: &'t str, separators: &[char]) -> Vec<&'t str> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    let (mut escaped, mut quoted) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted && separators.contains(&c) => {
                parts.push(&text[begin..at]);
                begin = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_servers_do() {
        for (one, other) in [
            ("cn=Jane,ou=People,dc=x", "CN = jane , OU= people ,DC=X"),
            (r"cn=Doe\, Jane,dc=x", r#"cn="Doe, Jane",dc=x"#),
            (r"cn=M\C3\BCller,dc=x", "cn=müller,dc=x"),
            ("cn=a+uid=b,dc=x", "uid=b + cn=a,dc=x"),
            ("cn=a  b,dc=x", "cn=a b,dc=x"),
            ("cn=a\\\u{a0},dc=x", "cn=a,dc=x"),
            (r"cn=a\+1,dc=x", r"cn=a\2B1,dc=x"),
        ] {
            assert_eq!(Dn::new(one), Dn::new(other), "{one}");
        }
        for (one, other) in [
            (r"cn=a\,dc=x", "cn=a,dc=x"),
            ("cn=a,dc=x", "cn=a,dc=y"),
            (r"cn=a\ ,dc=x", "cn=a\\\\,dc=x"),
        ] {
            assert_ne!(Dn::new(one), Dn::new(other), "{one}");
        }
    }

    #[test]
    fn what_is_within_a_base() {
        let within = |name: &str, base: &str| {
            let slow = Dn::new(name).is_within(&Dn::new(base));
            assert_eq!(Base::new(base).holds(name), slow, "{name} {base}");
            slow
        };
        assert!(within("cn=a,ou=p,dc=x", "OU=P, dc=x"));
        assert!(within("ou=p,dc=x", "ou=p,dc=x"));
        assert!(within("cn=a", ""));
        assert!(!within("cn=a,ou=xp,dc=x", "ou=p,dc=x"));
        assert!(!within("dc=x", "ou=p,dc=x"));
        assert!(within("CN=A b,OU=P,dc=x", "ou=p,dc=x"));
        assert!(within("cn=a,ou=p ,dc=x", "ou=p,dc=x"));
        assert!(!within("cn=a,ou=xp,dc=x", "p,dc=x"));
        assert!(!within(r"cn=a\,ou=p,dc=x", "ou=p,dc=x"));
    }
}
