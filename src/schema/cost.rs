//! Limits the cost of validating with an operator's schema.
//!
//! SECURITY: a few lines of a schema can cause unbounded work: forty definitions, each of which
//! applies the next one twice, validate one value 2^40 times. A recursive schema does so if it
//! recurs twice at one place. Therefore this module counts, when a schema is loaded, how many
//! subschemas can be applied to any one value of a document. If that is bounded, the work for a
//! document is linear in its size.

use std::collections::HashMap;

use super::graph::{Applied, Edge, Graph};
use crate::json::MAX_DEPTH;

/// The maximum number of subschemas that may be applied to one value of a document.
pub(super) const MAX_APPLIED: u32 = 1000;

/// The maximum number of subschemas that are counted in total, so that counting is bounded too.
const COUNTED: usize = 1_000_000;

/// Why a schema costs too much: JSON Pointers, each with a message.
pub(super) fn errors(graph: &Graph<'_>) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = graph
        .nodes
        .iter()
        .filter(|node| !node.pointer.is_empty() && node.schema.get("$id").is_some())
        .map(|node| {
            let why = "an `$id` is read at the top of the file only; leave it out, and refer to the schema \
                       by its place (`#/...`)";
            (format!("{}/$id", node.pointer), why.to_owned())
        })
        .collect();
    let mut sizes =
        Sizes { graph, known: vec![Size::Unknown; graph.nodes.len()], found: Vec::new() };
    for at in 0..graph.nodes.len() {
        sizes.of(at, 0);
    }
    found.append(&mut sizes.found);
    if found.is_empty() {
        found.extend(growth(graph));
    }
    found
}

/// How many subschemas are applied to the same value as each subschema, itself included.
struct Sizes<'g, 's> {
    graph: &'g Graph<'s>,
    known: Vec<Size>,
    found: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Unknown,
    /// It is being counted: reaching it again means a cycle.
    Open,
    Known(u32),
}

impl Sizes<'_, '_> {
    fn of(&mut self, at: usize, depth: u32) -> u32 {
        match self.known[at] {
            Size::Known(size) => return size,
            Size::Open => return 0,
            // A chain of this many others is too large, whatever follows.
            Size::Unknown if depth > MAX_APPLIED => return MAX_APPLIED + 1,
            Size::Unknown => self.known[at] = Size::Open,
        }
        let node = &self.graph.nodes[at];
        let (mut size, mut has_part_beyond) = (1, false);
        for edge in here(&node.edges) {
            if self.known[edge.to] == Size::Open {
                let why = "this refers back to itself without descending into the document, so that validation \
                           would never end";
                self.found.push((place_of(&node.pointer, edge), why.to_owned()));
                continue;
            }
            let part = self.of(edge.to, depth + 1);
            has_part_beyond |= part > MAX_APPLIED;
            size = (size + part * times(node.schema)).min(MAX_APPLIED + 1);
        }
        if size > MAX_APPLIED && !has_part_beyond {
            let why = format!(
                "more than {MAX_APPLIED} subschemas are applied to one value here, counted each time that one \
                 is; refer to each of them once"
            );
            self.found.push((node.pointer.clone(), why));
        }
        self.known[at] = Size::Known(size);
        size
    }
}

fn place_of(pointer: &str, edge: &Edge<'_>) -> String {
    format!("{pointer}/{}", edge.keyword)
}

fn here<'e, 's>(edges: &'e [Edge<'s>]) -> impl Iterator<Item = &'e Edge<'s>> {
    edges.iter().filter(|edge| edge.applied == Applied::Here)
}

/// How often what is applied to the same value is evaluated: `unevaluated...` evaluates it again.
fn times(schema: &serde_json::Value) -> u32 {
    let asks = ["unevaluatedProperties", "unevaluatedItems"];
    if asks.iter().any(|keyword| schema.get(keyword).is_some()) { 2 } else { 1 }
}

/// Which subschemas apply to the value of one member or element.
#[derive(Debug, Default)]
struct Next<'s> {
    /// By name or index: what applies to it in addition to, or instead of, what applies to all.
    named: HashMap<(&'s str, usize), Vec<(usize, bool)>>,
    /// What applies to members or elements without subschemas of their own.
    others: Vec<usize>,
}

