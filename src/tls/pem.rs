//! The blocks of a PEM file (RFC 7468), with the lines on which they begin.

use rustls::pki_types::pem::{PemObject, SectionKind};

/// One block, and what it encodes.
pub struct Block<'t> {
    pub label: &'t str,
    /// The line on which it begins, counted from 1.
    pub line: usize,
    text: &'t [u8],
}

/// An error in a file, and its line if it concerns only a part of it.
pub type Fault = (Option<usize>, String);

impl Block<'_> {
    /// SECURITY: the caller must not show a key.
    pub fn der(&self) -> Result<(SectionKind, Vec<u8>), Fault> {
        <(SectionKind, Vec<u8>)>::from_pem_slice(self.text).map_err(|_| {
            let why = format!("the block {} that begins here is not Base64", self.label);
            (Some(self.line), why)
        })
    }

    /// Whether a password is needed to read it.
    pub fn is_encrypted(&self) -> bool {
        let is_header =
            |line: &[u8]| line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
        self.label == "ENCRYPTED PRIVATE KEY"
            || self.text.split(|byte| *byte == b'\n').any(|line| is_header(line.trim_ascii()))
    }
}

/// Finds the blocks of a file; text between them is a comment.
pub fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, Fault> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, usize, usize)> = None;
    let mut begin = 0;
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let (number, end) = (index + 1, begin + line.len());
        let line = line.trim_ascii();
        if let Some(label) = marked(line, b"-----BEGIN ") {
            if let Some((label, line, _)) = open {
                return Err(unfinished(label, line));
            }
            open = Some((label, number, begin));
        } else if let Some(ended) = marked(line, b"-----END ") {
            match open.take() {
                Some((label, line, begin)) if label == ended => {
                    blocks.push(Block { label, line, text: &text[begin..end] });
                }
                Some((label, line, _)) => return Err(unfinished(label, line)),
                None => {
                    let why = format!("a block {ended} ends here without a beginning");
                    return Err((Some(number), why));
                }
            }
        } else if contains(line, b"-----BEGIN ") || contains(line, b"-----END ") {
            let why = "the marks of PEM blocks (-----BEGIN ...-----) must be on lines of their own";
            return Err((Some(number), why.into()));
        }
        begin = end;
    }
    match open {
        Some((label, line, _)) => Err(unfinished(label, line)),
        None if blocks.is_empty() => Err((None, without_blocks(text).into())),
        None => Ok(blocks),
    }
}

fn marked<'t>(line: &'t [u8], mark: &[u8]) -> Option<&'t str> {
    let label = line.strip_prefix(mark)?.strip_suffix(b"-----")?;
    std::str::from_utf8(label).ok().filter(|label| !label.contains("-----"))
}

fn contains(line: &[u8], what: &[u8]) -> bool {
    line.windows(what.len()).any(|window| window == what)
}

fn unfinished(label: &str, line: usize) -> Fault {
    (Some(line), format!("the block {label} that begins here has no end (-----END {label}-----)"))
}

fn without_blocks(text: &[u8]) -> &'static str {
    match text {
        [] => "the file is empty",
        // A sequence, with which every certificate and key begins.
        [0x30, ..] => {
            "this is DER; convert it to PEM, for a certificate with openssl x509 -inform der, for a key with \
             openssl pkey -inform der"
        }
        _ => {
            "there is no PEM block in it (-----BEGIN CERTIFICATE----- or -----BEGIN PRIVATE KEY-----)"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_comments_with_their_lines() {
        let text = "subject=a\n-----BEGIN A-----\nAAAA\n-----END A-----\r\n\n-----BEGIN B C-----\nAAAA\n-----END B C-----";
        let blocks = blocks(text.as_bytes()).unwrap();
        let found: Vec<_> = blocks.iter().map(|block| (block.label, block.line)).collect();
        assert_eq!(found, [("A", 2), ("B C", 6)]);
    }

    #[test]
    fn each_fault_of_a_file_has_its_line() {
        for (text, line, why) in [
            ("", None, "empty"),
            ("0\u{82}", None, "DER"),
            ("hello", None, "no PEM block"),
            ("x\n-----BEGIN A-----\nAAAA\n", Some(2), "no end"),
            ("-----BEGIN A-----\n-----BEGIN A-----\n", Some(1), "no end"),
            ("-----BEGIN A-----\n-----END B-----\n", Some(1), "no end"),
            ("\n-----END A-----\n", Some(2), "without a beginning"),
            (
                "-----BEGIN A-----\n-----END A----------BEGIN A-----\n",
                Some(2),
                "lines of their own",
            ),
        ] {
            let (at, found) = blocks(text.as_bytes()).err().unwrap();
            assert_eq!(at, line, "{text}");
            assert!(found.contains(why), "{found}");
        }
        let text = b"\n-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n";
        assert_eq!(blocks(text).unwrap()[0].der().err().unwrap().0, Some(2));
    }
}
