//! Where each value of a document is in its source. Only code that edits a body needs that, so it
//! is not kept while the document is parsed.

use std::ops::Range;

use super::{Document, Kind, Object, Value};

/// The position of every value and key of a document, in bytes.
#[derive(Debug)]
pub struct Spans(Vec<(u32, u32)>);

impl Spans {
    /// Finds them in one pass over the source, following the nodes.
    pub fn of(document: &Document<'_>) -> Self {
        let source = document.source.as_bytes();
        let mut spans: Vec<(u32, u32)> = Vec::with_capacity(document.nodes.len());
        let mut open: Vec<usize> = Vec::new();
        let mut at = 0;
        while let Some(byte) = source.get(at) {
            let start = at;
            at += 1;
            match byte {
                b'}' | b']' => {
                    if let Some(span) = open.pop().and_then(|index| spans.get_mut(index)) {
                        span.1 = at as u32;
                    }
                }
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => {}
                _ => {
                    let Some(node) = document.nodes.get(spans.len()) else { break };
                    match node.kind {
                        Kind::Object | Kind::Array => open.push(spans.len()),
                        Kind::Plain => at += node.len as usize + 1,
                        Kind::Escaped => at = end_of_string(source, at),
                        Kind::Null | Kind::True | Kind::False | Kind::Number => {
                            at = start + node.len as usize;
                        }
                    }
                    spans.push((start as u32, at as u32));
                }
            }
        }
        Self(spans)
    }

    /// Where a value is, with the quotes or brackets around it.
    pub fn of_value(&self, value: Value<'_>) -> Range<usize> {
        self.0.get(value.index as usize).map_or(0..0, |(start, end)| *start as usize..*end as usize)
    }

    /// Where an object is.
    pub fn of_object(&self, object: Object<'_>) -> Range<usize> {
        self.of_value(object.0)
    }
}

/// The byte after the closing quote of a string that continues at `at`.
fn end_of_string(source: &[u8], mut at: usize) -> usize {
    while let Some(found) = memchr::memchr2(b'"', b'\\', source.get(at..).unwrap_or_default()) {
        at += found;
        if source[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    source.len()
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use crate::json::Type;

    #[test]
    fn every_value_is_found_where_it_is_written() {
        let source = r#" { "a" : [1 , -2.5e3,"x\"\\" , {}],"\u0062":{"c":null ,"d":true}, "e":[ ],"é":"ü"} "#;
        let document = parse(source.as_bytes()).unwrap();
        let spans = Spans::of(&document);
        let mut written = Vec::new();
        let mut values = vec![document.root()];
        while let Some(value) = values.pop() {
            written.push(&source[spans.of_value(value)]);
            match value.get() {
                Type::Array(list) => values.extend(list.elements()),
                Type::Object(object) => values.extend(object.members().map(|member| member.value)),
                _ => {}
            }
        }
        assert_eq!(written[0], source.trim());
        written.sort_unstable();
        assert_eq!(
            written[..],
            [
                r#""x\"\\""#,
                r#""ü""#,
                "-2.5e3",
                "1",
                r#"[ ]"#,
                r#"[1 , -2.5e3,"x\"\\" , {}]"#,
                "null",
                "true",
                r#"{ "a" : [1 , -2.5e3,"x\"\\" , {}],"\u0062":{"c":null ,"d":true}, "e":[ ],"é":"ü"}"#,
                r#"{"c":null ,"d":true}"#,
                "{}",
            ]
        );
        for scalar in ["\"a\"", "1", " null "] {
            let document = parse(scalar.as_bytes()).unwrap();
            assert_eq!(&scalar[Spans::of(&document).of_value(document.root())], scalar.trim());
        }
    }
}
