//! Request bodies, parsed as Wire's JSON parser does: bytes in, a folded document out.
//!
//! The document borrows from the body: a flat list of 16-byte nodes in document order, strings as
//! ranges of the body (or of one side buffer where they had escapes), numbers as they were written.
//! Keys that Wire reads are recognised while they are parsed.

mod name;
mod parse;
mod spans;
mod validate;
mod write;

pub use name::{Name, NameSet, fold, folds_alike};
pub use parse::{JsonError, MAX_DEPTH, MAX_NUMBER, parse};
pub use spans::Spans;
pub use validate::Folded;
pub(crate) use write::push_string;

/// A parsed document.
#[derive(Debug, Default)]
pub struct Document<'a> {
    source: &'a str,
    nodes: Vec<Node>,
    /// What Wire may read in each object, in the order in which the objects begin.
    names: Vec<NameSet>,
    /// Whether a name that Wire reads anywhere appears more than once in some object.
    repeats: bool,
    /// The strings that had escapes, decoded, one after the other.
    unescaped: String,
}

/// One value or key. An object is followed by its keys and values in turn, an array by its
/// elements.
#[derive(Debug, Clone, Copy)]
struct Node {
    kind: Kind,
    /// Keys: the index of the [`Name`] plus one, 0 for a name that Wire does not read.
    /// Objects: 1 if a name that Wire reads appears in it more than once.
    mark: u8,
    /// Strings and numbers: where they begin. Objects: which of `Document::names` is theirs.
    start: u32,
    /// Strings and numbers: how long they are. Arrays and objects: how many elements they have.
    len: u32,
    /// The index of the node after this one and all it contains.
    end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    False,
    True,
    Number,
    /// A string without escapes: a range of the source.
    Plain,
    /// A string with escapes: a range of `unescaped`.
    Escaped,
    Array,
    Object,
}

/// A value of a document.
#[derive(Debug, Clone, Copy)]
pub struct Value<'d> {
    document: &'d Document<'d>,
    index: u32,
}

/// A value, by its JSON type.
#[derive(Debug, Clone, Copy)]
pub enum Type<'d> {
    Null,
    Bool(bool),
    /// The number as it was written.
    Number(&'d str),
    String(&'d str),
    Array(Array<'d>),
    Object(Object<'d>),
}

#[derive(Debug, Clone, Copy)]
pub struct Array<'d>(Value<'d>);

#[derive(Debug, Clone, Copy)]
pub struct Object<'d>(Value<'d>);

/// One member of an object.
#[derive(Debug, Clone, Copy)]
pub struct Member<'d> {
    key: Value<'d>,
    pub value: Value<'d>,
}

impl<'d> Member<'d> {
    /// The key as it was sent.
    pub fn key(self) -> &'d str {
        self.key.document.text(self.key.node())
    }

    /// What the key folds to, if Wire reads it anywhere.
    pub fn name(self) -> Option<Name> {
        (self.key.node().mark as usize).checked_sub(1).and_then(Name::at)
    }
}

impl Document<'_> {
    /// The root value of the document.
    pub fn root(&self) -> Value<'_> {
        Value { document: self, index: 0 }
    }

    /// The text that it was parsed from.
    pub fn source(&self) -> &str {
        self.source
    }

    fn text(&self, node: Node) -> &str {
        let range = node.start as usize..(node.start + node.len) as usize;
        match node.kind {
            Kind::Escaped => &self.unescaped[range],
            _ => &self.source[range],
        }
    }

    /// Turns this into a document of one string, for validators that check names as if they were
    /// values.
    pub(crate) fn set_string(&mut self, text: &str) {
        self.unescaped.clear();
        self.unescaped.push_str(text);
        let len = text.len() as u32;
        self.nodes.clear();
        self.nodes.push(Node { kind: Kind::Escaped, mark: 0, start: 0, len, end: 1 });
    }
}

impl<'d> Value<'d> {
    fn node(self) -> Node {
        self.document.nodes[self.index as usize]
    }

