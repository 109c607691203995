//! Filters and PATCH paths (RFC 7644 §3.4.2.2 and §3.5.2), in the small grammar that Wire supports:
//! one comparison, no `and`, `or`, `not`, `pr` or parentheses.

mod rfc;

pub use rfc::{RfcPath, read_rfc_path};

pub const CORE_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const WIRE_USER: &str = "urn:ietf:params:scim:schemas:extension:wire:1.0:User";
pub const WIRE_PROFILE: &str = "urn:wire:scim:schemas:profile:1.0";

/// An attribute, as a filter or a path names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The preceding URN of the schema, if there is one: one of those that Wire knows.
    pub schema: Option<&'static str>,
    pub name: &'a str,
    pub sub: Option<&'a str>,
}

/// One comparison of an attribute with a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison<'a> {
    pub attribute: Attribute<'a>,
    pub operator: Operator,
    pub literal: Literal<'a>,
}

/// The operators of RFC 7644 §3.4.2.2 that compare with a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Operator {
    /// All operators with the keyword of each.
    pub const ALL: [(&'static str, Self); 9] = [
        ("eq", Self::Equal),
        ("co", Self::Contains),
        ("ne", Self::NotEqual),
        ("sw", Self::StartsWith),
        ("ew", Self::EndsWith),
        ("gt", Self::Greater),
        ("ge", Self::GreaterOrEqual),
        ("lt", Self::Less),
        ("le", Self::LessOrEqual),
    ];
}

/// What an attribute is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literal<'a> {
    /// A JSON string as it was written, with its quotes.
    String(&'a str),
    Boolean(bool),
    /// A number or null.
    Other,
}

impl Literal<'_> {
    /// The string that the literal denotes, if it is one.
    pub fn to_text(self) -> Option<String> {
        let Self::String(written) = self else { return None };
        if !written.bytes().any(|byte| byte < 0x20) {
            return serde_json::from_str(written).ok();
        }
        // Control characters, which Wire accepts in some places, are escaped for a stricter parser.
        let mut escaped = String::with_capacity(written.len() + 8);
        for character in written.chars() {
            match character {
                '\0'..='\u{1f}' => escaped.push_str(&format!("\\u{:04x}", u32::from(character))),
                _ => escaped.push(character),
            }
        }
        serde_json::from_str(&escaped).ok()
    }
}

/// A path of a PATCH operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path<'a> {
    Attribute(Attribute<'a>),
    /// A path with a filter in brackets, such as `emails[type eq "work"].value`.
    Value(ValuePath<'a>),
}

/// A path that selects elements of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValuePath<'a> {
    /// The attribute before the bracket; its schema and its sub-attribute are ignored.
    pub attribute: Attribute<'a>,
    pub filter: Comparison<'a>,
    /// The sub-attribute after the bracket.
    pub sub: Option<&'a str>,
}

/// Parses a filter, with or without spaces around it.
pub fn read(text: &str) -> Option<Comparison<'_>> {
    let mut reader = Reader { rest: text.trim_matches(is_blank) };
    let comparison = reader.comparison(&[CORE_USER])?;
    reader.rest.is_empty().then_some(comparison)
}

/// Parses a path, without spaces around it.
pub fn read_path(text: &str) -> Option<Path<'_>> {
    const SCHEMAS: [&str; 3] = [CORE_USER, WIRE_PROFILE, WIRE_USER];
    let mut reader = Reader { rest: text };
    let attribute = reader.attribute(&SCHEMAS)?;
    if reader.rest.is_empty() {
        return Some(Path::Attribute(attribute));
    }
    reader.skip('[')?;
    let filter = reader.comparison(&SCHEMAS)?;
    reader.skip(']')?;
    let sub = match reader.skip('.') {
        Some(()) => Some(reader.name()?),
        None => None,
    };
    reader.rest.is_empty().then_some(Path::Value(ValuePath { attribute, filter, sub }))
}

