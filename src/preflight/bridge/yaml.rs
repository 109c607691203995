//! YAML as the bridge's library parses it, which differs from this program's own config: aliases
//! and merge keys work, of equal keys the last one is used, and unquoted words such as `yes` are
//! booleans.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::input::diagnostic::At;

/// Limits on the number of values and on nesting: far more than any config needs.
const MAX_NODES: usize = 100_000;
const MAX_DEPTH: usize = 64;
const TOO_LARGE: &str = "this is larger or more deeply nested than a config can be";

#[derive(Debug, Clone)]
pub struct Node {
    pub at: At,
    pub value: Rc<Value>,
    /// Of how many values each is within the other, with those of aliases.
    depth: usize,
}

#[derive(Debug)]
pub enum Value {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// Keys in the order of the file, each once.
    Map(Vec<Member>),
}

#[derive(Debug, Clone)]
pub struct Member {
    pub key: String,
    pub at: At,
    pub value: Node,
}

/// Why there is no document, as a sentence.
#[derive(Debug)]
pub struct Unreadable {
    pub at: At,
    pub why: String,
}

/// A collection that is not closed yet.
struct Open {
    at: At,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { members: Vec<Member>, merged: Vec<Node>, key: Option<(String, At)> },
}

/// Parses the only document of a text.
pub fn read(text: &str) -> Result<Node, Unreadable> {
    let unreadable = |at, why: String| Err(Unreadable { at, why });
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // SECURITY: the parser would treat a NUL as the end of the text.
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    if let Some((index, c)) = text.char_indices().find(|(_, c)| control(*c)) {
        let why =
            format!("the control character U+{:04X} is not allowed here; remove it", u32::from(c));
        return unreadable(At::of(text, index), why);
    }
    let mut parser = Parser::new_from_str(text);
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    let (mut root, mut documents, mut nodes) = (None, 0, 0);
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let at = place(*error.marker());
                return unreadable(at, format!("this is not YAML: {}", error.info()));
            }
        };
        let at = place(span.start);
        nodes += 1;
        if nodes > MAX_NODES || open.len() > MAX_DEPTH {
            return unreadable(at, TOO_LARGE.into());
        }
        let (node, anchor) = match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return unreadable(
                        at,
                        "a second document begins here; the bridge reads one".into(),
                    );
                }
                continue;
            }
            Event::SequenceStart(anchor, _) => {
                open.push(Open { at, anchor, content: Content::List(Vec::new()) });
                continue;
            }
            Event::MappingStart(anchor, _) => {
                let content = Content::Map { members: Vec::new(), merged: Vec::new(), key: None };
                open.push(Open { at, anchor, content });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open { at, anchor, content: Content::List(items) }) => {
                    (node(at, Value::List(items)), anchor)
                }
                Some(Open { at, anchor, content: Content::Map { members, merged, .. } }) => {
                    match with_merged(members, &merged) {
                        Some(members) => {
                            // Aliases can be merged again and again.
                            nodes += members.len();
                            (node(at, Value::Map(members)), anchor)
                        }
                        None => {
                            return unreadable(
                                at,
                                "`<<` must be followed by a mapping or a list of mappings".into(),
                            );
                        }
                    }
                }
                None => continue,
            },
            Event::Scalar(text, style, anchor, tag) => {
                let is_text =
                    tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let is_key = open.last().is_some_and(Open::awaits_key);
                let value = if is_text || is_key || !converts(style) {
                    Value::Text(text.into_owned())
                } else {
                    scalar(text.into_owned())
                };
                (node(at, value), anchor)
            }
            Event::Alias(anchor) => match anchors.get(&anchor) {
                Some(known) => (known.clone(), 0),
                None => {
                    return unreadable(at, "this alias (`*name`) has no anchor before it".into());
                }
            },
            _ => continue,
        };
        if node.depth > MAX_DEPTH {
            return unreadable(at, TOO_LARGE.into());
        }
        if anchor > 0 {
            anchors.insert(anchor, node.clone());
        }
        match open.last_mut().map(|open| &mut open.content) {
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { members, merged, key }) => match key.take() {
                None => match &*node.value {
                    Value::Text(text) => *key = Some((text.clone(), at)),
                    _ => return unreadable(at, "a key must be a string".into()),
                },
                Some((name, _)) if name == "<<" => merged.push(node),
                Some((name, at)) => {
                    members.retain(|member| member.key != name);
                    members.push(Member { key: name, at, value: node });
                }
            },
            None => root = Some(node),
        }
    }
    Ok(root.unwrap_or_else(|| node(At::START, Value::Null)))
}