/// The subschemas of one value, and those that they apply below it.
struct Views<'s> {
    count: u32,
    members: Next<'s>,
    items: Next<'s>,
}

/// Counts how often values are validated, level by level down a document.
fn growth(graph: &Graph<'_>) -> Option<(String, String)> {
    let mut views: HashMap<usize, Views<'_>> = HashMap::new();
    let mut open = vec![0];
    let mut counted = 0;
    while let Some(at) = open.pop() {
        if views.contains_key(&at) {
            continue;
        }
        let read = views_of(graph, at);
        counted += read.count as usize;
        if counted > COUNTED {
            let why = format!(
                "all subschemas together are applied more than {COUNTED} times; make the schema smaller"
            );
            return Some((String::new(), why));
        }
        for next in [&read.members, &read.items] {
            open.extend(
                next.named.values().flatten().map(|(to, _)| *to).chain(next.others.clone()),
            );
        }
        views.insert(at, read);
    }
    // At the value that a subschema is applied to, then one level below it, and so on.
    let mut totals: HashMap<usize, u32> =
        views.iter().map(|(at, view)| (*at, view.count)).collect();
    for _ in 0..MAX_DEPTH {
        let below =
            |view: &Views<'_>| view.members.max_total(&totals).max(view.items.max_total(&totals));
        let deeper: HashMap<usize, u32> =
            views.iter().map(|(at, view)| (*at, below(view))).collect();
        let beyond =
            deeper.iter().filter(|(_, total)| **total > MAX_APPLIED).map(|(at, _)| *at).max();
        if let Some(at) = beyond {
            let why = format!(
                "in a document that nests as this schema does, more than {MAX_APPLIED} subschemas are applied to one value; \
                 apply the same subschema to each member or element at most once"
            );
            return Some((graph.nodes[at].pointer.clone(), why));
        }
        if deeper == totals {
            return None;
        }
        totals = deeper;
    }
    None
}

impl Next<'_> {
    /// The largest count for any one member or element and below.
    fn max_total(&self, totals: &HashMap<usize, u32>) -> u32 {
        let total = |at: &usize| totals.get(at).copied().unwrap_or(0);
        let others: u32 = self.others.iter().map(total).sum();
        let named = self.named.values().map(|changes| {
            let sum = |added: bool| -> u32 {
                let chosen = changes.iter().filter(|(_, adds)| *adds == added);
                chosen.map(|(at, _)| total(at)).sum()
            };
            (others + sum(true)).saturating_sub(sum(false))
        });
        named.max().unwrap_or(0).max(others).min(MAX_APPLIED + 1)
    }
}

