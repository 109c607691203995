//! Finds the faults of large documents one by one, without collecting them.
//!
//! SECURITY: the validator collects all faults of a document before it returns the first, at up to a
//! kilobyte each, and a client can cause one with every two bytes. Here a schema is split into checks
//! of single keywords, which the validator runs one at a time, and the document is walked once. Equal faults of
//! one check are reported once, so that memory depends on the schema and not on the document.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jsonschema::json::{Json, Object};
use jsonschema::{Draft, Registry, Validator};
use serde_json::{Map, Value as Schema, json};

use super::graph::{Graph, Node};
use super::{Fault, FaultKind, Step, build, fault};
use crate::json::{Array, Folded, Value};
use crate::refusal::Refusal;

/// The maximum number of places of a schema; only a malicious schema has more.
const PLACES: usize = 20_000;

/// Keywords that assert nothing by themselves, and those that are traversed.
#[rustfmt::skip]
const NOT_CHECKED: [&str; 28] = [
    "$anchor", "$comment", "$defs", "$dynamicAnchor", "$id", "$ref", "$schema", "$vocabulary", "allOf",
    "contentEncoding", "contentMediaType", "contentSchema", "default", "definitions", "deprecated",
    "description", "else", "examples", "items", "maxContains", "minContains", "prefixItems", "properties",
    "readOnly", "required", "then", "title", "writeOnly",
];

/// Keywords that depend on the value alone. The validator's errors for these are no larger than the value.
#[rustfmt::skip]
const PLAIN: [&str; 18] = [
    "const", "dependentRequired", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "maxItems",
    "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum",
    "multipleOf", "pattern", "type", "uniqueItems",
];

/// The address under which checks refer to the schema that they were taken from.
const WHOLE: &str = "urn:wire-scim-guard:whole";

/// A schema, prepared for finding faults.
#[derive(Debug)]
pub(super) struct Finder {
    /// The first one is that of the whole document.
    places: Vec<Place>,
}

/// The checks of a value at one place of a document.
#[derive(Debug)]
struct Place {
    checks: Vec<Check>,
    members: Vec<Member>,
    /// The places of the first elements, where these have checks of their own.
    first: Vec<Option<usize>>,
    /// That of all others.
    items: Option<usize>,
}

struct Member {
    key: <Folded as Json>::PreparedKey,
    name: String,
    place: usize,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("name", &self.name).field("place", &self.place).finish()
    }
}

/// One keyword, and what Wire requires with the same one.
#[derive(Debug)]
struct Check {
    own: Part,
    /// `None`: this is Wire's schema.
    built_in: Option<Vec<Part>>,
}

/// One keyword of one subschema.
#[derive(Debug, Clone)]
struct Part {
    keyword: String,
    /// With `required`, the name.
    name: String,
    validator: Arc<Validator<Folded>>,
}