impl Open {
    fn awaits_key(&self) -> bool {
        matches!(self.content, Content::Map { key: None, .. })
    }
}

impl Node {
    /// The kind of value, for a message.
    pub fn kind(&self) -> &'static str {
        match &*self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

fn node(at: At, value: Value) -> Node {
    let deepest = match &value {
        Value::List(items) => items.iter().map(|item| item.depth).max(),
        Value::Map(members) => members.iter().map(|member| member.value.depth).max(),
        _ => None,
    };
    Node { at, value: Rc::new(value), depth: 1 + deepest.unwrap_or(0) }
}

fn place(marker: saphyr_parser::Marker) -> At {
    At { line: marker.line().max(1), column: marker.col() + 1 }
}

/// Adds the keys of `<<` that the mapping itself does not have.
fn with_merged(mut members: Vec<Member>, merged: &[Node]) -> Option<Vec<Member>> {
    for source in merged {
        let maps = match &*source.value {
            Value::List(items) => items.clone(),
            _ => vec![source.clone()],
        };
        for map in maps {
            let Value::Map(others) = &*map.value else { return None };
            for other in others {
                if !members.iter().any(|member| member.key == other.key) {
                    members.push(other.clone());
                }
            }
        }
    }
    Some(members)
}

/// Whether words in this style can mean something other than a string.
fn converts(style: ScalarStyle) -> bool {
    matches!(style, ScalarStyle::Plain | ScalarStyle::Literal)
}

fn scalar(text: String) -> Value {
    let is_word = |words: [&str; 4]| {
        words.iter().any(|word| {
            let mut title = word.to_string();
            title[..1].make_ascii_uppercase();
            text == *word || text == word.to_uppercase() || text == title
        })
    };
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        _ if is_word(["y", "yes", "on", "true"]) => Value::Bool(true),
        _ if is_word(["n", "no", "off", "false"]) => Value::Bool(false),
        _ if is_number(&text) => Value::Number(text),
        _ => Value::Text(text),
    }
}

fn is_number(text: &str) -> bool {
    let all = |digits: &str, kind: fn(&u8) -> bool| {
        !digits.is_empty() && digits.bytes().all(|b| kind(&b))
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, u8::is_ascii_hexdigit);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |byte| matches!(byte, b'0'..=b'7'));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    all(whole, u8::is_ascii_digit)
        && fraction.is_none_or(|digits| all(digits, u8::is_ascii_digit))
        && exponent.is_none_or(|digits| all(digits, u8::is_ascii_digit))
}

/// The whole number that a YAML number means, modulo 65536 as the bridge parses ports; `None` if it
/// is none, or far from any port.
pub fn port(number: &str) -> Option<u16> {
    let based = |digits: &str, radix| i128::from_str_radix(digits, radix).ok();
    let whole = if let Some(digits) = number.strip_prefix("0x") {
        based(digits, 16)?
    } else if let Some(digits) = number.strip_prefix("0o") {
        based(digits, 8)?
    } else {
        decimal(number)?
    };
    u16::try_from(whole.rem_euclid(65536)).ok()
}

