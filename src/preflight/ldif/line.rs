//! Logical lines of LDIF: folded physical lines are joined, comments are recognised, and values of
//! other attributes are skipped without being kept.

use std::io::{self, BufRead};

/// The maximum size of a value that is kept, as it is written, in bytes.
const MAX_LINE: usize = 4 << 20;

/// The maximum number of bytes before the colon.
const MAX_NAME: usize = 4096;

/// The kind of a logical line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The end of the file.
    End,
    Blank,
    Comment,
    /// A name and a value.
    Attribute,
    Broken(&'static str),
}

/// The separator between name and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    /// `:`
    Plain,
    /// `::`
    Base64,
    /// `:<`
    Url,
}

/// Reads the logical lines of one file. The content of a line is available until the next one is
/// read.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    position: u64,
    /// The number of the physical line that was read last.
    physical: u64,
    /// The number of the first physical line of the logical one.
    number: u64,
    last: Line,
    text: Vec<u8>,
    colon: Option<usize>,
    kept: bool,
    too_long: bool,
    unkept: Unkept,
}

/// What is known about base64 that is not kept.
#[derive(Debug, Default)]
struct Unkept {
    digits: u64,
    padding: u64,
    /// Other characters, or characters in another order, were found.
    wrong: bool,
    blank: bool,
}

impl<R: BufRead> Lines<R> {
    pub fn new(input: R) -> Self {
        Self {
            input,
            position: 0,
            physical: 0,
            number: 0,
            last: Line::Blank,
            text: Vec::new(),
            colon: None,
            kept: true,
            too_long: false,
            unkept: Unkept::default(),
        }
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the line that was read last ends a record.
    pub fn at_record_end(&self) -> bool {
        matches!(self.last, Line::End | Line::Blank)
    }

    /// Whether the file begins as UTF-16 does; skips the byte order mark of UTF-8. To be called at
    /// the start.
    pub fn starts_in_utf16(&mut self) -> io::Result<bool> {
        if self.position > 0 {
            return Ok(false);
        }
        // Byte by byte, as a pipe may return one at a time. No record begins with any of these.
        for mark in [0xEF, 0xBB, 0xBF] {
            if self.peek()? == Some(mark) {
                self.consume(1);
            }
        }
        Ok(matches!(self.peek()?, Some(0xFE | 0xFF)))
    }

    /// Reads the next logical line; keeps its value if `wanted` returns true for its name.
    pub fn next(&mut self, wanted: &dyn Fn(&[u8]) -> bool) -> io::Result<Line> {
        self.last = self.read(wanted)?;
        Ok(self.last)
    }

    fn read(&mut self, wanted: &dyn Fn(&[u8]) -> bool) -> io::Result<Line> {
        self.text.clear();
        self.colon = None;
        self.kept = true;
        self.too_long = false;
        self.unkept = Unkept::default();
        self.number = self.physical + 1;
        let first = self.peek()?;
        match first {
            None => return Ok(Line::End),
            Some(b' ') => {
                self.kept = false;
                self.physical_line(&|_| false)?;
                return Ok(Line::Broken(
                    "a line begins with a blank, and there is none before it that it continues",
                ));
            }
            Some(_) => {}
        }
        let is_comment = first == Some(b'#');
        self.kept = !is_comment;
        loop {
            self.physical_line(wanted)?;
            if self.text.is_empty() && self.kept && self.colon.is_none() {
                return Ok(Line::Blank);
            }
            if self.peek()? != Some(b' ') {
                break;
            }
            self.consume(1);
        }
        Ok(match self.colon {
            _ if is_comment => Line::Comment,
            _ if self.too_long => Line::Broken("the line is longer than 4 MiB"),
            None => Line::Broken("there is no colon"),
            Some(_) => Line::Attribute,
        })
    }

    /// The name of the line.
    pub fn name(&self) -> &[u8] {
        &self.text[..self.colon.unwrap_or(0)]
    }

    pub fn separator(&self) -> Separator {
        match self.colon.and_then(|colon| self.text.get(colon + 1)) {
            Some(b':') => Separator::Base64,
            Some(b'<') => Separator::Url,
            _ => Separator::Plain,
        }
    }

    /// The value of the line as written, without the blanks before it.
    pub fn value(&self) -> &[u8] {
        let skipped = match self.separator() {
            Separator::Plain => 1,
            Separator::Base64 | Separator::Url => 2,
        };
        let value = self.text.get(self.colon.unwrap_or(0) + skipped..).unwrap_or_default();
        let blanks = value.iter().take_while(|byte| **byte == b' ').count();
        &value[blanks..]
    }

    /// Whether the value that was not kept is base64.
    pub fn unkept_is_base64(&self) -> bool {
        let Unkept { digits, padding, wrong, .. } = self.unkept;
        !wrong && padding <= 2 && (digits + padding).is_multiple_of(4)
    }

    /// Adds the next physical line to the logical one.
    fn physical_line(&mut self, wanted: &dyn Fn(&[u8]) -> bool) -> io::Result<()> {
        let mut ends_in_cr = false;
        self.physical += 1;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let (piece, ends) = match memchr::memchr(b'\n', chunk) {
                Some(end) => (&chunk[..end], true),
                None => (chunk, false),
            };
            let taken = piece.len() + usize::from(ends);
            if let Some(last) = piece.last() {
                // A carriage return belongs to the line end if it is the last byte of the line.
                if ends_in_cr {
                    if self.kept {
                        self.text.push(b'\r');
                    } else {
                        self.unkept.take(b"\r");
                    }
                }
                ends_in_cr = *last == b'\r';
                let piece = &piece[..piece.len() - usize::from(ends_in_cr)];
                if self.kept {
                    self.text.extend_from_slice(piece);
                } else if self.colon.is_some_and(|colon| self.text.get(colon + 1) == Some(&b':')) {
                    self.unkept.take(piece);
                }
            }
            self.input.consume(taken);
            self.position += taken as u64;
            if self.kept {
                self.sort_out(wanted);
            }
            if ends {
                break;
            }
        }
        Ok(())
    }

