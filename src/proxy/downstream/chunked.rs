//! Finds the end of a chunked body while its bytes pass through (RFC 9112 §7.1).
//!
//! SECURITY: the chunks themselves are read by Pingora, which is lenient: a line end inside an
//! extension, a size without digits, trailers that are not fields. A proxy in front that reads
//! these differently would see other requests on the same connection. Only an unambiguous body
//! passes here, so that what follows its end is known to be the next request.

/// Digits of a chunk size: enough for 64 bits.
const MAX_DIGITS: u8 = 16;

/// Bytes of a chunk's extensions, or of all trailers.
const MAX_EXTRAS: u16 = 4096;

/// A body that is being transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunked {
    state: State,
    /// Bytes of the current chunk that are still to come.
    left: u64,
    digits: u8,
    extras: u16,
}

/// What is expected next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The beginning of a trailer line, or the empty line that ends the body.
    Line,
    Name,
    Value,
    ValueLf,
    LastLf,
    Done,
    Broken,
}

/// The bytes are not a valid chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misframed;

impl Default for Chunked {
    fn default() -> Self {
        Self { state: State::Size, left: 0, digits: 0, extras: 0 }
    }
}

impl Chunked {
    /// Checks the next bytes; returns how many of them belong to the body. Fewer than all: the body
    /// has ended.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<usize, Misframed> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if self.state == State::Data {
                let there = (bytes.len() - at) as u64;
                let passed = there.min(self.left);
                self.left -= passed;
                at += passed as usize;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            self.state = self.step(bytes[at]);
            if self.state == State::Broken {
                return Err(Misframed);
            }
            at += 1;
        }
        Ok(at)
    }

    pub fn has_ended(&self) -> bool {
        self.state == State::Done
    }

    fn step(&mut self, byte: u8) -> State {
        use State as S;
        let text = matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        match (self.state, byte) {
            (S::Size, _) if byte.is_ascii_hexdigit() && self.digits < MAX_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.left = self.left << 4 | u64::from(digit);
                self.digits += 1;
                S::Size
            }
            (S::Size, b';') if self.digits > 0 => S::Extension,
            (S::Size, b'\r') if self.digits > 0 => S::SizeLf,
            (S::Extension, b'\r') => S::SizeLf,
            (S::Extension, _) if text => self.extra(S::Extension),
            (S::SizeLf, b'\n') if self.left > 0 => S::Data,
            (S::SizeLf, b'\n') => {
                self.extras = 0;
                S::Line
            }
            (S::DataCr, b'\r') => S::DataLf,
            (S::DataLf, b'\n') => {
                (self.digits, self.extras) = (0, 0);
                S::Size
            }
            (S::Line, b'\r') => S::LastLf,
            (S::Line | S::Name, _) if super::syntax::is_tchar(byte) => self.extra(S::Name),
            (S::Name, b':') => S::Value,
            (S::Value, b'\r') => S::ValueLf,
            (S::Value, _) if text => self.extra(S::Value),
            (S::ValueLf, b'\n') => S::Line,
            (S::LastLf, b'\n') => S::Done,
            _ => S::Broken,
        }
    }

    fn extra(&mut self, next: State) -> State {
        self.extras += 1;
        if self.extras > MAX_EXTRAS { State::Broken } else { next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far the body extends, however it is split into pieces.
    fn end(bytes: &[u8]) -> Result<Option<usize>, Misframed> {
        let in_pieces = |size| {
            let mut body = Chunked::default();
            let mut passed = 0;
            for piece in bytes.chunks(size) {
                passed += body.pass(piece)?;
            }
            Ok(body.has_ended().then_some(passed))
        };
        let whole = in_pieces(bytes.len());
        for size in [1, 2, 3, 7] {
            assert_eq!(in_pieces(size), whole);
        }
        whole
    }

    #[test]
    fn a_body_ends_after_its_last_line_and_nowhere_else() {
        for body in [
            "0\r\n\r\n",
            "000\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "A;a=b;c=\"d e\"\r\n0\r\n\r\n12345\r\n0\r\nX-A: 1\r\nX-B:\r\n\r\n",
        ] {
            let bytes = format!("{body}GET / HTTP/1.1\r\n");
            assert_eq!(end(bytes.as_bytes()), Ok(Some(body.len())), "{body:?}");
            assert_eq!(end(&body.as_bytes()[..body.len() - 1]), Ok(None), "{body:?}");
        }
    }

    #[test]
    fn a_body_that_readers_interpret_differently_is_malformed() {
        let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(5000));
        for body in [
            "\r\n\r\n",
            ";\r\n\r\n",
            "2;\nxx\r\n0\r\n\r\n",
            "1\na\r\n0\r\n\r\n",
            "1\r\nab\r\n0\r\n\r\n",
            "1 \r\na\r\n0\r\n\r\n",
            " 1\r\na\r\n0\r\n\r\n",
            "0x1\r\na\r\n0\r\n\r\n",
            "-1\r\na\r\n0\r\n\r\n",
            "11111111111111111\r\na",
            "0\r\nno field\r\n\r\n",
            "0\r\n: a\r\n\r\n",
            "0\r\nX-A: \0\r\n\r\n",
            "0\r\n\n",
            long.as_str(),
        ] {
            assert_eq!(end(body.as_bytes()), Err(Misframed), "{body:?}");
        }
    }
}
