//! Email addresses as Wire parses them: the grammar of RFC 5322 with comments, folds and quoted
//! strings, ASCII only, with the lengths of RFC 5321.
//!
//! An own implementation, because Wire stores the canonical form (without comments, folds, outer
//! spaces and the trailing dot) and no maintained crate accepts the same addresses and yields that
//! form.

/// Whether Wire accepts `text` as an email address.
pub fn is_address(text: &str) -> bool {
    is_plain(text.as_bytes()) || canonical(text).is_some()
}

/// The address in the form that Wire stores; `None` if `text` is not an address.
pub fn canonical(text: &str) -> Option<String> {
    if is_plain(text.as_bytes()) {
        return Some(text.to_owned());
    }
    let mut reader =
        Reader { bytes: text.as_bytes(), at: 0, out: String::with_capacity(text.len()) };
    reader.local()?;
    let local = reader.out.len();
    if local > MAX_LOCAL || !reader.skip(b'@') {
        return None;
    }
    reader.out.push('@');
    reader.domain()?;
    (reader.at == text.len()
        && reader.out.len() <= MAX_ADDRESS
        && reader.out.len() - local - 1 <= MAX_DOMAIN)
        .then_some(reader.out)
}

const MAX_LOCAL: usize = 64;
const MAX_LABEL: usize = 63;
const MAX_DOMAIN: usize = 253;
const MAX_ADDRESS: usize = 254;

/// The form of nearly every address: dotted atoms, `@`, dotted labels; nothing to remove.
fn is_plain(bytes: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b'@', bytes) else { return false };
    let (local, domain) = (&bytes[..at], &bytes[at + 1..]);
    local.len() <= MAX_LOCAL
        && bytes.len() <= MAX_ADDRESS
        && local
            .split(|b| *b == b'.')
            .all(|atom| !atom.is_empty() && atom.iter().all(|b| is_atext(*b)))
        && domain.split(|b| *b == b'.').all(is_label)
}

fn is_label(label: &[u8]) -> bool {
    label.len() <= MAX_LABEL
        && label.first().is_some_and(u8::is_ascii_alphanumeric)
        && label.last() != Some(&b'-')
        && label.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

/// The control characters that may appear unquoted (obs-NO-WS-CTL of RFC 5322).
fn is_obsolete_control(byte: u8) -> bool {
    matches!(byte, 0x01..=0x08 | 0x0b | 0x0c | 0x0e..=0x1f | 0x7f)
}

fn is_qtext(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e) || is_obsolete_control(byte)
}

fn is_ctext(byte: u8) -> bool {
    matches!(byte, 0x21..=0x27 | 0x2a..=0x5b | 0x5d..=0x7e) || is_obsolete_control(byte)
}

fn is_dtext(byte: u8) -> bool {
    matches!(byte, 0x21..=0x5a | 0x5e..=0x7e) || is_obsolete_control(byte)
}