    pub fn get(self) -> Type<'d> {
        let node = self.node();
        match node.kind {
            Kind::Null => Type::Null,
            Kind::False => Type::Bool(false),
            Kind::True => Type::Bool(true),
            Kind::Number => Type::Number(self.document.text(node)),
            Kind::Plain | Kind::Escaped => Type::String(self.document.text(node)),
            Kind::Array => Type::Array(Array(self)),
            Kind::Object => Type::Object(Object(self)),
        }
    }

    pub fn is_null(self) -> bool {
        self.node().kind == Kind::Null
    }

    pub fn as_str(self) -> Option<&'d str> {
        if let Type::String(text) = self.get() { Some(text) } else { None }
    }

    pub fn as_array(self) -> Option<Array<'d>> {
        (self.node().kind == Kind::Array).then_some(Array(self))
    }

    pub fn as_object(self) -> Option<Object<'d>> {
        (self.node().kind == Kind::Object).then_some(Object(self))
    }

    /// The value's type in words, for sentences.
    pub fn type_name(self) -> &'static str {
        match self.node().kind {
            Kind::Null => "null",
            Kind::False | Kind::True => "a boolean",
            Kind::Number => "a number",
            Kind::Plain | Kind::Escaped => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        }
    }

    /// How many values and keys it is made of.
    pub fn size(self) -> usize {
        (self.node().end - self.index) as usize
    }

    /// Identifies the value among all values of its document.
    pub(crate) fn identity(self) -> (usize, u32) {
        (std::ptr::from_ref(self.document) as usize, self.index)
    }
}

impl<'d> Array<'d> {
    pub fn len(self) -> usize {
        self.0.node().len as usize
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn elements(self) -> Elements<'d> {
        let Value { document, index } = self.0;
        Elements { document, next: index + 1, end: self.0.node().end }
    }
}

impl<'d> Object<'d> {
    pub fn len(self) -> usize {
        self.0.node().len as usize
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn members(self) -> Members<'d> {
        let Value { document, index } = self.0;
        Members { document, next: index + 1, end: self.0.node().end }
    }

    /// Whether any object of the whole document holds some name that Wire reads more than once.
    pub fn document_may_repeat(self) -> bool {
        self.0.document.repeats
    }

    /// Whether some name that Wire reads anywhere appears in this object more than once.
    pub fn may_repeat(self) -> bool {
        self.0.node().mark != 0
    }

    /// The value that Wire reads under `name`; null is a value. Of several spellings the one
    /// greatest in code point order is used, of several members spelled alike the first.
    pub fn value(self, name: Name) -> Option<Value<'d>> {
        let document = self.0.document;
        if !document.names[self.0.node().start as usize].contains(name) {
            return None;
        }
        let mark = name as u8 + 1;
        let mut found = self.members().filter(|member| member.key.node().mark == mark);
        let first = found.next()?;
        if !self.may_repeat() {
            return Some(first.value);
        }
        let greatest =
            |best: Member<'d>, next: Member<'d>| if next.key() > best.key() { next } else { best };
        Some(found.fold(first, greatest).value)
    }

    /// The string that Wire reads under `name`; `None` also for null and for other types.
    pub fn string(self, name: Name) -> Option<&'d str> {
        self.value(name)?.as_str()
    }
}

/// The elements of an array, in order.
#[derive(Debug)]
pub struct Elements<'d> {
    document: &'d Document<'d>,
    next: u32,
    end: u32,
}

impl<'d> Iterator for Elements<'d> {
    type Item = Value<'d>;

    fn next(&mut self) -> Option<Value<'d>> {
        if self.next >= self.end {
            return None;
        }
        let value = Value { document: self.document, index: self.next };
        self.next = value.node().end;
        Some(value)
    }
}

/// The members of an object, in order.
#[derive(Debug)]
pub struct Members<'d> {
    document: &'d Document<'d>,
    next: u32,
    end: u32,
}

impl<'d> Iterator for Members<'d> {
    type Item = Member<'d>;

    fn next(&mut self) -> Option<Member<'d>> {
        if self.next >= self.end {
            return None;
        }
        let key = Value { document: self.document, index: self.next };
        let value = Value { document: self.document, index: self.next + 1 };
        self.next = value.node().end;
        Some(Member { key, value })
    }
}