impl Finder {
    /// A finder for `schema`, which also reports what Wire requires, if that is a different schema.
    /// An error is the end of a sentence about the schema.
    pub fn new(schema: &Schema, built_in: Option<&Schema>) -> Result<Self, String> {
        let own = Parts::of(schema)?;
        let built_in = built_in.map(Parts::of).transpose()?;
        let mut finder = Self { places: Vec::new() };
        // Which subschemas of both apply at each place.
        let mut meeting = vec![Meeting { own: vec![0], built_in: vec![0] }];
        let mut known = HashMap::from([(meeting[0].clone(), 0)]);
        while let Some(here) = meeting.get(finder.places.len()) {
            let own_here = own.expanded(&here.own);
            let built_in_here = built_in.as_ref().map(|built_in| built_in.expanded(&here.built_in));
            let mut place_of = |next: Meeting| {
                *known.entry(next).or_insert_with_key(|next| {
                    meeting.push(next.clone());
                    meeting.len() - 1
                })
            };
            let with_wires =
                |own: Vec<usize>, lead: &dyn Fn(&Parts<'_>, &[usize]) -> Vec<usize>| {
                    let there = built_in.as_ref().zip(built_in_here.as_ref());
                    Meeting {
                        own,
                        built_in: there
                            .map(|(built_in, here)| lead(built_in, here))
                            .unwrap_or_default(),
                    }
                };
            let mut element = |index: usize| {
                let own = own.elements(&own_here, index);
                let meets = !own.is_empty();
                meets.then(|| place_of(with_wires(own, &|parts, here| parts.elements(here, index))))
            };
            let first = (0..own.first(&own_here)).map(&mut element).collect();
            let items = element(usize::MAX);
            let mut members = Vec::new();
            for name in own.names(&own_here) {
                let next = own.members(&own_here, name);
                let place = place_of(with_wires(next, &|parts, here| parts.members(here, name)));
                members.push(Member {
                    key: Folded::prepare_key(name),
                    name: name.to_owned(),
                    place,
                });
            }
            let built_in_parts = built_in.as_ref().zip(built_in_here.as_ref());
            let built_in_parts = built_in_parts.map(|(built_in, here)| built_in.parts(here));
            let checks = own.parts(&own_here).into_iter().map(|own| {
                let is_alike = |part: &Part| part.keyword == own.keyword && part.name == own.name;
                let alike =
                    |parts: &Vec<Part>| parts.iter().filter(|p| is_alike(p)).cloned().collect();
                Check { built_in: built_in_parts.as_ref().map(alike), own }
            });
            let checks = checks.collect();
            finder.places.push(Place { checks, members, first, items });
            if finder.places.len() > PLACES {
                return Err(format!("makes demands at more than {PLACES} places of a document"));
            }
        }
        Ok(finder)
    }

    /// Reports the faults of a document until `report` returns an error. Of those that one check
    /// finds below the same top-level attribute it reports only the first.
    pub fn find(
        &self,
        value: Value<'_>,
        report: &mut dyn FnMut(Fault) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        Search { finder: self, path: Vec::new(), top: 0, reported: HashSet::new(), report }
            .visit(0, value)
    }
}

/// One search through a document.
struct Search<'f, 't> {
    finder: &'f Finder,
    path: Vec<Segment<'f>>,
    /// The index of the attribute at the top that the search is in, from 1.
    top: usize,
    /// Place, check, `top`, and whether it is more than Wire requires.
    reported: HashSet<(usize, usize, usize, bool)>,
    report: &'t mut dyn FnMut(Fault) -> Result<(), Refusal>,
}

#[derive(Clone, Copy)]
enum Segment<'f> {
    Key(&'f str),
    Index(usize),
}

impl Search<'_, '_> {
    fn visit(&mut self, at: usize, value: Value<'_>) -> Result<(), Refusal> {
        let place = &self.finder.places[at];
        for (number, check) in place.checks.iter().enumerate() {
            if check.own.validator.is_valid(value) {
                continue;
            }
            let alike = |built_in: &Vec<Part>| {
                built_in.iter().all(|built_in| built_in.validator.is_valid(value))
            };
            let beyond_wire = check.built_in.as_ref().is_some_and(alike);
            if self.reported.insert((at, number, self.top, beyond_wire)) {
                let fault = Fault { path: self.steps(), kind: check.own.fault(value), beyond_wire };
                (self.report)(fault)?;
            }
        }
        if let Some(object) = value.as_object() {
            for (number, member) in place.members.iter().enumerate() {
                let Some(value) = Object::get(&object, &member.key) else { continue };
                if self.path.is_empty() {
                    self.top = number + 1;
                }
                self.path.push(Segment::Key(&member.name));
                self.visit(member.place, value)?;
                self.path.pop();
            }
        }
        if place.items.is_none() && place.first.is_empty() {
            return Ok(());
        }
        let elements = value.as_array().into_iter().flat_map(Array::elements);
        for (index, element) in elements.enumerate() {
            let next = place.first.get(index).copied().unwrap_or(place.items);
            let Some(next) = next else { continue };
            self.path.push(Segment::Index(index));
            self.visit(next, element)?;
            self.path.pop();
        }
        Ok(())
    }