/// The white space of the grammar: that of ASCII.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, character: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(character)?;
        Some(())
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn comparison(&mut self, schemas: &[&'static str]) -> Option<Comparison<'a>> {
        let attribute = self.attribute(schemas)?;
        self.blanks()?;
        let operator = self.operator()?;
        self.blanks()?;
        let literal = self.literal()?;
        Some(Comparison { attribute, operator, literal })
    }

    fn attribute(&mut self, schemas: &[&'static str]) -> Option<Attribute<'a>> {
        let mut schema = None;
        for urn in schemas {
            if let Some(rest) = self.rest.strip_prefix(urn).and_then(|rest| rest.strip_prefix(':'))
            {
                self.rest = rest;
                schema = Some(*urn);
                break;
            }
        }
        let name = self.name()?;
        // A dot that no name follows cannot begin what comes next either.
        let sub = match self.rest.strip_prefix('.') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                self.rest = rest;
                self.name()
            }
            _ => None,
        };
        Some(Attribute { schema, name, sub })
    }

    /// A letter, then letters, digits, `-` and `_`.
    fn name(&mut self) -> Option<&'a str> {
        let bytes = self.rest.as_bytes();
        if !bytes.first()?.is_ascii_alphabetic() {
            return None;
        }
        let name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let length = bytes.iter().position(|b| !name(b)).unwrap_or(bytes.len());
        Some(self.take(length))
    }

    fn blanks(&mut self) -> Option<()> {
        let rest = self.rest.trim_start_matches(is_blank);
        let some = rest.len() < self.rest.len();
        self.rest = rest;
        some.then_some(())
    }

    fn operator(&mut self) -> Option<Operator> {
        let text = self.rest.get(..2)?;
        let known = Operator::ALL.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        let (_, operator) = *known?;
        self.take(2);
        Some(operator)
    }

    /// A JSON string, number, boolean or null.
    fn literal(&mut self) -> Option<Literal<'a>> {
        let starts =
            |word: &str| self.rest.get(..word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word));
        let (literal, length) = if self.rest.starts_with('"') {
            return self.string().map(Literal::String);
        } else if self.rest.starts_with("null") {
            (Literal::Other, 4)
        } else if starts("true") {
            (Literal::Boolean(true), 4)
        } else if starts("false") {
            (Literal::Boolean(false), 5)
        } else {
            (Literal::Other, number_length(self.rest)?)
        };
        self.take(length);
        Some(literal)
    }

    /// A JSON string. Wire's parser accepts control characters after the first backslash or
    /// non-ASCII character, and a filter that it answers has to be forwarded.
    fn string(&mut self) -> Option<&'a str> {
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        let mut lenient = false;
        loop {
            match *bytes.get(at)? {
                b'"' => break,
                b'\\' => {
                    lenient = true;
                    at += escape_length(&bytes[at..])?;
                }
                0..0x20 if !lenient => return None,
                0x80.. => {
                    lenient = true;
                    at += 1;
                }
                _ => at += 1,
            }
        }
        Some(self.take(at + 1))
    }
}

/// The length of the escape with which `bytes` begin; a surrogate pair is one.
fn escape_length(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => match hex4(bytes)? {
            0xD800..=0xDBFF => {
                let low = bytes.get(6..).filter(|rest| rest.starts_with(b"\\u")).and_then(hex4)?;
                (0xDC00..=0xDFFF).contains(&low).then_some(12)
            }
            0xDC00..=0xDFFF => None,
            _ => Some(6),
        },
        _ => None,
    }
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    bytes.get(2..6)?.iter().try_fold(0, |code, b| Some(code * 16 + char::from(*b).to_digit(16)?))
}

/// The length of the number with which `text` begins: a JSON number, with a `+` in front if it has
/// no sign of its own.
fn number_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        let count = bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if bytes.get(at) == Some(&b'.')
        && let Some(end) = digits(at + 1)
    {
        at = end;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        if let Some(end) = digits((at + 1 + sign).min(bytes.len())) {
            at = end;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for text in [
            r#"userName eq "a""#,
            r#" externalId  EQ	"a\"]b" "#,
            r#"userName.x eq "\ud83d\ude00""#,
            r#"urn:ietf:params:scim:schemas:core:2.0:User:userName eq "a""#,
            "x eq +5",
            "x ne -0.5e-7",
            "x co TRUE",
            "x eq null",
            "userName eq \"é\u{1}\"",
        ] {
            assert!(read(text).is_some(), "{text}");
        }
        for text in [
            "",
            "userName",
            "userName pr",
            r#"userName eq"a""#,
            "userName eq a",
            "userName eq \"a",
            "userName eq \"a\u{1}\"",
            r#"userName eq "\ud800""#,
            r#"userName eq "a" and x eq "b""#,
            r#"(userName eq "a")"#,
            r#"user$Name eq "a""#,
            r#"userName eqq "a""#,
            "userName\u{a0}eq \"a\"",
            "x eq +-5",
            "x eq 05",
            "x eq 1.",
            "x eq 1e",
            "x eq NULL",
            r#"urn:x:userName eq "a""#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn paths() {
        let attribute = |text| match read_path(text) {
            Some(Path::Attribute(attribute)) => attribute,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(attribute("name.givenName").sub, Some("givenName"));
        assert_eq!(attribute("urn:wire:scim:schemas:profile:1.0:Dept").schema, Some(WIRE_PROFILE));
        for text in [r#"emails[type eq "work"].value"#, r#"a[b.c eq "]"]"#, "a[b eq  1]"] {
            assert!(matches!(read_path(text), Some(Path::Value(_))), "{text}");
        }
        let Some(Path::Value(path)) = read_path(r#"emails[type Ne "wo\u0072k"].primary"#) else {
            panic!("not a value path")
        };
        assert_eq!((path.attribute.name, path.sub), ("emails", Some("primary")));
        assert_eq!(path.filter.operator, Operator::NotEqual);
        assert_eq!(path.filter.literal.to_text().as_deref(), Some("work"));
        assert_eq!(Literal::String("\"é\u{1}\"").to_text().as_deref(), Some("é\u{1}"));
        for text in [
            "",
            " a",
            "a ",
            "/a",
            "a.",
            "a.b.c",
            "a[",
            "a[b]",
            "a[ b eq 1]",
            "a[b eq 1 ]",
            "a[b eq 1].",
            "a[b eq 1 and c eq 2]",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
            "displayName x",
            "ä",
        ] {
            assert_eq!(read_path(text), None, "{text}");
        }
    }
}
