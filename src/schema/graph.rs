//! A schema as a graph: its subschemas, and which of them are applied to what.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Keywords whose value is a schema, or contains schemas, and what these are applied to.
const KEYWORDS: [(&str, Holds, Applied); 24] = [
    ("allOf", Holds::List, Applied::Here),
    ("anyOf", Holds::List, Applied::Here),
    ("oneOf", Holds::List, Applied::Here),
    ("not", Holds::One, Applied::Here),
    ("if", Holds::One, Applied::Here),
    ("then", Holds::One, Applied::Here),
    ("else", Holds::One, Applied::Here),
    ("dependentSchemas", Holds::Map, Applied::Here),
    ("dependencies", Holds::Map, Applied::Here),
    ("properties", Holds::Map, Applied::Named),
    ("patternProperties", Holds::Map, Applied::EveryMember),
    ("additionalProperties", Holds::One, Applied::OtherMembers),
    ("unevaluatedProperties", Holds::One, Applied::EveryMember),
    ("propertyNames", Holds::One, Applied::EveryMember),
    ("prefixItems", Holds::List, Applied::Numbered),
    ("items", Holds::One, Applied::OtherItems),
    ("additionalItems", Holds::One, Applied::EveryItem),
    ("unevaluatedItems", Holds::One, Applied::EveryItem),
    ("contains", Holds::One, Applied::EveryItem),
    // These are not applied by themselves.
    ("$defs", Holds::Map, Applied::Nowhere),
    ("definitions", Holds::Map, Applied::Nowhere),
    ("contentSchema", Holds::One, Applied::Nowhere),
    // Followed to their targets.
    ("$ref", Holds::Reference, Applied::Here),
    ("$dynamicRef", Holds::Reference, Applied::Here),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    One,
    List,
    Map,
    Reference,
}

/// The value to which a subschema is applied, relative to the one that the schema itself is applied
/// to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// The same one.
    Here,
    /// The member of this name.
    Named,
    /// Members that the neighbouring `properties` does not name.
    OtherMembers,
    EveryMember,
    /// The element at this index.
    Numbered,
    /// Elements after those of `prefixItems`.
    OtherItems,
    EveryItem,
    Nowhere,
}

/// One subschema.
#[derive(Debug)]
pub(super) struct Node<'s> {
    /// Where it is, as a JSON Pointer.
    pub pointer: String,
    pub schema: &'s Value,
    pub edges: Vec<Edge<'s>>,
}

/// A subschema that a schema applies.
#[derive(Debug)]
pub(super) struct Edge<'s> {
    pub keyword: &'static str,
    pub applied: Applied,
    /// The name in a map, or the index in an array.
    pub name: &'s str,
    pub index: usize,
    pub to: usize,
}

/// All subschemas of a schema; the first one is the schema itself.
#[derive(Debug)]
pub(super) struct Graph<'s> {
    pub nodes: Vec<Node<'s>>,
}

impl<'s> Graph<'s> {
    pub fn of(root: &'s Value) -> Self {
        let mut reading =
            Reading { root, nodes: Vec::new(), known: HashMap::new(), anchors: HashMap::new() };
        reading.node(root, String::new());
        let mut at = 0;
        // A reference may lead to a place that no keyword leads to, and from there to others.
        while at < reading.nodes.len() {
            reading.read(at);
            at += 1;
        }
        reading.follow();
        Self { nodes: reading.nodes }
    }
}

struct Reading<'s> {
    root: &'s Value,
    nodes: Vec<Node<'s>>,
    /// Subschemas by their address in memory.
    known: HashMap<*const Value, usize>,
    /// Subschemas by `$anchor` and `$dynamicAnchor`; a dynamic one may be there several times.
    anchors: HashMap<&'s str, Vec<usize>>,
}

impl<'s> Reading<'s> {
    fn node(&mut self, schema: &'s Value, pointer: String) -> usize {
        let next = self.nodes.len();
        let at = *self.known.entry(std::ptr::from_ref(schema)).or_insert(next);
        if at == next {
            self.nodes.push(Node { pointer, schema, edges: Vec::new() });
            for keyword in ["$anchor", "$dynamicAnchor"] {
                if let Some(name) = schema.get(keyword).and_then(Value::as_str) {
                    self.anchors.entry(name).or_default().push(at);
                }
            }
        }
        at
    }

    /// Reads the keywords of the schema at `at`.
    fn read(&mut self, at: usize) {
        let Value::Object(object) = self.nodes[at].schema else { return };
        for (keyword, holds, applied) in KEYWORDS {
            let Some(value) = object.get(keyword) else { continue };
            let here = format!("{}/{keyword}", self.nodes[at].pointer);
            let found: Vec<(&str, usize, &Value, String)> = match (holds, value) {
                (Holds::One, _) => vec![("", 0, value, here)],
                (Holds::List, Value::Array(items)) => {
                    let item = |(index, item)| ("", index, item, format!("{here}/{index}"));
                    items.iter().enumerate().map(item).collect()
                }
                (Holds::Map, Value::Object(map)) => members(map, &here),
                (Holds::Reference, Value::String(reference)) => {
                    let Some(pointer) = pointer_of(reference) else { continue };
                    let Some(target) = self.root.pointer(&pointer) else { continue };
                    vec![("", 0, target, pointer)]
                }
                _ => continue,
            };
            for (name, index, schema, pointer) in found {
                if !(schema.is_object() || schema.is_boolean()) {
                    continue;
                }
                let to = self.node(schema, pointer);
                self.nodes[at].edges.push(Edge { keyword, applied, name, index, to });
            }
        }
    }

    /// Adds the targets of references by name, once all names are known. Which of several equal
    /// names is meant depends on the dynamic scope, so all of them count.
    fn follow(&mut self) {
        for at in 0..self.nodes.len() {
            for keyword in ["$ref", "$dynamicRef"] {
                let schema = self.nodes[at].schema;
                let Some(reference) = schema.get(keyword).and_then(Value::as_str) else { continue };
                let name = reference.trim_start_matches('#');
                for to in self.anchors.get(name).cloned().unwrap_or_default() {
                    let edge = Edge { keyword, applied: Applied::Here, name: "", index: 0, to };
                    self.nodes[at].edges.push(edge);
                }
            }
        }
    }
}

fn members<'s>(
    map: &'s Map<String, Value>,
    here: &str,
) -> Vec<(&'s str, usize, &'s Value, String)> {
    let member = |(name, schema): (&'s String, &'s Value)| {
        (name.as_str(), 0, schema, format!("{here}/{}", escaped(name)))
    };
    map.iter().map(member).collect()
}

/// A name as a step of a JSON Pointer (RFC 6901).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The JSON Pointer of a reference within the file, if it is one (RFC 6901 §6).
fn pointer_of(reference: &str) -> Option<String> {
    let encoded = reference.strip_prefix('#')?;
    if !(encoded.is_empty() || encoded.starts_with('/')) {
        return None;
    }
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [byte, tail @ ..] = rest {
        let hex = |at: usize| tail.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, hex(0).zip(hex(1))) {
            (b'%', Some((high, low))) => {
                decoded.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(decoded).ok()
}