/// All subschemas that apply to a value to which the subschema `at` applies.
fn views_of<'s>(graph: &Graph<'s>, at: usize) -> Views<'s> {
    let mut views = Views { count: 0, members: Next::default(), items: Next::default() };
    let mut open = vec![at];
    while let Some(at) = open.pop() {
        let node = &graph.nodes[at];
        views.count += 1;
        for edge in &node.edges {
            let (next, other) = match edge.applied {
                Applied::Nowhere => continue,
                Applied::Here => {
                    open.extend(std::iter::repeat_n(edge.to, times(node.schema) as usize));
                    continue;
                }
                Applied::Named | Applied::OtherMembers | Applied::EveryMember => {
                    (&mut views.members, Applied::OtherMembers)
                }
                Applied::Numbered | Applied::OtherItems | Applied::EveryItem => {
                    (&mut views.items, Applied::OtherItems)
                }
            };
            if !matches!(edge.applied, Applied::Named | Applied::Numbered) {
                next.others.push(edge.to);
                continue;
            }
            // A member with its own schema is not one of the others.
            let changes = next.named.entry((edge.name, edge.index)).or_default();
            changes.push((edge.to, true));
            let beside = node.edges.iter().filter(|beside| beside.applied == other);
            changes.extend(beside.map(|beside| (beside.to, false)));
        }
    }
    views
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(schema: &Value) -> Vec<(String, String)> {
        errors(&Graph::of(schema))
    }

    fn first(schema: &Value) -> (String, String) {
        found(schema).into_iter().next().unwrap_or_default()
    }

    /// A number of definitions, each of which is `step` of the next one.
    fn chain(length: usize, step: impl Fn(Value) -> Value) -> Value {
        let mut defs = json!({});
        for nth in 0..length {
            defs[format!("d{nth}")] = step(json!({"$ref": format!("#/$defs/d{}", nth + 1)}));
        }
        defs[format!("d{length}")] = json!({"type": "string"});
        json!({"properties": {"userName": {"$ref": "#/$defs/d0"}}, "$defs": defs})
    }

    #[test]
    fn doubling_is_an_error_at_its_position_however_it_is_written() {
        for step in [
            |next: Value| json!({"allOf": [next.clone(), next]}),
            |next: Value| json!({"anyOf": [next.clone(), next]}),
            |next: Value| json!({"oneOf": [next.clone(), {"not": next}]}),
            |next: Value| json!({"if": next.clone(), "then": next}),
            |next: Value| json!({"not": next.clone(), "else": next}),
            |next: Value| json!({"dependentSchemas": {"a": next.clone(), "b": next}}),
            |next: Value| json!({"allOf": [next], "unevaluatedProperties": false}),
        ] {
            let (place, why) = first(&chain(40, step));
            assert!(place.starts_with("/$defs/d3"), "{place}: {why}");
            assert!(why.contains("more than 1000 subschemas are applied to one value"), "{why}");
            assert_eq!(found(&chain(5, step)), []);
        }
        // Down the document.
        for step in [
            |next: Value| json!({"allOf": [{"items": next.clone()}, {"items": next}]}),
            |next: Value| json!({"items": next.clone(), "contains": next}),
            |next: Value| json!({"properties": {"a": next.clone()}, "patternProperties": {"a": next}}),
            |next: Value| json!({"prefixItems": [next.clone()], "contains": next}),
            |next: Value| json!({"additionalProperties": next.clone(), "propertyNames": next}),
        ] {
            let (place, why) = first(&chain(40, step));
            assert!(place.starts_with("/$defs/d"), "{place}: {why}");
            assert!(why.contains("nests as this schema does"), "{why}");
            assert_eq!(found(&chain(5, step)), []);
        }
    }

    #[test]
    fn a_cycle_at_one_value_is_an_error_and_one_that_descends_is_not() {
        for (schema, place) in [
            (json!({"$ref": "#"}), "/$ref"),
            (json!({"allOf": [{"$ref": "#/allOf/0"}]}), "/allOf/0/$ref"),
            (json!({"$dynamicAnchor": "x", "not": {"$dynamicRef": "#x"}}), "/not/$dynamicRef"),
            (json!({"properties": {"a": {"$anchor": "a", "if": {"$ref": "#a"}}}}), "/if/$ref"),
            (json!({"$ref": "#/x%2Dy", "x-y": {"anyOf": [{"$ref": "#"}]}}), "/x-y/anyOf/0/$ref"),
        ] {
            let (found, why) = first(&schema);
            assert!(found.ends_with(place), "{schema}: {found}");
            assert!(why.contains("refers back to itself"), "{why}");
        }
        for schema in [
            json!({"items": {"$ref": "#"}}),
            json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}),
            json!({"properties": {"a": {"$ref": "#"}}, "additionalProperties": {"$ref": "#"}}),
            json!({"prefixItems": [{"$ref": "#"}, {"$ref": "#"}], "items": {"$ref": "#"}}),
            json!({"anyOf": [
                {"properties": {"and": {"items": {"$ref": "#"}}}},
                {"properties": {"or": {"items": {"$ref": "#"}}}}
            ]}),
            json!({"$dynamicAnchor": "x", "additionalProperties": {"$dynamicRef": "#x"}}),
            json!({"anyOf": vec![json!({"const": 1}); 900]}),
        ] {
            assert_eq!(found(&schema), [], "{schema}");
        }
        let twice = json!({"allOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]});
        assert!(first(&twice).1.contains("at most once"));
    }

    #[test]
    fn long_chains_and_wide_schemas_are_bounded() {
        let long = chain(20_000, |next| json!({"allOf": [next]}));
        assert!(!found(&long).is_empty());
        let wide = json!({"anyOf": vec![json!({"const": 1}); 1001]});
        assert_eq!(first(&wide).0, "");
        let inner = json!({"properties": {"a": {"$id": "urn:x"}}});
        assert_eq!(first(&inner).0, "/properties/a/$id");
    }
}
