//! A [`Document`] as the JSON Schema validator sees it, so that schemas are applied to the document
//! itself and no second copy of the body is built.
//!
//! Members are found by their folded names: a schema that says `userName` also judges `USERNAME`,
//! as Wire does.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::json::{self, Json, JsonNumber, Node, NodeIdentity};
use serde_json::Number;

use super::{Array, Document, Elements, Member, Members, Name, Object, Type, Value, folds_alike};

/// The representation, as a type parameter of the validator.
#[derive(Debug)]
pub struct Folded;

/// A property name of a schema.
#[derive(Debug)]
pub struct PropertyName {
    name: Option<Name>,
    text: String,
}

impl Json for Folded {
    type Node<'a> = Value<'a>;
    type PreparedKey = PropertyName;
    type StringBuffer = Document<'static>;

    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> PropertyName {
        PropertyName { name: Name::of(key), text: key.to_owned() }
    }

    fn with_string_node<T>(
        buffer: &mut Document<'static>,
        string: &str,
        f: impl FnOnce(Value<'_>) -> T,
    ) -> T {
        buffer.set_string(string);
        f(buffer.root())
    }
}

impl<'d> Node<'d, Folded> for Value<'d> {
    type Object = Object<'d>;
    type Array = Array<'d>;
    type Number = Written<'d>;

    fn as_object(&self) -> Option<Object<'d>> {
        Value::as_object(*self)
    }

    fn as_array(&self) -> Option<Array<'d>> {
        Value::as_array(*self)
    }

    fn as_string(&self) -> Option<Cow<'d, str>> {
        self.as_str().map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<Written<'d>> {
        if let Type::Number(written) = self.get() { Some(Written(written)) } else { None }
    }

    fn as_boolean(&self) -> Option<bool> {
        if let Type::Bool(value) = self.get() { Some(value) } else { None }
    }

    fn is_null(&self) -> bool {
        Value::is_null(*self)
    }

    fn json_type(&self) -> JsonType {
        match self.get() {
            Type::Null => JsonType::Null,
            Type::Bool(_) => JsonType::Boolean,
            Type::Number(_) => JsonType::Number,
            Type::String(_) => JsonType::String,
            Type::Array(_) => JsonType::Array,
            Type::Object(_) => JsonType::Object,
        }
    }

    fn equals_value(&self, expected: &serde_json::Value) -> bool {
        match (self.get(), expected) {
            (Type::String(text), serde_json::Value::String(expected)) => text == expected,
            _ => json::cmp::equal(&to_value(*self), expected),
        }
    }

    fn to_value(&self) -> Cow<'d, serde_json::Value> {
        Cow::Owned(to_value(*self))
    }

    fn identity(&self) -> Option<NodeIdentity> {
        let (address, index) = Value::identity(*self);
        Some(NodeIdentity::tagged(address, index))
    }
}

/// A copy of a value: for `const`, `enum` and `uniqueItems` of operators' schemas. Its depth is
/// bounded by the parser's.
fn to_value(value: Value<'_>) -> serde_json::Value {
    match value.get() {
        Type::Null => serde_json::Value::Null,
        Type::Bool(value) => value.into(),
        Type::Number(written) => {
            serde_json::Value::Number(Written(written).to_number().into_owned())
        }
        Type::String(text) => text.into(),
        Type::Array(array) => array.elements().map(to_value).collect(),
        Type::Object(object) => object
            .members()
            .map(|member| (spelling(&member).to_owned(), to_value(member.value)))
            .collect(),
    }
}

/// A member's name as schemas spell it.
fn spelling<'d>(member: &Member<'d>) -> &'d str {
    match member.name() {
        Some(name) => name.as_str(),
        None => member.key(),
    }
}

impl<'d> json::Object<'d, Folded> for Object<'d> {
    type Node = Value<'d>;
    type MemberName = &'d str;
    type MembersIter = Spelled<'d>;

    fn len(&self) -> usize {
        Object::len(*self)
    }

    fn get(&self, key: &PropertyName) -> Option<Value<'d>> {
        match key.name {
            Some(name) => self.value(name),
            None => Object::members(*self)
                .find(|member| member.name().is_none() && folds_alike(member.key(), &key.text))
                .map(|member| member.value),
        }
    }

    fn members(&self) -> Spelled<'d> {
        let read = self.may_repeat().then(|| Box::new(read_of_each(*self)));
        Spelled { read, members: Object::members(*self) }
    }
}

/// The members of an object under the names that schemas use; of several whose names fold alike
/// only the one that Wire reads.
#[derive(Debug)]
pub struct Spelled<'d> {
    /// Which value Wire reads under each name, where some name appears more than once.
    read: Option<Box<[Option<Member<'d>>; Name::COUNT]>>,
    members: Members<'d>,
}

/// SECURITY: found in one pass for all names, as an object may have as many of them as fit into a
/// body.
fn read_of_each<'d>(object: Object<'d>) -> [Option<Member<'d>>; Name::COUNT] {
    let mut read: [Option<Member<'d>>; Name::COUNT] = [None; Name::COUNT];
    for member in Object::members(object) {
        let Some(name) = member.name() else { continue };
        let best = &mut read[name as usize];
        if best.is_none_or(|best| member.key() > best.key()) {
            *best = Some(member);
        }
    }
    read
}

impl<'d> Iterator for Spelled<'d> {
    type Item = (&'d str, Value<'d>);

    fn next(&mut self) -> Option<Self::Item> {
        let Self { read, members } = self;
        let is_read = |member: &Member<'d>| match (&read, member.name()) {
            (Some(read), Some(name)) => read[name as usize]
                .is_some_and(|read| read.value.identity() == member.value.identity()),
            _ => true,
        };
        members.find(is_read).map(|member| (spelling(&member), member.value))
    }
}

impl<'d> json::Array<'d, Folded> for Array<'d> {
    type Node = Value<'d>;
    type ElementsIter = Elements<'d>;

    fn len(&self) -> usize {
        Array::len(*self)
    }

    fn elements(&self) -> Elements<'d> {
        Array::elements(*self)
    }
}

/// A number as it was written.
#[derive(Debug)]
pub struct Written<'d>(&'d str);

impl JsonNumber for Written<'_> {
    fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    fn as_f64(&self) -> Option<f64> {
        self.0.parse().ok()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0)
    }

    /// Numbers beyond the range of a double become the largest one: schemas compare, and that
    /// preserves the order.
    fn to_number(&self) -> Cow<'_, Number> {
        let number = self.0.parse().unwrap_or_else(|_| {
            let largest = if self.0.starts_with('-') { f64::MIN } else { f64::MAX };
            Number::from_f64(largest).unwrap_or_else(|| 0.into())
        });
        Cow::Owned(number)
    }
}