    fn steps(&self) -> Vec<Step> {
        let step = |segment: &Segment<'_>| match segment {
            Segment::Key(name) => Step::Key((*name).to_owned()),
            Segment::Index(index) => Step::Index(*index),
        };
        self.path.iter().map(step).collect()
    }
}

impl Part {
    /// The fault of a value that does not pass.
    fn fault(&self, value: Value<'_>) -> FaultKind {
        let is_plain = PLAIN.contains(&self.keyword.as_str())
            || matches!(self.keyword.as_str(), "required" | "additionalProperties");
        let reported = is_plain.then(|| self.validator.validate(value).err()).flatten();
        match reported {
            // A fault of a member is not one of the object.
            Some(error) if error.instance_path().as_str().is_empty() => fault(&error).kind,
            _ => FaultKind::Keyword { keyword: self.keyword.clone() },
        }
    }
}

/// The subschemas that apply at a place: those of this schema, and Wire's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Meeting {
    own: Vec<usize>,
    built_in: Vec<usize>,
}

/// A schema, split into checks.
struct Parts<'s> {
    graph: Graph<'s>,
    /// The checks of each subschema.
    parts: Vec<Vec<Part>>,
}

impl<'s> Parts<'s> {
    fn of(schema: &'s Schema) -> Result<Self, String> {
        let graph = Graph::of(schema);
        let mut whole = schema.clone();
        if let Schema::Object(whole) = &mut whole {
            whole.remove("$id");
        }
        let registry = Registry::new()
            .draft(Draft::Draft202012)
            .add(WHOLE, whole)
            .and_then(jsonschema::RegistryBuilder::prepare)
            .map_err(|error| format!("cannot be taken apart: {error}"))?;
        let mut taking = Taking { registry, known: HashMap::new() };
        let parts = graph.nodes.iter().map(|node| taking.apart(node)).collect::<Result<_, _>>()?;
        Ok(Self { graph, parts })
    }

    /// The subschemas with all that they apply to the same value, each once.
    fn expanded(&self, nodes: &[usize]) -> Vec<usize> {
        let mut all: Vec<usize> = Vec::new();
        let mut seen = HashSet::new();
        let mut open: Vec<usize> = nodes.iter().rev().copied().collect();
        while let Some(at) = open.pop() {
            if seen.insert(at) {
                all.push(at);
                open.extend(self.lead(at, &["$ref", "allOf"]).map(|(_, to)| to));
            }
        }
        all
    }

    fn lead(&self, at: usize, keywords: &'static [&str]) -> impl Iterator<Item = (&'s str, usize)> {
        let edges = self.graph.nodes[at].edges.iter();
        edges.filter(|edge| keywords.contains(&edge.keyword)).map(|edge| (edge.name, edge.to))
    }

    /// The names of members that these apply to.
    fn names(&self, nodes: &[usize]) -> Vec<&'s str> {
        let mut seen = HashSet::new();
        let names = nodes.iter().flat_map(|at| self.lead(*at, &["properties"]));
        names.map(|(name, _)| name).filter(|name| seen.insert(*name)).collect()
    }

    fn members(&self, nodes: &[usize], name: &str) -> Vec<usize> {
        let all = nodes.iter().flat_map(|at| self.lead(*at, &["properties"]));
        all.filter(|(other, _)| *other == name).map(|(_, to)| to).collect()
    }

    /// How many of the first elements have checks of their own.
    fn first(&self, nodes: &[usize]) -> usize {
        nodes.iter().map(|at| self.lead(*at, &["prefixItems"]).count()).max().unwrap_or(0)
    }

    fn elements(&self, nodes: &[usize], index: usize) -> Vec<usize> {
        let next = |at: &usize| {
            let mut first = self.lead(*at, &["prefixItems"]);
            let own = first.nth(index).map(|(_, to)| to);
            own.or_else(|| self.lead(*at, &["items"]).next().map(|(_, to)| to))
        };
        nodes.iter().filter_map(next).collect()
    }

    fn parts(&self, nodes: &[usize]) -> Vec<Part> {
        nodes.iter().flat_map(|at| self.parts[*at].iter().cloned()).collect()
    }
}

