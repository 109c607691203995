//! A group as in Wire's answer, changed by a PATCH and sent back as a whole (`groups.patch`).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;

use super::group_patch::{Change, GroupPatch};

const CORE_GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// The attributes of a group that Wire stores.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupDocument {
    display_name: String,
    /// Required: an answer without them does not mean a group without members.
    members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Member {
    value: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl GroupDocument {
    /// Parses Wire's answer; `None` if it is not a group.
    pub fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The group after a PATCH; `None` if the PATCH changes nothing. Adding an existing member, and
    /// removing a missing one, changes nothing.
    pub fn patched(&self, patch: &GroupPatch) -> Option<Self> {
        let mut name = &self.display_name;
        let mut members = Members::default();
        self.members.iter().for_each(|member| members.add(member.clone()));
        let before = members.places.clone();
        for change in &patch.changes {
            match change {
                Change::Rename(new) => name = new,
                Change::Add(ids) => ids.iter().for_each(|id| members.add(Member::new(id))),
                Change::Remove(ids) => ids.iter().for_each(|id| members.remove(id)),
                Change::Replace(ids) => {
                    let old = std::mem::take(&mut members);
                    ids.iter().for_each(|id| members.add(old.get(id)));
                }
            }
        }
        let same_members = members.places.len() == before.len()
            && members.places.keys().all(|id| before.contains_key(id));
        if *name == self.display_name && same_members {
            return None;
        }
        let members = members.list.into_iter().flatten().collect();
        Some(Self { display_name: name.clone(), members })
    }

    /// The body of the PUT. Wire requires `type` and `$ref` of every member, but stores neither.
    pub fn to_put(&self) -> Vec<u8> {
        let member = |member: &Member| {
            let kind = member.kind.as_deref().unwrap_or("User");
            json!({"value": member.value, "type": kind, "$ref": ""})
        };
        let members: Vec<_> = self.members.iter().map(member).collect();
        let body =
            json!({"schemas": [CORE_GROUP], "displayName": self.display_name, "members": members});
        body.to_string().into_bytes()
    }
}

impl Member {
    fn new(id: &str) -> Self {
        Self { value: id.to_owned(), kind: None }
    }
}

/// Members in order, each once; ids are compared without regard to case.
#[derive(Debug, Default)]
struct Members {
    list: Vec<Option<Member>>,
    places: HashMap<String, usize>,
}

impl Members {
    fn add(&mut self, member: Member) {
        let id = member.value.to_ascii_lowercase();
        if let std::collections::hash_map::Entry::Vacant(place) = self.places.entry(id) {
            place.insert(self.list.len());
            self.list.push(Some(member));
        }
    }

    /// Ids of a PATCH are in lower case.
    fn remove(&mut self, id: &str) {
        if let Some(at) = self.places.remove(id) {
            self.list[at] = None;
        }
    }

    /// The existing member with this id, or a new one.
    fn get(&self, id: &str) -> Member {
        let known = self.places.get(id).and_then(|at| self.list[*at].clone());
        known.unwrap_or_else(|| Member::new(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaa-0000-4000-8000-000000000000";
    const B: &str = "bbbbbbbb-0000-4000-8000-000000000000";
    const C: &str = "cccccccc-0000-4000-8000-000000000000";

    fn group(name: &str, members: &[&str]) -> GroupDocument {
        let members: Vec<_> =
            members.iter().map(|id| json!({"value": id, "type": "User", "$ref": "x"})).collect();
        let answer = json!({"id": A, "displayName": name, "members": members, "meta": {}});
        GroupDocument::read(answer.to_string().as_bytes()).unwrap()
    }

    fn ids(group: &GroupDocument) -> Vec<&str> {
        group.members.iter().map(|member| member.value.as_str()).collect()
    }

    fn patch(changes: &[Change]) -> GroupPatch {
        GroupPatch { changes: changes.to_vec(), ..GroupPatch::default() }
    }

    #[test]
    fn changes_apply_in_order() {
        let list = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let before = group("n", &[A, &B.to_uppercase()]);
        for (changes, after) in [
            (vec![Change::Add(list(&[C, C, A]))], vec![A, &B.to_uppercase(), C]),
            (vec![Change::Remove(list(&[B, C]))], vec![A]),
            (vec![Change::Replace(list(&[C]))], vec![C]),
            (vec![Change::Replace(list(&[]))], vec![]),
            (vec![Change::Replace(list(&[])), Change::Add(list(&[B]))], vec![B]),
            (vec![Change::Add(list(&[C])), Change::Remove(list(&[A, C]))], vec![&B.to_uppercase()]),
        ] {
            let changed = before.patched(&patch(&changes)).unwrap();
            assert_eq!(ids(&changed), after, "{changes:?}");
            assert_eq!(changed.display_name, "n");
        }
        let renamed = before.patched(&patch(&[Change::Rename("m".into())])).unwrap();
        assert_eq!((renamed.display_name.as_str(), ids(&renamed).len()), ("m", 2));
    }

    #[test]
    fn a_patch_that_changes_nothing_is_recognised() {
        let before = group("n", &[A, &B.to_uppercase()]);
        for changes in [
            vec![],
            vec![Change::Add(vec![A.into(), B.into()])],
            vec![Change::Remove(vec![C.into()])],
            vec![Change::Replace(vec![B.into(), A.into()])],
            vec![Change::Rename("m".into()), Change::Rename("n".into())],
            vec![Change::Remove(vec![A.into()]), Change::Add(vec![A.into()])],
        ] {
            assert_eq!(before.patched(&patch(&changes)), None, "{changes:?}");
        }
    }

    #[test]
    fn a_put_has_all_that_wire_requires() {
        let put: serde_json::Value = serde_json::from_slice(&group("n", &[A]).to_put()).unwrap();
        assert_eq!(
            put,
            json!({"schemas": [CORE_GROUP], "displayName": "n",
                   "members": [{"value": A, "type": "User", "$ref": ""}]})
        );
    }

    #[test]
    fn an_answer_without_members_is_not_a_group() {
        for answer in [
            &b"{}"[..],
            b"[]",
            b"",
            br#"{"displayName":"n"}"#,
            br#"{"displayName":"n","members":null}"#,
            br#"{"displayName":"n","members":[{"type":"User"}]}"#,
            br#"{"displayName":"n","members":[],"members":[]}"#,
        ] {
            assert_eq!(GroupDocument::read(answer), None);
        }
    }
}
