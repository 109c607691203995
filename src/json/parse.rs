//! Parses bytes into a [`Document`]: RFC 8259, with additional limits, as Wire's parser has none.
//!
//! One pass and no recursion, so that depth takes no stack; every byte is read once, except in
//! strings with escapes, which are decoded meanwhile.

use super::{Document, Kind, Name, NameSet, Node};

/// How deep arrays and objects may be nested. Wire has no limit; no client sends 512 levels.
pub const MAX_DEPTH: usize = 512;

/// The longest number that is read, in characters.
pub const MAX_NUMBER: usize = 4096;

/// Why bytes are not a document, and the byte at which that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("{what} at byte {at}")]
    Syntax { at: usize, what: &'static str },
    #[error("nested deeper than {MAX_DEPTH} levels at byte {at}")]
    Depth { at: usize },
    #[error("a number of more than {MAX_NUMBER} characters at byte {at}")]
    Number { at: usize },
}

/// Parses one JSON document with nothing after it.
pub fn parse(bytes: &[u8]) -> Result<Document<'_>, JsonError> {
    let source = std::str::from_utf8(bytes)
        .map_err(|error| JsonError::Syntax { at: error.valid_up_to(), what: "invalid UTF-8" })?;
    if u32::try_from(bytes.len()).is_err() {
        return Err(JsonError::Syntax { at: 0, what: "more than 4 GiB" });
    }
    // A usual SCIM document has a node for every 10 bytes; a dense one makes the list grow.
    let nodes = Vec::with_capacity(bytes.len() / 8 + 4);
    let names = Vec::with_capacity(16);
    let document = Document { source, nodes, names, repeats: false, unescaped: String::new() };
    let mut parser = Parser { bytes, at: 0, document };
    parser.document()?;
    Ok(parser.document)
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    document: Document<'a>,
}

/// An array or object that is not closed yet.
struct Open {
    index: u32,
    len: u32,
    /// The names seen in an object; `None` for an array.
    seen: Option<NameSet>,
    repeats: bool,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<(), JsonError> {
        let mut open: Vec<Open> = Vec::with_capacity(16);
        loop {
            // A value begins here.
            self.skip_space();
            match self.peek() {
                Some(b'"') => self.string()?,
                Some(b'{') => {
                    self.open(Kind::Object, &mut open)?;
                    if self.peek() != Some(b'}') {
                        self.member(&mut open)?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.open(Kind::Array, &mut open)?;
                    if self.peek() != Some(b']') {
                        self.element(&mut open);
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // A value ended here: close what ends with it, up to the comma before the next one.
            loop {
                self.skip_space();
                let Some(top) = open.last() else {
                    return if self.at == self.bytes.len() {
                        Ok(())
                    } else {
                        self.fault("something after the end of the document")
                    };
                };
                let object = top.seen.is_some();
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        if object {
                            self.member(&mut open)?;
                        } else {
                            self.element(&mut open);
                        }
                        break;
                    }
                    Some(b'}') if object => self.close(&mut open),
                    Some(b']') if !object => self.close(&mut open),
                    None => return self.fault("the document ends too early"),
                    Some(_) if object => return self.fault("no comma or } after a value"),
                    Some(_) => return self.fault("no comma or ] after a value"),
                }
            }
        }
    }

    /// Begins an array or object, up to its first element or its end.
    fn open(&mut self, kind: Kind, open: &mut Vec<Open>) -> Result<(), JsonError> {
        if open.len() == MAX_DEPTH {
            return Err(JsonError::Depth { at: self.at });
        }
        let index = self.document.nodes.len() as u32;
        let seen = (kind == Kind::Object).then(NameSet::default);
        open.push(Open { index, len: 0, seen, repeats: false });
        self.push(kind, self.document.names.len(), 0);
        if seen.is_some() {
            self.document.names.push(NameSet::default());
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn close(&mut self, open: &mut Vec<Open>) {
        self.at += 1;
        let Some(closed) = open.pop() else { return };
        let end = self.document.nodes.len() as u32;
        let node = &mut self.document.nodes[closed.index as usize];
        node.len = closed.len;
        node.mark = u8::from(closed.repeats);
        node.end = end;
        if let Some(seen) = closed.seen {
            self.document.names[node.start as usize] = seen;
        }
        self.document.repeats |= closed.repeats;
    }

    fn element(&mut self, open: &mut [Open]) {
        if let Some(top) = open.last_mut() {
            top.len += 1;
        }
    }

    /// Reads a key, up to where its value begins.
    fn member(&mut self, open: &mut [Open]) -> Result<(), JsonError> {
        self.skip_space();
        let name = self.key()?;
        if let Some(top) = open.last_mut() {
            top.len += 1;
            if let (Some(seen), Some(name)) = (&mut top.seen, name) {
                top.repeats |= !seen.insert(name);
            }
        }
        Ok(())
    }

    /// A key and its colon, up to where the value begins.
    fn key(&mut self) -> Result<Option<Name>, JsonError> {
        if self.peek() != Some(b'"') {
            return self.fault("no name in quotes where a member begins");
        }
        let start = self.at + 1;
        self.string()?;
        let written = &self.bytes[start..self.at - 1];
        let key = self.document.nodes.len() - 1;
        let node = self.document.nodes[key];
        // Most keys are found as they are written.
        let name = match Name::of_ascii(written) {
            None if node.kind == Kind::Escaped || !written.is_ascii() => {
                Name::of(self.document.text(node))
            }
            found => found,
        };
        self.document.nodes[key].mark = name.map_or(0, |name| name as u8 + 1);
        self.skip_space();
        if self.peek() != Some(b':') {
            return self.fault("no colon after a name");
        }
        self.at += 1;
        Ok(name)
    }

    fn scalar(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true", Kind::True),
            Some(b'f') => self.word(b"false", Kind::False),
            Some(b'n') => self.word(b"null", Kind::Null),
            Some(_) => self.fault("no value where one is expected"),
            None => self.fault("the document ends too early"),
        }
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<(), JsonError> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.fault("no value where one is expected");
        }
        self.push(kind, self.at, word.len());
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.skip_byte(b'-');
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.fault("a number without digits"),
        }
        if self.skip_byte(b'.') {
            self.digits()?;
        }
        if self.skip_byte(b'e') || self.skip_byte(b'E') {
            let _ = self.skip_byte(b'+') || self.skip_byte(b'-');
            self.digits()?;
        }
        if self.at - start > MAX_NUMBER {
            return Err(JsonError::Number { at: start });
        }
        self.push(Kind::Number, start, self.at - start);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.fault("a number that breaks off") } else { Ok(()) }
    }

