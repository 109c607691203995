//! The test user, who must not be changed by a comparison.
//!
//! A trial finds out whether Wire could apply an operation, without applying it: the operation is followed by a
//! `remove` without a path, which Wire refuses with `noTarget`, and a refused PATCH changes nothing. The operations
//! after these two restore the attribute, in case a server applies all of them.

use serde_json::{Map, Value, json};

/// A user as returned by a GET, without `meta`, which may change on its own.
#[derive(Debug, Clone, PartialEq)]
pub struct TestUser(Map<String, Value>);

impl TestUser {
    /// `None` if the answer is not a resource.
    pub fn read(body: &Value) -> Option<Self> {
        let mut attributes = body.as_object()?.clone();
        attributes.remove("meta");
        Some(Self(attributes))
    }

    /// The names of the attributes that differ.
    pub fn changed(&self, now: &Self) -> Vec<String> {
        let names = self.0.keys().chain(now.0.keys().filter(|name| !self.0.contains_key(*name)));
        names.filter(|name| self.0.get(*name) != now.0.get(*name)).cloned().collect()
    }

    /// The operations of a trial.
    pub fn trial(&self, operation: &Value) -> Vec<Value> {
        let refusing = json!({"op": "remove", "value": {}});
        let restoring = match operation["path"].as_str() {
            Some(path) => self.restore_path(path),
            None => {
                let set = operation["value"].as_object().into_iter().flat_map(Map::keys);
                set.map(|name| self.restore(name)).collect()
            }
        };
        [vec![operation.clone(), refusing], restoring].concat()
    }

    /// Removes what a path may have added, in each of the ways in which servers interpret it (the path as a name, the
    /// values that it selects), then sets the whole attribute to its former value.
    fn restore_path(&self, path: &str) -> Vec<Value> {
        let selected = path.find(']').map(|end| &path[..=end]);
        let attribute = path.split(['[', '.']).next().unwrap_or(path);
        let mut added: Vec<&str> = [Some(path), selected].into_iter().flatten().collect();
        added.retain(|added| *added != attribute);
        added.dedup();
        let removed = added.into_iter().map(|path| json!({"op": "remove", "path": path}));
        removed.chain([self.restore(attribute)]).collect()
    }

    fn restore(&self, attribute: &str) -> Value {
        match self.0.get(attribute) {
            Some(value) => json!({"op": "replace", "path": attribute, "value": value}),
            None => json!({"op": "remove", "path": attribute}),
        }
    }
}