/// Converts keywords into checks, equal ones once.
struct Taking<'r> {
    registry: Registry<'r>,
    known: HashMap<String, Arc<Validator<Folded>>>,
}

impl Taking<'_> {
    fn apart(&mut self, node: &Node<'_>) -> Result<Vec<Part>, String> {
        let object = match node.schema {
            Schema::Object(object) => object,
            // `false` is a check of its own.
            other => {
                let part = self.part("false", "", other.clone(), &node.pointer)?;
                return Ok(if other == &Schema::Bool(false) { vec![part] } else { Vec::new() });
            }
        };
        let mut parts = Vec::new();
        for name in object.get("required").and_then(Schema::as_array).into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            parts.push(self.part("required", name, json!({"required": [name]}), &node.pointer)?);
        }
        for (keyword, value) in object {
            if !NOT_CHECKED.contains(&keyword.as_str()) {
                let schema = alone(object, keyword, value);
                parts.push(self.part(keyword, "", schema, &node.pointer)?);
            }
        }
        Ok(parts)
    }

    fn part(
        &mut self,
        keyword: &str,
        name: &str,
        mut schema: Schema,
        pointer: &str,
    ) -> Result<Part, String> {
        refer(&mut schema);
        let text = schema.to_string();
        let validator = match self.known.get(&text) {
            Some(known) => Arc::clone(known),
            None => {
                let built = build(&schema, text.contains(WHOLE).then_some(&self.registry));
                let built = built.map_err(|error| {
                    format!("cannot be taken apart at `{pointer}/{keyword}`: {error}")
                })?;
                Arc::clone(self.known.entry(text).or_insert(Arc::new(built)))
            }
        };
        Ok(Part { keyword: keyword.to_owned(), name: name.to_owned(), validator })
    }
}

/// A keyword as a separate schema, with the adjacent keywords that it depends on.
fn alone(object: &Map<String, Schema>, keyword: &str, value: &Schema) -> Schema {
    let beside: &[&str] = match keyword {
        "contains" => &["minContains", "maxContains"],
        "if" => &["then", "else"],
        "additionalProperties" => &["properties", "patternProperties"],
        "unevaluatedProperties" | "unevaluatedItems" => &EVALUATING,
        _ => &[],
    };
    let mut alone = Map::from_iter([(keyword.to_owned(), value.clone())]);
    for name in beside {
        if let Some(value) = object.get(*name) {
            alone.insert((*name).to_owned(), counting(name, value));
        }
    }
    alone.into()
}

/// What `unevaluatedProperties` and `unevaluatedItems` depend on.
#[rustfmt::skip]
const EVALUATING: [&str; 18] = [
    "$dynamicRef", "$ref", "additionalProperties", "allOf", "anyOf", "contains", "dependentSchemas", "else",
    "if", "items", "maxContains", "minContains", "not", "oneOf", "patternProperties", "prefixItems",
    "properties", "then",
];

/// A keyword that selects members and elements, without the subschemas for these, which are checked
/// at their own places.
fn counting(keyword: &str, value: &Schema) -> Schema {
    match (keyword, value) {
        ("properties" | "patternProperties", Schema::Object(map)) => {
            map.keys().map(|name| (name.clone(), true.into())).collect::<Map<_, _>>().into()
        }
        ("prefixItems", Schema::Array(items)) => vec![true; items.len()].into(),
        ("additionalProperties" | "items", _) => true.into(),
        _ => value.clone(),
    }
}

/// Rewrites references within the file so that they can be followed from outside of it.
fn refer(schema: &mut Schema) {
    match schema {
        Schema::Array(items) => items.iter_mut().for_each(refer),
        Schema::Object(object) => {
            for (keyword, value) in object {
                match value {
                    Schema::String(text)
                        if matches!(keyword.as_str(), "$ref" | "$dynamicRef")
                            && text.starts_with('#') =>
                    {
                        text.insert_str(0, WHOLE);
                    }
                    _ => refer(value),
                }
            }
        }
        _ => {}
    }
}