    /// A string, whose opening quote is at `self.at`.
    fn string(&mut self) -> Result<(), JsonError> {
        let start = self.at + 1;
        self.at = plain_until(self.bytes, start);
        match self.peek() {
            Some(b'"') => {
                self.push(Kind::Plain, start, self.at - start);
                self.at += 1;
                Ok(())
            }
            Some(b'\\') => self.escaped_string(start),
            Some(_) => self.fault("a control character in a string (write it as \\u00XX)"),
            None => self.fault("a string without its closing quote"),
        }
    }

    /// A string whose first escape is at `self.at`.
    fn escaped_string(&mut self, start: usize) -> Result<(), JsonError> {
        let into = self.document.unescaped.len();
        let mut run = start;
        loop {
            self.document.unescaped.push_str(&self.document.source[run..self.at]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => {
                    return self.fault("a control character in a string (write it as \\u00XX)");
                }
                None => return self.fault("a string without its closing quote"),
            }
            run = self.at;
            self.at = plain_until(self.bytes, run);
        }
        let len = self.document.unescaped.len() - into;
        self.push(Kind::Escaped, into, len);
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let letter = self.bytes.get(self.at + 1).copied();
        let plain = match letter {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let character = self.unicode_escape()?;
                self.document.unescaped.push(character);
                return Ok(());
            }
            _ => return self.fault("an unknown escape in a string"),
        };
        self.document.unescaped.push(plain);
        self.at += 2;
        Ok(())
    }

    /// `\u` and four hexadecimal digits, or two such escapes that form a surrogate pair.
    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let high = self.hex4()?;
        self.at += 6;
        let code = match high {
            0xD800..=0xDBFF => {
                if !self.bytes[self.at..].starts_with(b"\\u") {
                    return self.fault("half of a surrogate pair in a string");
                }
                let low = self.hex4()?;
                if !(0xDC00..=0xDFFF).contains(&low) {
                    return self.fault("half of a surrogate pair in a string");
                }
                self.at += 6;
                0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
            }
            code => code,
        };
        match char::from_u32(code) {
            Some(character) => Ok(character),
            None => self.fault("half of a surrogate pair in a string"),
        }
    }

    /// The four digits of the `\u` escape that begins at `self.at`.
    fn hex4(&self) -> Result<u32, JsonError> {
        let digits = self.bytes.get(self.at + 2..self.at + 6);
        digits
            .and_then(|digits| {
                digits
                    .iter()
                    .try_fold(0, |code, byte| Some(code * 16 + (*byte as char).to_digit(16)?))
            })
            .ok_or(JsonError::Syntax { at: self.at, what: "a \\u escape without four digits" })
    }

    fn push(&mut self, kind: Kind, start: usize, len: usize) {
        let end = self.document.nodes.len() as u32 + 1;
        let (start, len) = (start as u32, len as u32);
        self.document.nodes.push(Node { kind, mark: 0, start, len, end });
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_byte(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn skip_space(&mut self) {
        if self.peek().is_some_and(|byte| byte > b' ') {
            return;
        }
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn fault<T>(&self, what: &'static str) -> Result<T, JsonError> {
        Err(JsonError::Syntax { at: self.at, what })
    }
}

/// Where a string's run of plain characters ends: at a quote, a backslash, a control character, or
/// the end of the bytes.
pub(super) fn plain_until(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let mut at = from;
    // Eight bytes at a time; each term sets the high bit of a byte that ends the run. A borrow may
    // set that of later bytes too, but the first one is true.
    while let Some(word) = bytes.get(at..at + 8).and_then(|word| word.try_into().ok()) {
        let word = u64::from_le_bytes(word);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let ends = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if ends & HIGHS != 0 {
            return at + ((ends & HIGHS).trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
        at += 1;
    }
    at
}