/// Reads an address and writes its canonical form.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    out: String,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Copies bytes while they are of a kind; returns how many.
    fn copy_while(&mut self, kind: fn(u8) -> bool) -> usize {
        let start = self.at;
        while let Some(byte) = self.peek().filter(|b| kind(*b)) {
            self.out.push(char::from(byte));
            self.at += 1;
        }
        self.at - start
    }

    /// Pieces joined by dots; spaces and comments around each.
    fn local(&mut self) -> Option<()> {
        loop {
            self.blanks_and_comments();
            if self.peek() == Some(b'"') {
                self.quoted()?;
            } else if self.copy_while(is_atext) == 0 {
                return None;
            }
            self.blanks_and_comments();
            if !self.skip(b'.') {
                return Some(());
            }
            self.out.push('.');
        }
    }

    fn quoted(&mut self) -> Option<()> {
        self.at += 1;
        self.out.push('"');
        loop {
            self.fold();
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    let escaped = *self.bytes.get(self.at + 1).filter(|b| b.is_ascii())?;
                    self.out.push('\\');
                    self.out.push(char::from(escaped));
                    self.at += 2;
                }
                _ => {
                    if self.copy_while(is_qtext) == 0 {
                        return None;
                    }
                }
            }
        }
        self.at += 1;
        self.out.push('"');
        Some(())
    }

    fn domain(&mut self) -> Option<()> {
        self.blanks_and_comments();
        if self.skip(b'[') {
            self.literal()?;
            self.blanks_and_comments();
            return Some(());
        }
        let mut first = true;
        loop {
            let before = (self.at, self.out.len());
            if !first {
                self.out.push('.');
            }
            self.blanks_and_comments();
            let label = self.out.len();
            if self.peek().is_some_and(|b| b.is_ascii_alphanumeric()) {
                self.copy_while(|b| b.is_ascii_alphanumeric() || b == b'-');
            }
            if !is_label(&self.out.as_bytes()[label..]) {
                // What follows the last dot is not a label: the dot was the trailing one.
                (self.at, _) = before;
                self.out.truncate(before.1);
                return (!first).then_some(());
            }
            first = false;
            self.blanks_and_comments();
            if !self.skip(b'.') {
                return Some(());
            }
        }
    }

    /// The content of brackets, of which the first was read.
    fn literal(&mut self) -> Option<()> {
        self.out.push('[');
        loop {
            self.fold();
            if self.skip(b']') {
                self.out.push(']');
                return Some(());
            }
            if self.copy_while(is_dtext) == 0 {
                return None;
            }
        }
    }

    fn blanks_and_comments(&mut self) {
        while self.comment() || self.fold() {}
    }

    /// A comment, with those nested in it; consumes nothing if there is none.
    fn comment(&mut self) -> bool {
        if self.peek() != Some(b'(') {
            return false;
        }
        let start = self.at;
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\\' if self.bytes.get(self.at + 1).is_some_and(u8::is_ascii) => self.at += 1,
                _ if is_ctext(byte) => {}
                _ => {
                    if !self.fold() {
                        break;
                    }
                    continue;
                }
            }
            self.at += 1;
            if depth == 0 {
                return true;
            }
        }
        self.at = start;
        false
    }

    /// Spaces with at most one line end in between, or line ends each followed by spaces.
    fn fold(&mut self) -> bool {
        let start = self.at;
        if self.blanks() {
            self.line_end_and_blanks();
        } else {
            while self.line_end_and_blanks() {}
        }
        self.at > start
    }

    fn blanks(&mut self) -> bool {
        let start = self.at;
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
        self.at > start
    }

    fn line_end_and_blanks(&mut self) -> bool {
        let start = self.at;
        if self.bytes[self.at..].starts_with(b"\r\n") {
            self.at += 2;
            if self.blanks() {
                return true;
            }
        }
        self.at = start;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        for (written, stored) in [
            ("a@b", "a@b"),
            (" a @ b.de ", "a@b.de"),
            ("\"a b\"@c", "\"ab\"@c"),
            ("A.\"q\".z@x", "A.\"q\".z@x"),
            ("(x(y)\\))a@(c)b.(d)e", "a@b.e"),
            ("a@[127.0. 0.1]", "a@[127.0.0.1]"),
            ("a@b.", "a@b"),
            ("a\r\n @b", "a@b"),
            ("\"\"@b", "\"\"@b"),
        ] {
            assert_eq!(canonical(written).as_deref(), Some(stored), "{written:?}");
        }
    }

    #[test]
    fn invalid_addresses() {
        for text in [
            "",
            "a",
            "@b",
            "a@",
            "a..b@c",
            ".a@b",
            "a@-b",
            "a@b-",
            "a@b_c",
            "a@b. ",
            "a@b..",
            "ä@b",
            "a@ä",
            "a b@c",
            "a@b\n",
            "a\r\n@b",
            "(a@b",
            "\"a@b",
            "a@[b",
            "a@b@c",
            "a@[a\\]b]",
        ] {
            assert!(!is_address(text), "{text:?}");
        }
    }

    #[test]
    fn lengths_are_those_of_the_canonical_form() {
        let x = |n: usize| "x".repeat(n);
        assert!(is_address(&format!("{}@b", x(64))));
        assert!(!is_address(&format!("{}@b", x(65))));
        assert!(is_address(&format!("(comment){}@b", x(64))));
        assert!(is_address(&format!("a@{}", x(63))));
        assert!(!is_address(&format!("a@{}", x(64))));
        let domain = format!("{0}.{0}.{0}.{1}", x(63), x(60));
        assert!(is_address(&format!("a@{domain}")));
        assert!(!is_address(&format!("ab@{domain}")));
    }
}