    /// Looks for the colon in what was read so far, and drops what is not wanted.
    fn sort_out(&mut self, wanted: &dyn Fn(&[u8]) -> bool) {
        if self.colon.is_none() {
            let name = &self.text[..self.text.len().min(MAX_NAME + 1)];
            self.colon = memchr::memchr(b':', name);
            if self.colon.is_none() {
                if self.text.len() > MAX_NAME {
                    self.kept = false;
                    self.text.truncate(MAX_NAME);
                }
                return;
            }
        }
        let Some(colon) = self.colon else { return };
        if self.text.len() > colon + 2 && !wanted(&self.text[..colon]) {
            self.kept = false;
            if self.text[colon + 1] == b':' {
                let value = self.text.split_off(colon + 2);
                self.unkept.take(&value);
            } else {
                self.text.truncate(colon + 2);
            }
        } else if self.text.len() > MAX_LINE {
            self.kept = false;
            self.too_long = true;
            self.text.truncate(colon + 2);
        }
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.input.fill_buf()?.first().copied())
    }

    fn consume(&mut self, bytes: usize) {
        self.input.consume(bytes);
        self.position += bytes as u64;
    }
}

impl Unkept {
    fn take(&mut self, piece: &[u8]) {
        let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        if self.padding == 0 && !self.blank && piece.iter().all(is_digit) {
            // Nearly all lines of a photo take this path.
            self.digits += piece.len() as u64;
            return;
        }
        for byte in piece {
            match byte {
                b' ' if self.digits == 0 && self.padding == 0 => {}
                b' ' => self.blank = true,
                _ if self.blank => self.wrong = true,
                b'=' => self.padding += 1,
                _ if self.padding > 0 => self.wrong = true,
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => self.digits += 1,
                _ => self.wrong = true,
            }
        }
    }
}
