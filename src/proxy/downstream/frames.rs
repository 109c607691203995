//! Tracks where the frames of an HTTP/2 connection begin and end, to know how much its codec holds
//! of an incomplete head.

/// The header of a frame (RFC 9113 §4.1).
const HEADER: usize = 9;

/// The bytes that a connection begins with (RFC 9113 §3.4).
const PREFACE: usize = 24;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Memory that the codec takes for each byte of a head that arrives in pieces: the bytes, their
/// text and the fields. Measured.
const COST: usize = 3;

/// Follows what a client sends, from the preface on.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Frames {
    /// The part of a frame header that has arrived.
    header: [u8; HEADER],
    have: usize,
    /// Bytes of the current frame that have not arrived yet.
    left: usize,
    /// Whether the current frame is the last one of a head.
    ends_head: bool,
    /// Bytes of the incomplete head; 0 for none.
    head: usize,
}

impl Frames {
    /// The state before a connection's preface.
    pub(in crate::proxy) fn new() -> Self {
        Self { left: PREFACE, ..Self::default() }
    }

    /// Processes bytes that were read.
    pub(in crate::proxy) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                if self.head > 0 {
                    self.head += taken;
                }
                bytes = &bytes[taken..];
                self.end_frame();
                continue;
            }
            let taken = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEADER {
                self.begin_frame();
            }
        }
    }

    fn begin_frame(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        self.have = 0;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.head += HEADER;
            self.ends_head = flags & END_HEADERS != 0;
        }
        self.end_frame();
    }

    fn end_frame(&mut self) {
        if self.left == 0 && self.ends_head {
            self.head = 0;
            self.ends_head = false;
        }
    }

    /// How much the codec holds of an incomplete head, in bytes.
    pub(in crate::proxy) fn held(&self) -> usize {
        COST * self.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, size: usize) -> Vec<u8> {
        let length = (size as u32).to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER + size, b'a');
        frame
    }

    #[test]
    fn a_head_is_held_until_its_end_however_it_is_split() {
        let bytes = [
            frame(4, 0, 12),
            frame(HEADERS, 0, 100),
            frame(CONTINUATION, 0, 50),
            frame(CONTINUATION, END_HEADERS, 0),
            frame(0, 1, 70),
            frame(HEADERS, END_HEADERS, 30),
        ]
        .concat();
        let held = |upto: usize, step: usize| {
            let mut frames = Frames::default();
            bytes[..upto].chunks(step).for_each(|chunk| frames.pass(chunk));
            frames.held()
        };
        for step in [1, 2, 7, 64, 1000] {
            let settings = HEADER + 12;
            assert_eq!(held(settings, step), 0, "{step}");
            assert_eq!(held(settings + HEADER + 100, step), COST * (HEADER + 100), "{step}");
            let continued = settings + HEADER + 100 + HEADER + 50;
            assert_eq!(held(continued, step), COST * (2 * HEADER + 150), "{step}");
            assert_eq!(held(continued + HEADER, step), 0, "{step}");
            assert_eq!(held(bytes.len() - 1, step), COST * (HEADER + 29), "{step}");
            assert_eq!(held(bytes.len(), step), 0, "{step}");
        }
    }
}