fn decimal(number: &str) -> Option<i128> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    match u32::try_from(shift) {
        Ok(shift) => digits.checked_mul(10_i128.checked_pow(shift)?),
        Err(_) => {
            let divisor = 10_i128.checked_pow(shift.unsigned_abs())?;
            (digits % divisor == 0).then(|| digits / divisor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        let node = read(&format!("key: {text}")).expect("a document");
        let Value::Map(members) = &*node.value else { panic!("a mapping") };
        match &*members[0].value.value {
            Value::Text(text) => format!("string {text}"),
            Value::Number(text) => format!("number {text}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn words_are_interpreted_as_by_the_bridge() {
        for (written, meant) in [
            ("yes", "Bool(true)"),
            ("On", "Bool(true)"),
            ("N", "Bool(false)"),
            ("oFF", "string oFF"),
            ("~", "Null"),
            ("", "Null"),
            ("\"yes\"", "string yes"),
            ("!!str yes", "string yes"),
            ("389", "number 389"),
            ("389.0", "number 389.0"),
            ("0x1F", "number 0x1F"),
            ("1.", "string 1."),
            ("12:30", "string 12:30"),
            ("|\n  a\n  b", "string a\nb\n"),
            (">\n  a\n  b", "string a b\n"),
        ] {
            assert_eq!(value(written), meant, "{written:?}");
        }
    }

    #[test]
    fn what_aliases_repeat_counts() {
        let nested = |levels: usize| {
            let more = (1..levels).map(|at| format!("b{at}: &b{at} [*b{}]\n", at - 1));
            read(&format!("b0: &b0 [x]\n{}", more.collect::<String>()))
        };
        assert!(nested(60).is_ok());
        assert_eq!(nested(70).map(|_| ()).map_err(|error| error.why), Err(TOO_LARGE.into()));
        let wide: String = (0..1000).map(|at| format!("  k{at}: v\n")).collect();
        let merged = |times: usize| {
            let uses = (0..times).map(|at| format!("u{at}: {{<<: *a}}\n"));
            read(&format!("a: &a\n{wide}{}", uses.collect::<String>()))
        };
        assert!(merged(50).is_ok());
        assert_eq!(merged(200).map(|_| ()).map_err(|error| error.why), Err(TOO_LARGE.into()));
    }

    #[test]
    fn ports_are_whole_numbers() {
        for (number, wanted) in [
            ("389", Some(389)),
            ("389.0", Some(389)),
            ("3.89e2", Some(389)),
            ("3890e-1", Some(389)),
            ("389.5", None),
            ("65925", Some(389)),
            ("-1", Some(65535)),
            ("0x185", Some(389)),
            ("1e999999999", None),
        ] {
            assert_eq!(port(number), wanted, "{number}");
        }
    }

    #[test]
    fn the_last_of_equal_keys_is_used_and_aliases_and_merges_work() {
        let node =
            read("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\ny2: *x\nx: 5\n").expect("a document");
        let shown = format!("{node:?}");
        let Value::Map(members) = &*node.value else { panic!("a mapping") };
        let keys: Vec<&str> = members.iter().map(|member| &*member.key).collect();
        assert_eq!(keys, ["y", "y2", "x"], "{shown}");
        let Value::Map(merged) = &*members[0].value.value else { panic!("a mapping") };
        let keys: Vec<&str> = merged.iter().map(|member| &*member.key).collect();
        assert_eq!(keys, ["b", "a"]);
    }

    #[test]
    fn invalid_yaml_is_reported_with_its_position() {
        for (text, line, why) in [
            ("a: 1\n---\nb: 2\n", 2, "second document"),
            ("a: *x\n", 1, "not YAML"),
            ("a: [1\nb: 2\n", 2, "not YAML"),
            ("a: \u{1}", 1, "U+0001"),
            ("a: {<<: 5}", 1, "followed by a mapping"),
        ] {
            let unreadable = read(text).expect_err(text);
            assert!(unreadable.why.contains(why), "{}", unreadable.why);
            assert_eq!(unreadable.at.line, line, "{}", unreadable.why);
        }
    }
}
